"""Generations: jobs that go on after whatever happens to them, the way back, and a start that
waits for nobody."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from infra import jobs as jobs_module
from infra import shadow as shadow_module
from infra.commands import CommandHandler
from infra.folding import GONE, PARKED, Projection, collection_of
from infra.generations import (
    GENERATIONS,
    PARKED_ASIDE,
    GenerationRefused,
    Refusal,
    generations,
    remove,
)
from infra.jobs import Job, active_job, cancel, find_job, jobs, pause, resume
from infra.log import Log
from infra.mongo import SyncDatabase
from infra.parked import parked_keys, skip
from infra.projector import Projector
from infra.reads import BeingBuilt, Reads
from infra.rebuild import (
    attempt,
    begin_read_models,
    checkpoint,
    finish,
    keep_rebuilding,
    prepare_read_models,
    rebuild,
    start_rebuild,
    start_rollback,
)
from infra.verify import Verification
from tests.infra import toy
from tests.infra.parts import asked, documents, every, handle_all, running, until
from tests.infra.processes import process, ready


async def is_proven(log: Log, projections: Sequence[Projection] = toy.BOTH) -> bool:
    return await Verification(log, projections).run() == []


async def collections(log: Log) -> set[str]:
    return set(await log.mongo.run(lambda db: db.list_collection_names()))


async def looked_at(log: Log, job: Job, holds: Callable[[Job], bool]) -> Job:
    """The job, as soon as something holds of it."""
    async with asyncio.timeout(20):
        while not holds(now := await find_job(log.mongo, job.id)):  # noqa: ASYNC110 others write it
            await asyncio.sleep(0.001)
    return now


def halting(gate: threading.Event) -> toy.Toy:
    """It folds half of 300 events, and the others when the gate is open."""

    def fold(view: Any, recorded: Any, key: str) -> Any:
        if recorded.position > 150:
            gate.wait(20)
        return toy.CONTENTS.fold(view, recorded, key)

    return replace(toy.CONTENTS, fold=fold)


def emptied(version: int = 1) -> toy.Toy:
    """Jars that hold something: there is no document of an empty one."""
    jars = toy.contents(version)

    def fold(view: Any, recorded: Any, key: str) -> Any:
        after = jars.fold(view, recorded, key)
        return after if after.marbles else None

    return replace(jars, fold=fold)


# -- after a crash


class Crash(Exception):
    """As far as the job is concerned, the process has ended."""


@pytest.mark.parametrize("flush", [1, 2, 3])
@pytest.mark.parametrize("written", ["documents", "none"])
async def test_a_crash_amid_a_flush_repeats_and_forgets_nothing(
    log: Log, handler: CommandHandler, monkeypatch: pytest.MonkeyPatch, flush: int, written: str
) -> None:
    """Documents are written, their position is not: some are deleted, some are there again."""
    projections = (emptied(), toy.TALLIES)
    await prepare_read_models(log, projections)
    for round_ in range(12):
        put = [toy.Put(jar=f"{n}", marbles=2) for n in range(6) if (n + round_) % 3]
        await handle_all(handler, put)
        await handle_all(handler, [toy.Take(jar=each.jar, marbles=2) for each in put[::2]])
    await Projector(log, projections).run_to_end()
    monkeypatch.setattr(shadow_module, "FLUSH", 2)
    monkeypatch.setattr("infra.log.SCAN_BATCH", 7)
    flushes = 0
    whole = shadow_module.Shadow._write

    def crashing(shadow: shadow_module.Shadow, db: SyncDatabase, writes: Sequence[Any]) -> None:
        nonlocal flushes
        flushes += bool(writes) and "GONE" not in repr(writes)
        if flushes == flush:
            if written == "documents":
                whole(shadow, db, writes)
            raise Crash
        whole(shadow, db, writes)

    job = await start_rebuild(log, projections[0], "test")
    with monkeypatch.context() as patched:
        patched.setattr(shadow_module.Shadow, "_write", crashing)
        with pytest.raises(Crash):
            await attempt(log, projections[0], job.id)
    monkeypatch.setattr(jobs_module, "LEASE_SECONDS", 0.0)
    done = await finish(log, projections[0], job)
    assert (done.state, done.position) == ("done", (await log.head()).position)
    assert done.comparison is not None
    assert done.comparison.differences == 0
    assert not [each for each in await documents(log, "contents") if GONE in each]
    assert await is_proven(log, projections)


async def test_a_killed_rebuild_is_taken_over_where_it_was(
    log: Log,
    handler: CommandHandler,
    projector: Projector,
    *,
    mongodb_uri: str,
    database_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs_module, "LEASE_SECONDS", 1.0)
    for _ in range(10):
        await handle_all(handler, [toy.Put(jar=f"{n % 40}") for n in range(40)])
    await projector.run_to_end()
    job = await start_rebuild(log, toy.CONTENTS, "test")
    async with process("rebuild", mongodb_uri, database_name, job.id) as victim:
        await ready(victim)
        seen = await looked_at(log, job, lambda now: now.position > 0)
        victim.kill()
        await victim.wait()
    assert 0 < seen.position < 400
    assert (await find_job(log.mongo, job.id)).state == "running"
    begun: list[Job] = []
    done = await finish(log, toy.CONTENTS, job, told=begun.append)
    assert done.state == "done"
    assert min(one.position for one in begun) >= seen.position  # not from the beginning
    assert await is_proven(log)


# -- by operators


async def test_it_is_paused_and_goes_on_from_another_process(
    log: Log, handler: CommandHandler, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.log.SCAN_BATCH", 5)
    monkeypatch.setattr("infra.rebuilding.BEAT_SECONDS", 0.01)
    await handle_all(handler, [toy.Put(jar=f"{n % 9}") for n in range(300)])
    await projector.run_to_end()
    gate = threading.Event()
    job = await start_rebuild(log, toy.CONTENTS, "test")
    working = asyncio.create_task(attempt(log, halting(gate), job.id))
    await looked_at(log, job, lambda now: now.read > 0)
    await pause(log.mongo, "contents")
    await asyncio.sleep(0.2)  # it is noticed with the next sign of life
    gate.set()
    await working
    paused = await find_job(log.mongo, job.id)
    assert (paused.state, paused.owner) == ("paused", None)
    assert 0 < paused.position < 300
    assert (await checkpoint(log)).generations["contents"] == 1
    await attempt(log, toy.CONTENTS, job.id)
    assert await find_job(log.mongo, job.id) == paused  # nobody works on what is paused
    assert (await start_rebuild(log, toy.CONTENTS, "test")).id == job.id
    done = await finish(log, toy.CONTENTS, await resume(log.mongo, "contents"))
    assert done.state == "done"
    assert await is_proven(log)


async def test_what_is_cancelled_leaves_nothing(
    log: Log, handler: CommandHandler, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.log.SCAN_BATCH", 5)
    monkeypatch.setattr(shadow_module, "FLUSH", 5)
    await handle_all(handler, [toy.Put(jar=f"{n % 9}") for n in range(300)])
    await projector.run_to_end()
    gate = threading.Event()
    job = await start_rebuild(log, toy.CONTENTS, "test")
    working = asyncio.create_task(attempt(log, halting(gate), job.id))
    await looked_at(log, job, lambda now: now.position > 0)
    await cancel(log.mongo, "contents")
    gate.set()
    await working
    assert (await find_job(log.mongo, job.id)).state == "cancelled"
    assert (await checkpoint(log)).generations["contents"] == 1
    assert "rm_contents_2" not in await collections(log)
    with pytest.raises(GenerationRefused, match="contents has no job that is paused or ready"):
        await resume(log.mongo, "contents")
    assert await rebuild(log, toy.CONTENTS) == 3


async def test_what_is_held_goes_live_when_it_is_told_to(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="b")])
    await projector.run_to_end()
    held = await start_rebuild(log, toy.CONTENTS, "test", hold=True)
    held = await finish(log, toy.CONTENTS, held)
    assert held.state == "ready"
    assert held.comparison is not None
    assert (await checkpoint(log)).generations["contents"] == 1
    await handler.handle(asked(toy.Put(jar="c")))
    await projector.run_to_end()
    done = await finish(log, toy.CONTENTS, await resume(log.mongo, "contents"))
    assert done.state == "done"
    assert (await checkpoint(log)).generations["contents"] == 2
    assert await is_proven(log)


# -- comparing


async def test_what_the_new_code_does_differently_is_told_with_the_event(
    log: Log, handler: CommandHandler
) -> None:
    def forgets_what_is_taken(view: Any, recorded: Any, key: str) -> Any:
        if key == "b" and isinstance(recorded.event, toy.MarblesTaken):
            return view
        return toy.CONTENTS.fold(view, recorded, key)

    older = (replace(toy.CONTENTS, fold=forgets_what_is_taken), toy.TALLIES)
    await prepare_read_models(log, older)
    await handle_all(handler, [toy.Put(jar="a", marbles=3), toy.Put(jar="b", marbles=5)])
    await handle_all(handler, [toy.Take(jar="a", marbles=1), toy.Take(jar="b", marbles=2)])
    await handler.handle(asked(toy.Put(jar="a", marbles=4)))
    await Projector(log, older).run_to_end()
    newer = toy.contents(version=2)
    done = await finish(log, newer, await start_rebuild(log, newer, "test"))
    found = done.comparison
    assert found is not None
    assert (found.against, found.documents, found.differing) == (1, 2, 1)
    assert (found.missing, found.extra, found.parts_at) == (0, 0, 4)
    [example] = found.examples
    assert (example.key, example.kind, example.parts_at) == ("b", "differs", 4)
    marbles = next(field for field in example.fields if field.field == "marbles")
    assert (marbles.before, marbles.after) == ("5", "3")


async def test_documents_that_are_missing_or_new_are_counted(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handle_all(handler, [toy.Put(jar=jar) for jar in "abc"])
    await projector.run_to_end()
    live = collection_of("contents", 1)
    await log.mongo.run(lambda db: db[live].delete_one({"_id": "a"}))
    await log.mongo.run(lambda db: db[live].insert_one({"_id": "z", "position": 1}))
    await rebuild(log, toy.CONTENTS)
    [job] = await jobs(log.mongo, "contents")
    assert job.comparison is not None
    found = job.comparison
    assert (found.documents, found.differing, found.missing, found.extra) == (4, 0, 1, 1)
    assert {one.key: one.kind for one in found.examples} == {"a": "extra", "z": "missing"}
    assert await is_proven(log)


# -- the way back


async def test_an_old_generation_comes_back_up_to_date(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="b")])
    await projector.run_to_end()
    await rebuild(log, toy.CONTENTS)
    kept = await generations(log, ["contents"])
    assert [(one.generation, one.position, one.retired is None) for one in kept] == [
        (2, 2, True),
        (1, 2, False),
    ]
    await handle_all(handler, [toy.Put(jar="a"), toy.Move(jar="b", to="c")])
    await projector.run_to_end()
    job = await finish(log, toy.CONTENTS, await start_rollback(log, toy.CONTENTS, "test"))
    assert (job.state, job.kind, job.generation) == ("done", "rollback", 1)
    assert (await checkpoint(log)).generations["contents"] == 1
    assert await is_proven(log)
    await handler.handle(asked(toy.Put(jar="c")))
    await projector.run_to_end()
    again = await finish(log, toy.CONTENTS, await start_rollback(log, toy.CONTENTS, "test", 2))
    assert again.generation == 2
    assert await is_proven(log)


async def test_only_the_release_that_made_it_brings_it_back(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handler.handle(asked(toy.Put(jar="a")))
    await projector.run_to_end()
    newer = toy.contents(version=2)
    await prepare_read_models(log, (newer, toy.TALLIES))
    with pytest.raises(GenerationRefused, match="made by version 1") as refused:
        await start_rollback(log, newer, "test")
    assert refused.value.refusal is Refusal.OTHER_VERSION
    await finish(log, toy.CONTENTS, await start_rollback(log, toy.CONTENTS, "test"))
    assert (await checkpoint(log)).versions["contents"] == 1
    assert await is_proven(log)


async def test_a_key_that_waits_in_a_generation_comes_back_with_it(
    log: Log, handler: CommandHandler
) -> None:
    contents = toy.contents(poison=["bad"])
    await prepare_read_models(log, (contents, toy.TALLIES))
    projector = Projector(log, (contents, toy.TALLIES))
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="a", note="bad"), toy.Put(jar="a")])
    await projector.run_to_end()
    contents.poison.clear()
    await rebuild(log, contents)
    assert await parked_keys(log) == []
    assert [d["marbles"] for d in await documents(log, "contents")] == [3]
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="b")])
    await projector.run_to_end()
    await finish(log, contents, await start_rollback(log, contents, "test"))
    [waiting] = await parked_keys(log)
    assert (waiting.projection, waiting.key, waiting.position) == ("contents", "a", 2)
    assert {d["_id"]: d["marbles"] for d in await documents(log, "contents")} == {"a": 1, "b": 1}


async def test_what_waits_already_does_not_stop_a_rebuild(
    log: Log, handler: CommandHandler
) -> None:
    contents = toy.contents(poison=["bad"])
    await prepare_read_models(log, (contents, toy.TALLIES))
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="a", note="bad"), toy.Put(jar="b")])
    await Projector(log, (contents, toy.TALLIES)).run_to_end()
    await rebuild(log, contents)
    assert [one.key for one in await parked_keys(log)] == ["a"]
    assert {d["_id"]: d["marbles"] for d in await documents(log, "contents")} == {"a": 1, "b": 1}
    assert await log.mongo.run(lambda db: db[PARKED_ASIDE].count_documents({})) == 1  # of the old


async def test_what_an_operator_has_skipped_is_left_out_again(
    log: Log, handler: CommandHandler
) -> None:
    contents = toy.contents(poison=["bad"])
    await prepare_read_models(log, (contents, toy.TALLIES))
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="a", note="bad"), toy.Put(jar="a")])
    await Projector(log, (contents, toy.TALLIES)).run_to_end()
    [waiting] = await parked_keys(log)
    await skip(log, contents, waiting)
    before = await documents(log, "contents")
    await rebuild(log, contents)
    assert await documents(log, "contents") == before
    assert await parked_keys(log) == []
    newer = toy.contents(version=2)
    await rebuild(log, newer)  # it can fold the event, and is asked to
    assert [d["marbles"] for d in await documents(log, "contents")] == [3]


async def test_what_cannot_be_stored_waits_in_a_rebuilt_one_too(
    log: Log, handler: CommandHandler
) -> None:
    await prepare_read_models(log, (toy.CONTENTS,))
    puts = [toy.Put(jar="a", marbles=2**62), toy.Put(jar="b"), toy.Put(jar="a", marbles=2**62)]
    await handle_all(handler, puts)
    await Projector(log, (toy.CONTENTS,)).run_to_end()
    await rebuild(log, toy.CONTENTS)
    assert [(one.key, one.position) for one in await parked_keys(log)] == [("a", 3)]
    assert [d["marbles"] for d in await documents(log, "contents")] == [2**62, 1]


async def test_old_generations_are_kept_by_count_and_removed_by_command(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handler.handle(asked(toy.Put(jar="a")))
    await projector.run_to_end()
    for _ in range(4):
        await rebuild(log, toy.CONTENTS)
    kept = await generations(log, ["contents"])
    assert [one.generation for one in kept] == [5, 4, 3]
    there = {name for name in await collections(log) if name.startswith("rm_contents")}
    assert there == {"rm_contents_5", "rm_contents_4", "rm_contents_3"}
    with pytest.raises(GenerationRefused, match="is live"):
        await remove(log.mongo, "contents", 5)
    with pytest.raises(GenerationRefused, match="no old generation 1"):
        await remove(log.mongo, "contents", 1)
    assert await remove(log.mongo, "contents", 3) == [3]
    assert await remove(log.mongo, "contents", None) == [4]
    assert await log.mongo.run(lambda db: db[GENERATIONS].count_documents({})) == 0
    assert await is_proven(log)


# -- starting


async def test_a_changed_version_is_built_while_all_else_is_served(
    log: Log, handler: CommandHandler, projector: Projector, reads: Reads
) -> None:
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="b")])
    await projector.run_to_end()
    newer = (toy.contents(version=2), toy.TALLIES)
    await begin_read_models(log, newer)
    assert (await checkpoint(log)).generations == {"tallies": 1}
    await handler.handle(asked(toy.Put(jar="a")))
    for each in (projector, Projector(log, newer)):  # the old release may go on, too
        await each.run_to_end()
    started = await active_job(log.mongo, "contents")
    assert started is not None
    at = await reads.snapshot(3)
    await until(lambda: "contents" not in (reads._latest or at).generations)
    assert {view.marbles for view in await every(reads, toy.TALLIES)} == {3}
    with pytest.raises(BeingBuilt, match="contents is being built anew: 0%"):
        await every(reads, toy.CONTENTS)
    async with running(keep_rebuilding(log, newer)):
        await looked_at(log, started, lambda now: now.state == "done")
        await until(lambda: "contents" in (reads._latest or at).generations)
    assert [view.marbles for view in await every(reads, newer[0])] == [2, 1]
    [job] = await jobs(log.mongo, "contents")
    assert job.comparison is not None
    assert (job.comparison.position, job.comparison.differences) == (2, 0)
    assert await is_proven(log, newer)


async def test_what_cannot_be_folded_waits_where_nothing_is_live(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="b", note="bad"), toy.Put(jar="c")])
    await projector.run_to_end()
    newer = (toy.contents(version=2, poison=["bad"]), toy.TALLIES)
    await begin_read_models(log, newer)
    job = await active_job(log.mongo, "contents")
    assert job is not None
    assert (await finish(log, newer[0], job)).state == "done"
    assert [one.key for one in await parked_keys(log)] == ["b"]
    assert [each["_id"] for each in await documents(log, "contents")] == ["a", "c"]
    assert await log.mongo.run(lambda db: db[PARKED].count_documents({})) == 1


async def test_starts_at_once_build_a_read_model_once(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handle_all(handler, [toy.Put(jar=f"{n % 5}") for n in range(50)])
    await projector.run_to_end()
    newer = (toy.contents(version=2), toy.tallies(version=2))
    await asyncio.gather(*(begin_read_models(log, newer) for _ in range(4)))
    two = (keep_rebuilding(log, newer, seconds=0.05) for _ in range(2))
    async with running(*two):
        for job in await jobs(log.mongo):
            await looked_at(log, job, lambda now: now.state == "done")
    done = await jobs(log.mongo)  # one each; who was too late for one has used up a number
    assert sorted((job.projection, job.state) for job in done) == [
        ("contents", "done"),
        ("tallies", "done"),
    ]
    assert (await checkpoint(log)).generations == {job.projection: job.generation for job in done}
    assert await is_proven(log, newer)


async def test_a_new_read_model_of_an_empty_log_is_live_at_once(log: Log) -> None:
    await asyncio.gather(*(begin_read_models(log, toy.BOTH) for _ in range(4)))
    assert (await checkpoint(log)).generations == {"contents": 1, "tallies": 1}
    assert await jobs(log.mongo) == []
