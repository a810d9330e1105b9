"""The relay of this process: what leaves the house, and where it goes."""

import asyncio
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from domain.published import CARRIED, published
from domain.published_messages import CUSTOMERS_TOPIC, NOTIFICATIONS_TOPIC, PRODUCTS_TOPIC
from domain.recorded import Recorded
from infra.cloud_events import encoded
from infra.kafka import EVENTS, Record, Topic
from infra.log import Log
from infra.moving.marks import why_no_reactions
from infra.relay import Relay
from infra.relaying.records import source_of
from infra.settings import KafkaSettings
from infra.tail import wake_on_growth

logger = logging.getLogger("tidings.relay")

TOPICS: Final = (
    Topic(name=EVENTS),
    Topic(name=NOTIFICATIONS_TOPIC, days=14),
    Topic(name=CUSTOMERS_TOPIC, compacted=True),
    Topic(name=PRODUCTS_TOPIC, compacted=True),
)


def records(source: str, recorded: Recorded, state: Any) -> Iterator[tuple[str, Record]]:
    """What leaves the house because of an event, as records, each with its topic."""
    for message in published(recorded, state):
        yield message.topic, Record(*encoded(message, recorded, source))


async def relay_events(log: Log, kafka: KafkaSettings) -> None:
    """Publish until cancelled. Where a log is not to be reacted to, the reason is logged."""
    if reason := await why_no_reactions(log):
        logger.warning("nothing is published: %s", reason)
        return
    relay = Relay(log, kafka, TOPICS, partial(records, source_of(log)), CARRIED.values())
    wake = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wake_on_growth(log, wake))
        tasks.create_task(relay.run(wake))
