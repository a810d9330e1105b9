"""The past: what the documents were when a position was the newest."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from api.runtime import CODEC
from domain.recorded import Recorded
from infra import past_building, past_records, past_sources
from infra.codec import now
from infra.commands import CommandHandler
from infra.documents import Documents
from infra.folding import PARKED, Projection
from infra.generations import checkpoint_of
from infra.live import Live
from infra.log import Log, NewEvent
from infra.mongo import Document, SyncDatabase, open_mongo
from infra.past import PastNotReady, Pasts, PositionUnknown
from infra.past_records import PASTS, Kept, superfluous
from infra.projector import Projector
from infra.reads import Reads
from infra.rebuild import prepare_read_models, rebuild
from infra.settings import PastLimits
from readmodels.registry import PROJECTIONS
from tests.infra import toy
from tests.infra.parts import Seen, documents, handle_all, projecting, running, until
from tests.readmodels.histories import LONG_HISTORIES

EVEN: Mapping[str, Any] = {"position": {"$mod": [2, 0]}}
JARS = ("a", "b", "c", "d")

Then = dict[int, dict[str, list[Document]]]
"""Live documents by position and read model."""


def _while_open(view: Any, recorded: Recorded, key: str) -> Any:
    return None if isinstance(recorded.event, toy.JarSealed) else toy._content(view, recorded, key)


OPEN_JARS = replace(toy.CONTENTS, name="open_jars", events=toy.JAR.events, fold=_while_open)
"""A read model whose documents may be deleted."""


PAIR = replace(
    toy.CONTENTS,
    name="pair",
    keys=lambda recorded: ("a and b",) if recorded.event.jar in ("a", "b") else (),
    streams=lambda _: ("jar-b", "jar-a"),
)
"""A read model whose document is fed from two streams."""


@pytest_asyncio.fixture
async def pasts(log: Log, reads: Reads) -> AsyncIterator[Pasts]:
    async with opened(log, reads) as pasts:
        yield pasts


@asynccontextmanager
async def opened(log: Log, reads: Reads, **limits: Any) -> AsyncIterator[Pasts]:
    pasts = Pasts(log, reads, PastLimits(**limits))
    async with running(pasts.run()):
        yield pasts


async def some_history(handler: CommandHandler, commands: int = 100) -> None:
    chance = random.Random(2)
    await handle_all(handler, [toy.Put(jar=jar, marbles=50) for jar in JARS[:2]])
    for _ in range(commands):
        jar, to = chance.choice(JARS), chance.choice(JARS)
        await handle_all(handler, [toy.Put(jar=jar), toy.Move(jar=to, to=jar)])


async def recorded(log: Log, projections: Sequence[Projection], steps: Iterable[int]) -> Then:
    """Project in steps and look at the live documents after each; then project the rest."""
    projector = Projector(log, projections)
    found: Then = {}
    for step in steps:
        await projector.run_once(step)
        position = (await log.mongo.run(checkpoint_of)).position
        found[position] = {each.name: await documents(log, each.name) for each in projections}
    await projector.run_to_end()
    return found


async def answers(past: Documents, projection: Projection, expected: Sequence[Document]) -> None:
    """Whatever is asked is answered from these documents."""
    keys = [row["_id"] for row in expected]
    by_key = dict(zip(keys, expected, strict=True))
    got = await past.get(projection, [*keys, "nothing of that kind"])
    assert {key: row.document for key, row in got.items()} == by_key
    rows = await past.find(projection, {}, (("_id", 1),), 0)
    assert [row.document for row in rows] == list(expected)
    assert [row.view for row in rows] == [got[key].view for key in keys]
    assert await past.aggregate(projection, [{"$sort": {"_id": 1}}]) == list(expected)
    even = [row for row in expected if row["position"] % 2 == 0]
    last_two = await past.find(projection, EVEN, (("_id", -1),), 2)
    assert [row.document for row in last_two] == even[::-1][:2]
    assert await past.count(projection, EVEN, 3) == min(len(even), 3)
    got = await past.get(projection, keys)  # there is a generation now
    assert {key: row.document for key, row in got.items()} == by_key


async def all_answers(pasts: Pasts, projections: Sequence[Projection], then: Then) -> None:
    """At all positions, in no order."""
    for position in random.Random(3).sample(sorted(then), len(then)):
        past = await pasts.at(position)
        assert past.position == position
        for projection in projections:
            await answers(past, projection, then[position][projection.name])


def past_collections(log: Log) -> list[str]:
    return log.mongo.sync.list_collection_names(filter={"name": {"$regex": "^past_"}})


def remove_all(db: SyncDatabase) -> None:
    for record in list(db[PASTS].find()):
        past_records.remove(db, record["_id"])


# -- it is what was live then


@pytest.mark.parametrize("at_once", [5_000, 2])
async def test_documents_are_as_they_were(
    log: Log, handler: CommandHandler, pasts: Pasts, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(past_building, "FLUSH", at_once)
    monkeypatch.setattr(past_building, "KEYS_AT_ONCE", at_once)
    monkeypatch.setattr("infra.log.SCAN_BATCH", at_once)
    monkeypatch.setattr("infra.folding.MOST_REMEMBERED", at_once)
    every = (*toy.BOTH, PAIR)
    await prepare_read_models(log, every)
    await some_history(handler)
    chance = random.Random(3)
    then = await recorded(log, every, (chance.randint(1, 40) for _ in range(8)))
    await all_answers(pasts, every, then)


@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),  # to make one smaller would take minutes
)
@given(history=LONG_HISTORIES, data=st.data())
async def test_of_all_read_models(
    mongodb_uri: str, history: tuple[list[Recorded], Any], data: st.DataObject
) -> None:
    events, _ = history
    steps = data.draw(st.lists(st.integers(1, 1 + len(events) // 3), min_size=3, max_size=3))
    async with open_mongo(mongodb_uri, f"past-{uuid4().hex}") as mongo:
        log = Log(mongo, CODEC)
        await log.prepare()
        await log.append(await log.head(), [_new(each) for each in events])
        await prepare_read_models(log, PROJECTIONS)
        then = await recorded(log, PROJECTIONS, steps)
        reads = Reads(mongo)
        async with running(reads.follow()), opened(log, reads) as pasts:
            await all_answers(pasts, PROJECTIONS, then)
        await mongo.client.drop_database(mongo.name)


def _new(recorded: Recorded) -> NewEvent:
    return NewEvent(
        event=recorded.event,
        stream=recorded.stream,
        version=recorded.version,
        meta=recorded.meta,
    )


async def test_what_was_deleted_since_comes_back(
    seen: Seen, log: Log, handler: CommandHandler, reads: Reads
) -> None:
    await prepare_read_models(log, [OPEN_JARS])
    await handle_all(handler, [toy.Put(jar=f"{number}") for number in range(80)])
    late = [toy.Put(jar="new"), toy.Put(jar="7"), toy.Seal(jar="8"), toy.Seal(jar="new")]
    for command in late:
        await handle_all(handler, [command])
    then = await recorded(log, (*toy.BOTH, OPEN_JARS), [78, 2, 1, 1, 1])
    assert [len(then[at]["open_jars"]) for at in (78, 80, 81, 82, 83)] == [78, 80, 81, 81, 80]
    async with opened(log, reads) as pasts:
        await all_answers(pasts, [OPEN_JARS], then)
    first, *_ = [sent for sent in seen.of("aggregate") if "$out" in sent["pipeline"][-1]]
    assert first["aggregate"] == "rm_open_jars_1"  # it went back from the live documents
    assert {"jar-8", "jar-new"} <= {
        name
        for sent in seen.of("find")
        if sent["find"] == "events" and "stream" in sent["filter"]
        for name in sent["filter"]["stream"]["$in"]
    }


async def test_a_key_that_cannot_be_folded_stays_as_it_was(
    log: Log, handler: CommandHandler, pasts: Pasts
) -> None:
    poisoned = toy.contents(poison={"bad"})
    for number in range(60):
        note = "bad" if number == 10 else ""
        await handle_all(handler, [toy.Put(jar=JARS[number % 4], note=note)])
    then = await recorded(log, (poisoned, toy.TALLIES), [8, 8, 8, 8, 20, 5])
    assert log.mongo.sync[PARKED].count_documents({}) == 1
    assert [jar["marbles"] for jar in then[52]["contents"]] == [13, 13, 2, 13]
    await all_answers(pasts, [poisoned], then)


async def test_a_document_that_cannot_be_stored_stays_as_it_was(
    log: Log, handler: CommandHandler, pasts: Pasts
) -> None:
    many = [toy.Put(jar="big", marbles=2**62) for _ in range(3)]
    for command in (toy.Put(jar="a"), *many, toy.Put(jar="a"), toy.Put(jar="big")):
        await handle_all(handler, [command])
    then = await recorded(log, toy.BOTH, [3, 2])
    assert [jar["marbles"] for jar in then[5]["contents"]] == [2, 2**62]
    await all_answers(pasts, [toy.CONTENTS], then)


async def test_while_the_live_ones_move_on_and_are_replaced(
    log: Log, handler: CommandHandler, projector: Projector, reads: Reads
) -> None:
    await some_history(handler)
    then = await recorded(log, toy.BOTH, [50, 60, 80])

    async def go_on() -> None:
        while True:
            await handle_all(handler, [toy.Put(jar=jar) for jar in JARS])

    async def rebuild_again() -> None:
        while True:
            await rebuild(log, toy.CONTENTS)

    async with projecting(log, projector), running(go_on(), rebuild_again()):
        for _ in range(5):
            async with opened(log, reads) as pasts:
                await all_answers(pasts, toy.BOTH, then)
            await log.mongo.run(remove_all)


async def test_what_was_replaced_while_it_was_copied_is_not_trusted(
    seen: Seen, log: Log, handler: CommandHandler, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    await handle_all(handler, [toy.Put(jar=f"{number}") for number in range(40)])
    await recorded(log, toy.BOTH, [])
    live, looks = past_sources._live, count()

    def switched(db: SyncDatabase, projection: Projection) -> Any:
        source = live(db, projection)
        assert source is not None
        return replace(source, collection="rm_contents_9") if next(looks) == 1 else source

    monkeypatch.setattr(past_sources, "_live", switched)
    async with opened(log, reads) as pasts:
        past = await pasts.at(39)
        assert await past.count(toy.CONTENTS, {}, 100) == 39
    copies = [sent for sent in seen.of("aggregate") if "$out" in sent["pipeline"][-1]]
    assert len(copies) == 2
    assert len(past_collections(log)) == 1


# -- positions


async def test_the_newest_position_is_answered_by_the_live_documents(
    handler: CommandHandler, projector: Projector, reads: Reads, pasts: Pasts
) -> None:
    await handle_all(handler, [toy.Put(jar="a")])
    await projector.run_to_end()
    assert isinstance(await pasts.at(1), Live)
    with pytest.raises(PositionUnknown) as unknown:
        await pasts.at(2)
    assert (unknown.value.position, unknown.value.head) == (2, 1)
    beginning = await pasts.at(0)
    assert await beginning.find(toy.CONTENTS, {}, (("_id", 1),), 10) == []
    assert await beginning.get(toy.CONTENTS, ["a"]) == {}
    assert reads.position == 1


async def test_a_position_that_is_not_projected_yet_is_waited_for(
    handler: CommandHandler, projector: Projector, pasts: Pasts
) -> None:
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="a")])
    asked = asyncio.create_task(pasts.at(1))
    await asyncio.sleep(0.1)
    assert not asked.done()
    await projector.run_to_end()
    assert (await (await asked).get(toy.CONTENTS, ["a"]))["a"].view.marbles == 1


# -- generations of the past are shared, kept and removed


async def test_it_is_built_once_and_found_after_a_restart(
    log: Log, handler: CommandHandler, reads: Reads
) -> None:
    await some_history(handler, 20)
    then = await recorded(log, toy.BOTH, [20])
    for _ in range(2):
        async with opened(log, reads) as pasts:
            await asyncio.gather(*(all_answers(pasts, toy.BOTH, then) for _ in range(5)))
        assert len(past_collections(log)) == log.mongo.sync[PASTS].count_documents({}) == 2


async def test_two_processes_may_build_the_same(
    log: Log, handler: CommandHandler, reads: Reads
) -> None:
    await some_history(handler, 20)
    then = await recorded(log, toy.BOTH, [20])
    async with opened(log, reads) as one, opened(log, reads) as other:
        await asyncio.gather(*(all_answers(each, toy.BOTH, then) for each in (one, other)))


async def test_whoever_cannot_wait_asks_again(
    log: Log, handler: CommandHandler, reads: Reads
) -> None:
    await some_history(handler, 20)
    then = await recorded(log, toy.BOTH, [20])
    await reads.snapshot(21)  # or it is not the past yet
    async with opened(log, reads, wait_seconds=0.0) as pasts:
        past = await pasts.at(20)
        with pytest.raises(PastNotReady) as told:
            await past.find(toy.TALLIES, {}, (), 0)
        assert (told.value.position, told.value.share) == (20, 0.0)
        await until(lambda: log.mongo.sync[PASTS].find_one({"size": {"$ne": None}}))
        await asyncio.sleep(0.1)
        await answers(past, toy.TALLIES, then[20]["tallies"])


async def test_one_that_was_removed_is_built_again(
    log: Log, handler: CommandHandler, pasts: Pasts
) -> None:
    await some_history(handler, 20)
    then = await recorded(log, toy.BOTH, [20])
    for _ in range(2):
        await all_answers(pasts, toy.BOTH, then)
        await log.mongo.run(remove_all)
        assert past_collections(log) == []


async def test_one_whose_documents_were_dropped_by_hand_is_built_again(
    log: Log, handler: CommandHandler, reads: Reads
) -> None:
    await some_history(handler, 20)
    then = await recorded(log, toy.BOTH, [20])
    for _ in range(2):
        async with opened(log, reads) as pasts:
            await all_answers(pasts, toy.BOTH, then)
        for name in past_collections(log):
            log.mongo.sync[name].drop()


async def test_few_are_kept(log: Log, handler: CommandHandler, reads: Reads) -> None:
    await some_history(handler)
    then = await recorded(log, toy.BOTH, [30, 30, 30, 30])
    async with opened(log, reads, generations=2) as pasts:
        await all_answers(pasts, [toy.CONTENTS], then)
        assert len(past_collections(log)) == log.mongo.sync[PASTS].count_documents({}) == 2


async def test_nothing_is_kept_long(log: Log, handler: CommandHandler, reads: Reads) -> None:
    await some_history(handler, 20)
    then = await recorded(log, toy.BOTH, [20])
    dead: Document = {"_id": "past_dead", "size": None, "used": now() - timedelta(hours=2)}
    log.mongo.sync[PASTS].insert_one(dead)
    for left in ("past_dead", "past_without_a_record"):
        log.mongo.sync.create_collection(left)
    async with opened(log, reads, seconds=0.2) as pasts:
        await all_answers(pasts, [toy.CONTENTS], then)
        await until(lambda: not past_collections(log))
        assert log.mongo.sync[PASTS].count_documents({}) == 0


def test_what_is_superfluous() -> None:
    at = now()

    def kept(name: str, seconds: float, size: int | None) -> Kept:
        return Kept(collection=name, used=at - timedelta(seconds=seconds), size=size)

    limits = PastLimits(generations=3, megabytes=1, seconds=100.0)
    some = [kept("a", 1, 400_000), kept("b", 2, 400_000), kept("c", 3, 100_000)]
    assert superfluous(some, limits, at) == []
    assert superfluous([*some, kept("d", 101, 1)], limits, at) == ["d"]
    assert superfluous([kept("d", 4, 1), *some], limits, at) == ["d"]
    assert superfluous([kept("d", 0, 500_000), *some], limits, at) == ["b", "c"]
    assert superfluous([kept("big", 0, 2_000_000), *some], limits, at) == ["a", "b", "c"]
    building = kept("building", 3_000, None)
    assert superfluous([*some, building], limits, at) == []
    assert superfluous([*some, replace(building, used=at - timedelta(hours=2))], limits, at) == [
        "building"
    ]
