"""An order: lines with price, discount and tax, and what became of each line.

1. An order is placed once, with 1 to 100 lines of one currency, each complete.
2. What is charged is computed from the lines by the rounding rule of `money`.
3. It is confirmed once it is paid for; only then, or when it is imported, lines are dispatched.
4. It can be cancelled until the first line is dispatched; cancelling twice is not news.
5. A line is dispatched, then delivered, then perhaps returned; each once, and whole.
6. Facts that readers need (customer, day, region, revenue) travel in the events.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from enum import Enum
from operator import attrgetter
from typing import assert_never, get_args

from domain.address import address_errors
from domain.decider import Decider, DomainError, domain_error, message, refuse_if_any
from domain.money import MOST_MINOR_UNITS, AmountOutOfRange, Money, gross, net, text_errors
from domain.order_line import LINE_ERRORS, Line, LineWanted, Progress, lines_at, priced
from domain.order_messages import (
    CancelOrder,
    Command,
    ConfirmOrder,
    Event,
    MarkLinesDelivered,
    MarkLinesDispatched,
    OrderCancelled,
    OrderConfirmed,
    OrderLinesDelivered,
    OrderLinesDispatched,
    OrderLinesReturned,
    OrderNotReserved,
    OrderPlaced,
    OrderReserved,
    PlaceOrder,
    ReturnLines,
    Shortage,
)

# -- errors

__all__ = [
    "ORDER",
    "CancelOrder",
    "Command",
    "ConfirmOrder",
    "Event",
    "MarkLinesDelivered",
    "MarkLinesDispatched",
    "Order",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderLinesDelivered",
    "OrderLinesDispatched",
    "OrderLinesReturned",
    "OrderNotReserved",
    "OrderPlaced",
    "OrderReserved",
    "PlaceOrder",
    "ReturnLines",
    "Shortage",
    "Stage",
]


@domain_error
class OrderUnknown(DomainError):
    text = "There is no order {order_id}."
    order_id: str
    path: tuple[str, ...] = ("orderId",)


@domain_error
class OrderAlreadyPlaced(DomainError):
    text = "The order {order_id} has been placed already."
    order_id: str
    path: tuple[str, ...] = ("orderId",)


@domain_error
class OrderIsCancelled(DomainError):
    text = "The order {order_id} is cancelled."
    order_id: str
    path: tuple[str, ...] = ("orderId",)


@domain_error
class OrderNotConfirmed(DomainError):
    text = "The order {order_id} is not confirmed yet."
    order_id: str
    path: tuple[str, ...] = ("orderId",)


@domain_error
class OrderIsOnItsWay(DomainError):
    text = "Lines of the order {order_id} have been dispatched: it cannot be cancelled."
    order_id: str
    path: tuple[str, ...] = ("orderId",)


@domain_error
class AddressMissing(DomainError):
    text = "The order {order_id} has no address to deliver to."
    order_id: str
    path: tuple[str, ...] = ("deliverTo",)


# -- state


class Stage(Enum):
    NEW = "new"
    PLACED = "placed"
    RESERVED = "reserved"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"


@message
class Order:
    stage: Stage = Stage.NEW
    customer_id: str = ""
    currency: str = ""
    lines: tuple[Line, ...] = ()
    progress: tuple[Progress, ...] = ()
    placed_on: date = date.min
    region: str = ""
    imported: bool = False
    shortages: tuple[Shortage, ...] | None = None
    """What there was too little of when it was last to be reserved."""


def _moved(order: Order, numbers: Iterable[int], to: Progress) -> Order:
    moved = set(numbers)
    steps = enumerate(order.progress, start=1)
    return replace(order, progress=tuple(to if n in moved else step for n, step in steps))


def evolve(order: Order, event: Event) -> Order:
    match event:
        case OrderPlaced():
            return Order(
                stage=Stage.PLACED,
                customer_id=event.customer_id,
                currency=event.currency,
                lines=event.lines,
                progress=(Progress.ORDERED,) * len(event.lines),
                placed_on=event.at.date(),
                region=event.region,
                imported=event.imported,
            )
        case OrderReserved():
            return replace(order, stage=Stage.RESERVED, shortages=None)
        case OrderNotReserved():
            return replace(order, shortages=event.shortages)
        case OrderConfirmed():
            return replace(order, stage=Stage.CONFIRMED)
        case OrderCancelled():
            return replace(order, stage=Stage.CANCELLED)
        case OrderLinesDispatched():
            return _moved(order, event.lines, Progress.DISPATCHED)
        case OrderLinesDelivered():
            return _moved(order, event.lines, Progress.DELIVERED)
        case OrderLinesReturned():
            return _moved(order, (line.number for line in event.lines), Progress.RETURNED)
        case _:
            assert_never(event)


# -- decisions


def place(command: PlaceOrder, order: Order) -> list[Event]:
    if order.stage is not Stage.NEW:
        raise OrderAlreadyPlaced(order_id=command.order_id)
    if command.deliver_to is None:
        raise AddressMissing(order_id=command.order_id)
    refuse_if_any(
        address_errors(command.deliver_to, "deliverTo")
        + (text_errors(command.region, "region") if command.region else [])
        + (text_errors(command.segment, "segment", most=40) if command.segment else [])
        + (text_errors(command.card, "card", most=100) if command.card else [])
    )
    currency, lines = priced(command.lines)
    parts = [(line.net_exact, line.tax) for line in lines]
    total, untaxed = gross(parts), net(parts)
    if total > MOST_MINOR_UNITS:
        raise AmountOutOfRange(amount=total, currency=currency, path=("lines",))
    return [
        OrderPlaced(
            order_id=command.order_id,
            customer_id=command.customer_id,
            currency=currency,
            lines=lines,
            net=untaxed,
            tax=total - untaxed,
            total=total,
            deliver_to=command.deliver_to,
            region=command.region,
            segment=command.segment,
            at=command.at,
            card=command.card,
            imported=command.imported,
        )
    ]


def confirm(command: ConfirmOrder, order: Order) -> list[Event]:
    """Confirming what was cancelled meanwhile is nothing: the cancellation undoes the payment."""
    if order.stage is not Stage.RESERVED:
        return []
    return [OrderConfirmed(order_id=command.order_id, customer_id=order.customer_id, at=command.at)]


def cancel(command: CancelOrder, order: Order) -> list[Event]:
    if command.customer_id not in (None, order.customer_id):
        raise OrderUnknown(order_id=command.order_id)
    refuse_if_any(text_errors(command.reason, "reason"))
    if order.stage is Stage.CANCELLED:
        return []
    if any(step is not Progress.ORDERED for step in order.progress):
        raise OrderIsOnItsWay(order_id=command.order_id)
    return [
        OrderCancelled(
            order_id=command.order_id,
            customer_id=order.customer_id,
            currency=order.currency,
            lines=order.lines,
            placed_on=order.placed_on,
            region=order.region,
            reason=command.reason,
            at=command.at,
        )
    ]


def _lines_at(
    step: Progress, order_id: str, numbers: tuple[int, ...], order: Order
) -> tuple[Line, ...]:
    """Those of the lines that are at `step`; the order must stand."""
    if order.stage is Stage.CANCELLED:
        raise OrderIsCancelled(order_id=order_id)
    return lines_at(step, order_id, numbers, order.lines, order.progress)


def to_dispatch(order_id: str, numbers: tuple[int, ...], order: Order) -> tuple[Line, ...]:
    """Those of the lines that have not been dispatched yet."""
    return _lines_at(Progress.ORDERED, order_id, numbers, order)


def dispatch(command: MarkLinesDispatched, order: Order) -> list[Event]:
    if order.stage in (Stage.PLACED, Stage.RESERVED) and not order.imported:
        raise OrderNotConfirmed(order_id=command.order_id)
    lines = to_dispatch(command.order_id, command.lines, order)
    if not lines:
        return []
    return [
        OrderLinesDispatched(
            order_id=command.order_id,
            customer_id=order.customer_id,
            lines=tuple(line.number for line in lines),
            rest=order.progress.count(Progress.ORDERED) - len(lines),
            at=command.at,
        )
    ]


def deliver(command: MarkLinesDelivered, order: Order) -> list[Event]:
    lines = _lines_at(Progress.DISPATCHED, command.order_id, command.lines, order)
    if not lines:
        return []
    under_way = sum(step.is_before(Progress.DELIVERED) for step in order.progress)
    return [
        OrderLinesDelivered(
            order_id=command.order_id,
            customer_id=order.customer_id,
            lines=tuple(line.number for line in lines),
            rest=under_way - len(lines),
            at=command.at,
        )
    ]


def take_back(command: ReturnLines, order: Order) -> list[Event]:
    refuse_if_any(text_errors(command.reason, "reason"))
    lines = _lines_at(Progress.DELIVERED, command.order_id, command.lines, order)
    if not lines:
        return []
    return [
        OrderLinesReturned(
            order_id=command.order_id,
            customer_id=order.customer_id,
            currency=order.currency,
            lines=lines,
            placed_on=order.placed_on,
            reason=command.reason,
            at=command.at,
        )
    ]


def decide(command: Command, order: Order) -> list[Event]:
    if isinstance(command, PlaceOrder):
        return place(command, order)
    if order.stage is Stage.NEW:
        raise OrderUnknown(order_id=command.order_id)
    match command:
        case ConfirmOrder():
            return confirm(command, order)
        case CancelOrder():
            return cancel(command, order)
        case MarkLinesDispatched():
            return dispatch(command, order)
        case MarkLinesDelivered():
            return deliver(command, order)
        case ReturnLines():
            return take_back(command, order)
        case _:
            assert_never(command)


def command_for(event: Event) -> Command | None:
    """The command that this event answers to, where it has other lines than the event."""
    match event:
        case OrderPlaced():
            return PlaceOrder(
                order_id=event.order_id,
                customer_id=event.customer_id,
                lines=tuple(_wanted(line, event.currency) for line in event.lines),
                deliver_to=event.deliver_to,
                region=event.region,
                segment=event.segment,
                card=event.card,
                imported=event.imported,
                at=event.at,
            )
        case OrderLinesReturned():
            lines = tuple(line.number for line in event.lines)
            return ReturnLines(
                order_id=event.order_id, lines=lines, reason=event.reason, at=event.at
            )
        case _:
            return None


def _wanted(line: Line, currency: str) -> LineWanted:
    return LineWanted(
        sku=line.sku,
        quantity=line.quantity,
        name=line.name,
        unit_price=Money(amount=line.unit_price, currency=currency),
        discount=line.discount,
        tax=line.tax,
    )


ORDER: Decider[Command, Order, Event] = Decider(
    "order",
    attrgetter("order_id"),
    Order(),
    decide,
    evolve,
    get_args(Command),
    get_args(Event),
    (
        OrderUnknown,
        OrderAlreadyPlaced,
        OrderIsCancelled,
        OrderNotConfirmed,
        OrderIsOnItsWay,
        AddressMissing,
        *LINE_ERRORS,
    ),
    {
        PlaceOrder: (OrderPlaced,),
        ConfirmOrder: (OrderConfirmed,),
        CancelOrder: (OrderCancelled,),
        MarkLinesDispatched: (OrderLinesDispatched,),
        MarkLinesDelivered: (OrderLinesDelivered,),
        ReturnLines: (OrderLinesReturned,),
    },
    command_for=command_for,
)
