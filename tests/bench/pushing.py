"""From a mutation to the message on the subscribers' websockets.

The time runs from before the request is written until the message has been read and its order
recognised, in one process with one clock: the client's own work is included.
"""

import asyncio
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from tests.bench.figures import Figure, percentile
from tests.bench.http_load import Connection, connected, post
from tests.bench.place import Place, handler_on
from tests.bench.processes import Server, tidings
from tests.bench.samples import CUSTOMERS
from tests.bench.serving import OURS_PLACE, token, wanted
from tests.bench.sockets import Socket, subscribed

SUBSCRIBERS: Final = 100
A_SECOND: Final = 5
COMMANDS: Final = 40
WARM_UP: Final = 10
SPREAD_OVER: Final = 10
"""Customers that the mixed subscribers, and the orders then, are spread over."""

NOTIFICATIONS: Final = """subscription($customer: ID!) {
  notifications(customerId: $customer) { orderId kind text at position }
}"""
CHANGES: Final = """subscription($customer: ID!) {
  orderChanged(customerId: $customer) { position order { id status total { amount currency } } }
}"""
ID_CHARACTERS: Final = len(str(uuid4()))


@dataclass
class Clock:
    """When each order was asked for, and how long each message about it took."""

    started: dict[bytes, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def told(self, message: bytes) -> None:
        at = message.index(b'"order-') + len(b'"order-')
        self.seconds.append(time.perf_counter() - self.started[message[at : at + ID_CHARACTERS]])


@dataclass(frozen=True)
class Pace:
    """So many orders a second, so many in all, of so many customers."""

    a_second: int
    commands: int
    customers: int = 1


async def pushing(place: Place) -> list[Figure]:
    async with place.log() as log:
        async with handler_on(log):
            """The catalogue is in the log."""
        async with tidings(place, log.mongo.name) as server:
            same = await told(place, server, customers=1)
            mixed = await told(place, server, customers=SPREAD_OVER)
    return [*figures("of one customer", same), *figures("of ten customers", mixed)]


def figures(whose: str, seconds: list[float]) -> list[Figure]:
    what = f"mutation to message, 100 subscribers {whose}"
    return [
        Figure(what=f"{what}, p50", value=percentile(seconds, 0.5) * 1e3, unit="ms", most=25),
        Figure(what=f"{what}, p99", value=percentile(seconds, 0.99) * 1e3, unit="ms", most=100),
    ]


async def told(place: Place, server: Server, customers: int) -> list[float]:
    """How long every message took."""
    clock, signed = Clock(), token(place)
    sockets = [
        await subscribed(server.port, signed, query, {"customer": CUSTOMERS[number % customers]})
        for number in range(SUBSCRIBERS // 2)
        for query in (NOTIFICATIONS, CHANGES)
    ]
    listening = [asyncio.create_task(listen(socket, clock)) for socket in sockets]
    await asyncio.sleep(1.0)  # a subscription is not acknowledged: it has begun by then
    with closing(await connected(server.port)) as connection:
        await place_orders(connection, signed, clock, Pace(A_SECOND, COMMANDS + WARM_UP, customers))
    await asyncio.sleep(1.0)
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)
    for socket in sockets:
        await socket.close()
    messages = (COMMANDS + WARM_UP) * SUBSCRIBERS // customers
    assert len(clock.seconds) == messages, f"{len(clock.seconds)} of {messages} messages came"
    return clock.seconds[WARM_UP * SUBSCRIBERS // customers :]


async def listen(socket: Socket, clock: Clock) -> None:
    while True:
        clock.told(await socket.text())


async def place_orders(connection: Connection, signed: str, clock: Clock, pace: Pace) -> None:
    """At a steady pace, whatever the answers take."""
    begun = time.perf_counter()
    for number in range(pace.commands):
        await asyncio.sleep(max(0.0, begun + number / pace.a_second - time.perf_counter()))
        command = str(uuid4())
        whose = {"customerId": CUSTOMERS[number % pace.customers], "imported": True}
        order = {"commandId": command, **wanted(), **whose}
        request = post({"query": OURS_PLACE, "variables": {"input": order}}, signed)
        clock.started[command.encode()] = time.perf_counter()
        await connection.ask(request)
