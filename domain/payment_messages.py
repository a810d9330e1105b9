"""What can be asked of a payment, and what can have happened to one.

Amounts are minor units of the payment's currency; `reference` is the provider's name for it.
"""

from datetime import datetime
from typing import TypeAlias

from domain.decider import message

# -- commands


@message
class AuthorisePayment:
    payment_id: str
    order_id: str
    customer_id: str
    amount: int
    currency: str
    card: str
    at: datetime


@message
class RecordAuthorisation:
    """`reference` is the provider's name for the payment."""

    payment_id: str
    reference: str
    at: datetime


@message
class RecordDecline:
    payment_id: str
    reason: str
    at: datetime


@message
class CapturePayment:
    """`capture_id` tells a repeat from another capture of the same payment."""

    payment_id: str
    capture_id: str
    amount: int
    at: datetime


@message
class RecordCapture:
    payment_id: str
    capture_id: str
    at: datetime


@message
class VoidPayment:
    payment_id: str
    at: datetime


@message
class RecordVoid:
    payment_id: str
    at: datetime


@message
class RefundPayment:
    """`refund_id` tells a repeat from another refund of the same payment."""

    payment_id: str
    refund_id: str
    amount: int
    at: datetime


@message
class RecordRefund:
    payment_id: str
    refund_id: str
    at: datetime


Command: TypeAlias = (
    AuthorisePayment
    | RecordAuthorisation
    | RecordDecline
    | CapturePayment
    | RecordCapture
    | VoidPayment
    | RecordVoid
    | RefundPayment
    | RecordRefund
)


# -- events: names and fields are storage format


@message
class AuthorisationRequested:
    payment_id: str
    order_id: str
    customer_id: str
    amount: int
    currency: str
    card: str
    at: datetime


@message
class PaymentAuthorised:
    payment_id: str
    order_id: str
    customer_id: str
    reference: str
    at: datetime


@message
class PaymentDeclined:
    payment_id: str
    order_id: str
    customer_id: str
    reason: str
    at: datetime


@message
class CaptureRequested:
    payment_id: str
    order_id: str
    capture_id: str
    reference: str
    amount: int
    currency: str
    at: datetime


@message
class PaymentCaptured:
    payment_id: str
    order_id: str
    customer_id: str
    capture_id: str
    amount: int
    currency: str
    at: datetime


@message
class VoidRequested:
    payment_id: str
    order_id: str
    reference: str
    at: datetime


@message
class PaymentVoided:
    payment_id: str
    order_id: str
    customer_id: str
    at: datetime


@message
class RefundRequested:
    payment_id: str
    order_id: str
    refund_id: str
    reference: str
    amount: int
    currency: str
    at: datetime


@message
class RefundAwaited:
    """A refund that is asked for once enough has been captured."""

    payment_id: str
    order_id: str
    refund_id: str
    amount: int
    at: datetime


@message
class VoidAwaited:
    """A void that is asked for once the provider has answered the authorisation."""

    payment_id: str
    order_id: str
    at: datetime


@message
class PaymentRefunded:
    payment_id: str
    order_id: str
    customer_id: str
    refund_id: str
    amount: int
    currency: str
    at: datetime


Event: TypeAlias = (
    AuthorisationRequested
    | PaymentAuthorised
    | PaymentDeclined
    | CaptureRequested
    | PaymentCaptured
    | VoidAwaited
    | VoidRequested
    | PaymentVoided
    | RefundAwaited
    | RefundRequested
    | PaymentRefunded
)
