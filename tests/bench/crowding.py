"""A thousand websockets that are told of changes: all of the same ones, or each of its own.

* As fast as changes are taken in: orders of one customer are placed at once, and every one of them
  is a message for each subscriber. The time runs from before the first order is written until the
  last message has come.
* At a steady pace: how long each message takes.
* Subscribers of different orders: how often a change is executed is read from `/metrics`.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice, repeat
from math import nan
from time import perf_counter
from typing import Final
from uuid import uuid4

import orjson

from tests.bench.crowd import Crowd, Opening, crowded
from tests.bench.figures import Figure, in_turns, percentile
from tests.bench.http_load import connected, get, post
from tests.bench.place import Place, accepted, handler_on
from tests.bench.processes import Server, bare, crud, tidings
from tests.bench.pushing import CHANGES, Clock, Pace, place_orders
from tests.bench.samples import CUSTOMERS, orders
from tests.bench.serving import CRUD, crud_order, our_orders, token
from tests.bench.sockets import opened, subscribed

SUBSCRIBERS: Final = 1_000
AT_ONCE: Final = 20
"""Orders that are placed, each a message for every subscriber."""
A_SECOND: Final = 2
PLACED: Final = 20
WARM_UP: Final = 4
CANCELLED: Final = 100
"""Orders, out of those that somebody listens to."""
BARE: Final = "Starlette, text made before"
OF_BARE: Final = 0.6
OF_CRUD: Final = 6

CRUD_CHANGES: Final = """subscription($customer: ID!) {
  orderChanged(customerId: $customer) { id status total { amount currency } }
}"""
ONE_ORDER: Final = """subscription($id: ID!) {
  orderChanged(id: $id) { position order { id status total { amount currency } } }
}"""
CANCEL: Final = """mutation($input: CancelOrderInput!) {
  cancelOrder(input: $input) { errors { code } }
}"""
EXECUTED: Final = re.compile(rb"^tidings_subscription_executions_total (\S+)$", re.MULTILINE)


async def crowding(place: Place) -> list[Figure]:
    async with place.log() as log, place.database() as plain:
        listed = list(islice(orders(), SUBSCRIBERS))
        async with handler_on(log) as handler:
            await asyncio.gather(*(accepted(handler, order) for order in listed))
        async with tidings(place, log.mongo.name) as server:
            async with crud(place, plain) as other, bare(place, plain) as sender:
                figures = await at_once(place, server, other, sender)
            figures += await steadily(place, server)
            figures.append(await each_its_own(place, server, [o.order_id for o in listed]))
    return figures


# -- as fast as changes are taken in


@dataclass
class Burst:
    """Changes asked for at once, each on a connection of its own, told to the whole crowd."""

    server: Server
    crowd: Crowd
    changes: Iterator[bytes]
    messages: int = 0
    seconds: float = 0

    async def rate(self) -> float:
        """Messages per second."""
        before, spent = self.crowd.messages, self.server.cpu_seconds()
        connections = [await connected(self.server.port) for _ in range(AT_ONCE)]
        started = perf_counter()
        await asyncio.gather(*(each.ask(next(self.changes)) for each in connections))
        await self.crowd.reaches(before + AT_ONCE * SUBSCRIBERS)
        took = perf_counter() - started
        for each in connections:
            each.close()
        self.messages += AT_ONCE * SUBSCRIBERS
        self.seconds += self.server.cpu_seconds() - spent
        return AT_ONCE * SUBSCRIBERS / took

    @property
    def microseconds(self) -> float:
        """Of the server's CPU for one message, its change included."""
        return self.seconds / self.messages * 1e6


async def at_once(place: Place, server: Server, other: Server, sender: Server) -> list[Figure]:
    customer, signed = {"customer": CUSTOMERS[0]}, token(place)
    async with AsyncExitStack() as stack:

        async def listening(opening: Opening) -> Crowd:
            return await stack.enter_async_context(crowded(repeat(opening, SUBSCRIBERS)))

        told = await listening(partial(subscribed, server.port, signed, CHANGES, customer))
        ours = Burst(server, told, our_orders(place))
        before = await executions(server)
        await ours.rate()
        executed = await executions(server) - before
        message = checked(told.newest)
        told = await listening(partial(subscribed, other.port, signed, CRUD_CHANGES, customer))
        by_crud = Burst(other, told, cycle([crud_order()]))
        by_bare = Burst(
            sender,
            await listening(partial(opened, sender.port)),
            cycle([post(message, path="/tell")]),
        )
        ours_rate, crud_rate, bare_rate = await in_turns(ours.rate, by_crud.rate, by_bare.rate)
        checked(told.newest)
    return [
        *against(CRUD, ours, by_crud, (ours_rate, crud_rate), OF_CRUD),
        *against(BARE, ours, by_bare, (ours_rate, bare_rate), OF_BARE),
        Figure(
            what="executions for a change, 1,000 subscribers of one customer",
            value=executed / AT_ONCE,
            unit="times",
            most=1,
        ),
    ]


def checked(message: bytes) -> bytes:
    """The message, if it tells of an order."""
    payload = orjson.loads(message)["payload"]
    assert "errors" not in payload, payload
    assert "PLACED" in str(payload["data"]["orderChanged"]), payload
    return message


def against(
    name: str, ours: Burst, other: Burst, rates: tuple[float, float], least: float
) -> list[Figure]:
    return [
        Figure(
            what="messages to 1,000 subscribers of one customer",
            value=rates[0],
            unit="/s",
            other=rates[1],
            against=name,
            least=least,
        ),
        Figure(
            what="CPU of the server for one of these",
            value=ours.microseconds,
            unit="µs",
            other=other.microseconds,
            against=name,
        ),
    ]


# -- at a steady pace


async def steadily(place: Place, server: Server) -> list[Figure]:
    clock, signed = Clock(), token(place)
    opening = partial(subscribed, server.port, signed, CHANGES, {"customer": CUSTOMERS[0]})
    async with crowded(repeat(opening, SUBSCRIBERS), clock.told) as crowd:
        with closing(await connected(server.port)) as connection:
            await place_orders(connection, signed, clock, Pace(A_SECOND, WARM_UP + PLACED))
        await crowd.reaches((WARM_UP + PLACED) * SUBSCRIBERS)
    seconds = clock.seconds[WARM_UP * SUBSCRIBERS :]
    what = f"mutation to message, 1,000 subscribers of one customer, {A_SECOND} a second"
    return [
        Figure(what=f"{what}, p50", value=percentile(seconds, 0.5) * 1e3, unit="ms"),
        Figure(what=f"{what}, p99", value=percentile(seconds, 0.99) * 1e3, unit="ms", most=60),
    ]


# -- each its own


async def each_its_own(place: Place, server: Server, listed: list[str]) -> Figure:
    """A tenth of the orders change at once; nobody else is told."""
    signed = token(place)
    openings = [
        partial(subscribed, server.port, signed, ONE_ORDER, {"id": each}) for each in listed
    ]
    async with crowded(openings) as crowd:
        before = await executions(server)
        await asyncio.gather(*(cancel(server, signed, each) for each in listed[:CANCELLED]))
        await crowd.reaches(CANCELLED)
        executed = await executions(server) - before
    return Figure(
        what="executions for a change, 1,000 subscribers of 1,000 orders",
        value=executed / CANCELLED,
        unit="times",
        most=1,
    )


async def cancel(server: Server, signed: str, order: str) -> None:
    asked = {"commandId": str(uuid4()), "orderId": order, "reason": "No longer needed."}
    request = post({"query": CANCEL, "variables": {"input": asked}}, signed)
    with closing(await connected(server.port)) as connection:
        answer = await connection.ask(request)
    assert b'"errors":[]' in answer, answer


async def executions(server: Server) -> float:
    """How often the server has executed a change for subscribers so far."""
    with closing(await connected(server.port)) as connection:
        counted = EXECUTED.search(await connection.ask(get("/metrics")))
    return float(counted[1]) if counted else nan  # which meets no target
