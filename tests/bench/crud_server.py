"""What Tidings is held against: orders as a plain CRUD program, built as its makers advise.

Strawberry with the caches for parsing and validation on, Motor with one round trip per operation
and an index for each list, orjson, uvicorn on uvloop and httptools, acknowledged by majority and
journal. Subscribers are told from memory, each through a queue of its own, over Strawberry's own
websockets. No sign-in, no limits, no events.
"""

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias
from uuid import uuid4

import orjson
import strawberry
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import IndexModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache

from tests.bench.bare_server import serve

CENTS = Decimal(100)
LARGEST_PAGE = 100

Document: TypeAlias = dict[str, Any]
"""An order as it is stored, with amounts in minor units."""


@strawberry.enum
class OrderStatus(Enum):
    PLACED = "placed"
    CANCELLED = "cancelled"


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
    def of(cls, order: Document) -> "Order":
        currency = order["currency"]
        return cls(
            id=strawberry.ID(order["_id"]),
            status=OrderStatus(order["status"]),
            total=Money.of(order["total"], currency),
            lines=[
                OrderLine(
                    sku=line["sku"],
                    name=line["name"],
                    quantity=line["quantity"],
                    unit_price=Money.of(line["unit_price"], currency),
                )
                for line in order["lines"]
            ],
            deliver_to=Address(**order["deliver_to"]),
        )


@strawberry.type
class OrderPage:
    nodes: list[Order]

    @strawberry.field(description="What to ask for `after`; null behind the last order.")
    def end_cursor(self) -> str | None:
        return self.nodes[-1].id if self.nodes else None


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

    def document(self) -> Document:
        lines = [
            {
                "sku": line.sku,
                "name": f"Thing {line.sku}",
                "quantity": line.quantity,
                "unit_price": int(line.unit_price * CENTS),
            }
            for line in self.lines
        ]
        return {
            "_id": f"order-{uuid4()}",
            "customer_id": self.customer_id,
            "status": OrderStatus.PLACED.value,
            "placed_at": datetime.now(UTC),
            "currency": "EUR",
            "total": sum(int(line.unit_price * CENTS) * line.quantity for line in self.lines),
            "lines": lines,
            "deliver_to": asdict(self.deliver_to),
        }


# -- subscribers


class Feed:
    """Tells subscribers of this process: each has a queue with the topic it asked for."""

    def __init__(self) -> None:
        self._queues: defaultdict[str, set[asyncio.Queue[Order]]] = defaultdict(set)

    def tell(self, order: Order, *topics: str) -> None:
        for topic in topics:
            for queue in self._queues.get(topic, ()):
                queue.put_nowait(order)

    async def follow(self, topic: str) -> AsyncGenerator[Order, None]:
        queue: asyncio.Queue[Order] = asyncio.Queue()
        self._queues[topic].add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues[topic].discard(queue)
            if not self._queues[topic]:
                del self._queues[topic]


EVERY_ORDER = "*"


# -- operations


@dataclass(frozen=True)
class App:
    """What resolvers work with."""

    orders: Any
    feed: Feed


Info: TypeAlias = strawberry.Info[App, None]


@strawberry.type
class Query:
    @strawberry.field
    async def order(self, info: Info, id: strawberry.ID) -> Order | None:
        found = await info.context.orders.find_one({"_id": id})
        return Order.of(found) if found else None

    @strawberry.field
    async def orders(
        self,
        info: Info,
        first: int = 20,
        after: str | None = None,
        customer_id: strawberry.ID | None = None,
    ) -> OrderPage:
        where: Document = {"customer_id": customer_id} if customer_id else {}
        if after is not None:
            where["_id"] = {"$gt": after}
        size = max(1, min(first, LARGEST_PAGE))
        found = info.context.orders.find(where, sort=[("_id", 1)], limit=size)
        return OrderPage(nodes=[Order.of(each) for each in await found.to_list(size)])


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def place_order(self, info: Info, input: PlaceOrderInput) -> Order:
        document = input.document()
        await info.context.orders.insert_one(document)
        order = Order.of(document)
        info.context.feed.tell(order, order.id, document["customer_id"], EVERY_ORDER)
        return order


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def order_changed(
        self, info: Info, id: strawberry.ID | None = None, customer_id: strawberry.ID | None = None
    ) -> AsyncGenerator[Order, None]:
        async for order in info.context.feed.follow(id or customer_id or EVERY_ORDER):
            yield order


class OrjsonGraphQL(GraphQL[App, None]):
    """Text and not bytes: what is sent as bytes is not a text frame on a websocket."""

    app: App

    def encode_json(self, data: object) -> str:
        return orjson.dumps(data).decode()

    async def get_context(
        self,
        request: Request | WebSocket,  # noqa: ARG002  as the base class calls it
        response: Response | WebSocket,  # noqa: ARG002
    ) -> App:
        """The same for all: requests differ in nothing that resolvers need."""
        return self.app


def create_app(uri: str, database: str) -> Starlette:
    schema = strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        extensions=[ParserCache, ValidationCache],
    )
    graphql = OrjsonGraphQL(schema)

    @asynccontextmanager
    async def connected(_: Any) -> AsyncIterator[None]:
        client: Any = AsyncIOMotorClient(uri, w="majority", journal=True)
        orders = client[database]["orders"]
        await orders.create_indexes([IndexModel([("customer_id", 1), ("_id", 1)])])
        graphql.app = App(orders=orders, feed=Feed())
        yield
        client.close()

    routes = [Route("/graphql", graphql), WebSocketRoute("/graphql", graphql)]
    return Starlette(lifespan=connected, routes=routes)


if __name__ == "__main__":
    serve(create_app(sys.argv[1], sys.argv[2]), int(sys.argv[3]))
