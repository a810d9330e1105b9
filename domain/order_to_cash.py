"""Order to cash: placed → reserved → authorised → confirmed → sent → captured → posted → delivered.

And back: no stock, declined, no answer in time, cancelled, returned. What was taken is released,
what was authorised is voided, what was captured is refunded, and the ledger knows all of it.
The table at the end is the flow; the functions above it are its steps.

1. An imported order is history: it is not followed, so what happens to it later is of no story.
2. What is charged with a parcel is the difference of two rounded sums, so that all parcels together
   charge what the order says.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final, TypeAlias

from domain.account import Account, PostEntry, Posting
from domain.checkout import ReleaseOrder, ReserveOrder
from domain.order import (
    CancelOrder,
    ConfirmOrder,
    MarkLinesDelivered,
    OrderCancelled,
    OrderConfirmed,
    OrderLinesDispatched,
    OrderLinesReturned,
    OrderNotReserved,
    OrderPlaced,
    OrderReserved,
)
from domain.order_story import Story, evolve
from domain.payment import (
    AuthorisationRequested,
    AuthorisePayment,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    RefundPayment,
    VoidPayment,
)
from domain.process import Action, DeadlinePassed, DropDeadline, Process, SetDeadline, Step
from domain.shipment import (
    BookShipment,
    CallOffShipment,
    ShipmentArrived,
    ShipmentBooked,
)

__all__ = ["AUTHORISATION", "AUTHORISATION_TIME", "ORDER_TO_CASH", "STEPS", "Story"]

AUTHORISATION: Final = "authorisation"
AUTHORISATION_TIME: Final = timedelta(minutes=15)
"""How long the provider may take to answer before the order is cancelled."""

Actions: TypeAlias = Iterable[Action]


# -- forward


def reserve(_: Story, event: OrderPlaced) -> Actions:
    yield ReserveOrder(order_id=event.order_id, at=event.at)


def authorise(story: Story, event: OrderReserved) -> Actions:
    yield AuthorisePayment(
        payment_id=story.payment_id,
        order_id=event.order_id,
        customer_id=event.customer_id,
        amount=story.total,
        currency=story.currency,
        card=story.card,
        at=event.at,
    )
    yield SetDeadline(name=AUTHORISATION, at=event.at + AUTHORISATION_TIME)


def confirm(story: Story, event: PaymentAuthorised) -> Actions:
    yield DropDeadline(name=AUTHORISATION)
    if not story.cancelled:
        yield ConfirmOrder(order_id=event.order_id, at=event.at)


def book(story: Story, event: OrderConfirmed) -> Actions:
    assert story.deliver_to is not None, "a confirmed order has been placed"
    yield BookShipment(
        shipment_id=story.shipment_id,
        order_id=event.order_id,
        lines=tuple(line.number for line in story.lines),
        deliver_to=story.deliver_to,
        at=event.at,
    )


def charge(story: Story, event: OrderLinesDispatched) -> Actions:
    """Invoice the parcel, and capture what it costs."""
    before = story.sent[: len(story.sent) - len(event.lines)]
    total, net = story.difference(before, event.lines)
    parcel = "-".join(map(str, event.lines))
    yield PostEntry(
        entry_id=story.entry_id(f"invoice-{parcel}"),
        order_id=event.order_id,
        text="Invoice",
        currency=story.currency,
        postings=(
            Posting(account=Account.RECEIVABLES, amount=total),
            Posting(account=Account.REVENUE, amount=-net),
            Posting(account=Account.TAX, amount=net - total),
        ),
        at=event.at,
    )
    if total:
        yield CapturePayment(
            payment_id=story.payment_id, capture_id=f"capture-{parcel}", amount=total, at=event.at
        )


def post_capture(story: Story, event: PaymentCaptured) -> Actions:
    yield PostEntry(
        entry_id=story.entry_id(event.capture_id),
        order_id=event.order_id,
        text="Payment",
        currency=event.currency,
        postings=(
            Posting(account=Account.CASH, amount=event.amount),
            Posting(account=Account.RECEIVABLES, amount=-event.amount),
        ),
        at=event.at,
    )


def mark_delivered(_: Story, event: ShipmentArrived) -> Actions:
    yield MarkLinesDelivered(order_id=event.order_id, lines=event.lines, at=event.at)


# -- and back


def cancel_for_stock(_: Story, event: OrderNotReserved) -> Actions:
    missing = ", ".join(shortage.sku for shortage in event.shortages[:5]) or "reservation"
    reason = f"Not enough stock: {missing}"[:200]
    yield CancelOrder(order_id=event.order_id, reason=reason, at=event.at)


def cancel_for_decline(_: Story, event: PaymentDeclined) -> Actions:
    yield DropDeadline(name=AUTHORISATION)
    yield CancelOrder(order_id=event.order_id, reason="The payment was declined", at=event.at)


def cancel_for_silence(_: Story, event: DeadlinePassed) -> Actions:
    yield CancelOrder(
        order_id=event.story, reason="The payment was not answered in time", at=event.at
    )


def undo(story: Story, event: OrderCancelled) -> Actions:
    yield DropDeadline(name=AUTHORISATION)
    if story.reserved:
        yield ReleaseOrder(order_id=event.order_id, at=event.at)
    if story.asked_payment and not story.declined:
        yield VoidPayment(payment_id=story.payment_id, at=event.at)
    if story.booked:
        yield CallOffShipment(shipment_id=story.shipment_id, at=event.at)


def undo_payment(story: Story, event: AuthorisationRequested) -> Actions:
    """The order was cancelled before the payment had been asked for."""
    if story.cancelled:
        yield VoidPayment(payment_id=event.payment_id, at=event.at)


def undo_shipment(story: Story, event: ShipmentBooked) -> Actions:
    """The order was cancelled before the shipment had been booked."""
    if story.cancelled:
        yield CallOffShipment(shipment_id=event.shipment_id, at=event.at)


def refund(story: Story, event: OrderLinesReturned) -> Actions:
    """Credit what came back, and refund it."""
    numbers = tuple(line.number for line in event.lines)
    before = story.returned[: len(story.returned) - len(numbers)]
    total, net = story.difference(before, numbers)
    parcel = "-".join(map(str, numbers))
    yield PostEntry(
        entry_id=story.entry_id(f"credit-{parcel}"),
        order_id=event.order_id,
        text="Credit note",
        currency=story.currency,
        postings=(
            Posting(account=Account.REFUNDS, amount=net),
            Posting(account=Account.TAX, amount=total - net),
            Posting(account=Account.RECEIVABLES, amount=-total),
        ),
        at=event.at,
    )
    if total:
        yield RefundPayment(
            payment_id=story.payment_id, refund_id=f"refund-{parcel}", amount=total, at=event.at
        )


def post_refund(story: Story, event: PaymentRefunded) -> Actions:
    yield PostEntry(
        entry_id=story.entry_id(event.refund_id),
        order_id=event.order_id,
        text="Refund",
        currency=event.currency,
        postings=(
            Posting(account=Account.RECEIVABLES, amount=event.amount),
            Posting(account=Account.CASH, amount=-event.amount),
        ),
        at=event.at,
    )


STEPS: Final[tuple[Step[Story], ...]] = (
    Step(OrderPlaced, reserve, (ReserveOrder,)),
    Step(OrderReserved, authorise, (AuthorisePayment,), sets=(AUTHORISATION,)),
    Step(PaymentAuthorised, confirm, (ConfirmOrder,)),
    Step(OrderConfirmed, book, (BookShipment,)),
    Step(OrderLinesDispatched, charge, (PostEntry, CapturePayment)),
    Step(PaymentCaptured, post_capture, (PostEntry,)),
    Step(ShipmentArrived, mark_delivered, (MarkLinesDelivered,)),
    # and back
    Step(OrderNotReserved, cancel_for_stock, (CancelOrder,)),
    Step(PaymentDeclined, cancel_for_decline, (CancelOrder,)),
    Step(DeadlinePassed, cancel_for_silence, (CancelOrder,), deadline=AUTHORISATION),
    Step(OrderCancelled, undo, (ReleaseOrder, VoidPayment, CallOffShipment)),
    Step(AuthorisationRequested, undo_payment, (VoidPayment,)),
    Step(ShipmentBooked, undo_shipment, (CallOffShipment,)),
    Step(OrderLinesReturned, refund, (PostEntry, RefundPayment)),
    Step(PaymentRefunded, post_refund, (PostEntry,)),
)


def story_of(event: Any) -> str | None:
    """The order that an event belongs to."""
    if isinstance(event, OrderPlaced) and event.imported:
        return None
    order_id: str = event.order_id
    return order_id


ORDER_TO_CASH: Final[Process[Story]] = Process(
    "order_to_cash",
    story_of,
    Story(),
    evolve,
    STEPS,
    tuple(step.on for step in STEPS if step.on is not DeadlinePassed),
    begun=lambda story: bool(story.order_id),
)
