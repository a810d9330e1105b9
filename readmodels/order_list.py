"""Order list: which orders are there, by customer, status, date or total?"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Final, assert_never, get_args

from domain.decider import message
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
from domain.recorded import Recorded
from readmodels.order_status import OrderStatus, status_of
from readmodels.page import FIRST_PAGE, Condition, Field, Page, Select, Sort, select
from readmodels.projection import Projection, field_of, index, own_stream


@message
class OrderListed:
    """`total` in minor units. A returned line counts as dispatched and delivered, too."""

    order_id: str
    customer_id: str
    status: OrderStatus
    placed_at: datetime
    placed_on: date
    currency: str
    total: int
    line_count: int
    dispatched_lines: int = 0
    delivered_lines: int = 0
    returned_lines: int = 0
    confirmed_at: datetime | None = None
    version: int


def evolve(order: OrderListed | None, recorded: Recorded, _: str) -> OrderListed | None:
    event: Event = recorded.event
    if isinstance(event, OrderPlaced):
        return _placed(event, recorded.version)
    if order is None:
        return None
    order = replace(order, version=recorded.version)
    match event:
        case OrderReserved() | OrderNotReserved():
            return order
        case OrderConfirmed():
            return _moved(replace(order, confirmed_at=event.at))
        case OrderCancelled():
            return replace(order, status=OrderStatus.CANCELLED)
        case OrderLinesDispatched():
            return _moved(order, dispatched=len(event.lines))
        case OrderLinesDelivered():
            return _moved(order, delivered=len(event.lines))
        case OrderLinesReturned():
            return _moved(order, returned=len(event.lines))
        case _:
            assert_never(event)


def _placed(event: OrderPlaced, version: int) -> OrderListed:
    return OrderListed(
        order_id=event.order_id,
        customer_id=event.customer_id,
        status=OrderStatus.PLACED,
        placed_at=event.at,
        placed_on=event.at.date(),
        currency=event.currency,
        total=event.total,
        line_count=len(event.lines),
        version=version,
    )


def _moved(
    order: OrderListed, dispatched: int = 0, delivered: int = 0, returned: int = 0
) -> OrderListed:
    """The order with so many more lines a step further."""
    dispatched += order.dispatched_lines
    delivered += order.delivered_lines
    returned += order.returned_lines
    return replace(
        order,
        status=status_of(
            order.line_count,
            dispatched,
            delivered,
            returned,
            confirmed=order.confirmed_at is not None,
        ),
        dispatched_lines=dispatched,
        delivered_lines=delivered,
        returned_lines=returned,
    )


FIELDS: Final = {
    "customer_id": Field(str, sortable=False),
    "status": Field(OrderStatus, sortable=False),
    "placed_at": Field(datetime),
    "placed_on": Field(date),
    "currency": Field(str, sortable=False),
    "total": Field(int),
}

LATEST_FIRST: Final = (Sort("placed_at", descending=True),)


def orders(
    where: Sequence[Condition] = (), order_by: Sequence[Sort] = (), page: Page = FIRST_PAGE
) -> Select:
    """A page of orders, the latest first unless another order is asked for."""
    return select(FIELDS, where, order_by or LATEST_FIRST, page)


ORDER_LIST: Final = Projection(
    name="order_list",
    version=2,
    view=OrderListed,
    events=get_args(Event),
    keys=field_of("order_id"),
    evolve=evolve,
    streams=own_stream,
    indexes=(
        index("customer_id", "placed_at"),
        index("status", "placed_at"),
        index("placed_at"),
        index("placed_on"),
        index("currency", "total"),
        index("total"),
    ),
)
