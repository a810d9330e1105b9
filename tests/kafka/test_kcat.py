"""A consumer that nobody here wrote reads what we publish: `kcat`, as Debian has it."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from itertools import islice
from typing import Any, Final

import pytest

from api.relaying import relay_events
from api.runtime import CODEC
from domain.published_messages import CUSTOMERS_TOPIC, NOTIFICATIONS_TOPIC
from infra.cloud_events import MARKER
from infra.kafka import EVENTS
from infra.log import Log
from infra.mongo import open_mongo
from infra.relaying.health import relay_health
from infra.settings import KafkaSettings
from tests.infra.errands import eventually
from tests.infra.parts import running
from tests.kafka.brokers import Broker
from tests.kafka.history import history
from tests.kafka.reading import everything

TOLD: Final = 300
SECONDS: Final = 30.0

pytestmark = pytest.mark.skipif(
    shutil.which("kcat") is None, reason="kcat is not installed: apt-get install kcat"
)


@pytest.fixture
async def relayed(
    mongodb_uri: str, database_name: str, kafka: Broker, topic_prefix: str
) -> AsyncIterator[tuple[Log, KafkaSettings]]:
    """A log that has been published, by a relay that has stopped."""
    if kafka.small:
        pytest.skip("the small broker cannot talk to kcat")
    settings = KafkaSettings(
        bootstrap_servers=(kafka.bootstrap,), topic_prefix=topic_prefix, small=kafka.small
    )
    async with open_mongo(mongodb_uri, database_name) as mongo:
        log = Log(mongo, CODEC)
        await log.prepare()
        await log.append(await log.head(), list(islice(history(), TOLD)))

        async def all_told() -> bool:
            return (await relay_health(log)).position == TOLD

        async with running(relay_events(log, settings)):
            await eventually(all_told, SECONDS)
        yield log, settings


async def read_by_kcat(kafka: KafkaSettings, topic: str) -> list[dict[str, Any]]:
    """All records of a topic, up to its end."""
    servers = ",".join(kafka.bootstrap_servers)
    ended = await asyncio.to_thread(
        subprocess.run,
        ["kcat", "-C", "-b", servers, "-t", kafka.topic(topic), "-e", "-q", "-J"],
        capture_output=True,
        check=True,
        timeout=SECONDS,
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]


def headers_of(record: Mapping[str, Any]) -> dict[str, str]:
    """kcat lists names and values in turn."""
    names_and_values = iter(record["headers"])
    return dict(zip(names_and_values, names_and_values, strict=True))


async def test_kcat_reads_every_event(relayed: tuple[Log, KafkaSettings]) -> None:
    log, kafka = relayed
    stored = {document["_id"]: document for document in await log.stored(0)}
    events = [
        (headers, json.loads(record["payload"]), record["key"])
        for record in await read_by_kcat(kafka, EVENTS)
        if (headers := headers_of(record))["ce_type"] != MARKER
    ]
    assert {int(headers["ce_position"]) for headers, _, _ in events} == stored.keys()
    for headers, event, key in events:
        document = stored[event["position"]]
        assert key == headers["ce_subject"] == event["stream"] == document["stream"]
        assert headers["content-type"] == "application/json"
        assert headers["ce_specversion"] == "1.0"
        assert (event["type"], event["version"]) == (document["type"], document["version"])


async def test_kcat_reads_notices_and_states(relayed: tuple[Log, KafkaSettings]) -> None:
    _, kafka = relayed
    notices = await read_by_kcat(kafka, NOTIFICATIONS_TOPIC)
    assert len(notices) == len(await everything(kafka, NOTIFICATIONS_TOPIC)) > 0
    for record in notices:
        notice = json.loads(record["payload"])
        assert record["key"] == headers_of(record)["ce_subject"] == notice["id"]
        assert notice["link"]["variables"]["id"] == notice["id"]
    states = await read_by_kcat(kafka, CUSTOMERS_TOPIC)
    assert len(states) == len(await everything(kafka, CUSTOMERS_TOPIC)) > 0
    assert {headers_of(record)["ce_type"] for record in states} == {"tidings.CustomerState.v1"}
    assert all(json.loads(record["payload"])["id"] == record["key"] for record in states)
