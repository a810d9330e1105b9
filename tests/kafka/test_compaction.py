"""What a compacted topic comes to: however much has changed, one message for each customer."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from api.relaying import TOPICS, records
from api.shipping_desk.copies import Customer, Place, heard
from domain.address import Address
from domain.customer import CUSTOMER, CustomerAddressChanged, CustomerRegistered
from domain.published_messages import CUSTOMERS_TOPIC
from domain.recorded import Meta, Recorded
from infra.kafka import Record, open_producer, partition_of
from infra.settings import KafkaSettings
from tests.kafka.brokers import Broker
from tests.kafka.reading import everything

CUSTOMERS: Final = 30
DAYS: Final = 14
PARTITIONS: Final = 12
SEGMENT_MS: Final = 100
BEGIN: Final = datetime(2026, 3, 1, tzinfo=UTC)
SECONDS: Final = 60.0


def two_weeks() -> Iterator[Recorded]:
    """Everybody registers, and moves house every day; dates are those of the events."""
    position = 0
    for day in range(DAYS + 1):
        for number in range(CUSTOMERS):
            position += 1
            yield _told(f"customer-{number}", position, day)


def _told(customer_id: str, position: int, day: int) -> Recorded:
    at = BEGIN + timedelta(days=day)
    address = Address(street=f"Street {day}", city="Hull", country="United Kingdom")
    event: Any = CustomerAddressChanged(customer_id=customer_id, address=address, at=at)
    if day == 0:
        event = CustomerRegistered(
            customer_id=customer_id,
            name=f"Name of {customer_id}",
            email="someone@example.com",
            phone="",
            segment="",
            address=address,
            at=at,
        )
    meta = Meta(
        event_id=f"event-{position}",
        command_id=f"command-{position}",
        command="",
        correlation_id=f"command-{position}",
        causation_id=f"command-{position}",
        actor="test",
        recorded_at=at,
    )
    return Recorded(event=event, position=position, stream=customer_id, version=day + 1, meta=meta)


def states() -> Iterator[Record]:
    """What is published of it in the customers' topic."""
    known: dict[str, Any] = {}
    for recorded in two_weeks():
        state = CUSTOMER.evolve(known.get(recorded.stream, CUSTOMER.initial), recorded.event)
        known[recorded.stream] = state
        for topic, record in records("/test", recorded, state):
            if topic == CUSTOMERS_TOPIC:
                yield record


async def published(kafka: KafkaSettings, told: Iterable[Record]) -> None:
    def place(record: Record) -> int:
        assert record.key is not None
        return partition_of(record.key, PARTITIONS)

    async with open_producer(kafka, TOPICS) as producer:
        for partition, batch in groupby(sorted(told, key=place), key=place):
            waiting = list(batch)
            while waiting:
                del waiting[: await producer.publish(CUSTOMERS_TOPIC, partition, waiting)]


def fillers() -> Iterator[Record]:
    """Something for each partition, so that what is there before it may be compacted."""
    found: set[int] = set()
    number = 0
    while len(found) < PARTITIONS:
        key = b"filler-%d" % number
        if (partition := partition_of(key, PARTITIONS)) not in found:
            found.add(partition)
            yield Record(key, b"{}", [])
        number += 1


def copies(heard_of: Iterable[Any]) -> dict[str, Customer]:
    """What a recipient holds after these records."""
    held: dict[str, Customer] = {}
    for record in heard_of:
        meaning = heard(record, Place(topic=CUSTOMERS_TOPIC, partition=0, offset=0)).meaning
        assert isinstance(meaning, Customer)
        held[meaning.id] = meaning
    return held


async def test_two_weeks_of_changes_compact_to_one_message_per_customer(
    kafka: Broker, topic_prefix: str
) -> None:
    if kafka.small:
        pytest.skip("the small broker cannot compact")
    settings = KafkaSettings(bootstrap_servers=(kafka.bootstrap,), topic_prefix=topic_prefix)
    await published(settings, states())
    assert await configured(settings, "cleanup.policy") == "compact"
    before = of_customers(await everything(settings, CUSTOMERS_TOPIC))
    assert len(before) == CUSTOMERS * (DAYS + 1)

    await hurry(settings)
    async with asyncio.timeout(SECONDS):
        after = before
        while len(after) > CUSTOMERS:
            await published(settings, fillers())
            await asyncio.sleep(3 * SEGMENT_MS / 1000)
            after = of_customers(await everything(settings, CUSTOMERS_TOPIC, quiet=0.5))
    assert len(after) == CUSTOMERS
    assert copies(after) == copies(before)
    assert {copy.version for copy in copies(after).values()} == {DAYS + 1}


def of_customers(found: Iterable[Any]) -> list[Any]:
    return [record for record in found if record.key.startswith(b"customer-")]


async def hurry(kafka: KafkaSettings) -> None:
    """Have it compacted within seconds, not within a day."""
    changes = {
        "cleanup.policy": "compact",
        "segment.ms": str(SEGMENT_MS),
        "min.cleanable.dirty.ratio": "0.001",
    }
    topic = kafka.topic(CUSTOMERS_TOPIC)
    async with administrator(kafka) as admin:
        asked = ConfigResource(ConfigResourceType.TOPIC, topic, configs=changes)
        await admin.alter_configs([asked])


async def configured(kafka: KafkaSettings, name: str) -> str:
    """A setting of the topic, as its broker has it."""
    async with administrator(kafka) as admin:
        topic = kafka.topic(CUSTOMERS_TOPIC)
        asked = ConfigResource(ConfigResourceType.TOPIC, topic, configs={name: ""})
        (answer,) = await admin.describe_configs([asked])
        (resource,) = answer.resources
        (entry,) = resource[-1]
        return str(entry[1])


@asynccontextmanager
async def administrator(kafka: KafkaSettings) -> AsyncIterator[Any]:
    client = AIOKafkaAdminClient(bootstrap_servers=list(kafka.bootstrap_servers))
    await client.start()
    try:
        yield client
    finally:
        await client.close()
