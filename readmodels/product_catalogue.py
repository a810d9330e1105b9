"""Product catalogue: what can be ordered, at which price, and how much of it is free?

1. A product is listed once it has a price.
2. Stock may arrive before its product is added: such a document is kept, but not listed.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias, assert_never, get_args

from domain.decider import message
from domain.money import Money
from domain.product import (
    ProductAdded,
    ProductDiscontinued,
    ProductPriced,
    ProductRenamed,
)
from domain.recorded import Recorded
from readmodels.page import FIRST_PAGE, Condition, Field, Op, Page, Select, Sort, select
from readmodels.projection import Index, Projection, field_of, index
from readmodels.stock_change import STOCK_MOVED, StockMoved, stock_change, streams_of_product
from readmodels.words import folded, words


@message
class ProductListed:
    """`version` is that of the product's stream; stock moves on without it."""

    sku: str
    listed: bool = False
    name: str = ""
    brand: str = ""
    price: Money | None = None
    tax: int = 0
    discontinued: bool = False
    on_hand: int = 0
    reserved: int = 0
    available: int = 0
    search: tuple[str, ...] = ()
    sort_name: str = ""
    version: int = 0


ProductChanged: TypeAlias = ProductAdded | ProductPriced | ProductRenamed | ProductDiscontinued


def evolve(product: ProductListed | None, recorded: Recorded, sku: str) -> ProductListed | None:
    product = product or ProductListed(sku=sku)
    if isinstance(recorded.event, STOCK_MOVED):
        return _moved(product, recorded.event)
    return replace(_changed(product, recorded.event), version=recorded.version)


def _moved(product: ProductListed, event: StockMoved) -> ProductListed:
    on_hand, reserved = stock_change(event)
    on_hand += product.on_hand
    reserved += product.reserved
    return replace(product, on_hand=on_hand, reserved=reserved, available=on_hand - reserved)


def _changed(product: ProductListed, event: ProductChanged) -> ProductListed:
    match event:
        case ProductAdded():
            return _called(replace(product, brand=event.brand, tax=event.tax), event.name)
        case ProductPriced():
            return replace(product, listed=True, price=event.price)
        case ProductRenamed():
            return _called(product, event.name)
        case ProductDiscontinued():
            return replace(product, discontinued=True)
        case _:
            assert_never(event)


def _called(product: ProductListed, name: str) -> ProductListed:
    return replace(product, name=name, search=words(name), sort_name=folded(name))


FIELDS: Final = {
    "sku": Field(str),
    "search": Field(str, many=True, sortable=False),
    "sort_name": Field(str),
    "brand": Field(str),
    "discontinued": Field(bool),
    "available": Field(int),
}

BY_NAME: Final = (Sort("sort_name"),)


def named(text: str) -> tuple[Condition, ...]:
    """What makes a product be found by this text: each word begins a word of the name."""
    return tuple(Condition("search", Op.STARTS_WITH, word) for word in words(text))


def products(
    where: Sequence[Condition] = (), order_by: Sequence[Sort] = (), page: Page = FIRST_PAGE
) -> Select:
    """A page of listed products, by name unless another order is asked for."""
    return select(FIELDS, where, order_by or BY_NAME, page, always={"listed": {"$eq": True}})


def _indexes() -> tuple[Index, ...]:
    return tuple(index("listed", name) for name in FIELDS)


PRODUCT_CATALOGUE: Final = Projection(
    name="product_catalogue",
    version=2,
    view=ProductListed,
    events=(*get_args(ProductChanged), *STOCK_MOVED),
    keys=field_of("sku"),
    evolve=evolve,
    streams=streams_of_product,
    indexes=_indexes(),
)
