"""What an operator has skipped is left out by all that fold: proof, repair, the past, branches.

(That a rebuild leaves it out is in `test_generations`.)
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import pytest
import pytest_asyncio

from infra import past_records, past_sources
from infra.branches import Branches, Parts
from infra.commands import CommandHandler
from infra.documents import Documents
from infra.found import found_lately, prepare_found
from infra.generations import retire
from infra.log import Log
from infra.mongo import Document, SyncDatabase
from infra.parked import parked_keys, retry, skip
from infra.past import Pasts
from infra.past_records import Past
from infra.projector import Projector
from infra.reads import BeingBuilt, Reads
from infra.rebuild import start_rebuild
from infra.repair import repair
from infra.sampler import Sampler
from infra.settings import PastLimits
from infra.verify import verify
from tests.infra import toy
from tests.infra.other_pasts import DOMAIN, put
from tests.infra.parts import documents, handle_all, running

POISON: Final = frozenset({"bad"})
CONTENTS: Final = toy.contents(poison=POISON)
TALLIES: Final = replace(toy.TALLIES, poison=set(POISON))
BOTH: Final = (CONTENTS, TALLIES)
ALL: Final[tuple[Document, ...]] = ({"$sort": {"_id": 1}},)


@dataclass
class Jars:
    """Jar a: 1, then poison at 2, then 100 at 4. Jar b: 10 at 3. All is folded as far as can be."""

    log: Log
    handler: CommandHandler
    projector: Projector
    pasts: Pasts

    async def put(self, *puts: toy.Put) -> None:
        await handle_all(self.handler, puts)
        await self.projector.run_to_end()

    async def skip(self) -> None:
        """In all four documents that wait."""
        for projection in BOTH:
            for waiting in await parked_keys(self.log):
                if waiting.projection == projection.name:
                    await skip(self.log, projection, waiting)
        await self.projector.run_to_end()

    async def live(self) -> dict[str, list[Document]]:
        return {each.name: await documents(self.log, each.name) for each in BOTH}

    async def problems(self) -> list[str]:
        found = (await verify(self.log, BOTH)).problems
        return [f"{problem.where}: {problem.what}" for problem in found]


@pytest_asyncio.fixture
async def jars(log: Log, handler: CommandHandler, reads: Reads) -> AsyncIterator[Jars]:
    await prepare_found(log.mongo)
    pasts = Pasts(log, reads, PastLimits())
    async with running(pasts.run()):
        jars = Jars(log, handler, Projector(log, BOTH), pasts)
        await jars.put(
            toy.Put(jar="a"),
            toy.Put(jar="a", note="bad"),
            toy.Put(jar="b", marbles=10),
            toy.Put(jar="a", marbles=100),
        )
        yield jars


async def told(source: Documents) -> dict[str, list[Document]]:
    """All documents, by key where they are known, and else as a list."""
    listed = {each.name: await source.aggregate(each, ALL) for each in BOTH}
    rows = await source.get(CONTENTS, ["a", "b"])
    assert [rows[key].document for key in sorted(rows)] == listed["contents"]
    return listed


def marbles(found: dict[str, list[Document]]) -> tuple[Any, ...]:
    """In jars a and b, and in all."""
    (all_,) = {each["marbles"] for each in found["tallies"]}
    return (*(each["marbles"] for each in found["contents"]), all_)


def make_wrong(collection: str, key: str, db: SyncDatabase) -> None:
    db[collection].update_one({"_id": key}, {"$set": {"marbles": 7}})


# -- what is live


async def test_queries_see_it_at_once(jars: Jars) -> None:
    await jars.skip()

    async def seen() -> bool:
        rows = await (await jars.pasts.at(4)).get(CONTENTS, ["a"])
        return bool(rows["a"].view.marbles == 101)

    async with asyncio.timeout(5):  # nothing else happens that would move the position
        while not await seen():  # noqa: ASYNC110 the change stream tells
            await asyncio.sleep(0.01)


# -- proof and repair


async def test_verify_is_content_and_finds_what_is_changed_afterwards(jars: Jars) -> None:
    assert len(await jars.problems()) == 8  # four that wait, and why each of them does
    await jars.skip()
    assert marbles(await jars.live()) == (101, 10, 111)
    assert await jars.problems() == []
    await jars.put(toy.Put(jar="a", marbles=1_000))
    await jars.log.mongo.run(partial(make_wrong, "rm_contents_1", "a"))
    assert await jars.problems() == [
        "contents/a: differs: marbles is 7, not 1101 (MarblesPut at 5)"
    ]


async def test_the_sampler_looks_at_such_documents_and_repairs_leave_the_event_out(
    jars: Jars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.sampler.SECOND_LOOK", 0.01)
    sampler = Sampler(jars.log, BOTH)
    walk = sampler.along_log()  # it has begun before the skip, and sees it at its end
    await anext(walk)
    await jars.skip()
    async for _ in walk:
        pass
    async for _ in sampler.through_documents():
        pass
    assert await found_lately(jars.log.mongo, 10) == []
    before = await jars.live()
    for place, key in (("rm_contents_1", "a"), ("rm_tallies_1", "b")):
        await jars.log.mongo.run(partial(make_wrong, place, key))
    for way in (sampler.through_documents, sampler.along_log):
        async for _ in way():
            pass
    lately = await found_lately(jars.log.mongo, 10)
    assert {(each.difference.key, each.repaired) for each in lately} == {("a", True), ("b", True)}
    assert await jars.live() == before


# -- the past


@pytest.mark.parametrize("again", [-100, 100], ids=["back from what is live", "forward"])
async def test_the_past_is_what_the_live_documents_were(
    jars: Jars, monkeypatch: pytest.MonkeyPatch, again: int
) -> None:
    monkeypatch.setattr(past_sources, "AGAIN", again)
    await jars.put(toy.Put(jar="b", marbles=1_000))
    early = await told(await jars.pasts.at(4))
    assert marbles(early) == (1, 10, 1)  # as long as they wait; this generation is kept
    await jars.skip()
    then = {5: await jars.live()}
    await jars.put(toy.Put(jar="a", marbles=10_000))
    then[6] = await jars.live()
    await jars.put(toy.Put(jar="b", marbles=100_000))
    for position in (5, 6):
        by_key = await (await jars.pasts.at(position)).get(CONTENTS, ["a"])
        assert by_key["a"].document == then[position]["contents"][0]
        assert await told(await jars.pasts.at(position)) == then[position]
    assert marbles(await told(await jars.pasts.at(4))) == (101, 10, 111)


async def test_a_past_that_is_being_built_during_a_skip_is_built_again(
    jars: Jars, monkeypatch: pytest.MonkeyPatch
) -> None:
    await jars.put(toy.Put(jar="b", marbles=1_000))
    loop, finish = asyncio.get_running_loop(), past_records.finish
    finished: list[str] = []

    def late(db: SyncDatabase, past: Past, parked: dict[str, int]) -> Past:
        if not finished:
            asyncio.run_coroutine_threadsafe(jars.skip(), loop).result(30)
        finished.append(past.collection)
        return finish(db, past, parked)

    monkeypatch.setattr(past_records, "finish", late)
    assert await (await jars.pasts.at(4)).count(TALLIES, {"marbles": 111}, 9) == 3
    assert len(finished) == 2


# -- branches


@pytest_asyncio.fixture
async def branches(jars: Jars) -> AsyncIterator[Branches]:
    branches = Branches(Parts(jars.log, BOTH, DOMAIN, (), jars.pasts.freshly_at))
    async with running(branches.run()):
        yield branches


async def of(branches: Branches, branch_id: str) -> tuple[Any, ...]:
    return marbles(await told(await branches.documents(branch_id)))


async def test_branches_leave_the_event_out_unless_they_have_another_one_there(
    jars: Jars, branches: Branches
) -> None:
    on_top = await branches.create("more at the end", "ada")
    await branches.inject(on_top.id, "jar-a", put("a", 1_000), "ada")
    without = await branches.create("without the first of b", "ada", at=1)
    await branches.drop(without.id, [3])
    instead = await branches.create("another event instead", "ada", at=1)
    await branches.replace(instead.id, 2, put("a", 2_000))
    ids = (on_top.id, without.id, instead.id)
    waiting = [await of(branches, branch_id) for branch_id in ids]
    assert waiting == [(1, 10, 1), (1, 1), (2101, 10, 2111)]
    await jars.skip()
    skipped = [await of(branches, branch_id) for branch_id in ids]
    assert skipped == [(1101, 10, 1111), (101, 101), (2101, 10, 2111)]
    _, computed = await branches.ready(without.id)
    found = await branches.differences(computed, TALLIES)
    assert {(each.before.marbles, each.after.marbles) for each in found} == {(111, 101)}


# -- while a read model has no live documents


async def test_what_is_being_built_anew_is_left_alone(jars: Jars) -> None:
    waiting = [each for each in await parked_keys(jars.log) if each.projection == "contents"]
    await retire(jars.log.mongo, ["contents"])
    await start_rebuild(jars.log, CONTENTS, "ada")
    for mend in (retry, skip):
        with pytest.raises(BeingBuilt, match="contents is being built anew: 0%"):
            await mend(jars.log, CONTENTS, waiting[0])
    assert await repair(jars.log, CONTENTS, ["a", "b"]) == set()
    sampler = Sampler(jars.log, (CONTENTS, replace(CONTENTS, streams=None)))
    assert [step async for step in sampler.through_documents()] == []
    assert [step async for step in sampler.along_log()] == [4]
    assert await found_lately(jars.log.mongo, 10) == []
    assert (await verify(jars.log, BOTH)).building == ["contents"]
    past = await jars.pasts.at(3)
    assert [row["marbles"] for row in await past.aggregate(CONTENTS, ALL)] == [1, 10]
    with pytest.raises(BeingBuilt):
        await (await jars.pasts.at(4)).get(CONTENTS, ["a"])
