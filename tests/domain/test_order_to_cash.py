"""The flow from order to cash: given what has happened, what is asked for next."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings

from domain.account import Account, EntryPosted, PostEntry, Posting
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
    OrderReserved,
    Shortage,
    Stage,
)
from domain.order_line import Progress
from domain.order_to_cash import AUTHORISATION, AUTHORISATION_TIME, ORDER_TO_CASH
from domain.payment import (
    AuthorisationRequested,
    AuthorisePayment,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentStatus,
    PaymentVoided,
    RefundAwaited,
    RefundPayment,
    VoidAwaited,
    VoidPayment,
)
from domain.process import DeadlinePassed, DropDeadline, SetDeadline
from domain.registry import AGGREGATES, JOINT_DECISIONS
from domain.shipment import (
    BookShipment,
    CallOffShipment,
    ShipmentArrived,
    ShipmentBooked,
    ShipmentCalledOff,
)
from domain.stock_item import STOCK_ITEM
from tests.domain.values import LAW
from tests.domain.world import (
    AT,
    HOME,
    LINES,
    OF,
    PAID,
    PLACED,
    WHOSE,
    WORLDS,
    World,
)

RESERVED = OrderReserved(**WHOSE)
REQUESTED = AuthorisationRequested(amount=1_189, currency="EUR", card="4242", **PAID)
AUTHORISED = PaymentAuthorised(reference="ref-1", **PAID)
DECLINED = PaymentDeclined(reason="no funds", **PAID)
CONFIRMED = OrderConfirmed(**WHOSE)
BOOKED = ShipmentBooked(shipment_id="shipment-1", lines=(1, 2, 3), deliver_to=HOME, **OF)
CANCELLED = OrderCancelled(
    currency="EUR", lines=LINES, placed_on=AT.date(), region="", reason="ordered twice", **WHOSE
)
READY = (PLACED, RESERVED, REQUESTED, AUTHORISED, CONFIRMED, BOOKED)
DROP = DropDeadline(name=AUTHORISATION)
VOID = VoidPayment(payment_id="payment-1", at=AT)
RELEASE = ReleaseOrder(**OF)


def dispatched(*lines: int, rest: int) -> OrderLinesDispatched:
    return OrderLinesDispatched(lines=lines, rest=rest, **WHOSE)


def returned(*lines: int) -> OrderLinesReturned:
    return OrderLinesReturned(
        currency="EUR",
        lines=tuple(LINES[n - 1] for n in lines),
        placed_on=AT.date(),
        reason="leaks",
        **WHOSE,
    )


def after(*events: Any) -> list[Any]:
    """What is asked for after the last of these events."""
    state = ORDER_TO_CASH.initial
    for event in events:
        if isinstance(event, DeadlinePassed) or ORDER_TO_CASH.story_of(event):
            state = ORDER_TO_CASH.evolve(state, event)
    return ORDER_TO_CASH.react(state, events[-1])


def entry(what: str, text: str, **amounts: int) -> PostEntry:
    return PostEntry(
        entry_id=f"entry-1-{what}",
        text=text,
        currency="EUR",
        postings=tuple(Posting(account=Account[a], amount=n) for a, n in amounts.items()),
        **OF,
    )


# -- forward


def test_a_placed_order_is_reserved() -> None:
    assert after(PLACED) == [ReserveOrder(**OF)]


def test_a_reserved_order_is_authorised_and_the_answer_is_not_waited_for_for_ever() -> None:
    assert after(PLACED, RESERVED) == [
        AuthorisePayment(amount=1_189, currency="EUR", card="4242", **PAID),
        SetDeadline(name=AUTHORISATION, at=AT + AUTHORISATION_TIME),
    ]


def test_an_authorised_order_is_confirmed_and_then_booked() -> None:
    assert after(*READY[:4]) == [DROP, ConfirmOrder(**OF)]
    assert after(*READY[:5]) == [
        BookShipment(shipment_id="shipment-1", lines=(1, 2, 3), deliver_to=HOME, **OF)
    ]


def test_what_was_sent_is_invoiced_and_captured() -> None:
    assert after(*READY, dispatched(1, 2, 3, rest=0)) == [
        entry("invoice-1-2-3", "Invoice", RECEIVABLES=1_189, REVENUE=-999, TAX=-190),
        CapturePayment(payment_id="payment-1", capture_id="capture-1-2-3", amount=1_189, at=AT),
    ]


def test_parcels_together_charge_what_the_order_says() -> None:
    """A line of 396.27 alone is 396, and three of them are 1189."""
    first = dispatched(2, rest=2)
    second = dispatched(1, 3, rest=0)
    amounts = [
        action.amount
        for events in ((first,), (first, second))
        for action in after(*READY, *events)
        if isinstance(action, CapturePayment)
    ]
    assert amounts == [396, 793]


def test_captures_and_refunds_are_posted_against_cash() -> None:
    captured = PaymentCaptured(capture_id="capture-1", amount=396, currency="EUR", **PAID)
    assert after(*READY, dispatched(1, rest=2), captured) == [
        entry("capture-1", "Payment", CASH=396, RECEIVABLES=-396)
    ]
    refunded = PaymentRefunded(refund_id="refund-1", amount=396, currency="EUR", **PAID)
    assert after(*READY, refunded) == [entry("refund-1", "Refund", RECEIVABLES=396, CASH=-396)]


def test_what_arrived_is_delivered() -> None:
    arrived = ShipmentArrived(shipment_id="shipment-1", lines=(1, 2), **OF)
    assert after(*READY, arrived) == [MarkLinesDelivered(lines=(1, 2), **OF)]


# -- and back


def test_without_stock_the_order_is_cancelled_and_says_what_is_missing() -> None:
    short = OrderNotReserved(shortages=(Shortage(sku="A", requested=3, available=1),), **WHOSE)
    assert after(PLACED, short) == [CancelOrder(reason="Not enough stock: A", **OF)]
    none = replace(short, shortages=())
    assert after(PLACED, none) == [CancelOrder(reason="Not enough stock: reservation", **OF)]


def test_a_declined_payment_cancels_and_the_stock_is_released() -> None:
    assert after(*READY[:3], DECLINED) == [
        DROP,
        CancelOrder(reason="The payment was declined", **OF),
    ]
    assert after(*READY[:3], DECLINED, CANCELLED) == [DROP, RELEASE]


def test_silence_cancels_and_voids_whatever_the_provider_may_say_later() -> None:
    silence = DeadlinePassed(name=AUTHORISATION, story="order-1", at=AT)
    assert after(*READY[:3], silence) == [
        CancelOrder(reason="The payment was not answered in time", **OF)
    ]
    assert after(*READY[:3], CANCELLED) == [DROP, RELEASE, VOID]
    assert after(*READY[:3], CANCELLED, AUTHORISED) == [DROP]


def test_other_deadlines_are_of_no_concern() -> None:
    other = DeadlinePassed(name="another", story="order-1", at=AT)
    assert after(*READY[:3], other) == []


@pytest.mark.parametrize(
    ("past", "undone"),
    [
        (READY[:1], []),
        (READY[:2], [RELEASE]),
        (READY[:4], [RELEASE, VOID]),
        (READY[:5], [RELEASE, VOID]),
        (READY, [RELEASE, VOID, CallOffShipment(shipment_id="shipment-1", at=AT)]),
    ],
)
def test_a_cancellation_undoes_what_was_done(past: tuple[Any, ...], undone: list[Any]) -> None:
    assert after(*past, CANCELLED) == [DROP, *undone]


def test_what_is_done_after_the_cancellation_is_undone_too() -> None:
    assert after(*READY[:2], CANCELLED, REQUESTED) == [VOID]
    assert after(*READY[:5], CANCELLED, BOOKED) == [
        CallOffShipment(shipment_id="shipment-1", at=AT)
    ]


def test_what_comes_back_is_credited_and_refunded() -> None:
    assert after(*READY, dispatched(1, 2, 3, rest=0), returned(2)) == [
        entry("credit-2", "Credit note", REFUNDS=333, TAX=63, RECEIVABLES=-396),
        RefundPayment(payment_id="payment-1", refund_id="refund-2", amount=396, at=AT),
    ]


def test_imported_orders_are_not_followed() -> None:
    history = replace(PLACED, imported=True)
    assert after(history) == []
    assert after(history, RESERVED) == []
    assert after(history, CANCELLED) == []
    assert after(history, dispatched(1, 2, 3, rest=0)) == []
    assert after(history, dispatched(1, 2, 3, rest=0), returned(1)) == []


def test_what_costs_nothing_is_neither_captured_nor_refunded() -> None:
    free = replace(PLACED, lines=tuple(replace(line, discount=10_000) for line in LINES), total=0)
    events = (free, *READY[1:], dispatched(1, 2, 3, rest=0))
    kinds = (CapturePayment, RefundPayment)
    assert not any(isinstance(action, kinds) for action in after(*events))
    assert not any(isinstance(action, kinds) for action in after(*events, returned(1)))


def test_every_action_is_declared_by_its_step() -> None:
    for step in ORDER_TO_CASH.steps:
        assert len(set(step.sends)) == len(step.sends)
        assert (step.deadline is not None) == (step.on is DeadlinePassed)
    sent = {command for step in ORDER_TO_CASH.steps for command in step.sends}
    known = {command for decider in AGGREGATES for command in decider.commands}
    known |= {joint.command for joint in JOINT_DECISIONS}
    assert sent <= known


# -- the whole flow, with deliveries that are late, doubled and in any order


@LAW
@given(WORLDS)
def test_money_and_stock_balance_whatever_is_late_doubled_or_out_of_order(world: World) -> None:
    assert_balanced(world)


@pytest.mark.parametrize(
    "kinds",
    [
        (PaymentRefunded, ShipmentArrived),
        (RefundAwaited, PaymentRefunded),
        (PaymentAuthorised, OrderCancelled, PaymentVoided),
        (VoidAwaited, PaymentVoided),
        (PaymentDeclined,),
        (ShipmentCalledOff,),
        (OrderNotReserved,),
    ],
    ids=lambda kinds: "-".join(kind.__name__ for kind in kinds),
)
def test_the_law_is_tried_on_every_way_there_and_back(kinds: tuple[type, ...]) -> None:
    find(
        WORLDS,
        lambda world: set(kinds) <= {type(event) for _, event in world.log},
        settings=settings(LAW, max_examples=5_000, phases=[Phase.generate], derandomize=True),
    )


def assert_balanced(world: World) -> None:
    order, payment = world.state("order-1"), world.state("payment-1")
    accounts: Counter[Account] = Counter()
    for _, event in world.log:
        if isinstance(event, EntryPosted):
            for posting in event.postings:
                accounts[posting.account] += posting.amount
    refunded = sum(amount for name, amount in payment.refunds if name in payment.refunded)
    assert sum(accounts.values()) == 0
    assert accounts[Account.RECEIVABLES] == 0
    assert accounts[Account.CASH] == payment.captured_amount - refunded
    if all(step is Progress.RETURNED for step in order.progress):
        assert accounts[Account.CASH] == accounts[Account.TAX] == 0

    waits = sum(
        line.quantity
        for line, step in zip(order.lines, order.progress, strict=True)
        if step is Progress.ORDERED
    )
    kept = STOCK_ITEM.fold([e for s, e in world.log if s == "stock_item-A"]).reserved
    if order.stage is Stage.CANCELLED:
        assert kept == 0
        ends = (PaymentStatus.NEW, PaymentStatus.DECLINED, PaymentStatus.VOIDED)
        assert payment.status in ends
        assert world.state("shipment-1").called_off or not world.state("shipment-1").order_id
    else:
        assert order.stage is Stage.CONFIRMED
        assert kept == waits
