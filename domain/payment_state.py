"""What is known of a payment: where it stands with the provider, and every amount by its id."""

from dataclasses import replace
from enum import Enum
from typing import assert_never

from domain.decider import message
from domain.payment_messages import (
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


class PaymentStatus(Enum):
    NEW = "new"
    REQUESTED = "requested"
    AUTHORISED = "authorised"
    DECLINED = "declined"
    VOIDING = "voiding"
    VOIDED = "voided"


@message
class Payment:
    """`captures` and `refunds` hold amounts by id; those in `captured` and `refunded` are through,
    those in `awaited` have not been asked for yet."""

    status: PaymentStatus = PaymentStatus.NEW
    order_id: str = ""
    customer_id: str = ""
    currency: str = ""
    amount: int = 0
    reference: str = ""
    captures: tuple[tuple[str, int], ...] = ()
    captured: tuple[str, ...] = ()
    refunds: tuple[tuple[str, int], ...] = ()
    refunded: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    void_awaited: bool = False

    @property
    def captured_amount(self) -> int:
        """What the provider has captured."""
        return sum(amount for name, amount in self.captures if name in self.captured)

    @property
    def asked_refunds(self) -> int:
        """What has been asked back of the provider, through or not."""
        return sum(amount for name, amount in self.refunds if name not in self.awaited)


def evolve(payment: Payment, event: Event) -> Payment:
    match event:
        case AuthorisationRequested():
            return Payment(
                status=PaymentStatus.REQUESTED,
                order_id=event.order_id,
                customer_id=event.customer_id,
                currency=event.currency,
                amount=event.amount,
            )
        case PaymentAuthorised():
            return replace(payment, status=PaymentStatus.AUTHORISED, reference=event.reference)
        case PaymentDeclined():
            return replace(payment, status=PaymentStatus.DECLINED)
        case CaptureRequested():
            return replace(payment, captures=(*payment.captures, (event.capture_id, event.amount)))
        case PaymentCaptured():
            return replace(payment, captured=(*payment.captured, event.capture_id))
        case VoidAwaited():
            return replace(payment, void_awaited=True)
        case VoidRequested():
            return replace(payment, status=PaymentStatus.VOIDING, void_awaited=False)
        case PaymentVoided():
            return replace(payment, status=PaymentStatus.VOIDED)
        case RefundAwaited():
            return replace(
                payment,
                refunds=(*payment.refunds, (event.refund_id, event.amount)),
                awaited=(*payment.awaited, event.refund_id),
            )
        case RefundRequested():
            return _refund_requested(payment, event)
        case PaymentRefunded():
            return replace(payment, refunded=(*payment.refunded, event.refund_id))
        case _:
            assert_never(event)


def _refund_requested(payment: Payment, event: RefundRequested) -> Payment:
    if event.refund_id in payment.awaited:
        awaited = tuple(name for name in payment.awaited if name != event.refund_id)
        return replace(payment, awaited=awaited)
    return replace(payment, refunds=(*payment.refunds, (event.refund_id, event.amount)))
