"""What can be asked of an order, and what can have happened to one.

An order that is `imported` is history from elsewhere: it is charged and reserved nowhere.
"""

from datetime import date, datetime
from typing import ClassVar, TypeAlias

from domain.address import Address
from domain.decider import message
from domain.order_line import Line, LineWanted

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
    card: str = ""
    imported: bool = False
    at: datetime


@message
class ConfirmOrder:
    order_id: str
    at: datetime


@message
class CancelOrder:
    """`customer_id` is set where a customer asks: then the order must be theirs."""

    order_id: str
    reason: str
    customer_id: str | None = None
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
    PlaceOrder | ConfirmOrder | CancelOrder | MarkLinesDispatched | MarkLinesDelivered | ReturnLines
)


# -- events: names and fields are storage format


@message
class OrderPlaced:
    """Shape 1 had neither `card` nor `imported`."""

    SCHEMA: ClassVar[int] = 2

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
    card: str = ""
    imported: bool = False


@message
class Shortage:
    sku: str
    requested: int
    available: int


@message
class OrderReserved:
    order_id: str
    customer_id: str
    at: datetime


@message
class OrderNotReserved:
    order_id: str
    customer_id: str
    shortages: tuple[Shortage, ...]
    at: datetime


@message
class OrderConfirmed:
    order_id: str
    customer_id: str
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
    placed_on: date
    reason: str
    at: datetime


Event: TypeAlias = (
    OrderPlaced
    | OrderReserved
    | OrderNotReserved
    | OrderConfirmed
    | OrderCancelled
    | OrderLinesDispatched
    | OrderLinesDelivered
    | OrderLinesReturned
)
