"""What a stock event changes, from the event alone; and where the events of a product's stock are.

A document about a product and its stock is fed from two streams.
"""

from typing import Final, TypeAlias, assert_never, get_args

from domain import product, stock_item
from domain.stock_item import (
    StockCounted,
    StockDispatched,
    StockReceived,
    StockReleased,
    StockReserved,
)

StockMoved: TypeAlias = (
    StockReceived | StockReserved | StockReleased | StockDispatched | StockCounted
)

STOCK_MOVED: Final = get_args(StockMoved)


def stock_change(event: StockMoved) -> tuple[int, int]:
    """The change of what is on hand, and of what is reserved of it."""
    match event:
        case StockReceived():
            return event.quantity, 0
        case StockReserved():
            return 0, event.quantity
        case StockReleased():
            return 0, -event.quantity
        case StockDispatched():
            return -event.quantity, -event.reserved
        case StockCounted():
            return event.counted - event.was, 0
        case _:
            assert_never(event)


def streams_of_product(sku: str) -> tuple[str, ...]:
    """Those of the product and of its stock."""
    return (product.stream(sku), stock_item.stream(sku))
