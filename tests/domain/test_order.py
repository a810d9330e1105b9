"""The rules of an order and of its lines."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from domain.address import Address
from domain.money import (
    MOST_MINOR_UNITS,
    AmountOutOfRange,
    Money,
    QuantityOutOfRange,
    RateOutOfRange,
    TextInvalid,
)
from domain.order import (
    ORDER,
    AddressMissing,
    CancelOrder,
    Command,
    ConfirmOrder,
    Event,
    MarkLinesDelivered,
    MarkLinesDispatched,
    OrderAlreadyPlaced,
    OrderCancelled,
    OrderConfirmed,
    OrderIsCancelled,
    OrderIsOnItsWay,
    OrderLinesDelivered,
    OrderLinesDispatched,
    OrderLinesReturned,
    OrderNotConfirmed,
    OrderNotReserved,
    OrderPlaced,
    OrderReserved,
    OrderUnknown,
    PlaceOrder,
    ReturnLines,
)
from domain.order_line import (
    CurrenciesDiffer,
    Line,
    LineCountOutOfRange,
    LineIncomplete,
    LineNotDelivered,
    LineNotDispatched,
    LineUnknown,
    LineWanted,
    Progress,
)
from tests.scenario import given

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 9, tzinfo=UTC)
ID, CUSTOMER_ID = "order-1", "customer-1"
HOME = Address(street="1 High St", city="Leeds", country="UK", region="North")

KETTLES = LineWanted(
    sku="A",
    quantity=2,
    name="Kettle",
    unit_price=Money(amount=1_999, currency="EUR"),
    discount=1_000,
    tax=1_900,
)
TEA = LineWanted(
    sku="B", quantity=1, name="Tea", unit_price=Money(amount=500, currency="EUR"), tax=700
)
LINES = (
    Line(number=1, sku="A", name="Kettle", quantity=2, unit_price=1_999, discount=1_000, tax=1_900),
    Line(number=2, sku="B", name="Tea", quantity=1, unit_price=500, discount=0, tax=700),
)

PLACE = PlaceOrder(
    order_id=ID,
    customer_id=CUSTOMER_ID,
    lines=(KETTLES, TEA),
    deliver_to=HOME,
    region="North",
    segment="trade",
    at=AT,
)
PLACED = OrderPlaced(
    order_id=ID,
    customer_id=CUSTOMER_ID,
    currency="EUR",
    lines=LINES,
    net=4_098,  # 2 x 19.99 less 10 % is 35.982, and 5.00
    tax=719,
    total=4_817,  # 35.982 at 19 % and 5.00 at 7 % is 48.16858
    deliver_to=HOME,
    region="North",
    segment="trade",
    at=AT,
)
CANCEL = CancelOrder(order_id=ID, reason="ordered twice", at=LATER)
CANCELLED = OrderCancelled(
    order_id=ID,
    customer_id=CUSTOMER_ID,
    currency="EUR",
    lines=LINES,
    placed_on=date(2026, 3, 1),
    region="North",
    reason="ordered twice",
    at=LATER,
)
RESERVED = OrderReserved(order_id=ID, customer_id=CUSTOMER_ID, at=AT)
CONFIRMED = OrderConfirmed(order_id=ID, customer_id=CUSTOMER_ID, at=LATER)
CONFIRM = ConfirmOrder(order_id=ID, at=LATER)
READY = (PLACED, RESERVED, CONFIRMED)
"""Its lines may leave the house."""


def dispatch(*lines: int) -> MarkLinesDispatched:
    return MarkLinesDispatched(order_id=ID, lines=lines, at=AT)


def deliver(*lines: int) -> MarkLinesDelivered:
    return MarkLinesDelivered(order_id=ID, lines=lines, at=AT)


def take_back(*lines: int) -> ReturnLines:
    return ReturnLines(order_id=ID, lines=lines, reason="leaks", at=AT)


def dispatched(*lines: int, rest: int) -> OrderLinesDispatched:
    return OrderLinesDispatched(order_id=ID, customer_id=CUSTOMER_ID, lines=lines, rest=rest, at=AT)


def delivered(*lines: int, rest: int) -> OrderLinesDelivered:
    return OrderLinesDelivered(order_id=ID, customer_id=CUSTOMER_ID, lines=lines, rest=rest, at=AT)


def returned(*lines: Line) -> OrderLinesReturned:
    return OrderLinesReturned(
        order_id=ID,
        customer_id=CUSTOMER_ID,
        currency="EUR",
        lines=lines,
        placed_on=date(2026, 3, 1),
        reason="leaks",
        at=AT,
    )


def order_of(*lines: LineWanted) -> PlaceOrder:
    return replace(PLACE, lines=lines)


# -- placing


def test_an_order_is_placed_and_charged_by_the_rounding_rule() -> None:
    given(ORDER).when(PLACE).then(PLACED)


def test_an_order_is_placed_once() -> None:
    given(ORDER, PLACED).when(PLACE).then_refused(OrderAlreadyPlaced(order_id=ID))
    given(ORDER, PLACED, CANCELLED).when(PLACE).then_refused(OrderAlreadyPlaced)


def test_an_order_has_an_address_to_deliver_to() -> None:
    given(ORDER).when(replace(PLACE, deliver_to=None)).then_refused(AddressMissing(order_id=ID))


def test_all_that_is_wrong_with_where_it_goes_is_told_at_once() -> None:
    nowhere = replace(PLACE, deliver_to=replace(HOME, city=""), region="\n", segment="x" * 41)
    given(ORDER).when(nowhere).then_refused(
        TextInvalid(most=200, path=("deliverTo", "city")),
        TextInvalid(most=200, path=("region",)),
        TextInvalid(most=40, path=("segment",)),
    )


def test_region_and_segment_may_be_unknown() -> None:
    given(ORDER).when(replace(PLACE, region="", segment="")).then(
        replace(PLACED, region="", segment="")
    )


@pytest.mark.parametrize("count", [0, 101])
def test_an_order_has_one_to_a_hundred_lines(count: int) -> None:
    given(ORDER).when(order_of(*[TEA] * count)).then_refused(
        LineCountOutOfRange(lines=count, most=100)
    )


def test_a_hundred_lines_are_numbered_from_one() -> None:
    order = ORDER.fold(ORDER.decide(order_of(*[TEA] * 100), ORDER.initial))
    assert [line.number for line in order.lines] == list(range(1, 101))


def test_lines_have_one_currency() -> None:
    dollars = replace(TEA, unit_price=Money(amount=500, currency="USD"))
    given(ORDER).when(order_of(KETTLES, dollars)).then_refused(
        CurrenciesDiffer(currencies="EUR, USD")
    )


def test_all_that_is_wrong_with_lines_is_told_at_once() -> None:
    bad = LineWanted(sku="", quantity=0, name="\n", discount=-1, tax=10_001)
    unpriced = LineWanted(sku="B", quantity=1)
    owed = replace(TEA, unit_price=Money(amount=-1, currency="EUR"))
    given(ORDER).when(order_of(KETTLES, bad, unpriced, owed)).then_refused(
        TextInvalid(most=64, path=("lines", "1", "sku")),
        TextInvalid(most=200, path=("lines", "1", "name")),
        QuantityOutOfRange(quantity=0, least=1, most=1_000_000, path=("lines", "1", "quantity")),
        RateOutOfRange(basis_points=-1, path=("lines", "1", "discount")),
        RateOutOfRange(basis_points=10_001, path=("lines", "1", "taxRate")),
        LineIncomplete(sku="B", path=("lines", "2")),
        AmountOutOfRange(amount=-1, currency="EUR", path=("lines", "3", "unitPrice")),
    )


def test_a_line_without_a_name_is_called_by_its_sku() -> None:
    nameless = replace(TEA, name=None)
    order = ORDER.fold(ORDER.decide(order_of(nameless), ORDER.initial))
    assert order.lines == (replace(LINES[1], number=1, name="B"),)


def test_a_line_costs_no_more_than_the_most_whatever_its_discount() -> None:
    gift = replace(
        TEA,
        quantity=2,
        unit_price=Money(amount=MOST_MINOR_UNITS, currency="EUR"),
        discount=10_000,
    )
    given(ORDER).when(order_of(gift)).then_refused(
        AmountOutOfRange(amount=2 * MOST_MINOR_UNITS, currency="EUR", path=("lines", "0"))
    )


def test_an_order_costs_no_more_than_the_most_with_tax() -> None:
    dear = replace(TEA, unit_price=Money(amount=MOST_MINOR_UNITS, currency="EUR"), tax=0)
    taxed = replace(dear, tax=1)
    (placed,) = ORDER.decide(order_of(dear), ORDER.initial)
    assert isinstance(placed, OrderPlaced)
    assert placed.total == MOST_MINOR_UNITS
    given(ORDER).when(order_of(taxed)).then_refused(
        AmountOutOfRange(amount=MOST_MINOR_UNITS + 10**7, currency="EUR", path=("lines",))
    )


def test_an_order_may_be_free() -> None:
    gift = replace(KETTLES, discount=10_000)
    (placed,) = ORDER.decide(order_of(gift), ORDER.initial)
    assert isinstance(placed, OrderPlaced)
    assert (placed.net, placed.tax, placed.total) == (0, 0, 0)


# -- cancelling


def test_an_order_can_be_cancelled_for_a_reason() -> None:
    given(ORDER, PLACED).when(CANCEL).then(CANCELLED)
    given(ORDER, PLACED).when(replace(CANCEL, reason=" ")).then_refused(TextInvalid)


def test_a_customer_can_cancel_their_own_order_and_learns_of_no_other() -> None:
    given(ORDER, PLACED).when(replace(CANCEL, customer_id=CUSTOMER_ID)).then(CANCELLED)
    given(ORDER, PLACED).when(replace(CANCEL, customer_id="customer-2")).then_refused(
        OrderUnknown(order_id=ID)
    )


def test_cancelling_twice_is_not_news() -> None:
    given(ORDER, PLACED, CANCELLED).when(CANCEL).then_nothing()


@pytest.mark.parametrize(
    "progress",
    [
        [dispatched(1, rest=1)],
        [dispatched(1, rest=1), delivered(1, rest=1)],
        [dispatched(1, 2, rest=0), delivered(1, 2, rest=0), returned(*LINES)],
    ],
)
def test_an_order_on_its_way_cannot_be_cancelled(progress: list[Event]) -> None:
    given(ORDER, PLACED, *progress).when(CANCEL).then_refused(OrderIsOnItsWay(order_id=ID))


# -- confirming


def test_a_reserved_order_is_confirmed_once() -> None:
    given(ORDER, PLACED, RESERVED).when(CONFIRM).then(CONFIRMED)
    given(ORDER, *READY).when(CONFIRM).then_nothing()
    given(ORDER).when(CONFIRM).then_refused(OrderUnknown(order_id=ID))


def test_confirming_what_was_cancelled_meanwhile_or_is_not_reserved_is_not_news() -> None:
    short = OrderNotReserved(order_id=ID, customer_id=CUSTOMER_ID, shortages=(), at=AT)
    given(ORDER, PLACED, RESERVED, CANCELLED).when(CONFIRM).then_nothing()
    given(ORDER, PLACED, short).when(CONFIRM).then_nothing()


def test_a_reserved_or_confirmed_order_can_be_cancelled() -> None:
    given(ORDER, PLACED, RESERVED).when(CANCEL).then(CANCELLED)
    given(ORDER, *READY).when(CANCEL).then(CANCELLED)


@pytest.mark.parametrize("past", [[PLACED], [PLACED, RESERVED]])
def test_only_lines_of_a_confirmed_order_are_dispatched(past: list[Event]) -> None:
    given(ORDER, *past).when(dispatch(1)).then_refused(OrderNotConfirmed(order_id=ID))


def test_an_imported_order_needs_no_confirmation() -> None:
    given(ORDER).when(replace(PLACE, imported=True)).then(replace(PLACED, imported=True))
    given(ORDER, replace(PLACED, imported=True)).when(dispatch(1)).then(dispatched(1, rest=1))


# -- what becomes of lines


@pytest.mark.parametrize("command", [CANCEL, dispatch(1), deliver(1), take_back(1)])
def test_only_an_order_that_was_placed_can_be_handled(command: Command) -> None:
    given(ORDER).when(command).then_refused(OrderUnknown(order_id=ID))


@pytest.mark.parametrize("command", [dispatch(1), deliver(1), take_back(1)])
def test_nothing_becomes_of_the_lines_of_a_cancelled_order(command: Command) -> None:
    given(ORDER, PLACED, CANCELLED).when(command).then_refused(OrderIsCancelled(order_id=ID))


@pytest.mark.parametrize("command", [dispatch(), deliver(), take_back()])
def test_no_lines_at_all_are_not_meant(command: Command) -> None:
    given(ORDER, *READY).when(command).then_refused(LineCountOutOfRange(lines=0, most=100))


@pytest.mark.parametrize("command", [dispatch(3, 0, 1, -1), deliver(3, 0, -1)])
def test_every_line_that_the_order_does_not_have_is_told(command: Command) -> None:
    given(ORDER, *READY).when(command).then_refused(
        *(LineUnknown(order_id=ID, line=line) for line in (-1, 0, 3))
    )


def test_lines_can_be_dispatched_in_parts_and_in_any_order() -> None:
    given(ORDER, *READY).when(dispatch(2)).then(dispatched(2, rest=1))
    given(ORDER, *READY, dispatched(2, rest=1)).when(dispatch(1)).then(dispatched(1, rest=0))


def test_a_line_told_twice_is_dispatched_once() -> None:
    given(ORDER, *READY).when(dispatch(2, 1, 2)).then(dispatched(1, 2, rest=0))


def test_only_lines_not_dispatched_yet_are_dispatched() -> None:
    given(ORDER, *READY, dispatched(2, rest=1)).when(dispatch(1, 2)).then(dispatched(1, rest=0))
    given(ORDER, *READY, dispatched(2, rest=1)).when(dispatch(2)).then_nothing()


def test_a_line_that_was_dispatched_can_be_delivered() -> None:
    given(ORDER, *READY, dispatched(1, 2, rest=0)).when(deliver(2)).then(delivered(2, rest=1))


def test_delivering_counts_what_is_not_delivered_yet_dispatched_or_not() -> None:
    given(ORDER, *READY, dispatched(1, rest=1)).when(deliver(1)).then(delivered(1, rest=1))


def test_a_line_cannot_be_delivered_before_it_is_dispatched() -> None:
    given(ORDER, *READY, dispatched(1, rest=1)).when(deliver(1, 2)).then_refused(
        LineNotDispatched(order_id=ID, line=2)
    )


def test_delivering_twice_is_not_news() -> None:
    past = (*READY, dispatched(1, 2, rest=0), delivered(1, rest=1))
    given(ORDER, *past).when(deliver(1)).then_nothing()
    given(ORDER, *past).when(deliver(1, 2)).then(delivered(2, rest=0))


def test_a_line_that_was_delivered_can_be_returned_whole_for_a_reason() -> None:
    past = (*READY, dispatched(1, rest=1), delivered(1, rest=1))
    given(ORDER, *past).when(take_back(1)).then(returned(LINES[0]))
    given(ORDER, *past).when(replace(take_back(1), reason="")).then_refused(TextInvalid)


@pytest.mark.parametrize("past", [[], [dispatched(1, rest=1)]])
def test_a_line_cannot_be_returned_before_it_is_delivered(past: list[Event]) -> None:
    given(ORDER, *READY, *past).when(take_back(1)).then_refused(
        LineNotDelivered(order_id=ID, line=1)
    )


def test_returning_twice_is_not_news() -> None:
    past = (*READY, dispatched(1, rest=1), delivered(1, rest=1), returned(LINES[0]))
    given(ORDER, *past).when(take_back(1)).then_nothing()
    given(ORDER, *past).when(deliver(1)).then_nothing()
    given(ORDER, *past).when(dispatch(1)).then_nothing()


def test_a_line_that_the_order_does_not_have_moves_nothing() -> None:
    """In another past, where the order had more lines, this may have happened."""
    order = ORDER.fold([PLACED, dispatched(2, 3, rest=1)])
    assert order.progress == (Progress.ORDERED, Progress.DISPATCHED)
    assert ORDER.fold([dispatched(1, rest=0)]) == ORDER.initial


def test_what_is_not_of_an_order_is_a_mistake_and_not_a_refusal() -> None:
    foreign: Any = object()
    with pytest.raises(AssertionError):
        ORDER.decide(foreign, ORDER.fold([PLACED]))
    with pytest.raises(AssertionError):
        ORDER.evolve(ORDER.initial, foreign)
