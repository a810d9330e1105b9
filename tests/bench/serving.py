"""GraphQL over HTTP against a plain CRUD server: placing orders, and asking for one.

Tidings projects all its read models in the same process meanwhile. Between the rounds it catches
up, so that the other server does not pay for it; how far it was behind is a figure of its own.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import Any, Final
from uuid import uuid4

from api.auth import Role, dev_token
from domain.recorded import position_text
from infra.log import Log
from infra.rebuild import checkpoint
from infra.settings import Settings
from tests.bench.figures import Figure, in_turns
from tests.bench.http_load import Load, ask, post, varied
from tests.bench.place import Place, handler_on
from tests.bench.processes import Server, bare, crud, tidings
from tests.bench.samples import ADDRESS, CUSTOMERS, skus_of

WRITERS: Final = 64
READERS: Final = 16
READ_ORDERS: Final = 500
OF_BARE: Final = 0.9
"""How much of what a bare handler does is wanted."""
DUMMY: Final = "00000000-0000-4000-8000-000000000000"

OURS_PLACE: Final = """mutation($input: PlaceOrderInput!) {
  placeOrder(input: $input) { errors { code } receipt { aggregateId version position } }
}"""
CRUD_PLACE: Final = """mutation($input: PlaceOrderInput!) {
  placeOrder(input: $input) { id status total { amount currency } }
}"""
ORDER: Final = """query($id: ID!) {
  order(id: $id) {
    id status total { amount currency }
    lines { sku name quantity unitPrice { amount currency } }
    deliverTo { street city postalCode country region }
  }
}"""
SHOWN: Final = """query($position: Position!) {
  orders(first: 1, atLeast: $position) { nodes { id } }
}"""


async def serving(place: Place) -> list[Figure]:
    async with place.log() as log, place.database() as plain:
        async with handler_on(log):
            """The catalogue is in the log."""
        async with (
            tidings(place, log.mongo.name) as ours,
            crud(place, plain) as other,
            bare(place, plain) as handler,
        ):
            return [
                *await placing(place, log, ours, other, handler),
                *await asking(place, log, ours, other),
                Figure(what="memory of `tidings serve`", value=ours.megabytes(), unit="MB"),
                Figure(what="memory of the CRUD server", value=other.megabytes(), unit="MB"),
            ]


# -- requests


def token(place: Place) -> str:
    return dev_token(Settings(home=place.home), "bench", (Role.STAFF,), None, 3600)


def wanted(number: int = 0) -> dict[str, Any]:
    address = {
        "street": ADDRESS.street,
        "city": ADDRESS.city,
        "postalCode": ADDRESS.postal_code,
        "country": ADDRESS.country,
    }
    lines = [{"sku": sku, "quantity": 2} for sku in skus_of(number)]
    customer = CUSTOMERS[number % len(CUSTOMERS)]
    return {"customerId": customer, "lines": lines, "deliverTo": address}


def our_order(place: Place) -> bytes:
    """A request to place an order with the id `DUMMY`."""
    return post(
        {
            "query": OURS_PLACE,
            "variables": {"input": {"commandId": DUMMY, "imported": True, **wanted()}},
        },
        token(place),
    )


def our_orders(place: Place) -> Iterator[bytes]:
    return varied(our_order(place), DUMMY.encode(), lambda: str(uuid4()).encode())


def priced(number: int = 0) -> dict[str, Any]:
    """The order for servers without a catalogue."""
    order = wanted(number)
    for line in order["lines"]:
        line["unitPrice"] = "19.99"
    return order


def crud_order(number: int = 0, **more: str) -> bytes:
    return post({"query": CRUD_PLACE, "variables": {"input": {**priced(number), **more}}})


# -- figures


@dataclass
class Metered:
    """A load, with the CPU that its server spends until all of it is `settled`."""

    server: Server
    load: Load
    settled: Callable[[], Awaitable[None]] | None = None
    answers: float = 0
    seconds: float = 0

    async def rate(self) -> float:
        before = self.server.cpu_seconds()
        rate = await self.load.rate()
        if self.settled:
            await self.settled()
        self.answers += rate * self.load.seconds
        self.seconds += self.server.cpu_seconds() - before
        return rate

    @property
    def microseconds(self) -> float:
        """For one request."""
        return self.seconds / self.answers * 1e6


CRUD: Final = "Strawberry + Motor, cached"
BARE: Final = "Starlette + one Motor insert"


async def compared(
    what: str, least: float | None, ours: Metered, other: Metered, bare: Metered | None = None
) -> list[Figure]:
    """Requests per second, and the CPU of the server process for one."""
    rates = await in_turns(*(each.rate for each in (ours, other, bare) if each))
    over_http = f"{what} over HTTP, {ours.load.connections} connections"
    against: list[tuple[str, Metered, float | None]] = [(CRUD, other, least)]
    if bare:
        against.append((BARE, bare, OF_BARE))
    return [
        figure
        for (name, server, least), rate in zip(against, rates[1:], strict=True)
        for figure in (
            Figure(
                what=over_http,
                value=rates[0],
                unit="/s",
                other=rate,
                against=name,
                least=least,
            ),
            Figure(
                what=f"{what}, CPU of the server",
                value=ours.microseconds,
                unit="µs",
                other=server.microseconds,
                against=name,
            ),
        )
    ]


async def placing(
    place: Place, log: Log, ours: Server, other: Server, handler: Server
) -> list[Figure]:
    behind: list[float] = []

    async def settled() -> None:
        behind.append(await caught_up(log))

    def load(server: Server, requests: Iterator[bytes], marks: bytes) -> Load:
        return Load(port=server.port, connections=WRITERS, requests=requests, marks=marks)

    orders = load(ours, our_orders(place), b'"placeOrder":{"errors":[],"receipt":{')
    documents = load(other, cycle([crud_order()]), b'"placeOrder":{"id":')
    inserts = load(handler, cycle([post(priced())]), b'{"id":"order-')
    figures = await compared(
        "placeOrder",
        2.5,
        Metered(ours, orders, settled),
        Metered(other, documents),
        Metered(handler, inserts),
    )
    late = median(behind) * 1e3
    return [*figures, Figure(what="read models behind when it ends", value=late, unit="ms")]


async def caught_up(log: Log) -> float:
    """Waits until everything is projected, and says how long that took."""
    started, head = time.perf_counter(), await log.head()
    while (await checkpoint(log)).position < head.position:  # noqa: ASYNC110  another process moves it
        await asyncio.sleep(0.005)
    return time.perf_counter() - started


async def shown(place: Place, log: Log, server: Server) -> None:
    """Waits until everything is projected and the server's answers show it."""
    await caught_up(log)
    variables = {"position": position_text((await log.head()).position)}
    answer = await ask(server.port, post({"query": SHOWN, "variables": variables}, token(place)))
    assert "errors" not in answer, answer


async def asking(place: Place, log: Log, ours: Server, other: Server) -> list[Figure]:
    orders, signed = our_orders(place), token(place)
    our_ids = [
        (await ask(ours.port, next(orders)))["data"]["placeOrder"]["receipt"]["aggregateId"]
        for _ in range(READ_ORDERS)
    ]
    crud_ids = [
        (await ask(other.port, crud_order()))["data"]["placeOrder"]["id"]
        for _ in range(READ_ORDERS)
    ]
    await shown(place, log, ours)
    ours_asked = Load(
        port=ours.port,
        connections=READERS,
        requests=cycle([post(order_query(order), signed) for order in our_ids]),
        marks=b'"order":{"id":',
    )
    crud_asked = Load(
        port=other.port,
        connections=READERS,
        requests=cycle([post(order_query(order)) for order in crud_ids]),
        marks=b'"order":{"id":',
    )
    return await compared("order(id)", 3, Metered(ours, ours_asked), Metered(other, crud_asked))


def order_query(order: str) -> dict[str, Any]:
    return {"query": ORDER, "variables": {"id": order}}
