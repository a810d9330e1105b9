"""Documents in memory: exactly what the store has at the same snapshot, without asking it."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import bson
import pytest
import pytest_asyncio

from infra import hot_documents
from infra.commands import CommandHandler
from infra.documents import Row
from infra.folding import collection_of
from infra.generations import GenerationRefused
from infra.hot_documents import HotDocuments
from infra.log import Log
from infra.mongo import Document, Session, SyncDatabase, open_mongo
from infra.newest import Snapshot
from infra.parked import StillFailing, parked_keys, retry, skip
from infra.projector import CHECKPOINTS, Projector
from infra.reads import Reads
from infra.rebuild import finish, prepare_read_models, rebuild, start_rollback
from infra.repair import held, repair
from infra.shadow import RebuildFailed
from tests.infra import toy
from tests.infra.parts import Seen, a_log, handle_all, handler_on, running, until

JARS = [f"{number}" for number in range(6)]
FULL = {"marbles": {"$gt": 2}}
BY_MARBLES = (("marbles", -1), ("_id", 1))
SUMMED = [{"$group": {"_id": None, "n": {"$sum": "$marbles"}}}]


def plain(rows: Sequence[Row[Any]]) -> list[Any]:
    return [(row.key, row.position, row.view, bson.encode(row.document)) for row in rows]


@dataclass
class House:
    """A process that keeps documents in memory, its projector worked by hand, and another process
    that only appends. `contents` is folded by both."""

    log: Log
    handler: CommandHandler
    other: CommandHandler
    contents: toy.Toy
    projector: Projector
    hot: HotDocuments
    reads: Reads
    store: Reads
    seen: Seen
    snapshots: list[Snapshot] = field(default_factory=list)

    async def put(self, *commands: Any, other: bool = False) -> Snapshot:
        """Have commands done and projected; the snapshot that shows them, once memory has come
        along."""
        answers = await handle_all(self.other if other else self.handler, commands)
        await self.projector.run_to_end()
        return await self.newest(max(answer.position for answer in answers))

    async def newest(self, position: int = 0) -> Snapshot:
        at = await self.reads.snapshot(position)
        await until(lambda: self.hot.position >= at.position)
        return at

    async def mended(self, at: Snapshot) -> Snapshot:
        """The newest snapshot, once it knows that documents were mended."""
        assert at.repairs is not None
        await until(lambda: self.reads._latest and self.reads._latest.repairs != at.repairs)
        return await self.newest()

    async def got(self, at: Snapshot, keys: Sequence[str] = JARS) -> tuple[Any, int]:
        """The documents of these keys, and how many calls that was."""
        self.seen.clear()
        found = await self.reads.get(self.contents, keys, at)
        calls = self.calls()
        assert plain_by_key(found) == plain_by_key(await self.store.get(self.contents, keys, at))
        return {key: row.view.marbles for key, row in found.items()}, calls

    def calls(self) -> int:
        sent = [*self.seen.of("find"), *self.seen.of("aggregate")]
        return sum(str(one.get("find", one.get("aggregate"))).startswith("rm_") for one in sent)

    async def check(self, at: Snapshot) -> int:
        """All kinds of reads against the store; how many calls it took."""
        self.seen.clear()
        keys = [*JARS, "unknown"]
        got = await self.reads.get(self.contents, keys, at)
        found = await self.reads.find(self.contents, FULL, BY_MARBLES, 3, at)
        every = await self.reads.find(toy.TALLIES, {}, (("_id", 1),), 0, at)
        counted = await self.reads.count(self.contents, FULL, at, 100)
        summed = await self.reads.aggregate(self.contents, SUMMED, at)
        calls = self.calls()
        store = self.store
        assert plain_by_key(got) == plain_by_key(await store.get(self.contents, keys, at))
        stored = await store.find(self.contents, FULL, BY_MARBLES, 3, at)
        assert plain(found) == plain(stored)
        assert plain(every) == plain(await store.find(toy.TALLIES, {}, (("_id", 1),), 0, at))
        assert counted == await store.count(self.contents, FULL, at, 100)
        assert summed == await store.aggregate(self.contents, SUMMED, at)
        return calls


def plain_by_key(found: dict[str, Row[Any]]) -> list[Any]:
    return plain([found[key] for key in sorted(found)])


@pytest_asyncio.fixture
async def hot_house(seen: Seen, mongodb_uri: str, database_name: str) -> AsyncIterator[House]:
    async with (
        open_mongo(mongodb_uri, database_name) as mongo,
        open_mongo(mongodb_uri, database_name) as others,
    ):
        log, contents = await a_log(mongo), toy.contents()
        await prepare_read_models(log, (contents, toy.TALLIES))
        handler, other = handler_on(log), handler_on(await a_log(others))
        hot = HotDocuments(log, 1_000)
        reads = Reads(mongo, hot=hot)
        projector = Projector(log, (contents, toy.TALLIES), told=reads.told)
        house = House(log, handler, other, contents, projector, hot, reads, Reads(mongo), seen)
        async with running(handler.run(), other.run(), reads.follow()):
            await until(lambda: reads._latest)  # it follows: what is read now is not forgotten
            yield house


# -- what it answers


async def test_what_was_read_costs_no_call_until_an_event_touches_it(hot_house: House) -> None:
    at = await hot_house.put(*(toy.Put(jar=jar, marbles=3) for jar in JARS))
    assert await hot_house.check(at) == 6  # a page is its keys, and the documents not known yet
    assert await hot_house.check(at) == 0
    after = await hot_house.put(toy.Put(jar="1"))
    assert await hot_house.got(after, ["0", "2"]) == ({"0": 3, "2": 3}, 0)
    assert await hot_house.got(after, ["0", "1"]) == ({"0": 3, "1": 4}, 1)
    assert await hot_house.got(after, ["0", "1"]) == ({"0": 3, "1": 4}, 0)
    assert await hot_house.check(after) == 5  # pages and sums are touched by any key
    assert await hot_house.check(after) == 0


async def test_that_there_is_no_document_is_known_until_there_is_one(hot_house: House) -> None:
    at = await hot_house.put(toy.Put(jar="0"))
    assert await hot_house.got(at, ["new"]) == ({}, 1)
    assert await hot_house.got(at, ["new"]) == ({}, 0)
    assert await hot_house.got(await hot_house.put(toy.Put(jar="new")), ["new"]) == ({"new": 1}, 1)
    assert await hot_house.got(at, ["new"]) == ({}, 1)


async def test_an_older_snapshot_is_answered_as_it_was(hot_house: House) -> None:
    old = await hot_house.put(*(toy.Put(jar=jar) for jar in JARS))
    await hot_house.got(old)
    new = await hot_house.put(toy.Put(jar="1"))
    assert await hot_house.got(old, ["1"]) == ({"1": 1}, 0)
    await hot_house.got(new)
    assert await hot_house.got(old, ["0", "2"]) == ({"0": 1, "2": 1}, 0)
    assert await hot_house.got(old, ["1"]) == ({"1": 1}, 1)  # the row in memory is younger
    assert await hot_house.got(new) == ({**dict.fromkeys(JARS, 1), "1": 2}, 0)


async def test_what_another_process_appends_is_taken_in(hot_house: House) -> None:
    at = await hot_house.put(*(toy.Put(jar=jar) for jar in JARS))
    await hot_house.check(at)
    after = await hot_house.put(*(toy.Put(jar="1") for _ in range(5)), other=True)
    assert await hot_house.got(after, ["0", "2"]) == ({"0": 1, "2": 1}, 0)
    assert await hot_house.got(after, ["1"]) == ({"1": 6}, 1)
    assert await hot_house.check(after) == 5


async def test_until_events_are_taken_in_the_store_answers(
    hot_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = await hot_house.put(*(toy.Put(jar=jar) for jar in JARS))
    await hot_house.got(at)
    gate = asyncio.Event()
    catch_up = HotDocuments._catch_up

    async def late(hot: HotDocuments) -> None:
        await gate.wait()
        await catch_up(hot)

    monkeypatch.setattr(HotDocuments, "_catch_up", late)
    await handle_all(hot_house.other, [toy.Put(jar="1")])
    await hot_house.projector.run_to_end()
    after = await hot_house.reads.snapshot(at.position + 1)
    assert hot_house.hot.position == at.position
    assert await hot_house.got(after, ["0", "1"]) == ({"0": 1, "1": 2}, 1)
    assert await hot_house.got(after, ["0", "1"]) == ({"0": 1, "1": 2}, 0)  # read as of it
    assert await hot_house.got(after, ["0", "2"]) == ({"0": 1, "2": 1}, 1)
    assert await hot_house.got(at, JARS) == (dict.fromkeys(JARS, 1), 1)
    gate.set()
    await hot_house.newest()
    assert await hot_house.got(after) == ({**dict.fromkeys(JARS, 1), "1": 2}, 0)


async def test_who_is_far_behind_begins_anew(
    hot_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = await hot_house.put(*(toy.Put(jar=jar) for jar in JARS))
    await hot_house.check(at)
    monkeypatch.setattr(hot_documents, "FAR", 3)
    after = await hot_house.put(*(toy.Put(jar="1") for _ in range(5)), other=True)
    assert not hot_house.hot.tables
    assert await hot_house.check(after) == 6
    assert await hot_house.check(after) == 0


# -- documents that change without an event


@pytest.mark.parametrize("way", [retry, skip])
async def test_a_parked_key_that_is_mended(hot_house: House, way: Any) -> None:
    hot_house.contents.poison.add("bad")
    at = await hot_house.put(
        toy.Put(jar="0"), toy.Put(jar="1"), toy.Put(jar="1", marbles=10, note="bad")
    )
    assert (await hot_house.got(at))[0] == {"0": 1, "1": 1}
    assert await hot_house.got(at) == ({"0": 1, "1": 1}, 0)
    later = await hot_house.put(toy.Put(jar="1", marbles=100))
    assert (await hot_house.got(later))[0] == {"0": 1, "1": 1}
    (parked,) = await parked_keys(hot_house.log)
    with pytest.raises(StillFailing):
        await retry(hot_house.log, hot_house.contents, parked)
    if way is retry:
        hot_house.contents.poison.clear()
    await way(hot_house.log, hot_house.contents, parked)
    after = await hot_house.mended(later)
    assert after.position == later.position
    whole = {"0": 1, "1": 111 if way is retry else 101}
    assert await hot_house.got(after) == (whole, 1)
    assert await hot_house.got(after) == (whole, 0)
    assert (await hot_house.got(later))[0] == {"0": 1, "1": 1}  # it was so at that moment
    assert await hot_house.got(after) == (whole, 0)


async def test_a_repair(hot_house: House) -> None:
    await hot_house.put(toy.Put(jar="0"))
    spoilt = {"$set": {"marbles": 77}}
    await hot_house.log.mongo.run(lambda db: db["rm_contents_1"].update_one({"_id": "0"}, spoilt))
    before = await hot_house.reads.take()
    assert await hot_house.got(before, ["0"]) == ({"0": 77}, 1)
    assert await hot_house.check(before) == 6
    await repair(hot_house.log, hot_house.contents, ["0"])
    after = await hot_house.mended(before)
    assert after.position == before.position
    assert await hot_house.got(after, ["0"]) == ({"0": 1}, 1)
    assert await hot_house.check(after) == 6
    assert (await hot_house.got(before, ["0"]))[0] == {"0": 77}


async def test_another_generation(hot_house: House) -> None:
    at = await hot_house.put(*(toy.Put(jar=jar) for jar in JARS))
    await hot_house.check(at)
    await hot_house.log.mongo.run(lambda db: db["rm_contents_1"].delete_one({"_id": "0"}))
    await rebuild(hot_house.log, hot_house.contents)
    await until(lambda: hot_house.reads._latest.generations["contents"] == 2)  # type: ignore[union-attr]
    new = await hot_house.newest()
    assert await hot_house.got(new) == (dict.fromkeys(JARS, 1), 1)
    new = await hot_house.put(toy.Put(jar="1"))
    await hot_house.check(new)
    job = await start_rollback(hot_house.log, hot_house.contents, "test", None)
    await finish(hot_house.log, hot_house.contents, job)
    await until(lambda: hot_house.reads._latest.generations["contents"] == 1)  # type: ignore[union-attr]
    back = await hot_house.newest()
    assert (await hot_house.got(back))[0] == {**dict.fromkeys(JARS[1:], 1), "1": 2}
    await hot_house.check(new)
    await hot_house.check(back)
    assert await hot_house.check(back) == 0


async def test_what_is_fed_over_kafka_is_not_kept(hot_house: House) -> None:
    at = await hot_house.put(toy.Put(jar="0"))
    fed = replace(at, fed=frozenset({"contents"}), fed_at=at.at)
    for _ in range(2):
        assert await hot_house.got(fed, ["0"]) == ({"0": 1}, 1)
    assert hot_house.hot.table(toy.TALLIES, fed) is not None
    await hot_house.got(at, ["0"])
    hot_house.hot.follow(fed)
    assert list(hot_house.hot.tables) == ["tallies"]
    unknown = replace(at, repairs=None)
    assert hot_house.hot.table(toy.TALLIES, unknown) is None


# -- another history


async def test_a_database_that_is_dropped_and_filled_again(hot_house: House) -> None:
    at = await hot_house.put(*(toy.Put(jar=jar) for jar in JARS))
    await hot_house.check(at)
    mongo = hot_house.log.mongo
    await mongo.run(lambda db: db.client.drop_database(mongo.name))
    log = await a_log(mongo)
    await prepare_read_models(log, (hot_house.contents, toy.TALLIES))
    handler, projector = handler_on(log), Projector(log, (hot_house.contents, toy.TALLIES))
    async with running(handler.run()):
        await handle_all(handler, [toy.Put(jar="1", marbles=50) for _ in range(8)])
        await projector.run_to_end()
        await until(lambda: hot_house.reads.position == 8)
        after = await hot_house.newest()
        assert await hot_house.got(after) == ({"1": 400}, 1)
        assert await hot_house.got(after) == ({"1": 400}, 0)


async def test_a_checkpoint_that_is_put_back(hot_house: House) -> None:
    """As by whoever restores documents and log from a copy."""
    mongo = hot_house.log.mongo
    await hot_house.put(toy.Put(jar="0"))
    names = ("events", "counters", "rm_contents_1", "rm_tallies_1", CHECKPOINTS)
    copy: dict[str, list[Document]] = await mongo.run(
        lambda db: {name: list(db[name].find()) for name in names}
    )
    at = await hot_house.put(toy.Put(jar="0"), toy.Put(jar="0"))
    assert await hot_house.got(at, ["0"]) == ({"0": 3}, 1)
    for name in names:
        await mongo.run(lambda db, name=name: db[name].delete_many({}))  # type: ignore[misc]
        await mongo.run(lambda db, name=name: db[name].insert_many(copy[name]))  # type: ignore[misc]
    await until(lambda: hot_house.reads.position == 1)
    assert (await hot_house.got(await hot_house.newest(), ["0"]))[0] == {"0": 1}
    log = await a_log(mongo)
    handler, projector = handler_on(log), Projector(log, (hot_house.contents, toy.TALLIES))
    async with running(handler.run()):
        await handle_all(handler, [toy.Put(jar="0", marbles=20), toy.Put(jar="1")])
        await projector.run_to_end()
        after = await hot_house.newest(3)
        assert (await hot_house.got(after, ["0", "1"]))[0] == {"0": 21, "1": 1}


async def test_a_request_from_before_leaves_nothing_behind(hot_house: House) -> None:
    old = await hot_house.put(toy.Put(jar="0"))
    before = hot_house.hot.table(hot_house.contents, old)
    assert before is not None
    new = await hot_house.put(toy.Put(jar="0"))
    hot_house.hot.forget(new)
    before.keep_rows(["0"], {}, old.position)
    assert hot_house.hot.table(hot_house.contents, old) is None
    assert await hot_house.got(new, ["0"]) == ({"0": 2}, 1)


# -- many who ask, and how much is kept


async def test_many_who_miss_the_same_share_a_call(hot_house: House) -> None:
    at = await hot_house.put(*(toy.Put(jar=jar) for jar in JARS))
    reads = hot_house.reads
    hot_house.seen.clear()
    await asyncio.gather(*(reads.get(hot_house.contents, JARS, at) for _ in range(30)))
    assert 1 <= hot_house.calls() <= 2
    hot_house.seen.clear()
    pages = [reads.find(hot_house.contents, FULL, BY_MARBLES, 3, at) for _ in range(30)]
    found = await asyncio.gather(*pages)
    assert 1 <= hot_house.calls() <= 2
    found[0].clear()
    assert len(await reads.find(hot_house.contents, FULL, BY_MARBLES, 3, at)) == len(found[1])


async def test_what_was_not_asked_for_longest_goes_first(hot_house: House) -> None:
    jars = [f"j{number:03}" for number in range(40)]
    at = await hot_house.put(*(toy.Put(jar=jar) for jar in jars))
    hot_house.hot.most = 10
    for jar in jars:
        await hot_house.got(at, [jar])
        await hot_house.got(at, ["j000"])
        assert hot_house.hot.weight <= 10
    assert (await hot_house.got(at, ["j000", *jars[-9:]]))[1] == 0
    assert (await hot_house.got(at, ["j001"]))[1] == 1
    every = [await hot_house.reads.find(hot_house.contents, {}, (), 0, at) for _ in range(2)]
    assert [len(rows) for rows in every] == [40, 40]
    assert hot_house.hot.weight <= 10  # a page that is larger than an eighth is not kept
    assert sum(table.weight for table in hot_house.hot.tables.values()) == hot_house.hot.weight


async def test_a_large_document_counts_as_several(hot_house: House) -> None:
    at = await hot_house.put(*(toy.Put(jar="a") for _ in range(1_000)))
    history = list(range(100_000))
    spoilt = {"$set": {"history": history}}
    await hot_house.log.mongo.run(lambda db: db["rm_contents_1"].update_one({"_id": "a"}, spoilt))
    at = await hot_house.reads.take()
    await hot_house.got(at, ["a"])
    assert hot_house.hot.weight > 100


# -- whatever happens


STEPS = 120


@pytest.mark.parametrize("seed", range(6))
async def test_memory_is_always_what_the_store_is(
    hot_house: House, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = random.Random(seed)
    monkeypatch.setattr(hot_documents, "STEP", 4)
    monkeypatch.setattr(hot_documents, "FAR", 25)
    hot_house.hot.most = chosen.choice([25, 1_000])
    hot_house.contents.poison.add("bad")
    house, free = hot_house, 0
    house.snapshots.append(await house.put(*(toy.Put(jar=jar) for jar in JARS)))
    for _ in range(STEPS):
        await happening(house, chosen)
        house.snapshots = [*house.snapshots[-5:], await house.reads.snapshot()]
        for at in (house.snapshots[-1], chosen.choice(house.snapshots)):
            free += 5 - await house.check(at)
    assert free > 100
    await house.projector.run_to_end()
    at = await house.newest((await house.log.head()).position)
    await house.check(at)
    assert await house.check(at) == 0 or house.hot.most < 1_000


async def happening(house: House, chosen: random.Random) -> None:
    """One of all that may change documents, or what is known of them."""
    what = chosen.choices(
        ("own", "others", "project", "mend", "repair", "rebuild", "back", "take", "lost", "wait"),
        (8, 4, 12, 1, 1, 0.5, 0.5, 1, 0.5, 8),
    )[0]
    jars = [chosen.choice([*JARS, "new"]) for _ in range(chosen.randint(1, 5))]
    note = chosen.choice(["", "", "", "", "", "bad"])
    match what:
        case "own" | "others":
            handler = house.handler if what == "own" else house.other
            await handle_all(handler, [toy.Put(jar=jar, note=note) for jar in jars])
        case "project":
            await house.projector.run_once(chosen.randint(1, 8))
        case "mend":
            for parked in await parked_keys(house.log):
                try:
                    await skip(house.log, house.contents, parked)
                except StillFailing:
                    continue
        case "repair":
            await house.log.mongo.transaction(partial(spoilt_by_hand, jars[0]))
            if chosen.random() < 0.7:
                await house.reads.take()
            await repair(house.log, house.contents, jars)
        case "rebuild":
            with suppress(RebuildFailed):  # at an event that the live one has not come to
                await rebuild(house.log, house.contents)
        case "back":
            with suppress(GenerationRefused):  # where there is no older one
                job = await start_rollback(house.log, house.contents, "test", None)
                await finish(house.log, house.contents, job)
        case "take":
            await house.reads.take()
        case "lost":
            house.hot.forget()
        case "wait":
            await asyncio.sleep(0.02)


def spoilt_by_hand(jar: str, db: SyncDatabase, session: Session) -> None:
    live = held(db, session).generations["contents"]
    where, spoilt = {"_id": jar}, {"$inc": {"marbles": 7}}
    db[collection_of("contents", live)].update_one(where, spoilt, session=session)
