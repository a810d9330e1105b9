"""The relay as a process, and our server while there is no Kafka."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
import pytest

from api.relaying import TOPICS
from api.runtime import CODEC
from domain.published import CARRIED, published
from infra.cloud_events import MARKER, encoded
from infra.log import Log
from infra.mongo import open_mongo
from infra.relaying.health import RELAYS
from infra.relaying.records import source_of
from infra.settings import KafkaSettings
from tests.e2e.client import STAFF, Client, anonymous, eventually
from tests.e2e.server import environment, process, serving
from tests.e2e.shop import Shop
from tests.kafka.brokers import Broker, free_port
from tests.kafka.history import history
from tests.kafka.reading import all_events, everything, header, position_of

CHANGES = "subscription { orderChanged { position order { status } } }"
ORDER = "query ($id: ID!, $at: Position) { order(id: $id, atLeast: $at) { status } }"

EVENTS_OF_CHAOS = 50_000
KILLS = 8


@pytest.fixture
def kafka_settings(kafka: Broker, topic_prefix: str) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=(kafka.bootstrap,), topic_prefix=topic_prefix, small=kafka.small
    )


def as_environment(kafka: KafkaSettings) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(kafka.bootstrap_servers),
        "TIDINGS_KAFKA_SMALL": "1" if kafka.small else "0",
        "TIDINGS_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
    }


def health(url: str) -> Any:
    """What `/readyz` tells; it must be 200."""
    with urlopen(f"{url}/readyz") as answer:
        return json.load(answer)


def has_told_all(url: str, position: int) -> bool:
    """Whether `/metrics` and `/readyz` say so."""
    with urlopen(f"{url}/metrics") as answer:
        lines = [line for line in answer.read().decode().splitlines() if line[0] != "#"]
    values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    arrived = values['tidings_published_records_total{topic="tidings.events"}']
    return values["tidings_relay_lag"] == 0 and arrived >= position <= health(url)["relayed"]


# -- without Kafka


def test_a_relay_without_kafka_says_so_in_one_line(tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    for servers, said in {
        "": "KAFKA_BOOTSTRAP_SERVERS is not set: there is nowhere to publish.",
        "kafka": "KAFKA_BOOTSTRAP_SERVERS='kafka' must be host:port, or several of them with"
        " commas between.",
        nowhere: f"KAFKA_BOOTSTRAP_SERVERS={nowhere}: no Kafka broker answers there.",
        "no.such.host.invalid:9092": "KAFKA_BOOTSTRAP_SERVERS=no.such.host.invalid:9092:"
        " no Kafka broker answers there.",
    }.items():
        ended = subprocess.run(
            [sys.executable, "-m", "api", "relay"],
            env=environment(tmp_path, {"KAFKA_BOOTSTRAP_SERVERS": servers}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"tidings: {said}\n")


async def test_while_kafka_is_down_everything_else_works_and_it_is_told_afterwards(
    mongodb_uri: str,
    database_name: str,
    kafka: Broker,
    kafka_settings: KafkaSettings,
    tmp_path: Path,
) -> None:
    kafka.kill()
    settings = {
        "MONGODB_URI": mongodb_uri,
        "TIDINGS_DATABASE": database_name,
        **as_environment(kafka_settings),
    }
    with ExitStack() as stack:
        server = await asyncio.to_thread(stack.enter_context, serving(tmp_path, settings))
        async with anonymous(server.graphql, tmp_path) as anyone:
            staff = anyone.signed_in(STAFF)
            await eventually(lambda: asyncio.to_thread(is_degraded, server.url))
            position = await trade(staff)
        assert is_degraded(server.url)
        warnings = [line for line in server.output if kafka.bootstrap in line]
        assert len(warnings) == 1
        await asyncio.to_thread(kafka.start)
        await eventually(lambda: asyncio.to_thread(is_ready, server.url))
        told = await all_events(kafka_settings, position)
        await eventually(lambda: asyncio.to_thread(has_told_all, server.url, position))
        await asyncio.to_thread(server.stop)
    assert {"OrderPlaced", "CustomerRegistered"} <= {
        orjson.loads(record.value)["type"] for record in told if header(record, "ce_type") != MARKER
    }


def is_degraded(url: str) -> bool:
    return bool(health(url)["status"] == "degraded")


def is_ready(url: str) -> bool:
    return bool(health(url)["status"] == "ready")


async def trade(staff: Client) -> int:
    """Commands, a query and a subscription; the position that they come to."""
    shop = Shop(staff)
    customer, sku = await shop.customer(), await shop.product(stock=5)
    async with staff.socket() as socket:
        await socket.subscribe(CHANGES)
        receipt = await shop.order(customer, sku)
        assert (await socket.next())["orderChanged"]["order"]["status"] == "PLACED"
    found = await staff.run(ORDER, id=receipt["aggregateId"], at=receipt["position"])
    assert found["order"]["status"] == "PLACED"
    return int(receipt["position"].partition(":")[2])


# -- chaos


class Relays:
    """Two relays, of which one stands by. Whichever has ended is started again."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        self._environment = environment(home, settings)
        self._running: list[tuple[ExitStack, subprocess.Popen[str]]] = []

    def look_after(self) -> None:
        for stack, run in [each for each in self._running if each[1].poll() is not None]:
            stack.close()
            self._running.remove((stack, run))
        while len(self._running) < 2:
            stack = ExitStack()
            run = stack.enter_context(process(("relay",), self._environment))
            self._running.append((stack, run))

    def kill(self) -> None:
        for _, run in self._running:
            run.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        for stack, _ in self._running:
            stack.close()


@asynccontextmanager
async def looked_after(relays: Relays) -> AsyncIterator[None]:
    async def keep() -> None:
        while True:
            await asyncio.to_thread(relays.look_after)
            await asyncio.sleep(0.2)

    keeping = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await asyncio.to_thread(relays.stop)


async def append_until(log: Log, over: asyncio.Event) -> int:
    """Events all the time, and so many at least; how many."""
    events, head = history(), await log.head()
    while head.position < EVENTS_OF_CHAOS or not over.is_set():
        head = await log.append(head, list(islice(events, 100)))
        await asyncio.sleep(0.05)
    return head.position


async def torment(relays: Relays, broker: Broker, over: asyncio.Event) -> None:
    """Kill the broker (the small one would lose what it was told) and all relays in turn."""
    for number in range(KILLS):
        await asyncio.sleep(random.uniform(1.0, 5.0))
        if number % 2 or broker.small:
            relays.kill()
        else:
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(random.uniform(0.0, 2.0))
            await asyncio.to_thread(broker.start)
    over.set()


@pytest.mark.chaos
async def test_no_kill_keeps_an_event_from_being_told_in_order(
    mongodb_uri: str,
    database_name: str,
    kafka: Broker,
    kafka_settings: KafkaSettings,
    tmp_path: Path,
) -> None:
    settings = {
        "MONGODB_URI": mongodb_uri,
        "TIDINGS_DATABASE": database_name,
        **as_environment(kafka_settings),
    }
    async with open_mongo(mongodb_uri, database_name) as mongo:
        log = Log(mongo, CODEC)
        await log.prepare()
        relays = Relays(tmp_path, settings)
        async with looked_after(relays):
            over = asyncio.Event()
            head, _ = await asyncio.gather(append_until(log, over), torment(relays, kafka, over))
            told = await all_events(kafka_settings, head)
            await eventually(lambda: has_reached(log, head))
        events = [record for record in told if header(record, "ce_type") != MARKER]
        await events_are_those_of_the_log(log, events)
        await messages_are_those_of_the_log(log, kafka_settings)
    print(f"{len(events) - head} of {len(events)} were told again")


async def has_reached(log: Log, position: int) -> bool:
    rows = await log.mongo.run(lambda db: list(db[RELAYS].find()))
    return [row["position"] for row in rows] == [position]


async def events_are_those_of_the_log(log: Log, records: list[Any]) -> None:
    """All of them, nothing else, in order for each stream, the same each time they are told."""
    seen: dict[str, bytes] = {}
    versions: dict[str, int] = defaultdict(int)
    stored = {document["_id"]: document for document in await log.stored(0)}
    for record in records:
        id_, event = header(record, "ce_id"), orjson.loads(record.value)
        if id_ in seen:
            assert seen[id_] == record.value
            continue
        seen[id_] = record.value
        versions[event["stream"]] += 1
        assert event["version"] == versions[event["stream"]]
        document = stored[position_of(record)]
        for name in ("stream", "version", "type", "schema"):
            assert event[name] == document[name]
        as_json = orjson.dumps(document["data"], option=orjson.OPT_UTC_Z)
        assert event["data"] == orjson.loads(as_json)
    assert len(seen) == len(stored)


async def messages_are_those_of_the_log(log: Log, kafka: KafkaSettings) -> None:
    """What is told of each event with its state is what a fold of the log tells, and comes last."""
    wanted = {topic.name: dict[str, Any]() for topic in TOPICS}
    states: dict[str, Any] = {}
    for recorded in await log.read(0):
        if decider := CARRIED.get(recorded.stream.partition("-")[0]):
            before = states.get(recorded.stream, decider.initial)
            states[recorded.stream] = decider.evolve(before, recorded.event)
        for message in published(recorded, states.get(recorded.stream)):
            record = encoded(message, recorded, source_of(log))
            wanted[message.topic][dict(record.headers)["ce_id"].decode()] = record
    for topic, messages in wanted.items():
        if not messages:
            continue
        found = await everything(kafka, topic)
        if topic == TOPICS[1].name:  # the others are compacted
            assert {header(record, "ce_id") for record in found} == messages.keys()
        assert {header(record, "ce_id") for record in found} <= messages.keys()
        last = {record.key: record.value for record in found}
        assert last == {message.key: message.value for message in messages.values()}
