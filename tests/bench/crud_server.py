"""What Tidings is held against: orders as a plain CRUD program, built as its makers advise.

Strawberry with the caches for parsing and validation on, Beanie documents, orjson, uvicorn on
uvloop and httptools, acknowledged by majority and journal. No sign-in, no limits, no events.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import uuid4

import orjson
import strawberry
import uvicorn
from beanie import Document, init_beanie
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.routing import Route
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache

CENTS = Decimal(100)


@strawberry.enum
class OrderStatus(Enum):
    PLACED = "placed"
    CANCELLED = "cancelled"


class LineDocument(BaseModel):
    sku: str
    name: str
    quantity: int
    unit_price: int


class AddressDocument(BaseModel):
    street: str
    city: str
    postal_code: str
    country: str
    region: str


class OrderDocument(Document):
    """Amounts in minor units."""

    id: str = Field(default_factory=lambda: f"order-{uuid4()}")  # type: ignore[assignment]  # no ObjectId
    customer_id: str
    status: OrderStatus = OrderStatus.PLACED
    placed_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    currency: str
    total: int
    lines: list[LineDocument]
    deliver_to: AddressDocument

    class Settings:
        name = "orders"


# -- types


@strawberry.type
class Money:
    amount: Decimal
    currency: str

    @classmethod
    def of(cls, minor: int, currency: str) -> "Money":
        return cls(amount=minor / CENTS, currency=currency)


@strawberry.type
class OrderLine:
    sku: str
    name: str
    quantity: int
    unit_price: Money


@strawberry.type
class Address:
    street: str
    city: str
    postal_code: str
    country: str
    region: str


@strawberry.type
class Order:
    id: strawberry.ID
    status: OrderStatus
    total: Money
    lines: list[OrderLine]
    deliver_to: Address

    @classmethod
    def of(cls, order: OrderDocument) -> "Order":
        return cls(
            id=strawberry.ID(order.id),
            status=order.status,
            total=Money.of(order.total, order.currency),
            lines=[
                OrderLine(
                    sku=line.sku,
                    name=line.name,
                    quantity=line.quantity,
                    unit_price=Money.of(line.unit_price, order.currency),
                )
                for line in order.lines
            ],
            deliver_to=Address(**order.deliver_to.model_dump()),
        )


@strawberry.input
class OrderLineInput:
    """The price comes with the request: this program has no catalogue to look it up in."""

    sku: str
    quantity: int
    unit_price: Decimal


@strawberry.input
class AddressInput:
    street: str
    city: str
    postal_code: str = ""
    country: str
    region: str = ""


@strawberry.input
class PlaceOrderInput:
    customer_id: strawberry.ID
    lines: list[OrderLineInput]
    deliver_to: AddressInput

    def document(self) -> OrderDocument:
        lines = [
            LineDocument(
                sku=line.sku,
                name=f"Thing {line.sku}",
                quantity=line.quantity,
                unit_price=int(line.unit_price * CENTS),
            )
            for line in self.lines
        ]
        return OrderDocument(
            customer_id=self.customer_id,
            currency="EUR",
            total=sum(line.unit_price * line.quantity for line in lines),
            lines=lines,
            deliver_to=AddressDocument(**vars(self.deliver_to)),
        )


# -- operations


@strawberry.type
class Query:
    @strawberry.field
    async def order(self, id: strawberry.ID) -> Order | None:
        found = await OrderDocument.get(id)
        return Order.of(found) if found else None


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def place_order(self, input: PlaceOrderInput) -> Order:
        return Order.of(await input.document().insert())


class OrjsonGraphQL(GraphQL[None, None]):
    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)


def create_app(uri: str, database: str) -> Starlette:
    @asynccontextmanager
    async def connected(_: Any) -> AsyncIterator[None]:
        client: Any = AsyncIOMotorClient(uri, w="majority", journal=True)
        await init_beanie(client[database], document_models=[OrderDocument])
        yield
        client.close()

    schema = strawberry.Schema(
        query=Query, mutation=Mutation, extensions=[ParserCache, ValidationCache]
    )
    return Starlette(lifespan=connected, routes=[Route("/graphql", OrjsonGraphQL(schema))])


if __name__ == "__main__":
    uvicorn.run(
        create_app(sys.argv[1], sys.argv[2]),
        port=int(sys.argv[3]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
