"""Orders as clients see them: one with everything, or many in a list."""

from collections.abc import AsyncGenerator
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any, TypeAlias, cast

import strawberry

from api.catalogue import Product, listed
from api.connections import (
    Connection,
    DateFilter,
    DateTimeFilter,
    IdFilter,
    MoneyFilter,
    conditions,
    connect,
    sorts,
)
from api.context import Info
from api.customers import Customer
from api.joins import joined
from api.node import Node
from api.payments import Payment
from api.reading import reading
from api.rights import EVERYONE
from api.scalars import Position
from api.shipping import Shipment
from api.subscriptions import Gap, follow
from api.values import Address, Money
from domain.money import rate_of
from domain.order_line import Progress
from domain.order_to_cash import Story
from readmodels.customer_directory import CUSTOMER_DIRECTORY
from readmodels.order_details import ORDER_DETAILS, OrderDetails
from readmodels.order_details import OrderLine as LineView
from readmodels.order_list import ORDER_LIST, OrderListed, orders
from readmodels.order_status import OrderStatus
from readmodels.page import Condition, Op, Page
from readmodels.payments import PAYMENTS
from readmodels.product_catalogue import PRODUCT_CATALOGUE
from readmodels.shipments import SHIPMENTS

strawberry.enum(OrderStatus)
strawberry.enum(Progress, name="LineProgress")
Parent: TypeAlias = strawberry.Parent[OrderListed | OrderDetails]
LineParent: TypeAlias = strawberry.Parent[LineView]


@strawberry.type
class OrderLine:
    number: int
    sku: str
    name: str
    quantity: int
    progress: Progress
    dispatched_at: datetime | None
    delivered_at: datetime | None
    returned_at: datetime | None
    product: Product | None = joined(
        PRODUCT_CATALOGUE, attrgetter("sku"), listed, "The product as the catalogue has it now."
    )

    @strawberry.field
    @staticmethod
    def unit_price(root: LineParent) -> Money:
        return Money.of(root.unit_price, root.currency)

    @strawberry.field
    @staticmethod
    def discount(root: LineParent) -> Decimal:
        return rate_of(root.discount)

    @strawberry.field
    @staticmethod
    def tax_rate(root: LineParent) -> Decimal:
        return rate_of(root.tax)

    @strawberry.field(description="Price times quantity less discount, rounded.")
    @staticmethod
    def net(root: LineParent) -> Money:
        return Money.of(root.net, root.currency)


@strawberry.type
class TimelineEntry:
    """One event of the order."""

    position: Position
    version: int
    event: str
    at: datetime
    actor: str
    reason: str | None
    text: str


detail = partial(joined, ORDER_DETAILS, attrgetter("order_id"))
"""What only the details of an order know."""


@strawberry.type
class Order(Node):
    """An order. What only the details know is loaded when it is asked for."""

    status: OrderStatus
    placed_at: datetime
    placed_on: date
    confirmed_at: datetime | None
    version: int
    customer: Customer | None = joined(CUSTOMER_DIRECTORY, attrgetter("customer_id"))
    net: Money = detail(lambda order: Money.of(order.net, order.currency), "Before tax.")
    tax: Money = detail(lambda order: Money.of(order.tax, order.currency))
    deliver_to: Address = detail(attrgetter("deliver_to"))
    region: str = detail(attrgetter("region"))
    segment: str = detail(attrgetter("segment"))
    lines: list[OrderLine] = detail(attrgetter("lines"))
    timeline: list[TimelineEntry] = detail(
        attrgetter("timeline"), "What happened to the order, the first event first."
    )
    payment: Payment | None = joined(
        PAYMENTS,
        lambda order: Story(order_id=order.order_id).payment_id,
        description="Null while nothing is to be paid, and for imported orders.",
    )
    shipment: Shipment | None = joined(
        SHIPMENTS,
        lambda order: Story(order_id=order.order_id).shipment_id,
        description="Null until the order is confirmed, and for imported orders.",
    )

    @strawberry.field
    @staticmethod
    def customer_id(root: Parent) -> strawberry.ID:
        return strawberry.ID(root.customer_id)

    @strawberry.field(description="What is charged, tax included.")
    @staticmethod
    def total(root: Parent) -> Money:
        return Money.of(root.total, root.currency)

    @strawberry.field
    @staticmethod
    def line_count(root: Parent) -> int:
        return len(root.lines) if isinstance(root, OrderDetails) else root.line_count

    @classmethod
    def is_type_of(cls, value: object, _: Any) -> bool:
        return isinstance(value, OrderListed | OrderDetails)


# -- queries


@strawberry.enum
class OrderOrder(Enum):
    PLACED_AT_ASC = "placed_at_asc"
    PLACED_AT_DESC = "placed_at_desc"
    TOTAL_ASC = "total_asc"
    TOTAL_DESC = "total_desc"


@strawberry.input
class OrderStatusFilter:
    eq: OrderStatus | None = None
    in_: list[OrderStatus] | None = strawberry.field(name="in", default=None)


@strawberry.input
class OrderWhere:
    customer_id: IdFilter | None = None
    status: OrderStatusFilter | None = None
    placed_at: DateTimeFilter | None = None
    placed_on: DateFilter | None = None
    total: MoneyFilter | None = None


async def own_order(info: Info, id: str) -> Order | None:
    """The order, if it is there and theirs; the same refusal for both, for customers."""
    found = await info.context.load(ORDER_DETAILS, id)
    info.context.require_own(found.customer_id if found else None)
    return cast("Order | None", found)


@strawberry.type
class OrderQuery:
    @reading(EVERYONE, "An order; one's own for customers.", stream=itemgetter("id"))
    async def order(self, info: Info, id: strawberry.ID) -> Order | None:
        return await own_order(info, id)

    @reading(EVERYONE, "Orders; one's own for customers.")
    async def orders(
        self,
        info: Info,
        page: Page,
        where: OrderWhere | None = None,
        order_by: list[OrderOrder] | None = None,
    ) -> Connection[Order]:
        wanted = conditions(where)
        if not info.context.is_staff():
            own = info.context.principal.customer_id
            info.context.require_own(own)
            wanted.append(Condition("customer_id", Op.EQ, own))
        query = orders(wanted, sorts(order_by), page)
        return cast(Connection[Order], await connect(info, ORDER_LIST, query))


# -- subscriptions


@strawberry.type
class OrderChange:
    """The order as of `position`. `gap` instead, where what was missed cannot be told."""

    position: Position
    order: Order | None
    gap: Gap | None = None


@strawberry.type
class OrderSubscription:
    @strawberry.subscription(
        metadata=EVERYONE,
        description="Orders as they change, the latest state of each; resumable with `after`.",
    )
    async def order_changed(
        self,
        info: Info,
        id: strawberry.ID | None = None,
        customer_id: strawberry.ID | None = None,
        after: Position | None = None,
    ) -> AsyncGenerator[OrderChange, None]:
        if id is not None:
            await own_order(info, id)
        elif not info.context.is_staff():
            info.context.require_own(customer_id)
        topic = id or customer_id
        async for change in follow(info, ORDER_DETAILS.name, topic, after):
            if isinstance(change, Gap):
                yield OrderChange(position=change.to, order=None, gap=change)
            else:
                yield OrderChange(
                    position=Position(change.position), order=cast(Order, change.value)
                )
