"""Topics of a broker, from outside: the driver alone, nothing of ours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.kafka.brokers import Broker


async def create_topic(broker: Broker, name: str, **config: str) -> None:
    """One with twelve partitions."""
    async with _administrator(broker) as administrator:
        await administrator.create_topics([NewTopic(name, 12, 1, topic_configs=config)])


async def delete_topics(broker: Broker, prefix: str) -> None:
    """Those whose names begin so."""
    async with _administrator(broker) as administrator:
        topics = await administrator.list_topics()
        if named := [topic for topic in topics if topic.startswith(prefix)]:
            await administrator.delete_topics(named)


@asynccontextmanager
async def _administrator(broker: Broker) -> AsyncIterator[Any]:
    client = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()
