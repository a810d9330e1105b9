"""Order details and order list: what became of an order and of its lines."""

from datetime import datetime

import pytest

from domain.order_line import Progress
from readmodels.order_details import ORDER_DETAILS, TimelineEntry
from readmodels.order_list import ORDER_LIST, OrderListed, orders
from readmodels.order_status import OrderStatus
from tests.readmodels.events import (
    BERLIN,
    CANCELLED,
    CONFIRMED,
    CUP,
    DAY,
    MORE_TEA,
    NOT_RESERVED,
    PLACED,
    RESERVED,
    TEA,
    delivered,
    dispatched,
    returned,
)
from tests.readmodels.given import NOON, given

STORIES = (
    ((), OrderStatus.PLACED),
    ((RESERVED,), OrderStatus.PLACED),
    ((NOT_RESERVED,), OrderStatus.PLACED),
    ((RESERVED, CONFIRMED), OrderStatus.CONFIRMED),
    ((RESERVED, CONFIRMED, CANCELLED), OrderStatus.CANCELLED),
    ((RESERVED, CONFIRMED, dispatched(1, rest=2)), OrderStatus.PARTLY_DISPATCHED),
    ((dispatched(1, rest=2),), OrderStatus.PARTLY_DISPATCHED),
    ((dispatched(1, rest=2), delivered(1, rest=2)), OrderStatus.PARTLY_DISPATCHED),
    ((dispatched(1, 2, 3),), OrderStatus.DISPATCHED),
    ((dispatched(1, 2, 3), delivered(2, rest=2)), OrderStatus.PARTLY_DELIVERED),
    ((dispatched(1, 2, 3), delivered(1, 2, 3)), OrderStatus.DELIVERED),
    ((dispatched(1, 2, 3), delivered(1, 2, 3), returned(CUP)), OrderStatus.DELIVERED),
    (
        (dispatched(1, 2, 3), delivered(1, 2, 3), returned(CUP), returned(TEA, MORE_TEA)),
        OrderStatus.RETURNED,
    ),
    ((CANCELLED,), OrderStatus.CANCELLED),
)


@pytest.mark.parametrize(("events", "status"), STORIES)
def test_the_least_advanced_lines_decide_the_status(
    events: tuple[object, ...], status: OrderStatus
) -> None:
    assert given(ORDER_DETAILS, PLACED, *events).document("order-1").status is status
    assert given(ORDER_LIST, PLACED, *events).document("order-1").status is status


def test_details_hold_what_was_ordered() -> None:
    details = given(ORDER_DETAILS, PLACED).document("order-1")
    assert (details.customer_id, details.placed_at) == ("customer-1", NOON)
    assert (details.net, details.tax, details.total, details.currency) == (2265, 279, 2544, "EUR")
    assert (details.deliver_to, details.region, details.segment) == (BERLIN, "EU", "RETAIL")
    assert [line.net for line in details.lines] == [949, 1000, 316]
    assert [line.progress for line in details.lines] == [Progress.ORDERED] * 3


def test_a_line_keeps_when_it_took_each_step() -> None:
    events = (PLACED, dispatched(1, 2, 3), delivered(1), returned(TEA))
    tea, cup, _ = given(ORDER_DETAILS, *events).document("order-1").lines
    assert (tea.progress, cup.progress) == (Progress.RETURNED, Progress.DISPATCHED)
    assert _days(tea.dispatched_at, tea.delivered_at, tea.returned_at) == [1, 3, 9]
    assert _days(cup.dispatched_at, cup.delivered_at, cup.returned_at) == [1, None, None]


def _days(*times: datetime | None) -> list[int | None]:
    return [None if at is None else (at - NOON).days for at in times]


def test_the_timeline_tells_who_did_what_and_why() -> None:
    details = given(ORDER_DETAILS, PLACED, CANCELLED).document("order-1")
    assert details.version == 2
    assert details.timeline == (
        TimelineEntry(
            position=1,
            version=1,
            event="OrderPlaced",
            at=NOON,
            actor="staff-1",
            reason="asked by phone",
            text="The order was placed: 3 lines, 25.44 EUR in all.",
        ),
        TimelineEntry(
            position=2,
            version=2,
            event="OrderCancelled",
            at=NOON + 2 * DAY,
            actor="staff-1",
            reason="changed my mind",
            text="The order was cancelled: changed my mind",
        ),
    )


def test_the_timeline_tells_how_an_order_came_to_be_confirmed() -> None:
    details = given(ORDER_DETAILS, PLACED, NOT_RESERVED, RESERVED, CONFIRMED).document("order-1")
    assert details.confirmed_at == NOON + DAY
    assert [entry.text for entry in details.timeline[1:]] == [
        "The order could not be reserved: tea (4 wanted, 3 there).",
        "All that was ordered is in stock, and kept for the order.",
        "The order was confirmed: its payment is secured.",
    ]


def test_the_list_holds_one_row_of_an_order() -> None:
    given(ORDER_LIST, PLACED, dispatched(1, 2, rest=1)).then(
        "order-1",
        OrderListed(
            order_id="order-1",
            customer_id="customer-1",
            status=OrderStatus.PARTLY_DISPATCHED,
            placed_at=NOON,
            placed_on=NOON.date(),
            currency="EUR",
            total=2544,
            line_count=3,
            dispatched_lines=2,
            version=2,
        ),
    )


def test_an_order_never_placed_is_no_document() -> None:
    given(ORDER_LIST, CANCELLED, dispatched(1)).then_none("order-1")
    given(ORDER_DETAILS, CANCELLED, dispatched(1)).then_none("order-1")


def test_the_latest_orders_come_first() -> None:
    assert orders().sort == [("placed_at", -1), ("_id", -1)]
