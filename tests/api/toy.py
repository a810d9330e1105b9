"""A small schema with one of everything, and what a request needs around it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import strawberry

from api.auth import Principal, Role
from api.errors import ApiError, ErrorCode
from api.execution import Executor
from infra.settings import Limits


@strawberry.enum
class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@strawberry.type
class Money:
    amount: Decimal
    colour: Colour


@strawberry.type
class Line:
    sku: str
    price: Money


@strawberry.interface
class Node:
    id: strawberry.ID


@strawberry.type
class Order(Node):
    lines: list[Line]

    @strawberry.field
    def itself(self) -> "Order":
        return self


@strawberry.type
class Customer(Node):
    name: str


@strawberry.type
class PageInfo:
    more: bool


@strawberry.type
class Orders:
    nodes: list[Order]
    page_info: PageInfo


Found = Annotated[Order | Customer, strawberry.union("Found")]


@dataclass
class ToyContext:
    principal: Principal
    trace_id: str
    done: list[str] = field(default_factory=list)

    def extensions(self) -> dict[str, Any]:
        return {"position": "0:7"}


Info = strawberry.Info[ToyContext, None]


def order(id: str) -> Order:
    return Order(
        id=strawberry.ID(id),
        lines=[Line(sku="a", price=Money(amount=Decimal("1.50"), colour=Colour.RED))],
    )


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "there"

    @strawberry.field
    async def order(self, info: Info, id: strawberry.ID) -> Order | None:
        assert info.context.principal.subject
        return order(id)

    @strawberry.field
    def orders(
        self, first: int = 20, last: int | None = None, colour: Colour = Colour.RED
    ) -> Orders:
        assert colour in Colour
        first = last or first
        return Orders(
            nodes=[order(f"order-{n}") for n in range(first)], page_info=PageInfo(more=True)
        )

    @strawberry.field
    def nodes(self, ids: list[strawberry.ID]) -> list[Node | None]:
        return [order(each) for each in ids]

    @strawberry.field
    def found(self) -> list[Found]:
        return [order("order-1"), Customer(id=strawberry.ID("customer-1"), name="Ann")]

    @strawberry.field
    def broken(self) -> str | None:
        raise RuntimeError("secret of ours")

    @strawberry.field
    def behind(self) -> str | None:
        raise ApiError(ErrorCode.READ_MODEL_BEHIND, "Not there yet.")

    @strawberry.field
    async def slow(self) -> str:
        await asyncio.sleep(60)
        return "at last"

    @strawberry.field
    def secret(self) -> str:
        return "for operators"


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def place(self, info: Info, wait: float = 0) -> str:
        await asyncio.sleep(wait)
        info.context.done.append("placed")
        return "placed"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for n in range(to):
            yield n

    @strawberry.subscription
    async def failing(self) -> AsyncGenerator[int, None]:
        yield 1
        raise RuntimeError("secret of ours")

    @strawberry.subscription
    async def closed(self) -> AsyncGenerator[int, None]:
        raise ApiError(ErrorCode.FORBIDDEN, "Not for you.")
        yield 1


SCHEMA = strawberry.Schema(Query, Mutation, Subscription, types=[Order, Customer])

STAFF = frozenset({Role.STAFF})
ALLOWED = {
    **{
        f"Query.{name}": STAFF
        for name in ("hello", "order", "orders", "nodes", "found", "broken", "behind", "slow")
    },
    "Query.secret": frozenset({Role.OPERATOR}),
    "Mutation.place": STAFF,
    **{f"Subscription.{name}": STAFF for name in ("count", "failing", "closed")},
}

ANN = Principal("ann", STAFF, None, 4e9)

DOUBLING = "{ order(id: 1) { ...F24 } } fragment F0 on Order { id } " + " ".join(
    f"fragment F{n} on Order {{ ...F{n - 1} ...F{n - 1} }}" for n in range(1, 25)
)
"""Each fragment spreads the one before it twice: 16 million fields in some 800 bytes."""


def executor(limits: Limits | None = None, *, introspection: bool = False) -> Executor:
    return Executor(SCHEMA, limits or Limits(), introspection=introspection, allowed=ALLOWED)


@asynccontextmanager
async def open_context(principal: Principal, trace_id: str) -> AsyncIterator[ToyContext]:
    yield ToyContext(principal, trace_id)
