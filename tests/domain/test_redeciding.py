"""Asked again, a decider refuses what makes no sense any more, and nothing that did happen."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from hypothesis import Phase, find, given, settings

from domain.order import OrderCancelled, OrderNotReserved, OrderReserved
from domain.payment import RefundRequested, VoidRequested
from domain.product import ProductAdded, ProductPriced
from domain.recorded import Meta, Recorded
from domain.redeciding import command_for, refusals
from domain.registry import AGGREGATES
from domain.stock_item import (
    STOCK_ITEM,
    InsufficientStock,
    StockDispatched,
    StockReceived,
    StockReserved,
)
from tests.domain.values import LAW, messages
from tests.domain.world import WORLDS, World
from tests.scenario import DECIDERS

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
META = Meta(
    event_id="e",
    command_id="c",
    command="",
    correlation_id="",
    causation_id="",
    actor="ada",
    recorded_at=AT,
)

FIRST = settings(max_examples=1, phases=[Phase.generate], database=None)


def history(events: Iterable[Any]) -> list[tuple[Recorded, bool]]:
    return [
        (Recorded(event=event, position=number, stream="s", version=number, meta=META), True)
        for number, event in enumerate(events, start=1)
    ]


def some(kind: type) -> Any:
    """Any event of this kind."""
    return find(messages(kind, sound=True), lambda _: True, settings=FIRST)


@LAW
@given(WORLDS)
def test_what_did_happen_is_not_refused(world: World) -> None:
    streams: dict[str, list[Any]] = defaultdict(list)
    for stream, event in world.log:
        streams[stream].append(event)
    for stream, events in streams.items():
        assert refusals(DECIDERS[stream.partition("-")[0]], history(events)) == []


def test_only_of_some_events_is_it_not_known_what_they_answer_to() -> None:
    """Of those that several commands give, that are part of a larger decision, or lack facts."""
    unknown = {
        kind
        for decider in AGGREGATES
        for kind in decider.events
        if command_for(decider, some(kind)) is None
    }
    assert unknown == {
        *(OrderReserved, OrderNotReserved),
        *(ProductAdded, ProductPriced),
        *(RefundRequested, VoidRequested),
    }


def received(quantity: int) -> StockReceived:
    return StockReceived(sku="A", quantity=quantity, source="", at=AT)


def reserved(order: str, quantity: int) -> StockReserved:
    return StockReserved(sku="A", order_id=order, quantity=quantity, at=AT)


def dispatched(order: str, quantity: int) -> StockDispatched:
    return StockDispatched(sku="A", order_id=order, quantity=quantity, reserved=quantity, at=AT)


def test_orders_that_could_not_have_been_served_leave_the_stock_to_others() -> None:
    events = (
        received(5),  # and ten more never came
        reserved("order-1", 4),
        reserved("order-2", 3),
        dispatched("order-1", 4),
        reserved("order-3", 1),
        dispatched("order-2", 3),
        dispatched("order-3", 1),
    )
    found = refusals(STOCK_ITEM, history(events))
    assert [refusal.recorded.event for refusal in found] == [events[2], events[5]]
    assert found[0].errors == (InsufficientStock(sku="A", requested=3, available=1),)


def test_what_is_not_asked_about_is_taken_as_it_is() -> None:
    told = [
        (recorded, number == 1)
        for number, (recorded, _) in enumerate(
            history([reserved("order-1", 4), reserved("order-2", 3)])
        )
    ]
    assert [refusal.recorded.version for refusal in refusals(STOCK_ITEM, told)] == [2]


def test_an_order_that_was_never_placed_can_do_nothing() -> None:
    cancelled = some(OrderCancelled)
    [refused] = refusals(DECIDERS["order"], history([cancelled]))
    assert [error.code for error in refused.errors] == ["ORDER_UNKNOWN"]
