"""Orders as clients see them: one with everything, or many in a list."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from operator import itemgetter
from typing import Any, TypeAlias, TypeVar, cast

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
from api.node import Node
from api.payments import Payment, payment_of
from api.reading import reading
from api.rights import EVERYONE
from api.scalars import Position
from api.shipping import Shipment, shipment_of
from api.subscriptions import Gap, follow
from api.values import Address, Money
from domain.money import rate_of
from domain.order_line import Progress
from readmodels.customer_directory import CUSTOMER_DIRECTORY
from readmodels.order_details import ORDER_DETAILS, OrderDetails
from readmodels.order_details import OrderLine as LineView
from readmodels.order_list import ORDER_LIST, OrderListed, orders
from readmodels.order_status import OrderStatus
from readmodels.page import Condition, Op, Page

T = TypeVar("T")
strawberry.enum(OrderStatus)
strawberry.enum(Progress, name="LineProgress")
Parent: TypeAlias = strawberry.Parent[OrderListed | OrderDetails]


@strawberry.type
class OrderLine:
    number: int
    sku: str
    name: str
    quantity: int
    unit_price: Money
    discount: Decimal
    tax_rate: Decimal
    net: Money = strawberry.field(description="Price times quantity less discount, rounded.")
    progress: Progress
    dispatched_at: datetime | None
    delivered_at: datetime | None
    returned_at: datetime | None

    @strawberry.field(description="The product as the catalogue has it now.")
    async def product(self, info: Info) -> Product | None:
        return await listed(info, self.sku)

    @classmethod
    def of(cls, line: LineView, currency: str) -> "OrderLine":
        return cls(
            number=line.number,
            sku=line.sku,
            name=line.name,
            quantity=line.quantity,
            unit_price=Money.of(line.unit_price, currency),
            discount=rate_of(line.discount),
            tax_rate=rate_of(line.tax),
            net=Money.of(line.net, currency),
            progress=line.progress,
            dispatched_at=line.dispatched_at,
            delivered_at=line.delivered_at,
            returned_at=line.returned_at,
        )


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


def detail(order: Any, info: Info, pick: Callable[[OrderDetails], T]) -> T | Awaitable[T]:
    """A detail of the order: at once where the details are there, else by the loader."""
    if isinstance(order, OrderDetails):
        return pick(order)

    async def loaded() -> T:
        details = await info.context.load(ORDER_DETAILS, order.order_id)
        assert details is not None, "both read models fold the same events"
        return pick(details)

    return loaded()


@strawberry.type
class Order(Node):
    """An order. What only the details know is loaded when it is asked for."""

    status: OrderStatus
    placed_at: datetime
    placed_on: date
    confirmed_at: datetime | None
    version: int

    @strawberry.field
    @staticmethod
    def customer_id(root: Parent) -> strawberry.ID:
        return strawberry.ID(root.customer_id)

    @strawberry.field
    @staticmethod
    async def customer(root: Parent, info: Info) -> Customer | None:
        found = await info.context.load(CUSTOMER_DIRECTORY, root.customer_id)
        return cast("Customer | None", found)

    @strawberry.field(description="What is charged, tax included.")
    @staticmethod
    def total(root: Parent) -> Money:
        return Money.of(root.total, root.currency)

    @strawberry.field
    @staticmethod
    def line_count(root: Parent) -> int:
        return len(root.lines) if isinstance(root, OrderDetails) else root.line_count

    @strawberry.field(description="Before tax.")
    @staticmethod
    def net(root: Parent, info: Info) -> Money:
        return cast(Money, detail(root, info, lambda order: Money.of(order.net, order.currency)))

    @strawberry.field
    @staticmethod
    def tax(root: Parent, info: Info) -> Money:
        return cast(Money, detail(root, info, lambda order: Money.of(order.tax, order.currency)))

    @strawberry.field
    @staticmethod
    def deliver_to(root: Parent, info: Info) -> Address:
        return cast(Address, detail(root, info, lambda order: order.deliver_to))

    @strawberry.field
    @staticmethod
    def region(root: Parent, info: Info) -> str:
        return cast(str, detail(root, info, lambda order: order.region))

    @strawberry.field
    @staticmethod
    def segment(root: Parent, info: Info) -> str:
        return cast(str, detail(root, info, lambda order: order.segment))

    @strawberry.field
    @staticmethod
    def lines(root: Parent, info: Info) -> list[OrderLine]:
        def of(order: OrderDetails) -> list[OrderLine]:
            return [OrderLine.of(line, order.currency) for line in order.lines]

        return cast(list[OrderLine], detail(root, info, of))

    @strawberry.field(description="What happened to the order, the first event first.")
    @staticmethod
    def timeline(root: Parent, info: Info) -> list[TimelineEntry]:
        return cast(list[TimelineEntry], detail(root, info, lambda order: order.timeline))

    @strawberry.field(description="Null while nothing is to be paid, and for imported orders.")
    @staticmethod
    async def payment(root: Parent, info: Info) -> Payment | None:
        return await payment_of(info, root.order_id)

    @strawberry.field(description="Null until the order is confirmed, and for imported orders.")
    @staticmethod
    async def shipment(root: Parent, info: Info) -> Shipment | None:
        return await shipment_of(info, root.order_id)

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
