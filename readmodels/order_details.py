"""Order details: everything about one order, what became of each line, and how it came about."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final, TypeAlias, assert_never, get_args

from domain.address import Address
from domain.decider import message
from domain.money import rounded
from domain.order import (
    Event,
    OrderCancelled,
    OrderConfirmed,
    OrderLinesDelivered,
    OrderLinesDispatched,
    OrderLinesReturned,
    OrderNotReserved,
    OrderPlaced,
    OrderReserved,
)
from domain.order_line import Line, Progress
from domain.recorded import Recorded
from readmodels.order_status import OrderStatus, status_of
from readmodels.projection import Projection, field_of, index, own_stream
from readmodels.wording import sentence


@message
class OrderLine:
    """`unit_price` and `net` (price times quantity less discount) in minor units of the order's
    currency.

    Each net is rounded on its own: the order's net is the rounded sum, not the sum of these.
    """

    number: int
    sku: str
    name: str
    quantity: int
    currency: str
    unit_price: int
    discount: int
    tax: int
    net: int
    progress: Progress = Progress.ORDERED
    dispatched_at: datetime | None = None
    delivered_at: datetime | None = None
    returned_at: datetime | None = None


@message
class TimelineEntry:
    """One event of the order. `reason` is the event's own, or else that of the command."""

    position: int
    version: int
    event: str
    at: datetime
    actor: str
    reason: str | None
    text: str


@message
class OrderDetails:
    order_id: str
    customer_id: str
    status: OrderStatus
    placed_at: datetime
    placed_on: date
    confirmed_at: datetime | None = None
    currency: str
    net: int
    tax: int
    total: int
    deliver_to: Address
    region: str
    segment: str
    lines: tuple[OrderLine, ...]
    timeline: tuple[TimelineEntry, ...]
    version: int


LinesMoved: TypeAlias = OrderLinesDispatched | OrderLinesDelivered | OrderLinesReturned
Later: TypeAlias = OrderReserved | OrderNotReserved | OrderConfirmed | OrderCancelled | LinesMoved
"""What happens to an order that has been placed."""


def evolve(order: OrderDetails | None, recorded: Recorded, _: str) -> OrderDetails | None:
    event: Event = recorded.event
    if isinstance(event, OrderPlaced):
        return _placed(event, recorded)
    if order is None:
        return None
    timeline = (*order.timeline, _entry(event, recorded))
    return replace(order, timeline=timeline, version=recorded.version, **_changes(order, event))


def _changes(order: OrderDetails, event: Later) -> dict[str, Any]:
    """The fields that the event changes, to be changed at once: each change makes a new order."""
    match event:
        case OrderReserved() | OrderNotReserved():
            return {}
        case OrderConfirmed():
            return {"confirmed_at": event.at, "status": _weighed(order.lines, confirmed=True)}
        case OrderCancelled():
            return {"status": OrderStatus.CANCELLED}
        case OrderLinesDispatched() | OrderLinesDelivered() | OrderLinesReturned():
            lines = _moved(order.lines, event)
            confirmed = order.confirmed_at is not None
            return {"lines": lines, "status": _weighed(lines, confirmed=confirmed)}
        case _:
            assert_never(event)


def _placed(event: OrderPlaced, recorded: Recorded) -> OrderDetails:
    return OrderDetails(
        order_id=event.order_id,
        customer_id=event.customer_id,
        status=OrderStatus.PLACED,
        placed_at=event.at,
        placed_on=event.at.date(),
        currency=event.currency,
        net=event.net,
        tax=event.tax,
        total=event.total,
        deliver_to=event.deliver_to,
        region=event.region,
        segment=event.segment,
        lines=tuple(_line(line, event.currency) for line in event.lines),
        timeline=(_entry(event, recorded),),
        version=recorded.version,
    )


def _line(line: Line, currency: str) -> OrderLine:
    return OrderLine(
        number=line.number,
        sku=line.sku,
        name=line.name,
        quantity=line.quantity,
        currency=currency,
        unit_price=line.unit_price,
        discount=line.discount,
        tax=line.tax,
        net=rounded(line.net_exact),
    )


def _entry(event: Event, recorded: Recorded) -> TimelineEntry:
    return TimelineEntry(
        position=recorded.position,
        version=recorded.version,
        event=type(event).__name__,
        at=event.at,
        actor=recorded.meta.actor,
        reason=getattr(event, "reason", recorded.meta.reason),
        text=sentence(event),
    )


def _moved(lines: tuple[OrderLine, ...], event: LinesMoved) -> tuple[OrderLine, ...]:
    match event:
        case OrderLinesDispatched():
            step = {"progress": Progress.DISPATCHED, "dispatched_at": event.at}
            return _stepped(lines, event.lines, step)
        case OrderLinesDelivered():
            step = {"progress": Progress.DELIVERED, "delivered_at": event.at}
            return _stepped(lines, event.lines, step)
        case OrderLinesReturned():
            step = {"progress": Progress.RETURNED, "returned_at": event.at}
            return _stepped(lines, (line.number for line in event.lines), step)
        case _:
            assert_never(event)


def _stepped(
    lines: tuple[OrderLine, ...], numbers: Iterable[int], step: dict[str, Any]
) -> tuple[OrderLine, ...]:
    """The lines with those of the numbers one step further."""
    after = list(lines)
    for number in numbers:
        after[number - 1] = replace(after[number - 1], **step)
    return tuple(after)


def _weighed(lines: tuple[OrderLine, ...], *, confirmed: bool) -> OrderStatus:
    """The status that its lines make of an order."""
    return status_of(
        lines=len(lines),
        dispatched=sum([line.dispatched_at is not None for line in lines]),
        delivered=sum([line.delivered_at is not None for line in lines]),
        returned=sum([line.returned_at is not None for line in lines]),
        confirmed=confirmed,
    )


ORDER_DETAILS: Final = Projection(
    name="order_details",
    version=3,
    view=OrderDetails,
    events=get_args(Event),
    keys=field_of("order_id"),
    evolve=evolve,
    streams=own_stream,
    indexes=(index("position"), index("customer_id", "position")),
)
