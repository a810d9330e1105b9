"""The stock of one product: what is there, and for which orders it is kept.

1. On hand is never below zero, and never below what is reserved.
2. A reservation belongs to an order; reserving the same again changes nothing.
3. Despatching takes the order's own reservation first, then what is free.
4. A count sets what is on hand; it cannot take what is reserved.
5. Stock is low when what is free is at or below the reorder level (10 until it is set).
"""

from dataclasses import field, replace
from datetime import datetime
from typing import Final, TypeAlias, assert_never, get_args

from domain.decider import Decider, DomainError, domain_error, message, refuse_if_any
from domain.money import quantity_errors, text_errors

REORDER_LEVEL: Final = 10
"""Pieces at or below which stock counts as low, until a level is set."""

# -- commands


@message
class ReceiveStock:
    """`source` names the delivery: a supplier, a return."""

    sku: str
    quantity: int
    source: str = ""
    at: datetime


@message
class ReserveStock:
    sku: str
    order_id: str
    quantity: int
    at: datetime


@message
class ReleaseStock:
    """Give back all that is kept for the order."""

    sku: str
    order_id: str
    at: datetime


@message
class DespatchStock:
    sku: str
    order_id: str
    quantity: int
    at: datetime


@message
class CountStock:
    sku: str
    counted: int
    at: datetime


@message
class SetReorderLevel:
    sku: str
    level: int
    at: datetime


Command: TypeAlias = (
    ReceiveStock | ReserveStock | ReleaseStock | DespatchStock | CountStock | SetReorderLevel
)


# -- events: names and fields are storage format


@message
class StockReceived:
    sku: str
    quantity: int
    source: str
    at: datetime


@message
class StockReserved:
    sku: str
    order_id: str
    quantity: int
    at: datetime


@message
class StockReleased:
    sku: str
    order_id: str
    quantity: int
    at: datetime


@message
class StockDispatched:
    """`reserved` of the `quantity` pieces had been kept for the order."""

    sku: str
    order_id: str
    quantity: int
    reserved: int
    at: datetime


@message
class StockCounted:
    sku: str
    counted: int
    was: int
    at: datetime


@message
class ReorderLevelSet:
    sku: str
    level: int
    at: datetime


Event: TypeAlias = (
    StockReceived | StockReserved | StockReleased | StockDispatched | StockCounted | ReorderLevelSet
)


# -- errors


@domain_error
class InsufficientStock(DomainError):
    text = "{requested} pieces of {sku} were asked for, {available} are available."
    sku: str
    requested: int
    available: int
    path: tuple[str, ...] = ("quantity",)


@domain_error
class AlreadyReserved(DomainError):
    text = "{reserved} pieces of {sku} are reserved for {order_id} already."
    sku: str
    order_id: str
    reserved: int
    path: tuple[str, ...] = ("quantity",)


@domain_error
class CountBelowReserved(DomainError):
    text = "{reserved} pieces of {sku} are reserved: a count of {counted} cannot be right."
    sku: str
    counted: int
    reserved: int
    path: tuple[str, ...] = ("counted",)


# -- state


@message
class StockItem:
    on_hand: int = 0
    reserved: int = 0
    reservations: dict[str, int] = field(default_factory=dict)
    reorder_level: int = REORDER_LEVEL

    @property
    def available(self) -> int:
        """Pieces that are there and not kept for an order."""
        return self.on_hand - self.reserved


def _kept(item: StockItem, order_id: str, change: int) -> StockItem:
    """The item with `change` more pieces kept for the order."""
    left = item.reservations.get(order_id, 0) + change
    reservations = {**item.reservations, order_id: left}
    if not left:
        del reservations[order_id]
    return replace(item, reserved=item.reserved + change, reservations=reservations)


def evolve(item: StockItem, event: Event) -> StockItem:
    match event:
        case StockReceived():
            return replace(item, on_hand=item.on_hand + event.quantity)
        case StockReserved():
            return _kept(item, event.order_id, event.quantity)
        case StockReleased():
            return _kept(item, event.order_id, -event.quantity)
        case StockDispatched():
            item = replace(item, on_hand=item.on_hand - event.quantity)
            return _kept(item, event.order_id, -event.reserved) if event.reserved else item
        case StockCounted():
            return replace(item, on_hand=event.counted)
        case ReorderLevelSet():
            return replace(item, reorder_level=event.level)
        case _:
            assert_never(event)


# -- decisions


def receive(command: ReceiveStock) -> list[Event]:
    refuse_if_any(
        text_errors(command.sku, "sku", most=64)
        + quantity_errors(command.quantity, "quantity")
        + (text_errors(command.source, "source") if command.source else [])
    )
    return [
        StockReceived(
            sku=command.sku, quantity=command.quantity, source=command.source, at=command.at
        )
    ]


def _move_errors(command: ReserveStock | DespatchStock) -> list[DomainError]:
    """The order may be another system's; its id goes into the event."""
    return text_errors(command.order_id, "orderId", most=64) + quantity_errors(
        command.quantity, "quantity"
    )


def reserve(command: ReserveStock, item: StockItem) -> list[Event]:
    refuse_if_any(_move_errors(command))
    sku, order_id = command.sku, command.order_id
    if reserved := item.reservations.get(order_id):
        if reserved == command.quantity:
            return []
        raise AlreadyReserved(sku=sku, order_id=order_id, reserved=reserved)
    if command.quantity > item.available:
        raise InsufficientStock(sku=sku, requested=command.quantity, available=item.available)
    return [StockReserved(sku=sku, order_id=order_id, quantity=command.quantity, at=command.at)]


def release(command: ReleaseStock, item: StockItem) -> list[Event]:
    reserved = item.reservations.get(command.order_id, 0)
    if not reserved:
        return []
    return [
        StockReleased(sku=command.sku, order_id=command.order_id, quantity=reserved, at=command.at)
    ]


def despatch(command: DespatchStock, item: StockItem) -> list[Event]:
    refuse_if_any(_move_errors(command))
    own = item.reservations.get(command.order_id, 0)
    if command.quantity > item.available + own:
        raise InsufficientStock(
            sku=command.sku, requested=command.quantity, available=item.available + own
        )
    return [
        StockDispatched(
            sku=command.sku,
            order_id=command.order_id,
            quantity=command.quantity,
            reserved=min(own, command.quantity),
            at=command.at,
        )
    ]


def count(command: CountStock, item: StockItem) -> list[Event]:
    refuse_if_any(
        text_errors(command.sku, "sku", most=64)
        + quantity_errors(command.counted, "counted", least=0)
    )
    if command.counted < item.reserved:
        raise CountBelowReserved(sku=command.sku, counted=command.counted, reserved=item.reserved)
    if command.counted == item.on_hand:
        return []
    return [StockCounted(sku=command.sku, counted=command.counted, was=item.on_hand, at=command.at)]


def set_reorder_level(command: SetReorderLevel, item: StockItem) -> list[Event]:
    refuse_if_any(
        text_errors(command.sku, "sku", most=64) + quantity_errors(command.level, "level", least=0)
    )
    if command.level == item.reorder_level:
        return []
    return [ReorderLevelSet(sku=command.sku, level=command.level, at=command.at)]


def decide(command: Command, item: StockItem) -> list[Event]:
    match command:
        case ReceiveStock():
            return receive(command)
        case ReserveStock():
            return reserve(command, item)
        case ReleaseStock():
            return release(command, item)
        case DespatchStock():
            return despatch(command, item)
        case CountStock():
            return count(command, item)
        case SetReorderLevel():
            return set_reorder_level(command, item)
        case _:
            assert_never(command)


def stream(sku: str) -> str:
    """The stream of the stock of this product."""
    return f"stock_item-{sku}"


STOCK_ITEM: Decider[Command, StockItem, Event] = Decider(
    "stock_item",
    lambda command: stream(command.sku),
    StockItem(),
    decide,
    evolve,
    get_args(Command),
    get_args(Event),
    (InsufficientStock, AlreadyReserved, CountBelowReserved),
    {
        ReceiveStock: (StockReceived,),
        ReserveStock: (StockReserved,),
        ReleaseStock: (StockReleased,),
        DespatchStock: (StockDispatched,),
        CountStock: (StockCounted,),
        SetReorderLevel: (ReorderLevelSet,),
    },
)
