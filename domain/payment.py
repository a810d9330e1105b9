"""The payment of one order: what was asked of the provider, and what it answered.

1. What is asked is an event of its own, so that it can be asked again until there is an answer;
   an answer is recorded once, repeats of it change nothing.
2. Never more is captured than was authorised, never more refunded than was captured.
3. Undoing waits for its turn: a void before the provider has answered, and a refund before the
   capture is through, are kept and asked for as soon as they can be.
4. Amounts are minor units of the payment's currency.
"""

from operator import attrgetter
from typing import assert_never, get_args

from domain.decider import Decider, DomainError, domain_error, refuse_if_any
from domain.money import Money, price_errors, text_errors
from domain.payment_messages import (
    AuthorisationRequested,
    AuthorisePayment,
    CapturePayment,
    CaptureRequested,
    Command,
    Event,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentVoided,
    RecordAuthorisation,
    RecordCapture,
    RecordDecline,
    RecordRefund,
    RecordVoid,
    RefundAwaited,
    RefundPayment,
    RefundRequested,
    VoidAwaited,
    VoidPayment,
    VoidRequested,
)
from domain.payment_state import Payment, PaymentStatus, evolve

__all__ = [
    "PAYMENT",
    "AuthorisationRequested",
    "AuthorisePayment",
    "CapturePayment",
    "CaptureRequested",
    "Command",
    "Event",
    "Payment",
    "PaymentAuthorised",
    "PaymentCaptured",
    "PaymentDeclined",
    "PaymentRefunded",
    "PaymentStatus",
    "PaymentVoided",
    "RecordAuthorisation",
    "RecordCapture",
    "RecordDecline",
    "RecordRefund",
    "RecordVoid",
    "RefundAwaited",
    "RefundPayment",
    "RefundRequested",
    "VoidAwaited",
    "VoidPayment",
    "VoidRequested",
]

# -- errors


@domain_error
class PaymentUnknown(DomainError):
    text = "There is no payment {payment_id}."
    payment_id: str
    path: tuple[str, ...] = ("paymentId",)


@domain_error
class PaymentNotAuthorised(DomainError):
    text = "The payment {payment_id} is {status}: nothing can be captured."
    payment_id: str
    status: str
    path: tuple[str, ...] = ("paymentId",)


@domain_error
class MoreThanAuthorised(DomainError):
    text = "{left} minor units of the payment {payment_id} are left, {asked} were asked for."
    payment_id: str
    left: int
    asked: int
    path: tuple[str, ...] = ("amount",)


@domain_error
class MoreThanCaptured(DomainError):
    text = "{left} minor units of the payment {payment_id} can be refunded, not {asked}."
    payment_id: str
    left: int
    asked: int
    path: tuple[str, ...] = ("amount",)


# -- decisions


def authorise(command: AuthorisePayment, payment: Payment) -> list[Event]:
    if payment.status is not PaymentStatus.NEW:
        return []
    refuse_if_any(
        price_errors(Money(amount=command.amount, currency=command.currency), "amount")
        + (text_errors(command.card, "card", most=100) if command.card else [])
    )
    return [
        AuthorisationRequested(
            payment_id=command.payment_id,
            order_id=command.order_id,
            customer_id=command.customer_id,
            amount=command.amount,
            currency=command.currency,
            card=command.card,
            at=command.at,
        )
    ]


def record_authorisation(command: RecordAuthorisation, payment: Payment) -> list[Event]:
    if payment.status is not PaymentStatus.REQUESTED:
        return []
    refuse_if_any(text_errors(command.reference, "reference"))
    authorised: list[Event] = [
        PaymentAuthorised(
            payment_id=command.payment_id,
            order_id=payment.order_id,
            customer_id=payment.customer_id,
            reference=command.reference,
            at=command.at,
        )
    ]
    if payment.void_awaited:
        authorised.append(
            VoidRequested(
                payment_id=command.payment_id,
                order_id=payment.order_id,
                reference=command.reference,
                at=command.at,
            )
        )
    return authorised


def record_decline(command: RecordDecline, payment: Payment) -> list[Event]:
    if payment.status is not PaymentStatus.REQUESTED:
        return []
    refuse_if_any(text_errors(command.reason, "reason"))
    return [
        PaymentDeclined(
            payment_id=command.payment_id,
            order_id=payment.order_id,
            customer_id=payment.customer_id,
            reason=command.reason,
            at=command.at,
        )
    ]


def capture(command: CapturePayment, payment: Payment) -> list[Event]:
    if any(name == command.capture_id for name, _ in payment.captures):
        return []
    if payment.status is not PaymentStatus.AUTHORISED:
        raise PaymentNotAuthorised(payment_id=command.payment_id, status=payment.status.value)
    refuse_if_any(price_errors(Money(amount=command.amount, currency=payment.currency), "amount"))
    left = payment.amount - sum(amount for _, amount in payment.captures)
    if command.amount > left:
        raise MoreThanAuthorised(payment_id=command.payment_id, left=left, asked=command.amount)
    return [
        CaptureRequested(
            payment_id=command.payment_id,
            order_id=payment.order_id,
            capture_id=command.capture_id,
            reference=payment.reference,
            amount=command.amount,
            currency=payment.currency,
            at=command.at,
        )
    ]


def record_capture(command: RecordCapture, payment: Payment) -> list[Event]:
    amounts = dict(payment.captures)
    if command.capture_id in payment.captured or command.capture_id not in amounts:
        return []
    through: list[Event] = [
        PaymentCaptured(
            payment_id=command.payment_id,
            order_id=payment.order_id,
            customer_id=payment.customer_id,
            capture_id=command.capture_id,
            amount=amounts[command.capture_id],
            currency=payment.currency,
            at=command.at,
        )
    ]
    left = payment.captured_amount + amounts[command.capture_id] - payment.asked_refunds
    for refund_id in payment.awaited:
        amount = dict(payment.refunds)[refund_id]
        if amount <= left:
            left -= amount
            through.append(_refund_asked(command, payment, refund_id, amount))
    return through


def _refund_asked(
    command: RecordCapture | RefundPayment, payment: Payment, refund_id: str, amount: int
) -> RefundRequested:
    return RefundRequested(
        payment_id=command.payment_id,
        order_id=payment.order_id,
        refund_id=refund_id,
        reference=payment.reference,
        amount=amount,
        currency=payment.currency,
        at=command.at,
    )


def void(command: VoidPayment, payment: Payment) -> list[Event]:
    if payment.status is PaymentStatus.REQUESTED and not payment.void_awaited:
        return [
            VoidAwaited(payment_id=command.payment_id, order_id=payment.order_id, at=command.at)
        ]
    if payment.status is PaymentStatus.AUTHORISED and not payment.captures:
        return [
            VoidRequested(
                payment_id=command.payment_id,
                order_id=payment.order_id,
                reference=payment.reference,
                at=command.at,
            )
        ]
    return []


def record_void(command: RecordVoid, payment: Payment) -> list[Event]:
    if payment.status is not PaymentStatus.VOIDING:
        return []
    return [
        PaymentVoided(
            payment_id=command.payment_id,
            order_id=payment.order_id,
            customer_id=payment.customer_id,
            at=command.at,
        )
    ]


def refund(command: RefundPayment, payment: Payment) -> list[Event]:
    if any(name == command.refund_id for name, _ in payment.refunds):
        return []
    refuse_if_any(price_errors(Money(amount=command.amount, currency=payment.currency), "amount"))
    asked = sum(amount for _, amount in payment.refunds)
    left = sum(amount for _, amount in payment.captures) - asked
    if command.amount > left:
        raise MoreThanCaptured(payment_id=command.payment_id, left=left, asked=command.amount)
    if command.amount <= payment.captured_amount - payment.asked_refunds:
        return [_refund_asked(command, payment, command.refund_id, command.amount)]
    return [
        RefundAwaited(
            payment_id=command.payment_id,
            order_id=payment.order_id,
            refund_id=command.refund_id,
            amount=command.amount,
            at=command.at,
        )
    ]


def record_refund(command: RecordRefund, payment: Payment) -> list[Event]:
    amounts = dict(payment.refunds)
    if command.refund_id in payment.refunded or command.refund_id not in amounts:
        return []
    return [
        PaymentRefunded(
            payment_id=command.payment_id,
            order_id=payment.order_id,
            customer_id=payment.customer_id,
            refund_id=command.refund_id,
            amount=amounts[command.refund_id],
            currency=payment.currency,
            at=command.at,
        )
    ]


def decide(command: Command, payment: Payment) -> list[Event]:
    if isinstance(command, AuthorisePayment):
        return authorise(command, payment)
    if payment.status is PaymentStatus.NEW:
        raise PaymentUnknown(payment_id=command.payment_id)
    match command:
        case RecordAuthorisation():
            return record_authorisation(command, payment)
        case RecordDecline():
            return record_decline(command, payment)
        case CapturePayment():
            return capture(command, payment)
        case RecordCapture():
            return record_capture(command, payment)
        case VoidPayment():
            return void(command, payment)
        case RecordVoid():
            return record_void(command, payment)
        case RefundPayment():
            return refund(command, payment)
        case RecordRefund():
            return record_refund(command, payment)
        case _:
            assert_never(command)


PAYMENT: Decider[Command, Payment, Event] = Decider(
    "payment",
    attrgetter("payment_id"),
    Payment(),
    decide,
    evolve,
    get_args(Command),
    get_args(Event),
    (PaymentUnknown, PaymentNotAuthorised, MoreThanAuthorised, MoreThanCaptured),
    {
        AuthorisePayment: (AuthorisationRequested,),
        RecordAuthorisation: (PaymentAuthorised, VoidRequested),
        RecordDecline: (PaymentDeclined,),
        CapturePayment: (CaptureRequested,),
        RecordCapture: (PaymentCaptured, RefundRequested),
        VoidPayment: (VoidAwaited, VoidRequested),
        RecordVoid: (PaymentVoided,),
        RefundPayment: (RefundRequested, RefundAwaited),
        RecordRefund: (PaymentRefunded,),
    },
)
