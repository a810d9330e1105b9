"""One read model, shared over Kafka by one, two and four processes of its own.

What they gain is what the machine has left: MongoDB and the broker are on it, too.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count, islice
from typing import Any, Final

from domain.customer import CustomerAddressChanged, CustomerRegistered
from domain.recorded import Meta
from infra.feeding.group import FEEDS, checkpoint_fed, prepare_group
from infra.log import Log, NewEvent
from infra.projector import CHECKPOINTS, MAIN
from infra.rebuild import prepare_read_models
from infra.settings import KafkaSettings
from readmodels.customer_directory import CUSTOMER_DIRECTORY
from readmodels.registry import PROJECTIONS
from tests.bench.figures import Figure
from tests.bench.place import Place, pieces
from tests.bench.samples import ADDRESS, AT
from tests.infra.publishing import publishing
from tests.kafka.brokers import apache_is_here, broker

EVENTS: Final = 60_000
CUSTOMERS: Final = 5_000
STEP: Final = 200
"""Events at a time, until all processes have a share of the partitions."""
PATIENCE: Final = 120.0
PROCESSES: Final = (1, 2, 4)


async def feeding(place: Place) -> list[Figure]:
    """The same log for each number of processes."""
    node = broker(place.home / "kafka", small=not apache_is_here())
    await asyncio.to_thread(node.start)
    try:
        rates = [await rate_of(number, place, node.bootstrap, node.small) for number in PROCESSES]
    finally:
        await asyncio.to_thread(node.stop)
    return [
        Figure(
            what=f"{CUSTOMER_DIRECTORY.name} over {node.name}, {number} processes",
            value=rate,
            unit="events/s",
            other=rates[0],
            against=f"one, on {os.cpu_count()} cores",
        )
        for number, rate in zip(PROCESSES, rates, strict=True)
    ]


def moves() -> Iterator[NewEvent]:
    """Customers who move house, for ever."""
    for number in count():
        customer, version = f"customer-{number % CUSTOMERS}", number // CUSTOMERS
        if version:
            event: Any = CustomerAddressChanged(customer_id=customer, address=ADDRESS, at=AT)
        else:
            event = CustomerRegistered(
                customer_id=customer,
                name="Ann Smith",
                email="ann@example.com",
                phone="",
                segment="",
                address=ADDRESS,
                at=AT,
            )
        meta = Meta(
            event_id=f"e{number}",
            command_id=f"c{number}",
            command="ChangeCustomerAddress",
            correlation_id=f"c{number}",
            causation_id=f"c{number}",
            actor="bench",
            recorded_at=AT,
        )
        yield NewEvent(event=event, stream=customer, version=version + 1, meta=meta)


async def rate_of(number: int, place: Place, bootstrap: str, small: bool) -> float:  # noqa: FBT001
    """Events of the log that so many processes fold in a second."""
    async with place.log() as log:
        kafka = KafkaSettings(
            bootstrap_servers=(bootstrap,), small=small, topic_prefix=f"{log.mongo.name}-"
        )
        await prepare_read_models(log, PROJECTIONS)
        await prepare_group(log.mongo)
        async with sharing(number, place, log, kafka), publishing(log, kafka) as publisher:
            for piece in pieces(islice(moves(), EVENTS), 1_000):
                await log.append(await log.head(), piece)
            await publisher.publish()
            begun = await all_have_begun(log, number)
            started = time.perf_counter()
            await go_to(log, EVENTS)
            await come_to(log, EVENTS)
            return (EVENTS - begun) / (time.perf_counter() - started)


@asynccontextmanager
async def sharing(number: int, place: Place, log: Log, kafka: KafkaSettings) -> AsyncIterator[None]:
    environment = {
        **os.environ,
        "MONGODB_URI": place.uri,
        "TIDINGS_DATABASE": log.mongo.name,
        "TIDINGS_HOME": str(place.home),
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(kafka.bootstrap_servers),
        "TIDINGS_KAFKA_SMALL": "1" if kafka.small else "0",
        "TIDINGS_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
    }
    arguments = ("-m", "api", "project", "--from-kafka", CUSTOMER_DIRECTORY.name)
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment)
        for _ in range(number)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))


async def all_have_begun(log: Log, number: int) -> int:
    """Let the group go on in small steps until all share in it; the position it is at then."""
    position = 0
    async with asyncio.timeout(PATIENCE):
        while True:
            position += STEP
            await go_to(log, position)
            await come_to(log, position)
            rows = await log.mongo.run(lambda db: list(db[FEEDS].find()))
            if len({row["by"] for row in rows if "by" in row}) >= number:
                return position
            await asyncio.sleep(0.2)


async def go_to(log: Log, position: int) -> None:
    """Let the group go that far: nobody else moves the main group here."""
    await log.mongo.run(
        lambda db: db[CHECKPOINTS].update_one({"_id": MAIN}, {"$set": {"position": position}})
    )


async def come_to(log: Log, position: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await log.mongo.run(checkpoint_fed)).position < position:  # noqa: ASYNC110 others do
            await asyncio.sleep(0.01)
