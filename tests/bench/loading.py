"""A command on an aggregate with a long history, whose state is in memory or is not."""

import asyncio
import time
from typing import Any, Final
from uuid import uuid4

from domain.stock_item import STOCK_ITEM, ReceiveStock, stream
from infra.codec import now
from infra.commands import CommandHandler
from infra.log import Log, NewEvent
from infra.snapshots import SNAPSHOTS
from tests.bench.figures import Figure, percentile
from tests.bench.place import Place, accepted, handler_on
from tests.bench.writing import meta_of

LONG: Final = 10_000
SHORT: Final = 10
COMMANDS: Final = 300
BUSY: Final = 100
"""Events of an aggregate that is held against one that has just begun."""
WITHOUT: Final = 20
"""Commands that fold all of the long history."""


async def loading(place: Place) -> list[Figure]:
    """One command at a time, each of a process that knows nothing, by turns on a long and a short
    history; then without any snapshot."""
    async with place.log() as log, handler_on(log) as handler:
        long = await received(log, LONG)
        short = [await received(log, SHORT) for _ in range(COMMANDS)]
        await cold(handler, long)  # writes the first snapshot
        pairs = [(await cold(handler, long), await cold(handler, sku)) for sku in short]
        without = []
        for _ in range(WITHOUT):
            await log.mongo.run(lambda db: db[SNAPSHOTS].drop())
            without.append(await cold(handler, long))
        busy = await busy_or_new(log, handler)
    after_long, after_short = (percentile(times, 0.5) for times in zip(*pairs, strict=True))
    return [
        Figure(
            what="a command after 10,000 events, state not in memory, p50",
            value=after_long * 1e3,
            unit="ms",
            other=after_short * 1e3,
            against="after 10 events",
        ),
        Figure(what="the same, as a ratio", value=after_long / after_short, unit="x", most=1.5),
        Figure(
            what="the same without snapshots, p50",
            value=percentile(without, 0.5) * 1e3,
            unit="ms",
            other=after_long * 1e3,
            against="with snapshots",
        ),
        *busy,
    ]


async def busy_or_new(log: Log, handler: CommandHandler) -> list[Figure]:
    """Load, decide, append, by turns on items with 100 events and with one: first when their states
    are not in memory, then when they are."""
    busy = [await received(log, BUSY) for _ in range(COMMANDS)]
    new = [await received(log, 1) for _ in range(COMMANDS)]
    for sku in busy:  # the first command on each is followed by a snapshot
        await cold(handler, sku)
    while await log.mongo.run(lambda db: db[SNAPSHOTS].count_documents({})) < COMMANDS:  # noqa: ASYNC110  written behind
        await asyncio.sleep(0.05)
    figures = []
    for where, work in (("not in memory", cold), ("in memory", warm)):
        await handler._aggregates.load([stream(sku) for sku in (*busy, *new)])
        pairs = [
            (await work(handler, b), await work(handler, n)) for b, n in zip(busy, new, strict=True)
        ]
        after_many, after_one = (percentile(times, 0.5) for times in zip(*pairs, strict=True))
        what = f"a command after {BUSY} events, state {where}, p50"
        figures += [
            Figure(
                what=what,
                value=after_many * 1e3,
                unit="ms",
                other=after_one * 1e3,
                against="after 1 event",
            ),
            Figure(what="the same, as a ratio", value=after_many / after_one, unit="x", most=1.2),
        ]
    return figures


async def received(log: Log, deliveries: int) -> str:
    """The sku of a new stock item with so many events."""
    sku, head = f"sku-{uuid4()}", await log.head()
    for first in range(1, deliveries + 1, 1_000):
        versions = range(first, min(first + 1_000, deliveries + 1))
        head = await log.append(head, [delivered(sku, version) for version in versions])
    return sku


def delivered(sku: str, version: int) -> NewEvent:
    command = delivery(sku)
    (event,) = STOCK_ITEM.decide(command, STOCK_ITEM.initial)
    return NewEvent(event=event, stream=stream(sku), version=version, meta=meta_of(command))


def delivery(sku: str) -> Any:
    return ReceiveStock(sku=sku, quantity=1, source="bench", at=now())


async def cold(handler: CommandHandler, sku: str) -> float:
    """Seconds for a command when no state is in memory."""
    handler._aggregates.forget()
    return await warm(handler, sku)


async def warm(handler: CommandHandler, sku: str) -> float:
    """Seconds for a command."""
    started = time.perf_counter()
    await accepted(handler, delivery(sku))
    return time.perf_counter() - started
