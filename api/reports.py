"""Reports: sales, backlog and returns. Exact sums are rounded here, once (see `domain.money`)."""

from datetime import date, datetime, timedelta
from enum import Enum
from operator import attrgetter
from typing import Annotated, Any, Final, cast

import strawberry

from api.connections import (
    Connection,
    IdFilter,
    StringFilter,
    conditions,
    connect,
    sorts,
)
from api.context import Info
from api.customers import Customer
from api.errors import ApiError, ErrorCode
from api.joins import joined
from api.reading import reading
from api.rights import STAFF
from api.scalars import Count, CurrencyCode
from api.values import Money
from domain.money import rounded
from infra.codec import from_stored
from readmodels.backlog import BACKLOG, BacklogWorth, backlog_on
from readmodels.customer_directory import CUSTOMER_DIRECTORY
from readmodels.page import MOST_ITEMS, Page
from readmodels.returns import RETURNS, ReturnsWorth, returns, returns_of_orders
from readmodels.sales import SALES_BY_DAY, SALES_BY_PRODUCT, sales_by_day, sales_by_product

MOST_MONTHS: Final = 120


def _revenue(root: strawberry.Parent[Any]) -> Money:
    return Money.of(rounded(root.revenue_exact), root.currency)


def _returned(root: strawberry.Parent[Any]) -> Money:
    return Money.of(rounded(root.returned_exact), root.currency)


@strawberry.type
class DailySales:
    """The orders placed on a day; cancelled ones are taken off again."""

    day: date
    orders: int
    units: Count
    cancelled_orders: int
    revenue: Money = strawberry.field(resolver=_revenue)


@strawberry.type
class ProductSales:
    """What was ordered of a product, by customers of a region or by all (`region` is null)."""

    sku: str
    region: str | None
    name: str
    units: Count
    revenue: Money = strawberry.field(resolver=_revenue)


@strawberry.type
class BacklogEntry:
    """An order that waits on the day asked for, with what its waiting lines are worth."""

    order_id: strawberry.ID
    customer_id: strawberry.ID
    placed_on: date
    lines: int
    revenue: Money = strawberry.field(resolver=_revenue)


@strawberry.type
class CustomerReturns:
    """What a customer has sent back."""

    customer_id: strawberry.ID
    returned_lines: int
    last_returned_at: datetime
    customer: Customer | None = joined(CUSTOMER_DIRECTORY, attrgetter("customer_id"))
    returned: Money = strawberry.field(resolver=_returned)


@strawberry.type
class ReturnsOfOrders:
    """What a customer has sent back of what they ordered in the months asked for."""

    customer_id: strawberry.ID
    returned: Money = strawberry.field(resolver=_returned)


@strawberry.enum
class ProductSalesOrder(Enum):
    REVENUE_ASC = "revenue_exact_asc"
    REVENUE_DESC = "revenue_exact_desc"
    SKU_ASC = "sku_asc"
    SKU_DESC = "sku_desc"


@strawberry.input
class ProductSalesWhere:
    sku: StringFilter | None = None
    region: StringFilter | None = None
    currency: StringFilter | None = None


@strawberry.input
class ReturnsWhere:
    customer_id: IdFilter | None = None


def _at_most(first: int) -> int:
    if not 1 <= first <= MOST_ITEMS:
        raise ApiError(ErrorCode.BAD_REQUEST, f"`first` is between 1 and {MOST_ITEMS}.")
    return first


@strawberry.type
class ReportQuery:
    @reading(STAFF, "Days on which something was ordered.")
    async def sales_by_day(
        self,
        info: Info,
        from_: Annotated[date, strawberry.argument(name="from")],
        to: date,
        currency: CurrencyCode | None = None,
    ) -> list[DailySales]:
        query = sales_by_day(from_, to, currency)
        rows = await info.context.select(SALES_BY_DAY, query)
        return cast(list[DailySales], [row.view for row in rows])

    @reading(
        STAFF,
        "Products, or with `byRegion` products in each region; best sold first, unless "
        "asked otherwise.",
    )
    async def sales_by_product(
        self,
        info: Info,
        page: Page,
        where: ProductSalesWhere | None = None,
        order_by: list[ProductSalesOrder] | None = None,
        by_region: bool = False,
    ) -> Connection[ProductSales]:
        wanted, order = conditions(where), sorts(order_by)
        by_region = by_region or any(condition.field == "region" for condition in wanted)
        query = sales_by_product(wanted, order, page, by_region=by_region)
        return cast(Connection[ProductSales], await connect(info, SALES_BY_PRODUCT, query))

    @reading(
        STAFF,
        "Orders with lines not dispatched by the end of `on`, the worthiest first. "
        "`placedBefore` is the day after `on` unless given.",
    )
    async def backlog(
        self,
        info: Info,
        on: date,
        placed_before: date | None = None,
        segment: str | None = None,
        first: int = 20,
    ) -> list[BacklogEntry]:
        before = placed_before or (on + timedelta(days=1) if on < date.max else on)
        pipeline = backlog_on(on, before, segment, _at_most(first))
        rows = await info.context.aggregate(BACKLOG, pipeline)
        return cast(list[BacklogEntry], [from_stored(BacklogWorth, row) for row in rows])

    @reading(STAFF, "Customers who sent back most, first.")
    async def returns(
        self,
        info: Info,
        page: Page,
        where: ReturnsWhere | None = None,
    ) -> Connection[CustomerReturns]:
        query = returns(conditions(where), (), page)
        return cast(Connection[CustomerReturns], await connect(info, RETURNS, query))

    @reading(STAFF, "Who sent back most of what was ordered in the `months` from that of `from`.")
    async def returns_of_orders(
        self,
        info: Info,
        from_: Annotated[date, strawberry.argument(name="from")],
        months: int = 3,
        first: int = 20,
    ) -> list[ReturnsOfOrders]:
        if not 1 <= months <= MOST_MONTHS:
            raise ApiError(ErrorCode.BAD_REQUEST, f"`months` is between 1 and {MOST_MONTHS}.")
        pipeline = returns_of_orders((from_.year, from_.month), months, _at_most(first))
        rows = await info.context.aggregate(RETURNS, pipeline)
        return cast(list[ReturnsOfOrders], [from_stored(ReturnsWorth, row) for row in rows])
