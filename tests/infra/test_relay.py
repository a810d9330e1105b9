"""The relay on a real MongoDB and a real broker: every event, in order, whatever happens."""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from domain.recorded import Recorded
from infra import relay as relay_module
from infra.cloud_events import MARKER
from infra.commands import CommandHandler
from infra.embedded import embedded_mongod
from infra.kafka import EVENTS, KafkaUnavailable, Record, Topic, create_topics
from infra.leases import Lease, LeaseLost
from infra.log import Log
from infra.mongo import Document, open_mongo
from infra.relay import Relay
from infra.relaying.health import MAIN, RELAYS, relay_health
from infra.relaying.lanes import Lanes, Outgoing
from infra.settings import KafkaSettings
from infra.tail import wake_on_growth
from tests.infra import toy
from tests.infra.errands import eventually
from tests.infra.parts import a_log, handle_all, handler_on, running, until
from tests.kafka.brokers import Broker, free_port
from tests.kafka.reading import all_events, everything, header, position_of

JARS = "tidings.jars"
TOPICS = (Topic(name=EVENTS), Topic(name=JARS, compacted=True))


def contents_told(recorded: Recorded, jar: toy.Jar) -> Iterator[tuple[str, Record]]:
    """What is in a jar after the event; of a sealed one nothing is known any more."""
    value = None if jar.sealed else b"%d" % jar.marbles
    headers = [("ce_position", b"%d" % recorded.position)]
    yield JARS, Record(recorded.stream.encode(), value, headers)


@pytest.fixture
def settings(kafka: Broker, topic_prefix: str) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=(kafka.bootstrap,), topic_prefix=topic_prefix, small=kafka.small
    )


def relay_of(log: Log, settings: KafkaSettings) -> Relay:
    """Of a process of its own."""
    return Relay(log, settings, TOPICS, contents_told, [toy.JAR])


@asynccontextmanager
async def relaying(log: Log, settings: KafkaSettings) -> AsyncIterator[Relay]:
    """A relay at work as in a real process."""
    wake = asyncio.Event()
    relay = relay_of(log, settings)
    async with running(relay.run(wake), wake_on_growth(log, wake)):
        yield relay


async def checkpoint(log: Log) -> Document:
    found = await log.mongo.run(lambda db: db[RELAYS].find_one({"_id": MAIN}))
    return found or {"position": 0}


async def trouble_of(log: Log) -> str | None:
    return (await relay_health(log)).trouble


async def relayed(log: Log) -> None:
    """Wait until the checkpoint is where the log ends."""
    head = (await log.head()).position

    async def there() -> bool:
        return bool((await checkpoint(log)).get("position", 0) >= head)

    await eventually(there)


async def published(log: Log, settings: KafkaSettings) -> list[Any]:
    """All events that are in Kafka once all of the log is."""
    head = (await log.head()).position
    async with relaying(log, settings):  # markers come while it is at work
        return without_markers(await all_events(settings, head))


def put(*numbers: int) -> list[toy.Put]:
    return [toy.Put(jar=str(number)) for number in numbers]


def without_markers(records: Iterable[Any]) -> list[Any]:
    return [record for record in records if header(record, "ce_type") != MARKER]


def positions_by_stream(records: Iterable[Any]) -> dict[bytes, list[int]]:
    found: dict[bytes, list[int]] = defaultdict(list)
    for record in records:
        found[record.key].append(position_of(record))
    return found


# -- what is published


async def test_every_event_is_published_as_it_is_stored(
    log: Log, handler: CommandHandler, settings: KafkaSettings
) -> None:
    await handle_all(handler, put(*range(20), *range(20)))
    async with relaying(log, settings):
        await relayed(log)
        await handle_all(handler, put(*range(20)))
        await relayed(log)
        records = without_markers(await all_events(settings, 60))
    stored = await log.stored(0)
    for record, document in zip(sorted(records, key=position_of), stored, strict=True):
        told = json.loads(record.value)
        assert told.pop("position") == document["_id"]
        assert record.key.decode() == told["stream"] == header(record, "ce_subject")
        assert header(record, "ce_id") == document["meta"]["event_id"]
        at = datetime.fromisoformat(told["meta"]["recorded_at"])
        assert {**told, "meta": {**told["meta"], "recorded_at": at}} == {
            name: document[name] for name in told
        }
    for positions in positions_by_stream(records).values():
        assert positions == sorted(positions)


async def test_fat_messages_tell_of_the_state_after_their_event_however_late_they_are(
    log: Log, handler: CommandHandler, settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "BATCH", 4)
    await handle_all(handler, [*put(1, 2, 1, 2, 1), toy.Seal(jar="2")])
    async with relaying(log, settings):
        await relayed(log)
    await handle_all(handler, put(1, 1))
    async with relaying(log, settings):
        await relayed(log)
    jars = {key: [r.value for r in await told(settings, key)] for key in (b"jar-1", b"jar-2")}
    assert jars == {b"jar-1": [b"1", b"2", b"3", b"4", b"5"], b"jar-2": [b"1", b"2", None]}


async def told(settings: KafkaSettings, key: bytes) -> list[Any]:
    return [record for record in await everything(settings, JARS) if record.key == key]


async def test_partitions_that_rest_hear_how_far_everything_is(
    log: Log, handler: CommandHandler, settings: KafkaSettings
) -> None:
    async with relaying(log, settings):
        for number in range(3):
            await handle_all(handler, put(number, number))
            records = await all_events(settings, (number + 1) * 2)
            seen: dict[int, int] = {}
            for record in records:  # a marker never runs ahead of its partition
                assert position_of(record) >= seen.get(record.partition, 0)
                seen[record.partition] = position_of(record)
            assert len(without_markers(records)) == (number + 1) * 2


# -- going on


async def test_it_goes_on_where_it_was(
    log: Log, handler: CommandHandler, settings: KafkaSettings
) -> None:
    for number in range(3):
        await handle_all(handler, put(number, number, number))
        async with relaying(log, settings):
            await relayed(log)
    records = await published(log, settings)
    assert sorted(map(position_of, records)) == list(range(1, 10))


async def test_of_two_relays_one_publishes_and_the_other_takes_over(
    log: Log, handler: CommandHandler, settings: KafkaSettings
) -> None:
    async with relaying(log, settings):
        async with relaying(log, settings):
            await handle_all(handler, put(*range(10)))
            await relayed(log)
            token = (await checkpoint(log))["token"]
            await asyncio.sleep(1.5)
            assert (await checkpoint(log))["token"] == token
        await handle_all(handler, put(*range(10)))
        await relayed(log)
    records = await published(log, settings)
    assert sorted(map(position_of, records)) == list(range(1, 21))


async def test_one_that_was_overtaken_moves_nothing_and_waits_its_turn(
    log: Log, handler: CommandHandler, settings: KafkaSettings
) -> None:
    other = Lease(log.mongo, RELAYS, MAIN)
    async with relaying(log, settings):
        await handle_all(handler, put(1, 2, 3))
        await relayed(log)
        await other.revoke()
        taken = await other.acquire()
        assert taken is not None
        await handle_all(handler, put(4, 5))
        for _ in range(3):
            await asyncio.sleep(0.5)
            await other.write(position=2)
        assert (await checkpoint(log))["position"] == 2
        await other.release()
        await relayed(log)
    records = await published(log, settings)
    assert set(map(position_of, records)) == {1, 2, 3, 4, 5}


# -- trouble


async def test_a_broker_that_dies_is_waited_for_and_told_everything(
    log: Log,
    handler: CommandHandler,
    settings: KafkaSettings,
    kafka: Broker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with relaying(log, settings):
        await handle_all(handler, put(*range(10)))
        await relayed(log)
        kafka.kill()
        with caplog.at_level(logging.INFO, "tidings.relay"):
            await handle_all(handler, put(*range(10)))
            await eventually(partial(trouble_of, log))
            await asyncio.sleep(2.0)
            assert (await checkpoint(log))["position"] == 10
            await asyncio.to_thread(kafka.start)
            await relayed(log)
            assert await trouble_of(log) is None
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert kafka.bootstrap in caplog.text
    records = await published(log, settings)
    assert set(map(position_of, records)) == set(range(11 if kafka.small else 1, 21))


async def test_without_a_relay_health_says_so(log: Log, settings: KafkaSettings) -> None:
    async def well() -> bool:
        return await trouble_of(log) is None

    assert await trouble_of(log) == "no relay is at work"
    async with relaying(log, settings):
        await eventually(well)


async def test_an_event_that_cannot_be_told_is_not_passed_over(
    log: Log,
    handler: CommandHandler,
    settings: KafkaSettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mended = False

    def choosy(recorded: Recorded, _: Any) -> Sequence[tuple[str, Record]]:
        if recorded.position == 3 and not mended:
            raise ValueError("three is poison")
        return ()

    await handle_all(handler, put(1, 2, 3, 4))
    relay = Relay(log, settings, TOPICS, choosy, [])
    async with running(relay.run(asyncio.Event())):
        await until(lambda: "three is poison" in caplog.text)
        assert (await trouble_of(log)) == "three is poison"
        assert (await checkpoint(log))["position"] < 3
        mended = True
        await relayed(log)


async def test_mongodb_may_go_and_come_back(
    settings: KafkaSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        async with embedded_mongod(tmp_path) as mongod:
            log = await a_log(await stack.enter_async_context(open_mongo(mongod.uri, "test")))
            await stack.enter_async_context(relaying(log, settings))
            async with handling(log) as handler:
                await handle_all(handler, put(1, 2, 3))
            await relayed(log)
        await until(lambda: "the relay waits" in caplog.text, 30)
        async with embedded_mongod(tmp_path):
            async with handling(log) as handler:
                await handle_all(handler, put(4, 5))
            await relayed(log)
            records = without_markers(await all_events(settings, 5))
            await stack.aclose()
    assert set(map(position_of, records)) == {1, 2, 3, 4, 5}


@asynccontextmanager
async def handling(log: Log) -> AsyncIterator[CommandHandler]:
    handler = handler_on(log)
    async with running(handler.run()):
        yield handler


# -- one that has slept


class SleepyLease(Lease):
    """That of a process which may be stopped, and goes on where it was."""

    awake = asyncio.Event()

    async def write(self, **fields: Any) -> None:
        await self.awake.wait()
        await super().write(**fields)


async def test_one_that_slept_while_it_was_overtaken_has_all_that_followed_told_again(
    log: Log, handler: CommandHandler, settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, relay = Pipe(), relay_of(log, settings)
    monkeypatch.setattr(relay_module, "open_producer", pipe.open)
    relay._lease = SleepyLease(log.mongo, RELAYS, MAIN, 0.3)
    SleepyLease.awake.clear()
    await handle_all(handler, put(1, 1, 1))
    async with running(relay.run(asyncio.Event())):
        await until(lambda: len(pipe.answers) == 2)  # asleep with a batch for each topic under way
        other = Lease(log.mongo, RELAYS, MAIN)
        await eventually(other.acquire)
        await other.write(position=3)
        pipe.patient = False
        pipe.let_go()
        SleepyLease.awake.set()
        await relayed(log)
        await until(lambda: [b"3"] in pipe.batches)
        with pytest.raises(LeaseLost):
            await other.write(position=3)
    states = [batch for batch in pipe.batches if batch[0] and batch[0].isdigit()]
    assert states == [[b"1", b"2"], [b"1", b"2"], [b"3"]]


# -- lanes


class Pipe:
    """A producer that sends two records at once, and acknowledges when it is told to."""

    def __init__(self) -> None:
        self.patient = True
        self.batches: list[list[bytes | None]] = []
        self.answers: list[asyncio.Future[None]] = []

    async def publish(self, _topic: str, _partition: int, records: Iterable[Record]) -> int:
        batch = [record.value for record, _ in zip(records, range(2), strict=False)]
        self.batches.append(batch)
        if self.patient:
            self.answers.append(asyncio.get_running_loop().create_future())
            await self.answers[-1]
        return len(batch)

    def let_go(self) -> None:
        """Acknowledge all."""
        for answer in self.answers:
            answer.set_result(None)

    @asynccontextmanager
    async def open(self, *_: Any) -> AsyncIterator["Pipe"]:
        yield self

    async def partitions(self, _topic: str) -> int:
        return 1

    async def probe(self) -> None:
        """It is there."""


def outgoing(position: int, partition: int = 0) -> Outgoing:
    return Outgoing(EVENTS, partition, position, Record(b"k", b"%d" % position, []))


async def test_a_lane_sends_one_batch_at_a_time_and_the_checkpoint_waits_for_all() -> None:
    pipe = Pipe()
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(10, lambda: None)
        lanes.open(pipe, {EVENTS: 2}, tasks)  # type: ignore[arg-type]  # all that it uses
        lanes.put([outgoing(11), outgoing(12), outgoing(13), outgoing(14, 1)], 15)
        await until(lambda: len(pipe.answers) == 2)
        assert pipe.batches == [[b"11", b"12"], [b"14"]]
        assert lanes.acknowledged == 10
        pipe.answers[1].set_result(None)
        pipe.answers[0].set_result(None)
        await until(lambda: len(pipe.answers) == 3)
        assert (pipe.batches[2], lanes.acknowledged, lanes.busy) == ([b"13"], 12, True)
        pipe.answers[2].set_result(None)
        await until(lambda: not lanes.busy)
        assert lanes.acknowledged == 15


async def test_what_arrives_after_the_lease_has_lapsed_counts_as_not_arrived() -> None:
    pipe, lapsed = Pipe(), False

    def check() -> None:
        if lapsed:
            raise LeaseLost

    async def send() -> None:
        nonlocal lapsed
        async with asyncio.TaskGroup() as tasks:
            lanes.open(pipe, {EVENTS: 1}, tasks)  # type: ignore[arg-type]  # all that it uses
            lanes.put([outgoing(1)], 1)
            await until(lambda: bool(pipe.answers))
            lapsed = True
            pipe.answers[0].set_result(None)

    lanes = Lanes(0, check)
    with pytest.raises(ExceptionGroup) as failed:
        await send()
    assert failed.group_contains(LeaseLost)
    assert (lanes.busy, lanes.acknowledged) == (True, 0)


# -- the address


async def test_a_wrong_address_is_one_clear_line() -> None:
    nowhere = KafkaSettings(bootstrap_servers=(f"127.0.0.1:{free_port()}",))
    with pytest.raises(KafkaUnavailable, match=r"^KAFKA_[^\n]*: no Kafka broker answers there.$"):
        await create_topics(nowhere, TOPICS)
