"""An order: lines with price, discount and tax, and what became of each line.

1. An order is placed once, with 1 to 100 lines of one currency, each complete.
2. What is charged is computed from the lines by the rounding rule of `money`.
3. It can be cancelled until the first line is dispatched; cancelling twice is not news.
4. A line is dispatched, then delivered, then perhaps returned; each once, and whole.
5. Facts that readers need (customer, day, region, revenue) travel in the events.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from enum import Enum
from operator import attrgetter
from typing import Final, TypeAlias, assert_never, get_args

from domain.address import Address, address_errors
from domain.decider import Decider, DomainError, domain_error, message, refuse_if_any
from domain.money import (
    MOST_MINOR_UNITS,
    AmountOutOfRange,
    Money,
    gross,
    net_exact,
    price_errors,
    quantity_errors,
    rate_errors,
    tax,
    text_errors,
)

MOST_LINES: Final = 100


@message
class LineWanted:
    """What is ordered; price, discount and tax may be left to the catalogue (see checkout)."""

    sku: str
    quantity: int
    name: str | None = None
    unit_price: Money | None = None
    discount: int | None = None
    tax: int | None = None


@message
class Line:
    """`unit_price` in minor units of the order's currency, rates in basis points."""

    number: int
    sku: str
    name: str
    quantity: int
    unit_price: int
    discount: int
    tax: int

    @property
    def net_exact(self) -> int:
        """Revenue of the line in exact units (1/10,000 minor unit), before tax."""
        return net_exact(self.unit_price, self.quantity, self.discount)


# -- commands


@message
class PlaceOrder:
    """`region` and `segment` are the customer's, kept for the readers of the event."""

    order_id: str
    customer_id: str
    lines: tuple[LineWanted, ...]
    deliver_to: Address | None = None
    region: str = ""
    segment: str = ""
    at: datetime


@message
class CancelOrder:
    order_id: str
    reason: str
    at: datetime


@message
class MarkLinesDispatched:
    """`lines` are line numbers, from 1."""

    order_id: str
    lines: tuple[int, ...]
    at: datetime


@message
class MarkLinesDelivered:
    order_id: str
    lines: tuple[int, ...]
    at: datetime


@message
class ReturnLines:
    order_id: str
    lines: tuple[int, ...]
    reason: str
    at: datetime


Command: TypeAlias = (
    PlaceOrder | CancelOrder | MarkLinesDispatched | MarkLinesDelivered | ReturnLines
)


# -- events: names and fields are storage format


@message
class OrderPlaced:
    order_id: str
    customer_id: str
    currency: str
    lines: tuple[Line, ...]
    net: int
    tax: int
    total: int
    deliver_to: Address
    region: str
    segment: str
    at: datetime


@message
class OrderCancelled:
    order_id: str
    customer_id: str
    currency: str
    lines: tuple[Line, ...]
    placed_on: date
    region: str
    reason: str
    at: datetime


@message
class OrderLinesDispatched:
    """`rest` lines of the order have not been dispatched yet."""

    order_id: str
    customer_id: str
    lines: tuple[int, ...]
    rest: int
    at: datetime


@message
class OrderLinesDelivered:
    """`rest` lines of the order have not been delivered yet."""

    order_id: str
    customer_id: str
    lines: tuple[int, ...]
    rest: int
    at: datetime


@message
class OrderLinesReturned:
    order_id: str
    customer_id: str
    currency: str
    lines: tuple[Line, ...]
    reason: str
    at: datetime


Event: TypeAlias = (
    OrderPlaced | OrderCancelled | OrderLinesDispatched | OrderLinesDelivered | OrderLinesReturned
)


# -- errors


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
class OrderIsOnItsWay(DomainError):
    text = "Lines of the order {order_id} have been dispatched: it cannot be cancelled."
    order_id: str
    path: tuple[str, ...] = ("orderId",)


@domain_error
class LineCountOutOfRange(DomainError):
    text = "An order has 1 to {most} lines, not {lines}."
    lines: int
    most: int
    path: tuple[str, ...] = ("lines",)


@domain_error
class LineIncomplete(DomainError):
    text = "The line for {sku} has no price."
    sku: str
    path: tuple[str, ...] = ("lines",)


@domain_error
class CurrenciesDiffer(DomainError):
    text = "The lines of an order must have one currency, not {currencies}."
    currencies: str
    path: tuple[str, ...] = ("lines",)


@domain_error
class AddressMissing(DomainError):
    text = "The order {order_id} has no address to deliver to."
    order_id: str
    path: tuple[str, ...] = ("deliverTo",)


@domain_error
class LineUnknown(DomainError):
    text = "The order {order_id} has no line {line}."
    order_id: str
    line: int
    path: tuple[str, ...] = ("lines",)


@domain_error
class LineNotDispatched(DomainError):
    text = "Line {line} of the order {order_id} has not been dispatched."
    order_id: str
    line: int
    path: tuple[str, ...] = ("lines",)


@domain_error
class LineNotDelivered(DomainError):
    text = "Line {line} of the order {order_id} has not been delivered."
    order_id: str
    line: int
    path: tuple[str, ...] = ("lines",)


# -- state


class Progress(Enum):
    """How far a line has come. The order of the members is the order of life."""

    ORDERED = "ordered"
    DISPATCHED = "dispatched"
    DELIVERED = "delivered"
    RETURNED = "returned"


class Stage(Enum):
    NEW = "new"
    PLACED = "placed"
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


def _moved(order: Order, numbers: Iterable[int], to: Progress) -> Order:
    progress = list(order.progress)
    for number in numbers:
        progress[number - 1] = to
    return replace(order, progress=tuple(progress))


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
            )
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


def _line_errors(lines: tuple[LineWanted, ...]) -> list[DomainError]:
    errors: list[DomainError] = []
    for i, line in enumerate(lines):
        path = ("lines", str(i))
        errors += quantity_errors(line.quantity, *path, "quantity")
        if line.unit_price is None:
            errors.append(LineIncomplete(sku=line.sku, path=path))
        else:
            errors += price_errors(line.unit_price, *path, "unitPrice")
        errors += rate_errors(line.discount or 0, *path, "discount")
        errors += rate_errors(line.tax or 0, *path, "tax")
    return errors


def priced(lines: tuple[LineWanted, ...]) -> tuple[str, tuple[Line, ...]]:
    """The currency and the numbered lines of an order; every line must be complete."""
    if not 1 <= len(lines) <= MOST_LINES:
        raise LineCountOutOfRange(lines=len(lines), most=MOST_LINES)
    refuse_if_any(_line_errors(lines))
    prices = [line.unit_price for line in lines if line.unit_price is not None]
    currencies = {price.currency for price in prices}
    if len(currencies) > 1:
        raise CurrenciesDiffer(currencies=", ".join(sorted(currencies)))
    return currencies.pop(), tuple(
        Line(
            number=number,
            sku=line.sku,
            name=line.name or line.sku,
            quantity=line.quantity,
            unit_price=price.amount,
            discount=line.discount or 0,
            tax=line.tax or 0,
        )
        for number, (line, price) in enumerate(zip(lines, prices, strict=True), start=1)
    )


def place(command: PlaceOrder, order: Order) -> list[Event]:
    if order.stage is not Stage.NEW:
        raise OrderAlreadyPlaced(order_id=command.order_id)
    if command.deliver_to is None:
        raise AddressMissing(order_id=command.order_id)
    refuse_if_any(address_errors(command.deliver_to, "deliverTo"))
    currency, lines = priced(command.lines)
    parts = [(line.net_exact, line.tax) for line in lines]
    total = gross(parts)
    if total > MOST_MINOR_UNITS:
        raise AmountOutOfRange(amount=total, currency=currency, path=("lines",))
    return [
        OrderPlaced(
            order_id=command.order_id,
            customer_id=command.customer_id,
            currency=currency,
            lines=lines,
            net=total - tax(parts),
            tax=tax(parts),
            total=total,
            deliver_to=command.deliver_to,
            region=command.region,
            segment=command.segment,
            at=command.at,
        )
    ]


def cancel(command: CancelOrder, order: Order) -> list[Event]:
    refuse_if_any(text_errors(command.reason, "reason"))
    if order.stage is Stage.CANCELLED:
        return []
    if any(progress is not Progress.ORDERED for progress in order.progress):
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


def _known(order_id: str, numbers: tuple[int, ...], order: Order) -> list[int]:
    """The line numbers, each once, in order; all must exist, and the order must stand."""
    if order.stage is Stage.CANCELLED:
        raise OrderIsCancelled(order_id=order_id)
    if not numbers:
        raise LineCountOutOfRange(lines=0, most=MOST_LINES)
    known = sorted(set(numbers))
    refuse_if_any(
        LineUnknown(order_id=order_id, line=n) for n in known if not 1 <= n <= len(order.lines)
    )
    return known


def to_dispatch(order_id: str, numbers: tuple[int, ...], order: Order) -> tuple[Line, ...]:
    """Those of the lines that have not been dispatched yet."""
    return tuple(
        order.lines[n - 1]
        for n in _known(order_id, numbers, order)
        if order.progress[n - 1] is Progress.ORDERED
    )


def dispatch(command: MarkLinesDispatched, order: Order) -> list[Event]:
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
    known = _known(command.order_id, command.lines, order)
    refuse_if_any(
        LineNotDispatched(order_id=command.order_id, line=n)
        for n in known
        if order.progress[n - 1] is Progress.ORDERED
    )
    lines = tuple(n for n in known if order.progress[n - 1] is Progress.DISPATCHED)
    if not lines:
        return []
    under_way = sum(p in (Progress.ORDERED, Progress.DISPATCHED) for p in order.progress)
    return [
        OrderLinesDelivered(
            order_id=command.order_id,
            customer_id=order.customer_id,
            lines=lines,
            rest=under_way - len(lines),
            at=command.at,
        )
    ]


def take_back(command: ReturnLines, order: Order) -> list[Event]:
    refuse_if_any(text_errors(command.reason, "reason"))
    known = _known(command.order_id, command.lines, order)
    refuse_if_any(
        LineNotDelivered(order_id=command.order_id, line=n)
        for n in known
        if order.progress[n - 1] in (Progress.ORDERED, Progress.DISPATCHED)
    )
    lines = tuple(order.lines[n - 1] for n in known if order.progress[n - 1] is Progress.DELIVERED)
    if not lines:
        return []
    return [
        OrderLinesReturned(
            order_id=command.order_id,
            customer_id=order.customer_id,
            currency=order.currency,
            lines=lines,
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
        OrderIsOnItsWay,
        LineCountOutOfRange,
        LineIncomplete,
        CurrenciesDiffer,
        AddressMissing,
        LineUnknown,
        LineNotDispatched,
        LineNotDelivered,
    ),
)
