"""Commands in this process, without HTTP: many aggregates, and a single hot one."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final
from uuid import uuid4

from pymongo.errors import DuplicateKeyError

from domain.recorded import Meta
from domain.stock_item import STOCK_ITEM, ReceiveStock, stream
from infra.codec import now, to_stored
from infra.log import Log, NewEvent
from tests.bench.figures import Figure, in_turns, percentile
from tests.bench.place import Place, accepted, handler_on
from tests.bench.samples import order_document, orders, stock_moves

TASKS: Final = 64
SECONDS: Final = 1.5


async def at_once(work: Callable[[], Awaitable[Any]], tasks: int = TASKS) -> float:
    """How often per second `work` is done by so many tasks, each again and again."""
    done = 0
    started = time.perf_counter()

    async def again() -> None:
        nonlocal done
        while time.perf_counter() - started < SECONDS:
            await work()
            done += 1

    await asyncio.gather(*(again() for _ in range(tasks)))
    return done / (time.perf_counter() - started)


async def append(place: Place) -> list[Figure]:
    """Orders placed through the handler, against the driver's `insert_one` of such an order."""
    async with place.log() as log, handler_on(log) as handler:
        plain, numbers, new = log.mongo.db["plain"], count(), orders()

        async def ours() -> float:
            return await at_once(lambda: accepted(handler, next(new)))

        async def driver() -> float:
            return await at_once(lambda: plain.insert_one(order_document(next(numbers))))

        through_handler, inserted = await in_turns(ours, driver)
        alone = [await seconds(accepted(handler, next(new))) for _ in range(300)]
        grouped = TASKS / percentile([await group(log) for _ in range(100)], 0.5)
    return [
        Figure(
            what="append, 64 commands at once",
            value=through_handler,
            unit="/s",
            other=inserted,
            against="Motor insert_one, 64 tasks",
            least=3,
        ),
        Figure(what="append, a command alone, p50", value=percentile(alone, 0.5) * 1e3, unit="ms"),
        Figure(
            what="the log itself, one group of 64 after the other", value=grouped, unit="events/s"
        ),
    ]


async def seconds(work: Awaitable[Any]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def group(log: Log) -> float:
    """How long one append of 64 events, each with its command record, takes."""
    head, sku = await log.head(), f"sku-{uuid4()}"
    deliveries = [ReceiveStock(sku=sku, quantity=1, source="bench", at=now()) for _ in range(TASKS)]
    events = [
        NewEvent(
            event=STOCK_ITEM.decide(delivery, STOCK_ITEM.initial)[0],
            stream=stream(sku),
            version=version,
            meta=meta_of(delivery),
        )
        for version, delivery in enumerate(deliveries, start=1)
    ]
    records = [{"_id": new.meta.command_id, "identity": str(uuid4())} for new in events]
    return await seconds(log.append(head, events, records))


async def hot_product(place: Place) -> list[Figure]:
    """Commands on one stock item, against load, decide, append, and again when it was too late."""
    async with place.log() as log, handler_on(log) as handler:
        await log.mongo.run(
            lambda db: db["naive"].create_index([("stream", 1), ("version", 1)], unique=True)
        )

        async def ours() -> float:
            moves = stock_moves(f"hot-{uuid4()}")
            await accepted(handler, next(moves))
            return await at_once(lambda: accepted(handler, next(moves)))

        async def naive() -> float:
            moves = stock_moves(f"hot-{uuid4()}")
            await load_decide_append(log, next(moves))
            return await at_once(lambda: load_decide_append(log, next(moves)))

        through_handler, by_loop = await in_turns(ours, naive)
    return [
        Figure(
            what="a single hot product, 64 commands at once",
            value=through_handler,
            unit="/s",
            other=by_loop,
            against="load, decide, append, retry",
            least=5,
        )
    ]


async def load_decide_append(log: Log, command: Any) -> None:
    """Optimistic concurrency as it is usually written, with a random pause before a retry."""
    events, name = log.mongo.db["naive"], stream(command.sku)
    for attempt in count(1):
        stored = await events.find({"stream": name}, sort=[("version", 1)]).to_list(None)
        state = STOCK_ITEM.fold(log.codec.decode(doc["type"], 1, doc["data"])[0] for doc in stored)
        [event] = STOCK_ITEM.decide(command, state)
        new = naive_document(name, len(stored) + 1, event, command)
        try:
            await events.insert_one(new)
        except DuplicateKeyError:
            await asyncio.sleep(random.random() * min(attempt, 10) / 1000)
        else:
            return


def naive_document(name: str, version: int, event: Any, command: Any) -> dict[str, Any]:
    """The same fields as in the log; only the chain of hashes and the position are missing."""
    return {
        "stream": name,
        "version": version,
        "type": type(event).__name__,
        "data": to_stored(event),
        "meta": to_stored(meta_of(command)),
    }


def meta_of(command: Any) -> Meta:
    """What the handler would write about the command's first event."""
    command_id = str(uuid4())
    return Meta(
        event_id=f"{command_id}:0",
        command_id=command_id,
        command=type(command).__name__,
        correlation_id=command_id,
        causation_id=command_id,
        actor="bench",
        recorded_at=command.at,
    )
