"""What the relay does, in slow motion: events onto the topic by the hand of a test."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from infra.cloud_events import encoded_event
from infra.kafka import EVENTS, Producer, Record, Topic, open_producer, partition_of
from infra.log import Log
from infra.relaying.records import marker_record
from infra.settings import KafkaSettings

PARTITIONS: Final = 12
SOURCE: Final = "/tidings/test"


class Publisher:
    """Publishes a log from where it was."""

    def __init__(self, log: Log, producer: Producer) -> None:
        self._log, self._producer = log, producer
        self.position = 0

    async def publish(self, *, again: int = 0, marked: bool = True) -> int:
        """Everything that is not published yet, the last `again` events before it once more, and a
        marker for each partition; answers with the position."""
        lanes: dict[int, list[Record]] = defaultdict(list)
        for document in await self._log.stored(max(self.position - again, 0)):
            meta = self._log.codec.meta(document["meta"])
            record = Record(*encoded_event(document, meta, SOURCE))
            lanes[partition_of(record.key or b"", PARTITIONS)].append(record)
            self.position = max(self.position, document["_id"])
        for number in range(PARTITIONS):
            if marked:
                lanes[number].append(marker_record(number, self.position, SOURCE))
            await self._send(number, lanes[number])
        return self.position

    async def _send(self, number: int, records: list[Record]) -> None:
        while records:
            records = records[await self._producer.publish(EVENTS, number, records) :]


@asynccontextmanager
async def publishing(log: Log, kafka: KafkaSettings) -> AsyncIterator[Publisher]:
    """With the topic there."""
    topic = Topic(name=EVENTS, partitions=PARTITIONS)
    async with open_producer(kafka, [topic]) as producer:
        yield Publisher(log, producer)
