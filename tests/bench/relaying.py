"""The relay as a process of its own: how fast it catches up, and how far behind it is in daily use.

Both run on Apache Kafka where it is prepared, or else on the small broker, which is named.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, Final

from infra.kafka import EVENTS, open_consumer
from infra.log import Log, NewEvent
from infra.relaying.health import RELAYS
from infra.settings import KafkaSettings
from tests.bench.figures import Figure, percentile
from tests.bench.place import Place, pieces
from tests.bench.processes import free_port, running
from tests.kafka.brokers import apache_is_here, broker
from tests.kafka.history import history
from tests.kafka.reading import position_of

TO_CATCH_UP: Final = 60_000
LEFT_OUT: Final = 5_000
"""Events at first, while it starts."""
WANTED: Final = 5_000.0
A_SECOND: Final = 200
SECONDS: Final = 10
WARM_UP: Final = 200


async def relaying(place: Place) -> list[Figure]:
    """Events that wait are published, next to an API that nobody asks anything; then some come."""
    node = broker(place.home / "kafka", small=not apache_is_here())
    await asyncio.to_thread(node.start)
    try:
        kafka = KafkaSettings(bootstrap_servers=(node.bootstrap,), small=node.small)
        async with place.log() as log:
            events = history()
            for piece in pieces(islice(events, TO_CATCH_UP), 1_000):
                await log.append(await log.head(), piece)
            async with relay_and_api(place, log, kafka):
                rate = await catching_up(log)
                lags = await lagging(log, events, kafka)
    finally:
        await asyncio.to_thread(node.stop)
    return [
        Figure(
            what=f"events relayed to {node.name}",
            value=rate,
            unit="/s",
            other=WANTED,
            against="what is wanted",
            least=1.0,
        ),
        Figure(
            what=f"publish lag at {A_SECOND} events a second, p50",
            value=percentile(lags, 0.5) * 1e3,
            unit="ms",
            most=20.0,
        ),
        Figure(what="the same, p99", value=percentile(lags, 0.99) * 1e3, unit="ms"),
    ]


@asynccontextmanager
async def relay_and_api(place: Place, log: Log, kafka: KafkaSettings) -> AsyncIterator[None]:
    port = free_port()
    environment = {
        "MONGODB_URI": place.uri,
        "TIDINGS_DATABASE": log.mongo.name,
        "TIDINGS_HOME": str(place.home),
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(kafka.bootstrap_servers),
        "TIDINGS_KAFKA_SMALL": "1" if kafka.small else "0",
    }
    api = ("api", "serve", "--only", "api", "--port", str(port))
    async with running(api, environment, port):
        relay = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "api", "relay", env={**os.environ, **environment}
        )
        try:
            yield
        finally:
            relay.terminate()
            await relay.wait()


async def catching_up(log: Log) -> float:
    """Events a second, from its first checkpoint beyond those left out to its last."""
    first, began = await reached(log, LEFT_OUT)
    last, ended = await reached(log, TO_CATCH_UP)
    return (last - first) / (ended - began)


async def reached(log: Log, position: int) -> tuple[int, float]:
    """Where the relay is and when, once it is at a position."""
    while True:
        row = await log.mongo.run(lambda db: db[RELAYS].find_one())
        if row is not None and row.get("position", 0) >= position:
            return row["position"], time.perf_counter()
        await asyncio.sleep(0.005)


async def lagging(log: Log, events: Iterator[NewEvent], kafka: KafkaSettings) -> list[float]:
    """How long after it was durable each event was with a consumer."""
    durable: dict[int, float] = {}
    arrived: dict[int, float] = {}
    wanted = WARM_UP + A_SECOND * SECONDS
    async with open_consumer(kafka, EVENTS, auto_offset_reset="latest") as consumer:
        await consumer.seek_to_end()
        listening = asyncio.create_task(_listen(consumer, TO_CATCH_UP + wanted, arrived))
        head, due = await log.head(), time.perf_counter()
        for event in islice(events, wanted):
            head = await log.append(head, [event])
            durable[head.position] = time.perf_counter()
            due += 1 / A_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await listening
    measured = sorted(durable)[WARM_UP:]
    return [max(0.0, arrived[position] - durable[position]) for position in measured]


async def _listen(consumer: Any, last: int, arrived: dict[int, float]) -> None:
    """When each event came, until the last one has."""
    while last not in arrived:
        for records in (await consumer.getmany(timeout_ms=1_000)).values():
            at = time.perf_counter()
            arrived.update((position_of(each), at) for each in records if each.key is not None)
