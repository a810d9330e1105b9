"""Decisions that need more than one aggregate. Each is all or nothing.

1. Placing an order: the customer is known and not suspended; a line's name, price and tax come
   from the catalogue unless given; the address is the customer's unless given.
2. Reserving an order: every line is kept in stock, or none; the order knows which.
3. Releasing an order: what is kept for it is free again.
4. Dispatching lines, and sending a shipment: they leave the stock and the order knows it, both
   or neither.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from domain.customer import CUSTOMER, CustomerUnknown, Standing
from domain.decider import (
    DomainError,
    DomainErrors,
    Joint,
    States,
    domain_error,
    message,
    refuse_if_any,
)
from domain.order import (
    ORDER,
    MarkLinesDispatched,
    OrderLinesDispatched,
    OrderNotReserved,
    OrderPlaced,
    OrderReserved,
    OrderUnknown,
    PlaceOrder,
    Shortage,
    Stage,
    dispatch,
    place,
    to_dispatch,
)
from domain.order_line import Line, LineWanted, Progress
from domain.product import PRODUCT, ProductIsDiscontinued, ProductUnknown
from domain.product import stream as product_stream
from domain.shipment import SHIPMENT, SendShipment, ShipmentSent
from domain.stock_item import (
    STOCK_ITEM,
    DespatchStock,
    InsufficientStock,
    ReleaseStock,
    ReserveStock,
    StockDispatched,
    StockItem,
    StockReleased,
    StockReserved,
    despatch,
    release,
    reserve,
)
from domain.stock_item import stream as stock_stream


@domain_error
class CustomerIsSuspended(DomainError):
    text = "The customer {customer_id} is suspended."
    customer_id: str
    path: tuple[str, ...] = ("customerId",)


# -- placing


def _places(command: PlaceOrder, _: States) -> Iterable[str]:
    yield command.order_id
    yield command.customer_id
    for line in command.lines:
        yield product_stream(line.sku)


def _from_catalogue(line: LineWanted, index: int, states: States) -> LineWanted:
    """The line with everything that was left to the catalogue."""
    product = states.of(PRODUCT, product_stream(line.sku))
    if product.price is None:
        raise ProductUnknown(sku=line.sku, path=("lines", str(index), "sku"))
    if product.discontinued:
        raise ProductIsDiscontinued(sku=line.sku, path=("lines", str(index), "sku"))
    return LineWanted(
        sku=line.sku,
        quantity=line.quantity,
        name=line.name or product.name,
        unit_price=line.unit_price or product.price,
        discount=line.discount,
        tax=product.tax if line.tax is None else line.tax,
    )


def _place(command: PlaceOrder, states: States) -> dict[str, list[Any]]:
    customer = states.of(CUSTOMER, command.customer_id)
    errors: list[DomainError] = []
    if customer.standing is Standing.UNKNOWN:
        errors.append(CustomerUnknown(customer_id=command.customer_id))
    elif customer.standing is Standing.SUSPENDED:
        errors.append(CustomerIsSuspended(customer_id=command.customer_id))
    lines = []
    for index, line in enumerate(command.lines):
        try:
            lines.append(_from_catalogue(line, index, states))
        except DomainError as error:
            errors.append(error)
    refuse_if_any(errors)
    complete = replace(
        command,
        lines=tuple(lines),
        deliver_to=command.deliver_to or customer.address,
        region=command.region or (customer.address.region if customer.address else ""),
        segment=command.segment or customer.segment,
    )
    return {command.order_id: list(place(complete, states.of(ORDER, command.order_id)))}


# -- stock of the lines of an order


@message
class ReserveOrder:
    order_id: str
    at: datetime


@message
class ReleaseOrder:
    order_id: str
    at: datetime


@message
class DispatchLines:
    """`lines` are line numbers, from 1."""

    order_id: str
    lines: tuple[int, ...]
    at: datetime


def _stock_of_lines(
    command: ReserveOrder | ReleaseOrder | DispatchLines, states: States
) -> Iterable[str]:
    yield command.order_id
    for line in states.of(ORDER, command.order_id).lines:
        yield stock_stream(line.sku)


def _for_each_product(
    lines: Iterable[Line], states: States, move: Callable[[str, int, StockItem], list[Any]]
) -> dict[str, list[Any]]:
    """What `move(sku, quantity, item)` does to every stock item, or all that forbids it."""
    quantities: Counter[str] = Counter()
    for line in lines:
        quantities[line.sku] += line.quantity
    changes: dict[str, list[Any]] = {}
    errors: list[DomainError] = []
    for sku, quantity in quantities.items():
        stream = stock_stream(sku)
        try:
            changes[stream] = move(sku, quantity, states.of(STOCK_ITEM, stream))
        except (DomainError, DomainErrors) as error:
            errors += error.errors
    refuse_if_any(errors)
    return changes


def _reserve(command: ReserveOrder, states: States) -> dict[str, list[Any]]:
    """All lines or none. What was cancelled, or reserved already, needs nothing any more; where the
    same is lacking as before, that is not told again."""

    def keep(sku: str, quantity: int, item: StockItem) -> list[Any]:
        wanted = ReserveStock(sku=sku, order_id=command.order_id, quantity=quantity, at=command.at)
        return list(reserve(wanted, item))

    order = states.of(ORDER, command.order_id)
    if order.stage is Stage.NEW:
        raise OrderUnknown(order_id=command.order_id)
    if order.stage is not Stage.PLACED:
        return {}
    facts: dict[str, Any] = {
        "order_id": command.order_id,
        "customer_id": order.customer_id,
        "at": command.at,
    }
    waiting = (
        line
        for line, step in zip(order.lines, order.progress, strict=True)
        if step is Progress.ORDERED
    )
    try:
        kept = _for_each_product(waiting, states, keep)
    except (DomainError, DomainErrors) as refusal:
        shortages = tuple(
            Shortage(sku=error.sku, requested=error.requested, available=error.available)
            for error in refusal.errors
            if isinstance(error, InsufficientStock)
        )
        if shortages == order.shortages:
            return {}
        return {command.order_id: [OrderNotReserved(shortages=shortages, **facts)]}
    return {command.order_id: [OrderReserved(**facts)], **kept}


def _release(command: ReleaseOrder, states: States) -> dict[str, list[Any]]:
    def free(sku: str, _: int, item: StockItem) -> list[Any]:
        return list(release(ReleaseStock(sku=sku, order_id=command.order_id, at=command.at), item))

    return _for_each_product(states.of(ORDER, command.order_id).lines, states, free)


def _dispatch(command: DispatchLines, states: States) -> dict[str, list[Any]]:
    def hand_over(sku: str, quantity: int, item: StockItem) -> list[Any]:
        wanted = DespatchStock(sku=sku, order_id=command.order_id, quantity=quantity, at=command.at)
        return list(despatch(wanted, item))

    order = states.of(ORDER, command.order_id)
    if order.stage is Stage.NEW:
        raise OrderUnknown(order_id=command.order_id)
    lines = to_dispatch(command.order_id, command.lines, order)
    marked = MarkLinesDispatched(order_id=command.order_id, lines=command.lines, at=command.at)
    return {
        command.order_id: list(dispatch(marked, order)),
        **_for_each_product(lines, states, hand_over),
    }


def _sends(command: SendShipment, states: States) -> Iterable[str]:
    yield command.shipment_id
    if order_id := states.of(SHIPMENT, command.shipment_id).order_id:
        yield order_id
        for line in states.of(ORDER, order_id).lines:
            yield stock_stream(line.sku)


def _send(command: SendShipment, states: States) -> dict[str, list[Any]]:
    """What leaves the house leaves the stock, and the order knows it: all or nothing."""
    sent = SHIPMENT.decide(command, states.of(SHIPMENT, command.shipment_id))
    changes: dict[str, list[Any]] = {command.shipment_id: list(sent)}
    for event in sent:
        assert isinstance(event, ShipmentSent), "that is all that sending gives"
        lines = DispatchLines(order_id=event.order_id, lines=event.lines, at=command.at)
        changes |= _dispatch(lines, states)
    return changes


PLACE_ORDER: Final = Joint(PlaceOrder, _places, _place, (CustomerIsSuspended,), (OrderPlaced,))
RESERVE_ORDER: Final = Joint(
    ReserveOrder, _stock_of_lines, _reserve, (), (StockReserved, OrderReserved, OrderNotReserved)
)
RELEASE_ORDER: Final = Joint(ReleaseOrder, _stock_of_lines, _release, (), (StockReleased,))
DISPATCH_LINES: Final = Joint(
    DispatchLines, _stock_of_lines, _dispatch, (), (StockDispatched, OrderLinesDispatched)
)
SEND_SHIPMENT: Final = Joint(
    SendShipment, _sends, _send, (), (ShipmentSent, StockDispatched, OrderLinesDispatched)
)
