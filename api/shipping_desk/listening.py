"""What Kafka tells, taken down in the order of each partition.

1. It begins where the desk's own database says, not where the broker thinks: offsets are written
   with what they stand for.
2. While Kafka or the database is away it is tried again, for ever; everything else goes on.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from api.shipping_desk.copies import TOPICS, Heard, Place, heard
from api.shipping_desk.store import Store
from infra.kafka import KafkaError, KafkaUnavailable, missing_topics, open_consumer
from infra.mongo import Unavailable
from infra.settings import KafkaSettings

log = logging.getLogger("tidings.shipping")

MOST_AT_ONCE: Final = 500
POLL_MS: Final = 500
PROBED_AFTER: Final = 10
"""Polls without a message after which a broker is asked whether it is there."""
PAUSE: Final = 1.0


class Listener:
    """`told` is called when something has been written; `run` must be running."""

    def __init__(self, store: Store, kafka: KafkaSettings, told: Callable[[], None]) -> None:
        self._store = store
        self._kafka = kafka
        self._told = told
        self.trouble: str | None = None
        """Why nothing can be heard at the moment."""

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except (KafkaError, KafkaUnavailable, Unavailable) as away:
                if self.trouble is None:
                    log.warning("nothing is heard for now: %s", away)
                self.trouble = str(away) or type(away).__name__
            except Exception as error:
                log.exception("what was heard cannot be taken down; trying again")
                self.trouble = type(error).__name__
            await asyncio.sleep(PAUSE)

    async def _listen(self) -> None:
        await self._probe()
        async with open_consumer(self._kafka, *TOPICS) as consumer:
            await self._seek(consumer)
            self.trouble = None
            quiet = 0
            while True:
                batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=MOST_AT_ONCE)
                batch = [self._heard(record) for records in batches.values() for record in records]
                if batch:
                    await self._store.hear(batch)
                    self._told()
                quiet = 0 if batch else quiet + 1
                if quiet == PROBED_AFTER:
                    await self._probe()
                    quiet = 0

    async def _probe(self) -> None:
        """Raises `KafkaUnavailable`: to a consumer a broker that is away is just quiet."""
        if missing := await missing_topics(self._kafka, TOPICS):
            raise KafkaUnavailable(f"nobody has published {', '.join(missing)} yet")

    async def _seek(self, consumer: Any) -> None:
        """Go on where the database is; what it does not know is heard from its start."""
        offsets = {one.id: one.offset for one in await self._store.reached()}
        for place in consumer.assignment():
            topic = place.topic.removeprefix(self._kafka.topic_prefix)
            if (offset := offsets.get(f"{topic}/{place.partition}")) is not None:
                consumer.seek(place, offset)

    def _heard(self, record: Any) -> Heard:
        topic = record.topic.removeprefix(self._kafka.topic_prefix)
        return heard(record, Place(topic=topic, partition=record.partition, offset=record.offset))
