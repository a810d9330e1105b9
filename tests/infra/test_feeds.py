"""Both ways of feeding a projector, straight from the log and over Kafka, keep what it promises."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

import pytest
import pytest_asyncio

from infra.codec import EventCodec, from_json
from infra.commands import CommandHandler
from infra.feeding.checking import wrong_fed
from infra.feeding.group import NotOwned, check_owned, places
from infra.folding import collection_of
from infra.generations import generations
from infra.hot_documents import HotDocuments
from infra.kafka_feed import feed_over_kafka
from infra.log import Log
from infra.newest import Snapshot
from infra.parked import StillFailing, parked_keys, retry
from infra.projector import Projector
from infra.reads import FedBehind, Reads
from infra.rebuild import checkpoint, prepare_read_models, rebuild
from infra.settings import KafkaSettings
from tests.infra import toy
from tests.infra.feed_conformance import CHECKS, POISON, Fed, come_to, equal_a_refold, put
from tests.infra.parts import projecting, running
from tests.infra.publishing import PARTITIONS, Publisher, publishing
from tests.kafka.brokers import Broker
from tests.kafka.topics import delete_topics

BOTH = (toy.contents(poison={POISON}), toy.TALLIES)
JSON = EventCodec(toy.JAR.events, (), from_json)


@dataclass
class FromLog:
    log: Log
    reads: Reads
    handler: CommandHandler

    @asynccontextmanager
    async def projecting(self) -> AsyncIterator[None]:
        async with projecting(self.log, Projector(self.log, BOTH)):
            yield

    def feeds(self, at: Snapshot) -> bool:
        return "contents" in at.generations

    async def tell(self, *, again: int = 0) -> int:
        del again  # nothing is told twice by the log
        return (await self.log.head()).position


@dataclass
class OverKafka:
    log: Log
    reads: Reads
    handler: CommandHandler
    kafka: KafkaSettings
    publisher: Publisher

    @asynccontextmanager
    async def projecting(self) -> AsyncIterator[None]:
        async with running(feed_over_kafka(self.log.mongo, JSON, BOTH[:1], self.kafka)):
            yield

    def feeds(self, at: Snapshot) -> bool:
        return "contents" in at.fed

    async def tell(self, *, again: int = 0) -> int:
        return await self.publisher.publish(again=again)


@pytest.fixture
def settings(kafka: Broker) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=(kafka.bootstrap,), small=kafka.small, topic_prefix=f"{uuid4().hex}-"
    )


@asynccontextmanager
async def over_kafka(
    log: Log, handler: CommandHandler, settings: KafkaSettings
) -> AsyncIterator[OverKafka]:
    """With the projector of the main group at work."""
    await prepare_read_models(log, BOTH)
    reads = Reads(log.mongo, hot=HotDocuments(log, 1_000))
    projector = Projector(log, BOTH)
    async with (
        publishing(log, settings) as publisher,
        projecting(log, projector),
        running(reads.follow()),
    ):
        yield OverKafka(log, reads, handler, settings, publisher)


@pytest_asyncio.fixture
async def fed_over_kafka(
    log: Log, handler: CommandHandler, settings: KafkaSettings, kafka: Broker
) -> AsyncIterator[OverKafka]:
    async with over_kafka(log, handler, settings) as fed:
        yield fed
    await delete_topics(kafka, settings.topic_prefix)


@pytest_asyncio.fixture
async def fed_from_log(log: Log, handler: CommandHandler) -> AsyncIterator[FromLog]:
    await prepare_read_models(log, BOTH)
    reads = Reads(log.mongo, hot=HotDocuments(log, 1_000))
    async with running(reads.follow()):
        yield FromLog(log, reads, handler)


Check = Callable[[Fed], Awaitable[None]]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_straight_from_the_log(fed_from_log: FromLog, check: Check) -> None:
    await check(fed_from_log)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_over_kafka(fed_over_kafka: OverKafka, check: Check) -> None:
    await check(fed_over_kafka)


# -- what concerns Kafka only


def test_a_document_that_several_streams_touch_is_refused() -> None:
    check_owned([toy.CONTENTS])
    with pytest.raises(NotOwned, match="tallies cannot be fed over Kafka"):
        check_owned([toy.TALLIES])
    two = replace(toy.CONTENTS, streams=lambda key: (key, f"other-{key}"))
    with pytest.raises(NotOwned, match="several streams"):
        check_owned([two])


async def test_while_kafka_is_away_all_else_is_answered(fed_over_kafka: OverKafka) -> None:
    fed = fed_over_kafka
    async with fed.projecting():
        await put(fed, 20)
        await come_to(fed, await fed.tell())
        await put(fed, 20)  # and nobody is told
        position = (await fed.log.head()).position
        at = await fed.reads.snapshot(position)
        assert (await fed.reads.get(toy.TALLIES, ["a"], at))["a"].view.marbles == position
        with pytest.raises(FedBehind, match="contents is fed over Kafka and lags behind"):
            await fed.reads.get(toy.CONTENTS, ["jar 1"], at)
        await come_to(fed, await fed.tell())
        await equal_a_refold(fed)


async def test_what_is_built_anew_goes_back_to_kafka(fed_over_kafka: OverKafka) -> None:
    fed = fed_over_kafka
    async with fed.projecting():
        await put(fed, 50)
        before = await come_to(fed, await fed.tell())
        assert "contents" not in (await checkpoint(fed.log)).generations
        new = await rebuild(fed.log, BOTH[0])
        await put(fed, 50, seed=1)
        position = await fed.tell()
        async with asyncio.timeout(30):
            while (await come_to(fed, position)).generations["contents"] != new:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert before.generations["contents"] != new
        await put(fed, 50, seed=2)
        await fed.tell()
        await equal_a_refold(fed)
    assert [one.generation for one in await generations(fed.log, ["contents"])] == [new, 1]


async def test_a_key_that_waits_is_mended_once_its_read_model_is_built_anew(
    fed_over_kafka: OverKafka,
) -> None:
    fed = fed_over_kafka
    async with fed.projecting():
        await put(fed, 50)
        await come_to(fed, await fed.tell())
        await put(fed, 1, note=POISON)
        await come_to(fed, await fed.tell())
        [waiting] = await parked_keys(fed.log)
        with pytest.raises(StillFailing, match="rebuild contents first"):
            await retry(fed.log, toy.CONTENTS, waiting)
        await rebuild(fed.log, BOTH[0])
        [waiting] = await parked_keys(fed.log)
        await retry(fed.log, toy.CONTENTS, waiting)  # as if the fold had been mended
        await put(fed, 50, seed=1)
        await come_to(fed, await fed.tell())
        await equal_a_refold(fed)


async def test_places_are_kept_with_the_documents(fed_over_kafka: OverKafka) -> None:
    fed = fed_over_kafka
    async with fed.projecting():
        await put(fed, 20)
        await come_to(fed, await fed.tell())
        await put(fed, 100, seed=1)
        position = await fed.tell()
        await come_to(fed, position)
    kept = await fed.log.mongo.run(lambda db: places(db, "contents"))
    assert len(kept) == PARTITIONS
    assert {place.position for place in kept.values()} == {position}
    assert sum(place.offset for place in kept.values()) >= 100


async def test_a_document_that_is_not_as_the_log_makes_it_is_found(
    fed_over_kafka: OverKafka,
) -> None:
    fed = fed_over_kafka
    async with fed.projecting():
        await put(fed, 50)
        await come_to(fed, await fed.tell())
        await put(fed, 50, seed=1)
        at = await come_to(fed, await fed.tell())
        name = collection_of("contents", at.generations["contents"])
        assert await wrong_fed(fed.log, BOTH) == []
        spoilt = {"$inc": {"marbles": 1}}
        await fed.log.mongo.run(lambda db: db[name].update_one({"_id": "jar 1"}, spoilt))
        await fed.log.mongo.run(lambda db: db[name].delete_one({"_id": "jar 2"}))
        found = [(each.key, each.what) for each in await wrong_fed(fed.log, BOTH)]
        assert found == [("jar 1", "differs"), ("jar 2", "is missing")]
