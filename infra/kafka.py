"""The one file that names the Kafka driver: producers, consumers and topics.

1. Acknowledged means by all replicas in sync. A producer is idempotent, but for the small broker,
   which knows no such thing.
2. Keys go to partitions as with every other Kafka client (murmur2).
3. What the driver would tell of each broken connection is told once by who uses it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code
from aiokafka.partitioner import murmur2

from domain.decider import message
from infra.settings import KafkaSettings

__all__ = ["KafkaError", "KafkaUnavailable", "Producer", "Record", "open_consumer", "open_producer"]

EVENTS: Final = "tidings.events"

SECONDS_FOR_AN_ANSWER: Final = 10.0
MOST_BYTES: Final = 20_000_000
"""Of one record: as JSON, more than the 16 MB that MongoDB takes of an event."""
BATCH_BYTES: Final = 512 * 1024
REPLICAS: Final = 3
TOPIC_EXISTS: Final = 36
DAY: Final = 24 * 3_600 * 1_000


class KafkaUnavailable(Exception):
    """No broker answers. Trying again later is sensible, unless the address is wrong."""


class Record(NamedTuple):
    """What goes into a topic; a value of None deletes what is known by the key."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


@message
class Topic:
    """`compacted` keeps the last record of each key, else all are kept so long (None: for ever)."""

    name: str
    partitions: int = 12
    compacted: bool = False
    days: int | None = None


@lru_cache(maxsize=50_000)
def partition_of(key: bytes, partitions: int) -> int:
    """Where records of this key go."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


class Producer:
    """Sends records to the partitions of a cluster; made by `open_producer`."""

    def __init__(self, driver: Any, kafka: KafkaSettings) -> None:
        self._driver = driver
        self._kafka = kafka

    async def partitions(self, topic: str) -> int:
        """How many the topic has."""
        return len(await self._driver.partitions_for(self._kafka.topic(topic)))

    async def publish(self, topic: str, partition: int, records: Iterable[Record]) -> int:
        """Send as many of these as fit into one batch, in order; how many those were, once they
        are acknowledged. Raises `KafkaError`, which leaves open whether they have arrived."""
        batch = self._driver.create_batch()
        for record in records:
            taken = batch.append(
                key=record.key, value=record.value, headers=record.headers, timestamp=None
            )
            if taken is None:
                break
        count: int = batch.record_count()
        batch.close()
        sent = await self._driver.send_batch(batch, self._kafka.topic(topic), partition=partition)
        await sent
        return count

    async def probe(self) -> None:
        """Ask any broker for its news; raises `KafkaUnavailable` when none answers."""
        if not await self._driver.client.force_metadata_update():
            raise _nobody(self._kafka)


@asynccontextmanager
async def open_producer(
    kafka: KafkaSettings, topics: Iterable[Topic] = ()
) -> AsyncIterator[Producer]:
    """A connected producer, with these topics there; raises `KafkaUnavailable`. What has not been
    acknowledged in the end may be dropped."""
    await create_topics(kafka, topics)
    driver = AIOKafkaProducer(
        **_common(kafka),
        acks="all",
        enable_idempotence=not kafka.small,
        max_batch_size=BATCH_BYTES,
        max_request_size=MOST_BYTES,
    )
    try:
        await _connected(driver, kafka)
        yield Producer(driver, kafka)
    finally:
        # While its sender lives, `stop` waits for what cannot be delivered: without end, while no
        # broker answers. The driver has no other way to let go.
        sender, driver._sender = driver._sender, None  # noqa: SLF001 see above
        if sender.sender_task is not None:
            sender.sender_task.cancel()
            await asyncio.gather(sender.sender_task, return_exceptions=True)
        await driver.stop()


@asynccontextmanager
async def open_consumer(
    kafka: KafkaSettings, *topics: str, group: str | None = None, **options: Any
) -> AsyncIterator[Any]:
    """A connected consumer of the driver, from the first record on where nothing is known of the
    group; offsets are committed by hand. Raises `KafkaUnavailable`."""
    named = [kafka.topic(topic) for topic in topics]
    chosen = {
        "group_id": group,
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "max_partition_fetch_bytes": MOST_BYTES,
        **options,
    }
    driver = AIOKafkaConsumer(*named, **_common(kafka), **chosen)
    try:
        await _connected(driver, kafka)
        yield driver
    finally:
        await _stopped(driver)


class _Reassigned(ConsumerRebalanceListener):  # type: ignore[misc]  # the driver has no types
    """Tells that partitions are given anew."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def on_partitions_revoked(self, revoked: object) -> None:  # noqa: ARG002 the driver's interface
        self._tell()

    def on_partitions_assigned(self, assigned: object) -> None:  # noqa: ARG002 same
        self._tell()


def subscribe(consumer: Any, topic: str, reassigned: Callable[[], None]) -> None:
    """Have a share of the topic's partitions, as a member of the consumer's group; `reassigned` is
    called whenever they are given anew."""
    consumer.subscribe([topic], listener=_Reassigned(reassigned))


def partitions_of(consumer: Any, topic: str) -> list[int]:
    """Those of the topic that the consumer has been given."""
    return sorted(tp.partition for tp in consumer.assignment() if tp.topic == topic)


def seek(consumer: Any, topic: str, partition: int, offset: int) -> None:
    """Go on there."""
    consumer.seek(TopicPartition(topic, partition), offset)


async def create_topics(kafka: KafkaSettings, topics: Iterable[Topic]) -> None:
    """Create those that do not exist yet; raises `KafkaUnavailable`."""
    admin = AIOKafkaAdminClient(**_common(kafka))
    try:
        await _connected(admin, kafka)
        existing = set(await admin.list_topics())
        brokers = len((await admin.describe_cluster())["brokers"])
        missing = [
            _new_topic(kafka, topic, min(REPLICAS, brokers))
            for topic in topics
            if kafka.topic(topic.name) not in existing
        ]
        if missing:
            answer = await admin.create_topics(missing)
            for _, code, *_ in answer.topic_errors:
                if code not in (0, TOPIC_EXISTS):  # another process may have been faster
                    raise for_code(code)
    finally:
        await admin.close()


async def delete_topics(kafka: KafkaSettings, topics: Iterable[Topic]) -> None:
    """With all that is in them; raises `KafkaUnavailable`."""
    admin = AIOKafkaAdminClient(**_common(kafka))
    try:
        await _connected(admin, kafka)
        await admin.delete_topics([kafka.topic(topic.name) for topic in topics])
    finally:
        await admin.close()


async def missing_topics(kafka: KafkaSettings, topics: Iterable[str]) -> list[str]:
    """Those that nobody has created yet, for those who leave that to others; raises
    `KafkaUnavailable`. To ask for one that is not there would create it, not as it is meant to
    be."""
    admin = AIOKafkaAdminClient(**_common(kafka))
    try:
        await _connected(admin, kafka)
        existing = set(await admin.list_topics())
    finally:
        await admin.close()
    return [topic for topic in topics if kafka.topic(topic) not in existing]


def _new_topic(kafka: KafkaSettings, topic: Topic, replicas: int) -> Any:
    config = {"max.message.bytes": str(MOST_BYTES)}
    if replicas == REPLICAS:
        config["min.insync.replicas"] = str(REPLICAS - 1)
    if topic.compacted:  # within a day, so that what was deleted is gone for good
        config |= {
            "cleanup.policy": "compact",
            "min.cleanable.dirty.ratio": "0.1",
            "max.compaction.lag.ms": str(DAY),
            "segment.ms": str(DAY),
        }
    else:
        config["retention.ms"] = "-1" if topic.days is None else str(topic.days * DAY)
    return NewTopic(kafka.topic(topic.name), topic.partitions, replicas, topic_configs=config)


def _common(kafka: KafkaSettings) -> dict[str, Any]:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # see 3.
    return {
        "bootstrap_servers": list(kafka.bootstrap_servers),
        "client_id": "tidings",
        "request_timeout_ms": int(SECONDS_FOR_AN_ANSWER * 1_000),
    }


async def _stopped(driver: Any) -> None:
    """Let go of it. Once no broker answers, the driver says that as if we had been cancelled."""
    await asyncio.wait({asyncio.ensure_future(driver.stop())})


async def _connected(driver: Any, kafka: KafkaSettings) -> None:
    """Connect; where nobody answers, say so in one line."""
    starting = asyncio.ensure_future(driver.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:  # half-way, it would forget to close a connection
        await asyncio.gather(starting, return_exceptions=True)
        raise
    except (KafkaConnectionError, OSError) as error:
        raise _nobody(kafka) from error


def _nobody(kafka: KafkaSettings) -> KafkaUnavailable:
    servers = ",".join(kafka.bootstrap_servers)
    return KafkaUnavailable(f"KAFKA_BOOTSTRAP_SERVERS={servers}: no Kafka broker answers there.")
