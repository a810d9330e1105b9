"""Rebuilding: a new generation goes live in one write while everything else goes on."""

import asyncio
from typing import Any

import pytest

from infra import shadow as shadow_module
from infra.commands import CommandHandler
from infra.folding import PARKED
from infra.log import Log
from infra.parked import parked_keys
from infra.projector import Projector
from infra.reads import Reads
from infra.rebuild import checkpoint, prepare_read_models, rebuild
from infra.shadow import RebuildFailed
from infra.verify import Verification
from tests.infra import toy
from tests.infra.parts import asked, documents, every, handle_all, projecting, running


async def test_a_rebuilt_read_model_equals_the_live_one(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handle_all(handler, [toy.Put(jar=f"{n % 7}") for n in range(50)])
    await projector.run_to_end()
    before = await documents(log, "contents")
    assert await rebuild(log, toy.CONTENTS) == 2
    assert (await checkpoint(log)).generations == {"contents": 2, "tallies": 1}
    assert await documents(log, "contents") == before
    await handle_all(handler, [toy.Put(jar=f"{n % 9}") for n in range(20)])
    await projector.run_to_end()  # the folders in its memory were of the old generation
    assert await Verification(log, toy.BOTH).run() == []


async def test_many_documents_are_written_in_parts(
    log: Log, handler: CommandHandler, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_module, "FLUSH", 5)
    monkeypatch.setattr("infra.log.SCAN_BATCH", 10)
    monkeypatch.setattr("infra.folding.MOST_REMEMBERED", 3)
    await handle_all(handler, [toy.Put(jar=f"{n % 17}") for n in range(100)])
    await projector.run_to_end()
    await rebuild(log, toy.CONTENTS)
    assert await Verification(log, toy.BOTH).run() == []


async def test_it_goes_live_while_commands_and_the_projector_go_on(
    log: Log, handler: CommandHandler, projector: Projector, reads: Reads
) -> None:
    stop = asyncio.Event()

    async def commands() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            await handle_all(handler, [toy.Put(jar=f"{number % 5}"), toy.Move(jar="1", to="2")])

    async def look() -> int:
        """Every answer is of one moment, whichever generation gives it."""
        looks = 0
        while not stop.is_set():
            at = await reads.snapshot()
            jars = await reads.find(toy.CONTENTS, {}, (), 0, at)
            tallies = await reads.find(toy.TALLIES, {}, (), 0, at)
            there = sum(row.view.marbles for row in jars)
            assert {row.view.marbles for row in tallies} <= {there}
            looks += 1
            await asyncio.sleep(0)  # what is answered from memory leaves nobody else a turn
        return looks

    async with projecting(log, projector), running(commands()) as writing:
        looking = asyncio.create_task(look())
        await asyncio.sleep(0.3)
        for projection in (toy.CONTENTS, toy.TALLIES, toy.CONTENTS):
            await asyncio.wait_for(rebuild(log, projection), 20)
        await asyncio.sleep(0.3)
        stop.set()
        await writing
        assert await looking > 10
    await projector.run_to_end()
    assert (await checkpoint(log)).generations == {"contents": 3, "tallies": 2}
    assert await Verification(log, toy.BOTH).run() == []


async def test_rebuilds_at_once_do_not_disturb_each_other(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    """As when two processes of a new release start together."""
    await handle_all(handler, [toy.Put(jar=f"{n % 7}") for n in range(50)])
    await projector.run_to_end()
    newer = (toy.contents(version=2), toy.tallies(version=2))
    await asyncio.gather(*(prepare_read_models(log, newer) for _ in range(3)))
    assert (await checkpoint(log)).versions == {"contents": 2, "tallies": 2}
    await handle_all(handler, [toy.Put(jar=f"{n % 9}") for n in range(20)])
    await Projector(log, newer).run_to_end()
    assert await Verification(log, newer).run() == []


async def test_two_processes_may_prepare_an_empty_database_at_once(
    log: Log, handler: CommandHandler
) -> None:
    await handle_all(handler, [toy.Put(jar=f"{n % 7}") for n in range(20)])
    await asyncio.gather(*(prepare_read_models(log, toy.BOTH) for _ in range(3)))
    await Projector(log, toy.BOTH).run_to_end()
    assert await Verification(log, toy.BOTH).run() == []


async def test_a_new_version_is_built_when_a_process_starts(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="b")])
    await projector.run_to_end()
    await prepare_read_models(log, toy.BOTH)
    assert (await checkpoint(log)).generations == {"contents": 1, "tallies": 1}
    await prepare_read_models(log, (toy.contents(version=2), toy.TALLIES))
    at = await checkpoint(log)
    assert (at.generations, at.versions) == (
        {"contents": 2, "tallies": 1},
        {"contents": 2, "tallies": 1},
    )


async def test_a_new_read_model_comes_up_to_where_the_others_are(
    log: Log, handler: CommandHandler
) -> None:
    await prepare_read_models(log, (toy.CONTENTS,))
    await handle_all(handler, [toy.Put(jar="a")] * 3)
    await Projector(log, (toy.CONTENTS,)).run_to_end()
    await handle_all(handler, [toy.Put(jar="a")] * 3)
    await prepare_read_models(log, toy.BOTH)
    assert {d["marbles"] for d in await documents(log, "tallies")} == {3}
    await Projector(log, toy.BOTH).run_to_end()
    assert await Verification(log, toy.BOTH).run() == []


async def test_a_failed_rebuild_leaves_the_live_one_as_it_is(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="b", note="bad")])
    await projector.run_to_end()
    before, at = await documents(log, "contents"), await checkpoint(log)
    with pytest.raises(RebuildFailed, match="b cannot be folded at position 2"):
        await rebuild(log, toy.contents(version=2, poison=["bad"]))
    assert await checkpoint(log) == at
    assert await documents(log, "contents") == before
    await rebuild(log, toy.CONTENTS)
    assert await Verification(log, toy.BOTH).run() == []


async def test_a_rebuild_frees_what_was_parked(log: Log, handler: CommandHandler) -> None:
    """Its documents hold the events that waited: a key still parked would miss the next ones."""
    contents = toy.contents(poison=["bad"])
    await prepare_read_models(log, (contents, toy.TALLIES))
    projector = Projector(log, (contents, toy.TALLIES))
    await handle_all(handler, [toy.Put(jar="a", note="bad"), toy.Put(jar="a")])
    await projector.run_to_end()
    assert len(await parked_keys(log)) == 1
    contents.poison.clear()
    await rebuild(log, contents)
    assert await parked_keys(log) == []
    await handler.handle(asked(toy.Put(jar="a")))
    await projector.run_to_end()
    assert await Verification(log, toy.BOTH).run() == []


async def test_what_is_parked_of_other_read_models_stays_parked(
    log: Log, projector: Projector
) -> None:
    del projector
    row: dict[str, Any] = {"_id": "contents/a", "projection": "contents", "key": "a"}
    await log.mongo.run(lambda db: db[PARKED].insert_one({**row, "position": 1, "error": ""}))
    await rebuild(log, toy.TALLIES)
    assert len(await parked_keys(log)) == 1


async def test_reads_see_the_new_generation(
    log: Log, handler: CommandHandler, projector: Projector, reads: Reads
) -> None:
    await handle_all(handler, [toy.Put(jar="a")])
    await projector.run_to_end()
    await reads.snapshot(1)
    await rebuild(log, toy.CONTENTS)
    async with asyncio.timeout(5):
        while (await reads.snapshot()).generations["contents"] != 2:  # noqa: ASYNC110 it is told
            await asyncio.sleep(0.01)
    assert [view.marbles for view in await every(reads, toy.CONTENTS)] == [1]
