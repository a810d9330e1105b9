"""The brokers of the tests are what they are taken for."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.conftest import ON_BROKER
from tests.e2e.server import eventually
from tests.kafka.brokers import (
    HOST,
    ROOT,
    Broker,
    BrokerUnavailable,
    apache_is_here,
    broker,
    free_port,
    listens,
)
from tests.kafka.topics import create_topic, delete_topics

SECONDS = 30.0
APACHE_ONLY = pytest.mark.parametrize("either", ["apache"], indirect=True)


@pytest.fixture(params=["apache", "small"])
def either(
    request: pytest.FixtureRequest,
    start_broker: Callable[[bool], Broker],
    record_property: Callable[[str, object], None],
) -> Broker:
    """Each broker in turn."""
    small = request.param == "small"
    if not small and not apache_is_here():
        pytest.skip("Apache Kafka is not prepared: make kafka")
    running = start_broker(small)
    record_property(ON_BROKER, running.name)
    return running


@pytest.fixture
async def topic(either: Broker) -> AsyncIterator[str]:
    name = f"test-{uuid4().hex}"
    await create_topic(either, name)
    yield name
    either.start()
    await delete_topics(either, name)


@asynccontextmanager
async def producing(to: Broker, **options: Any) -> AsyncIterator[Any]:
    async with AIOKafkaProducer(bootstrap_servers=to.bootstrap, **options) as producer:
        yield producer


@asynccontextmanager
async def consuming(at: Broker, topic: str, group: str | None = None) -> AsyncIterator[Any]:
    async with AIOKafkaConsumer(
        topic,
        bootstrap_servers=at.bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        metadata_max_age_ms=500,
        session_timeout_ms=3_000,
        heartbeat_interval_ms=200,
    ) as consumer:
        yield consumer


async def send(to: Broker, topic: str, numbers: Iterable[int], **options: Any) -> None:
    """Each number, under one of seven keys."""
    async with producing(to, **options) as producer:
        for number in numbers:
            await producer.send(topic, b"%d" % number, key=b"key-%d" % (number % 7))
        await producer.flush()


async def received(consumer: Any, count: int) -> list[int]:
    """The next numbers."""
    found: list[int] = []
    async with asyncio.timeout(SECONDS):
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found += [int(record.value) for record in records]
    return found


def in_order_per_key(numbers: list[int]) -> bool:
    by_key = [[n for n in numbers if n % 7 == key] for key in range(7)]
    return all(of_key == sorted(of_key) for of_key in by_key)


async def test_what_is_produced_is_consumed_in_order_per_key(either: Broker, topic: str) -> None:
    await send(either, topic, range(500))
    async with consuming(either, topic) as consumer:
        numbers = await received(consumer, 500)
    assert sorted(numbers) == list(range(500))
    assert in_order_per_key(numbers)


async def test_a_group_goes_on_where_it_has_committed(either: Broker, topic: str) -> None:
    await send(either, topic, range(100))
    async with consuming(either, topic, topic) as consumer:
        await received(consumer, 100)
        await consumer.commit()
    await send(either, topic, range(100, 150))
    async with consuming(either, topic, topic) as consumer:
        assert sorted(await received(consumer, 50)) == list(range(100, 150))


async def test_a_group_shares_the_partitions(either: Broker, topic: str) -> None:
    async with AsyncExitStack() as members:
        one = await members.enter_async_context(consuming(either, topic, topic))
        await shares(one, 12)
        two = await members.enter_async_context(consuming(either, topic, topic))
        await asyncio.gather(shares(one, 6), shares(two, 6))
        assert not one.assignment() & two.assignment()
        await two.stop()
        await shares(one, 12)


async def shares(member: Any, partitions: int) -> None:
    """Wait until a member of a group has so many."""
    async with asyncio.timeout(SECONDS):
        while len(member.assignment()) != partitions:
            await member.getmany(timeout_ms=50)


@APACHE_ONLY
async def test_apache_kafka_keeps_its_data_over_a_kill(either: Broker, topic: str) -> None:
    await send(either, topic, range(100), acks="all")
    async with consuming(either, topic, topic) as consumer:
        await received(consumer, 100)
        await consumer.commit()
    either.kill()
    assert not listens(either.port)
    either.start()
    await send(either, topic, range(100, 150), acks="all")
    async with consuming(either, topic) as consumer:
        assert sorted(await received(consumer, 150)) == list(range(150))
    async with consuming(either, topic, topic) as consumer:
        assert sorted(await received(consumer, 50)) == list(range(100, 150))


@APACHE_ONLY
async def test_an_idempotent_producer_outlives_the_broker(either: Broker, topic: str) -> None:
    async with producing(either, enable_idempotence=True) as producer:
        sent = [
            await producer.send(topic, b"%d" % n, key=b"key-%d" % (n % 7)) for n in range(1_000)
        ]
        either.kill()
        sent += [await producer.send(topic, b"%d" % n, key=b"key-%d" % (n % 7)) for n in (1_000,)]
        await asyncio.to_thread(either.start)
        await asyncio.wait_for(asyncio.gather(*sent), SECONDS)
    async with consuming(either, topic) as consumer:
        numbers = await received(consumer, 1_001)
        assert await consumer.getmany(timeout_ms=300) == {}
    assert sorted(numbers) == list(range(1_001))
    assert in_order_per_key(numbers)


@APACHE_ONLY
async def test_apache_kafka_compacts(either: Broker, topic: str) -> None:
    compacted = f"{topic}-compacted"
    config = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100"}
    await create_topic(either, compacted, **config)

    async def left() -> list[int]:
        """What a new reader finds. Each look adds a record, as only what is not the end of a
        partition is compacted."""
        await send(either, compacted, range(7))
        async with consuming(either, compacted) as consumer:
            ends = await consumer.end_offsets(consumer.assignment())
            found: list[int] = []
            while any([await consumer.position(each) < end for each, end in ends.items()]):
                found += [
                    int(record.value)
                    for records in (await consumer.getmany(timeout_ms=100)).values()
                    for record in records
                ]
        return found

    await send(either, compacted, range(700))
    async with asyncio.timeout(SECONDS):
        while len(await left()) > 100:
            pass


def test_the_small_broker_keeps_nothing_but_its_address(tmp_path: Path) -> None:
    small = broker(tmp_path, small=True)
    small.start()
    bootstrap = small.bootstrap
    asyncio.run(create_topic(small, "kept"))
    small.kill()
    assert not listens(small.port)
    small.start()
    try:
        assert small.bootstrap == bootstrap
        asyncio.run(create_topic(small, "kept"))  # it is new again
    finally:
        small.stop()


def test_why_a_broker_does_not_start_is_said(tmp_path: Path) -> None:
    first = broker(tmp_path / "first", small=True)
    first.start()
    try:
        first.command = [*first.command, "--nonsense"]
        first.kill()
        with pytest.raises(BrokerUnavailable, match="nonsense"):
            first.start()
    finally:
        first.stop()


@pytest.fixture
def trying_out() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`make kafka`, or what it runs, with the small broker."""
    port = free_port()
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.kafka", "--small", "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout
    for line in run.stdout:
        if line.startswith("export KAFKA_BOOTSTRAP_SERVERS"):
            assert line.rstrip().endswith(f"={HOST}:{port}")
            break
    assert listens(port)
    yield run, port
    run.kill()
    run.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_broker_does_not_outlive_who_has_started_it(
    trying_out: tuple[subprocess.Popen[str], int], number: signal.Signals
) -> None:
    run, port = trying_out
    run.send_signal(number)
    run.wait(SECONDS)
    eventually(lambda: not listens(port))
