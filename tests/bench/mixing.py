"""What a day brings, all at once: reads, commands, and subscribers that come and go.

First the highest load that the server takes: connections that ask again as soon as they are
answered. Then half of that, at even distances whatever the answers take; the time of an answer
runs from when it was due, so that waiting for a connection or behind others counts.
"""

import asyncio
import random
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Final

from infra.rebuild import prepare_read_models
from readmodels.registry import PROJECTIONS
from tests.bench.figures import Figure, percentile
from tests.bench.http_load import Connection, connected, post
from tests.bench.listing import LIST, OUR_CURSORS, cursors
from tests.bench.place import Place, accepted, handler_on, pieces
from tests.bench.processes import Server, tidings
from tests.bench.pushing import CHANGES
from tests.bench.samples import CUSTOMERS, orders
from tests.bench.serving import caught_up, order_query, our_orders, shown, token
from tests.bench.sockets import Socket, subscribed

ORDERS: Final = 2_000
CONNECTIONS: Final = 64
SUBSCRIBERS: Final = 50
PAGE: Final = 20
HIGHEST_SECONDS: Final = 4.0
SECONDS: Final = 8.0
WARM_UP_SECONDS: Final = 1.0

ORDER, LISTS, COMMAND, SUBSCRIBE = "order(id)", "orders(first: 20)", "placeOrder", "subscription"
OF_A_HUNDRED: Final = {ORDER: 60, LISTS: 20, COMMAND: 15, SUBSCRIBE: 5}


class Visitors:
    """Those who ask: connections, ready-made requests of each kind, and subscribers."""

    def __init__(self, server: Server, signed: str, requests: dict[str, Iterator[bytes]]) -> None:
        self._port, self._signed, self._requests = server.port, signed, requests
        self._connections: asyncio.Queue[Connection] = asyncio.Queue()
        self._customers = cycle(CUSTOMERS)
        self._subscribers: deque[tuple[Socket, asyncio.Task[None]]] = deque()
        kinds = [kind for kind, share in OF_A_HUNDRED.items() for _ in range(share)]
        self._kinds = cycle(random.sample(kinds, len(kinds)))

    async def come(self) -> None:
        for _ in range(CONNECTIONS):
            self._connections.put_nowait(await connected(self._port))
        for _ in range(SUBSCRIBERS):
            await self._subscribe()

    async def go(self) -> None:
        while not self._connections.empty():
            self._connections.get_nowait().close()
        while self._subscribers:
            await self._leave()

    def next(self) -> str:
        """What somebody wants now."""
        return next(self._kinds)

    async def want(self, kind: str) -> None:
        """Until it is answered; for subscribers until the new one's socket is acknowledged."""
        if kind == SUBSCRIBE:
            await self._subscribe()
            await self._leave()
            return
        connection = await self._connections.get()
        answer = await connection.ask(next(self._requests[kind]))
        self._connections.put_nowait(connection)
        assert MARKS[kind] in answer, answer

    async def _subscribe(self) -> None:
        customer = {"customer": next(self._customers)}
        socket = await subscribed(self._port, self._signed, CHANGES, customer)
        self._subscribers.append((socket, asyncio.create_task(listen(socket))))

    async def _leave(self) -> None:
        socket, listening = self._subscribers.popleft()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        socket.transport.close()


MARKS: Final = {
    ORDER: b'"order":{"id":',
    LISTS: b'"nodes":[{"id":',
    COMMAND: b'"placeOrder":{"errors":[],"receipt":{',
}


async def listen(socket: Socket) -> None:
    """What comes is not looked at."""
    while True:
        await socket.text()


async def mixing(place: Place) -> list[Figure]:
    async with place.log() as log:
        await prepare_read_models(log, PROJECTIONS)
        listed = list(islice(orders(), ORDERS))
        async with handler_on(log) as handler:
            for piece in pieces(iter(listed), CONNECTIONS):
                await asyncio.gather(*(accepted(handler, order) for order in piece))
        async with tidings(place, log.mongo.name) as server:
            await shown(place, log, server)
            ids = [order.order_id for order in listed]
            visitors = Visitors(server, token(place), await ready_made(place, server, ids))
            await visitors.come()
            await highest(visitors, WARM_UP_SECONDS)
            most = await highest(visitors, HIGHEST_SECONDS)
            await caught_up(log)
            seconds = await steadily(visitors, most / 2)
            await visitors.go()
    return figures(most, seconds)


async def ready_made(place: Place, server: Server, ids: list[str]) -> dict[str, Iterator[bytes]]:
    signed = token(place)
    behind = await cursors(server, OUR_CURSORS, ("edges", "cursor"), len(ids), signed)
    lists = [
        post({"query": LIST, "variables": {"first": PAGE, "after": cursor}}, signed)
        for cursor in random.sample(behind, len(behind))
    ]
    single = [post(order_query(order), signed) for order in random.sample(ids, len(ids))]
    return {ORDER: cycle(single), LISTS: cycle(lists), COMMAND: our_orders(place)}


async def highest(visitors: Visitors, seconds: float) -> float:
    """Answers per second where as many ask as there are connections, each again and again."""
    done, until = 0, time.perf_counter() + seconds

    async def again() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await visitors.want(visitors.next())
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(again() for _ in range(CONNECTIONS)))
    return done / (time.perf_counter() - started)


async def steadily(visitors: Visitors, a_second: float) -> dict[str, list[float]]:
    """How long each took, by what it was, those of the warm-up left out."""
    seconds: defaultdict[str, list[float]] = defaultdict(list)

    async def timed(kind: str, due: float) -> None:
        await visitors.want(kind)
        if due >= begun + WARM_UP_SECONDS:
            seconds[kind].append(time.perf_counter() - due)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(a_second * (WARM_UP_SECONDS + SECONDS))):
            due = begun + number / a_second
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(timed(visitors.next(), due))
    return seconds


def figures(most: float, seconds: dict[str, list[float]]) -> list[Figure]:
    every = [took for of_kind in seconds.values() for took in of_kind]
    whole = {"all": every, **{kind: seconds[kind] for kind in OF_A_HUNDRED}}
    found = [Figure(what="a mix, highest load, 64 at once", value=most, unit="/s")]
    for what, took in whole.items():
        middle, late = percentile(took, 0.5), percentile(took, 0.99)
        found.append(
            Figure(
                what=f"a mix at half of that, {what}, p99",
                value=late * 1e3,
                unit="ms",
                other=middle * 1e3,
                against="its p50",
            )
        )
    ratio = percentile(every, 0.99) / percentile(every, 0.5)
    found.append(Figure(what="p99 of the mix over its p50", value=ratio, unit="x", most=4))
    return found
