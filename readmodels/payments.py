"""Payments: what was authorised, captured and paid back, for which order and which customer?

1. What the provider has answered counts; what it was only asked for is not shown.
2. The card is not kept here: nobody who reads payments needs it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Final, assert_never, get_args

from domain.decider import message
from domain.payment import (
    AuthorisationRequested,
    CaptureRequested,
    Event,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentVoided,
    RefundAwaited,
    RefundRequested,
    VoidAwaited,
    VoidRequested,
)
from domain.recorded import Recorded
from readmodels.page import FIRST_PAGE, Condition, Field, Page, Select, Sort, select
from readmodels.projection import Projection, field_of, index, own_stream


class PaymentStatus(Enum):
    REQUESTED = "requested"
    """The provider has not answered yet."""
    AUTHORISED = "authorised"
    """The amount is set aside, nothing has been captured."""
    PARTLY_CAPTURED = "partly_captured"
    CAPTURED = "captured"
    PARTLY_REFUNDED = "partly_refunded"
    """Some of what was captured has been paid back."""
    REFUNDED = "refunded"
    """All that was captured has been paid back."""
    DECLINED = "declined"
    VOIDED = "voided"
    """What was set aside is free again; nothing was captured."""


@message
class PaymentListed:
    """Amounts in minor units. `reference` is the provider's name for the payment."""

    payment_id: str
    order_id: str
    customer_id: str
    status: PaymentStatus = PaymentStatus.REQUESTED
    currency: str
    amount: int
    captured: int = 0
    refunded: int = 0
    reference: str | None = None
    decline_reason: str | None = None
    requested_at: datetime
    version: int


def evolve(payment: PaymentListed | None, recorded: Recorded, _: str) -> PaymentListed | None:
    event: Event = recorded.event
    if isinstance(event, AuthorisationRequested):
        return _requested(event, recorded.version)
    if payment is None:
        return None
    payment = replace(payment, version=recorded.version)
    match event:
        case PaymentAuthorised():
            return replace(payment, status=PaymentStatus.AUTHORISED, reference=event.reference)
        case PaymentDeclined():
            return replace(payment, status=PaymentStatus.DECLINED, decline_reason=event.reason)
        case PaymentCaptured():
            return _weighed(replace(payment, captured=payment.captured + event.amount))
        case PaymentVoided():
            return replace(payment, status=PaymentStatus.VOIDED)
        case PaymentRefunded():
            return _weighed(replace(payment, refunded=payment.refunded + event.amount))
        case CaptureRequested() | VoidAwaited() | VoidRequested():
            return payment
        case RefundAwaited() | RefundRequested():
            return payment
        case _:
            assert_never(event)


def _requested(event: AuthorisationRequested, version: int) -> PaymentListed:
    return PaymentListed(
        payment_id=event.payment_id,
        order_id=event.order_id,
        customer_id=event.customer_id,
        currency=event.currency,
        amount=event.amount,
        requested_at=event.at,
        version=version,
    )


def _weighed(payment: PaymentListed) -> PaymentListed:
    """The payment with the status that its captures and refunds make."""
    return replace(payment, status=_status(payment))


def _status(payment: PaymentListed) -> PaymentStatus:
    if payment.refunded:
        whole = payment.refunded >= payment.captured
        return PaymentStatus.REFUNDED if whole else PaymentStatus.PARTLY_REFUNDED
    whole = payment.captured >= payment.amount
    return PaymentStatus.CAPTURED if whole else PaymentStatus.PARTLY_CAPTURED


FIELDS: Final = {
    "order_id": Field(str, sortable=False),
    "customer_id": Field(str, sortable=False),
    "status": Field(PaymentStatus, sortable=False),
    "requested_at": Field(datetime),
}

LATEST_FIRST: Final = (Sort("requested_at", descending=True),)


def payments(
    where: Sequence[Condition] = (), order_by: Sequence[Sort] = (), page: Page = FIRST_PAGE
) -> Select:
    """A page of payments, the latest first unless another order is asked for."""
    return select(FIELDS, where, order_by or LATEST_FIRST, page)


PAYMENTS: Final = Projection(
    name="payments",
    version=1,
    view=PaymentListed,
    events=get_args(Event),
    keys=field_of("payment_id"),
    evolve=evolve,
    streams=own_stream,
    indexes=(
        index("order_id"),
        index("customer_id", "requested_at"),
        index("status", "requested_at"),
        index("requested_at"),
    ),
)
