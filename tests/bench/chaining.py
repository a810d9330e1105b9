"""From an order placed to the customer being told that it is confirmed: the whole chain.

Five commands follow each other (reserve, authorise, the provider's answer, confirm, and the order
itself), each decided, made durable and reacted to, with one call to a sandbox that takes 5 ms; then
the notification is projected and pushed to a websocket.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final
from uuid import uuid4

from domain.stock_item import ReceiveStock
from infra.codec import now
from tests.bench.figures import Figure, percentile
from tests.bench.http_load import Connection, connected, post
from tests.bench.place import Place, accepted, handler_on
from tests.bench.processes import free_port, running, tidings
from tests.bench.pushing import ID_CHARACTERS
from tests.bench.samples import SKUS
from tests.bench.serving import OURS_PLACE, token, wanted
from tests.bench.sockets import Socket, subscribed

A_SECOND: Final = 50
SECONDS: Final = 10
WARM_UP: Final = 50
CONNECTIONS: Final = 8
PROVIDER_MILLISECONDS: Final = 5

CONFIRMED: Final = """subscription { notifications { kind orderId } }"""


@asynccontextmanager
async def sandbox(place: Place) -> AsyncIterator[dict[str, str]]:
    """A provider that answers after 5 ms; the settings to reach it."""
    port, key = free_port(), secrets.token_hex(32)
    book: Path = place.home / f"book-{port}.db"
    command = (
        "api",
        "sandbox",
        f"--port={port}",
        f"--book={book}",
        f"--delay-ms={PROVIDER_MILLISECONDS}",
    )
    keys = {"TIDINGS_PAYMENT_PROVIDER_KEY": key, "TIDINGS_PAYMENT_CALLBACK_SECRET": key[::-1]}
    async with running(command, keys, port):
        url = f"http://127.0.0.1:{port}"
        yield {"TIDINGS_PAYMENT_PROVIDER_URL": url, "TIDINGS_PAYMENT_PROVIDER_KEY": key}


async def chaining(place: Place) -> list[Figure]:
    async with place.log() as log, sandbox(place) as settings:
        async with handler_on(log) as handler:
            for sku in SKUS:
                stock = ReceiveStock(sku=sku, quantity=1_000_000, source="bench", at=now())
                await accepted(handler, stock)
        async with tidings(place, log.mongo.name, **settings) as server:
            seconds = await confirmed(place, server.port)
    what = f"order placed to confirmation at a websocket, {A_SECOND} orders a second"
    return [
        Figure(what=f"{what}, p50", value=percentile(seconds, 0.5) * 1e3, unit="ms", most=80),
        Figure(what=f"{what}, p99", value=percentile(seconds, 0.99) * 1e3, unit="ms", most=300),
    ]


async def confirmed(place: Place, port: int) -> list[float]:
    """How long each order took, those of the warm-up left out."""
    signed, started = token(place), dict[bytes, float]()
    listener = await subscribed(port, signed, CONFIRMED, {})
    listening = asyncio.create_task(_listen(listener, started))
    await asyncio.sleep(1.0)  # a subscription is not acknowledged: it has begun by then
    connections: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        connections.put_nowait(await connected(port))
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(A_SECOND * SECONDS + WARM_UP):
            await asyncio.sleep(max(0.0, begun + number / A_SECOND - time.perf_counter()))
            tasks.create_task(_place(number, signed, connections, started))
    async with asyncio.timeout(60):
        seconds = await listening
    while not connections.empty():
        with closing(connections.get_nowait()):
            pass
    await listener.close()
    return seconds[WARM_UP:]


async def _place(
    number: int, signed: str, connections: "asyncio.Queue[Connection]", started: dict[bytes, float]
) -> None:
    command = str(uuid4())
    order = {"commandId": command, "card": "on-file", **wanted(number)}
    request = post({"query": OURS_PLACE, "variables": {"input": order}}, signed)
    started[command.encode()] = time.perf_counter()
    connection = await connections.get()
    await connection.ask(request)
    connections.put_nowait(connection)


async def _listen(socket: Socket, started: dict[bytes, float]) -> list[float]:
    """How long each confirmation took, in the order in which they came."""
    seconds: list[float] = []
    while len(seconds) < A_SECOND * SECONDS + WARM_UP:
        message = await socket.text()
        if b"ORDER_CONFIRMED" in message:
            at = message.index(b'"order-') + len(b'"order-')
            seconds.append(time.perf_counter() - started[message[at : at + ID_CHARACTERS]])
    return seconds
