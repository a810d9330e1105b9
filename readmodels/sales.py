"""Sales: what was ordered on a day, and what was ordered of a product in a region?

1. Orders count on the day they were placed; a cancelled order is taken off that day again.
2. Revenue is price times quantity less discount, before tax. It is kept exact: answers round it
   once, after summing (see `domain.money`).
3. Returns are told per customer (see `returns`), not here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Final, TypeAlias

from domain.decider import message
from domain.order import OrderCancelled, OrderPlaced
from domain.order_line import Line
from domain.recorded import Recorded
from readmodels.page import (
    FIRST_PAGE,
    Condition,
    Field,
    FilterInvalid,
    Op,
    Page,
    Select,
    Sort,
    every,
    select,
)
from readmodels.projection import Projection, index, joined, parted

Sold: TypeAlias = OrderPlaced | OrderCancelled


def _placed_on(event: Sold) -> date:
    return event.at.date() if isinstance(event, OrderPlaced) else event.placed_on


def _amounts(lines: Iterable[Line]) -> tuple[int, int]:
    """Units and exact revenue."""
    units = exact = 0
    for line in lines:
        units += line.quantity
        exact += line.net_exact
    return units, exact


# -- by day


@message
class DailySales:
    """Of the orders placed on `day`: those that stand, and how many were cancelled since."""

    day: date
    currency: str
    orders: int = 0
    units: int = 0
    revenue_exact: int = 0
    cancelled_orders: int = 0


def keys_by_day(recorded: Recorded) -> tuple[str, ...]:
    event: Sold = recorded.event
    return (joined(_placed_on(event).isoformat(), event.currency),)


def evolve_day(sales: DailySales | None, recorded: Recorded, _: str) -> DailySales | None:
    event: Sold = recorded.event
    units, exact = _amounts(event.lines)
    if isinstance(event, OrderPlaced):
        sales = sales or DailySales(day=_placed_on(event), currency=event.currency)
        return DailySales(  # as `replace` does, in a third of the time
            day=sales.day,
            currency=sales.currency,
            orders=sales.orders + 1,
            units=sales.units + units,
            revenue_exact=sales.revenue_exact + exact,
            cancelled_orders=sales.cancelled_orders,
        )
    return sales and replace(
        sales,
        orders=sales.orders - 1,
        units=sales.units - units,
        revenue_exact=sales.revenue_exact - exact,
        cancelled_orders=sales.cancelled_orders + 1,
    )


DAY_FIELDS: Final = {"day": Field(date), "currency": Field(str)}

MOST_DAYS: Final = 3_660
"""Ten years."""


def sales_by_day(first: date, last: date, currency: str | None = None) -> Select:
    """All days from `first` to `last` on which something was ordered, in order."""
    if (last - first).days >= MOST_DAYS:
        raise FilterInvalid(f"Ask for at most {MOST_DAYS} days.")
    where = [Condition("day", Op.BETWEEN, (first, last))]
    if currency is not None:
        where.append(Condition("currency", Op.EQ, currency))
    return every(DAY_FIELDS, where, (Sort("day"), Sort("currency")))


SALES_BY_DAY: Final = Projection(
    name="sales_by_day",
    version=1,
    view=DailySales,
    events=(OrderPlaced, OrderCancelled),
    keys=keys_by_day,
    evolve=evolve_day,
    indexes=(index("day", "currency"),),
)


# -- by product and region


@message
class ProductSales:
    """Of one region, or of all together (`region` is None then). `name` is what the product was
    called when it was last ordered."""

    sku: str
    region: str | None
    currency: str
    everywhere: bool
    name: str = ""
    units: int = 0
    revenue_exact: int = 0


def keys_by_product(recorded: Recorded) -> Iterable[str]:
    event: Sold = recorded.event
    skus = dict.fromkeys(line.sku for line in event.lines)
    return [
        key
        for sku in skus
        for key in (
            joined(sku, event.currency),
            joined(sku, event.currency, event.region),
        )
    ]


def evolve_product(sales: ProductSales | None, recorded: Recorded, key: str) -> ProductSales | None:
    event: Sold = recorded.event
    sku, currency, *region = parted(key)
    lines = [line for line in event.lines if line.sku == sku]
    units, exact = _amounts(lines)
    if isinstance(event, OrderPlaced):
        sales = sales or ProductSales(
            sku=sku,
            region=region[0] if region else None,
            currency=currency,
            everywhere=not region,
        )
        return ProductSales(
            sku=sku,
            region=sales.region,
            currency=currency,
            everywhere=sales.everywhere,
            name=lines[-1].name,
            units=sales.units + units,
            revenue_exact=sales.revenue_exact + exact,
        )
    return sales and replace(
        sales,
        units=sales.units - units,
        revenue_exact=sales.revenue_exact - exact,
    )


PRODUCT_FIELDS: Final = {
    "sku": Field(str),
    "region": Field(str, sortable=False),
    "currency": Field(str, sortable=False),
    "revenue_exact": Field(int),
}

BEST_FIRST: Final = (Sort("revenue_exact", descending=True),)


def sales_by_product(
    where: Sequence[Condition] = (),
    order_by: Sequence[Sort] = (),
    page: Page = FIRST_PAGE,
    *,
    by_region: bool = False,
) -> Select:
    """A page of products (and regions), the best sold first unless asked otherwise."""
    kind = {"everywhere": {"$eq": not by_region}}
    return select(PRODUCT_FIELDS, where, order_by or BEST_FIRST, page, always=kind)


SALES_BY_PRODUCT: Final = Projection(
    name="sales_by_product",
    version=1,
    view=ProductSales,
    events=(OrderPlaced, OrderCancelled),
    keys=keys_by_product,
    evolve=evolve_product,
    indexes=(
        index("everywhere", "sku"),
        index("everywhere", "region", "revenue_exact"),
        index("everywhere", "currency", "revenue_exact"),
        index("everywhere", "revenue_exact"),
    ),
)
