"""Payments as clients see them: what was set aside, captured and paid back for an order."""

from datetime import datetime
from enum import Enum
from operator import itemgetter
from typing import Any, TypeAlias, cast

import strawberry

from api.connections import (
    Connection,
    DateTimeFilter,
    IdFilter,
    conditions,
    connect,
    sorts,
)
from api.context import Info
from api.node import Node
from api.reading import reading
from api.rights import EVERYONE, STAFF
from api.values import Money
from readmodels.page import Page
from readmodels.payments import PAYMENTS, PaymentListed, PaymentStatus, payments

strawberry.enum(PaymentStatus)
Parent: TypeAlias = strawberry.Parent[PaymentListed]


@strawberry.type
class Payment(Node):
    """The payment of one order. Amounts are what the provider has answered."""

    order_id: strawberry.ID
    customer_id: strawberry.ID
    status: PaymentStatus
    reference: str | None = strawberry.field(description="The provider's name for it.")
    decline_reason: str | None
    requested_at: datetime
    version: int

    @strawberry.field(description="What was asked for, at most.")
    @staticmethod
    def amount(root: Parent) -> Money:
        return Money.of(root.amount, root.currency)

    @strawberry.field
    @staticmethod
    def captured(root: Parent) -> Money:
        return Money.of(root.captured, root.currency)

    @strawberry.field
    @staticmethod
    def refunded(root: Parent) -> Money:
        return Money.of(root.refunded, root.currency)

    @classmethod
    def is_type_of(cls, value: object, _: Any) -> bool:
        return isinstance(value, PaymentListed)


# -- queries


@strawberry.enum
class PaymentOrder(Enum):
    REQUESTED_AT_ASC = "requested_at_asc"
    REQUESTED_AT_DESC = "requested_at_desc"


@strawberry.input
class PaymentStatusFilter:
    eq: PaymentStatus | None = None
    in_: list[PaymentStatus] | None = strawberry.field(name="in", default=None)


@strawberry.input
class PaymentWhere:
    order_id: IdFilter | None = None
    customer_id: IdFilter | None = None
    status: PaymentStatusFilter | None = None
    requested_at: DateTimeFilter | None = None


async def own_payment(info: Info, id: str) -> Payment | None:
    """The payment, if it is there and theirs; the same refusal for both, for customers."""
    found = await info.context.load(PAYMENTS, id)
    info.context.require_own(found.customer_id if found else None)
    return cast("Payment | None", found)


@strawberry.type
class PaymentQuery:
    @reading(EVERYONE, "A payment; one's own for customers.", stream=itemgetter("id"))
    async def payment(self, info: Info, id: strawberry.ID) -> Payment | None:
        return await own_payment(info, id)

    @reading(STAFF, "The latest first, unless asked otherwise.")
    async def payments(
        self,
        info: Info,
        page: Page,
        where: PaymentWhere | None = None,
        order_by: list[PaymentOrder] | None = None,
    ) -> Connection[Payment]:
        query = payments(conditions(where), sorts(order_by), page)
        return cast(Connection[Payment], await connect(info, PAYMENTS, query))
