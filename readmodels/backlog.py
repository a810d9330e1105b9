"""Backlog: what was ordered and not dispatched at the end of a day, and what is it worth?

1. The day may be any day: each line keeps the day it was dispatched on.
2. A cancelled order was never meant to be dispatched: it has no document.
3. Worth is revenue: price times quantity less discount, before tax, exact.
"""

from dataclasses import replace
from datetime import date
from typing import Any, Final, TypeAlias, assert_never

from domain.decider import message
from domain.order import OrderCancelled, OrderLinesDispatched, OrderPlaced
from domain.recorded import Recorded
from readmodels.projection import Projection, field_of, index, own_stream


@message
class BacklogLine:
    number: int
    sku: str
    quantity: int
    revenue_exact: int
    dispatched_on: date | None = None


@message
class BacklogOrder:
    """`last_dispatched_on` is None while there are open lines: those not dispatched yet."""

    order_id: str
    customer_id: str
    segment: str
    region: str
    placed_on: date
    currency: str
    lines: tuple[BacklogLine, ...]
    open_lines: int
    last_dispatched_on: date | None = None


@message
class BacklogWorth:
    """One row of `backlog_on`: an order, how many of its lines wait, and what they are worth."""

    order_id: str
    customer_id: str
    placed_on: date
    currency: str
    lines: int
    revenue_exact: int


Event: TypeAlias = OrderPlaced | OrderCancelled | OrderLinesDispatched


def evolve(order: BacklogOrder | None, recorded: Recorded, _: str) -> BacklogOrder | None:
    event: Event = recorded.event
    match event:
        case OrderPlaced():
            return _placed(event)
        case OrderCancelled():
            return None
        case OrderLinesDispatched():
            return order and _dispatched(order, event)
        case _:
            assert_never(event)


def _placed(event: OrderPlaced) -> BacklogOrder:
    lines = tuple(
        BacklogLine(
            number=line.number,
            sku=line.sku,
            quantity=line.quantity,
            revenue_exact=line.net_exact,
        )
        for line in event.lines
    )
    return BacklogOrder(
        order_id=event.order_id,
        customer_id=event.customer_id,
        segment=event.segment,
        region=event.region,
        placed_on=event.at.date(),
        currency=event.currency,
        lines=lines,
        open_lines=len(lines),
    )


def _dispatched(order: BacklogOrder, event: OrderLinesDispatched) -> BacklogOrder:
    day = event.at.date()
    lines = list(order.lines)
    for number in event.lines:
        lines[number - 1] = replace(lines[number - 1], dispatched_on=day)
    days = [line.dispatched_on for line in lines if line.dispatched_on is not None]
    open_lines = len(lines) - len(days)
    return replace(
        order,
        lines=tuple(lines),
        open_lines=open_lines,
        last_dispatched_on=None if open_lines else max(days),
    )


# -- queries

Pipeline: TypeAlias = list[dict[str, Any]]


def backlog_on(
    day: date, placed_before: date, segment: str | None = None, limit: int = 10
) -> Pipeline:
    """The worthiest orders placed before a day with lines not dispatched by the end of `day`.

    Each row is a `BacklogWorth`. For the whole backlog of a day, `placed_before` is the next day.
    """
    waiting = {"$or": [{"last_dispatched_on": None}, {"last_dispatched_on": {"$gt": _text(day)}}]}
    wanted = {"placed_on": {"$lt": _text(placed_before)}, **waiting}
    if segment is not None:
        wanted["segment"] = {"$eq": segment}
    return [
        {"$match": wanted},
        {"$set": {"lines": {"$filter": {"input": "$lines", "cond": _waits("$$this", day)}}}},
        {
            "$project": {
                "_id": 0,
                "order_id": 1,
                "customer_id": 1,
                "placed_on": 1,
                "currency": 1,
                "lines": {"$size": "$lines"},
                "revenue_exact": {"$sum": "$lines.revenue_exact"},
            }
        },
        {"$sort": {"revenue_exact": -1, "placed_on": 1, "order_id": 1}},
        {"$limit": limit},
    ]


def _waits(line: str, day: date) -> dict[str, Any]:
    """Whether the line is dispatched after the day or not at all; None sorts before all text."""
    dispatched_on = f"{line}.dispatched_on"
    return {
        "$or": [{"$eq": [dispatched_on, None]}, {"$gt": [dispatched_on, {"$literal": _text(day)}]}]
    }


def _text(day: date) -> str:
    return day.isoformat()


BACKLOG: Final = Projection(
    name="backlog",
    version=1,
    view=BacklogOrder,
    events=(OrderPlaced, OrderCancelled, OrderLinesDispatched),
    keys=field_of("order_id"),
    evolve=evolve,
    streams=own_stream,
    indexes=(
        index("segment", "placed_on"),
        index("placed_on"),
        index("last_dispatched_on", "placed_on"),
    ),
)
