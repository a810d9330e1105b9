"""What a stock event changes, from the event alone."""

from typing import Final, TypeAlias, assert_never, get_args

from domain.stock_item import (
    StockCounted,
    StockDespatched,
    StockReceived,
    StockReleased,
    StockReserved,
)

StockMoved: TypeAlias = (
    StockReceived | StockReserved | StockReleased | StockDespatched | StockCounted
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
        case StockDespatched():
            return -event.quantity, -event.reserved
        case StockCounted():
            return event.counted - event.was, 0
        case _:
            assert_never(event)
