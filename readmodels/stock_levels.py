"""Stock levels: how much of a product is there, and what must be ordered again?

1. Stock is low when what is free is at or below the reorder level.
2. A discontinued product is not ordered again, so its stock is never low.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from domain.decider import message
from domain.product import ProductAdded, ProductDiscontinued, ProductRenamed
from domain.recorded import Recorded
from domain.stock_item import REORDER_LEVEL, ReorderLevelSet
from readmodels.page import FIRST_PAGE, Condition, Field, Page, Select, Sort, select
from readmodels.projection import Projection, field_of, index
from readmodels.stock_change import STOCK_MOVED, StockMoved, stock_change, streams_of_product


@message
class StockLevel:
    """`version` is that of the stock item's stream; 0 while there has been no stock."""

    sku: str
    name: str = ""
    on_hand: int = 0
    reserved: int = 0
    available: int = 0
    reorder_level: int = REORDER_LEVEL
    discontinued: bool = False
    low: bool = True
    version: int = 0


Event: TypeAlias = (
    StockMoved | ReorderLevelSet | ProductAdded | ProductRenamed | ProductDiscontinued
)


def evolve(level: StockLevel | None, recorded: Recorded, sku: str) -> StockLevel | None:
    event: Event = recorded.event
    level = level or StockLevel(sku=sku)
    match event:
        case ProductAdded() | ProductRenamed():
            return replace(level, name=event.name)
        case ProductDiscontinued():
            return _weighed(replace(level, discontinued=True))
        case ReorderLevelSet():
            level = replace(level, reorder_level=event.level)
        case _:
            level = _moved(level, event)
    return replace(_weighed(level), version=recorded.version)


def _moved(level: StockLevel, event: StockMoved) -> StockLevel:
    on_hand, reserved = stock_change(event)
    on_hand += level.on_hand
    reserved += level.reserved
    return replace(level, on_hand=on_hand, reserved=reserved, available=on_hand - reserved)


def _weighed(level: StockLevel) -> StockLevel:
    low = not level.discontinued and level.available <= level.reorder_level
    return replace(level, low=low)


FIELDS: Final = {
    "sku": Field(str),
    "low": Field(bool, sortable=False),
    "available": Field(int),
    "on_hand": Field(int),
}

BY_SKU: Final = (Sort("sku"),)


def stock_levels(
    where: Sequence[Condition] = (), order_by: Sequence[Sort] = (), page: Page = FIRST_PAGE
) -> Select:
    """A page of stock levels, by sku unless another order is asked for."""
    return select(FIELDS, where, order_by or BY_SKU, page)


STOCK_LEVELS: Final = Projection(
    name="stock_levels",
    version=1,
    view=StockLevel,
    events=(
        *STOCK_MOVED,
        ReorderLevelSet,
        ProductAdded,
        ProductRenamed,
        ProductDiscontinued,
    ),
    keys=field_of("sku"),
    evolve=evolve,
    streams=streams_of_product,
    indexes=(index("sku"), index("low", "sku"), index("available"), index("on_hand")),
)
