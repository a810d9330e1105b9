"""Reading topics from their beginning, as any recipient could."""

import time
from typing import Any

from infra.kafka import EVENTS, open_consumer
from infra.settings import KafkaSettings

PATIENCE = 60.0


async def all_events(kafka: KafkaSettings, position: int) -> list[Any]:
    """What is in the topic of all events, markers included, once each of its partitions says that
    it holds everything up to a position; in order for each partition."""
    found: list[Any] = []
    give_up = time.monotonic() + PATIENCE
    async with open_consumer(kafka, EVENTS) as consumer:
        reached = dict.fromkeys(consumer.partitions_for_topic(kafka.topic(EVENTS)), 0)
        while min(reached.values()) < position:
            assert time.monotonic() < give_up, f"{reached} of {position}"
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                found += records
                last = max(map(position_of, records))
                reached[partition.partition] = max(reached[partition.partition], last)
    return found


async def everything(kafka: KafkaSettings, topic: str, quiet: float = 1.0) -> list[Any]:
    """What is in a topic, once nothing more comes; in order for each partition."""
    found: list[Any] = []
    async with open_consumer(kafka, topic) as consumer:
        since = time.monotonic()
        while time.monotonic() - since < quiet:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
                since = time.monotonic()
    return found


def header(record: Any, name: str) -> str:
    """One of the attributes of a record."""
    return bytes(dict(record.headers)[name]).decode()


def position_of(record: Any) -> int:
    """The position that a record tells of."""
    return int(header(record, "ce_position"))
