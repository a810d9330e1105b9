"""The projector: each event once in each document, whatever happens to it meanwhile."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from domain.recorded import Recorded
from infra import batches as batches_module
from infra.batches import load_together
from infra.codec import Unreadable
from infra.commands import CommandHandler
from infra.folding import PARKED, Folder
from infra.log import EVENTS, Log
from infra.mongo import Unavailable
from infra.projector import Projector, Superseded
from infra.rebuild import checkpoint, prepare_read_models
from infra.verify import Problem, Verification
from tests.infra import toy
from tests.infra.parts import asked, documents, handle_all, projected, projecting, running
from tests.infra.processes import process, ready


async def problems(log: Log, projections: Sequence[toy.Toy] = toy.BOTH) -> list[Problem]:
    return await Verification(log, projections).run()


async def some_history(handler: CommandHandler) -> None:
    chance = random.Random(1)
    jars = ("a", "b", "c", "d")
    await handle_all(handler, [toy.Put(jar=jar, marbles=50) for jar in jars])
    moves = [
        toy.Move(jar=chance.choice(jars), to=chance.choice(jars), marbles=chance.randint(0, 9))
        for _ in range(100)
    ]
    for first in range(0, 100, 25):
        await handle_all(handler, moves[first : first + 25])


# -- batches


async def test_any_batch_size_gives_the_same_documents(log: Log, handler: CommandHandler) -> None:
    await some_history(handler)
    head = await log.head()
    found = []
    for size in (1, 2, 3, 7, 1000):
        await prepare_read_models(log, toy.BOTH)
        await log.mongo.run(_begin_anew)
        projector = Projector(log, toy.BOTH)
        while await projector.run_once(size):
            pass
        assert (await checkpoint(log)).position == head.position
        assert await problems(log) == []
        found.append([await documents(log, p.name) for p in toy.BOTH])
    assert all(each == found[0] for each in found)
    assert sum(jar["marbles"] for jar in found[0][0]) == 200


def _begin_anew(db: Any) -> None:
    for collection in ("rm_contents_1", "rm_tallies_1"):
        db[collection].delete_many({})
    db["checkpoints"].update_one({"_id": "main"}, {"$set": {"position": 0}})


async def test_documents_carry_the_position_that_wrote_them(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handler.handle(asked(toy.Put(jar="a")))
    await handler.handle(asked(toy.Put(jar="b")))
    await handler.handle(asked(toy.Seal(jar="a")))  # neither read model listens to this
    await projector.run_to_end()
    assert {d["_id"]: d["position"] for d in await documents(log, "contents")} == {"a": 1, "b": 2}
    assert {d["position"] for d in await documents(log, "tallies")} == {2}
    assert (await checkpoint(log)).position == 3


async def test_it_says_how_many_events_there_were(
    handler: CommandHandler, projector: Projector
) -> None:
    assert await projector.run_once() == 0
    await handle_all(handler, [toy.Put(jar="a")] * 5)
    assert [await projector.run_once(3) for _ in range(3)] == [3, 2, 0]


async def test_what_a_batch_begins_is_not_looked_for(handler: CommandHandler, log: Log) -> None:
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="b"), toy.Put(jar="a")])
    events = await log.read(0)

    def missing(projection: toy.Toy, events: Sequence[Recorded], position: float = inf) -> set[str]:
        folder = Folder(projection, "", position)
        touched = folder.touched(events)
        folder.expect_begun(touched)
        return set(folder.missing(touched))

    assert missing(toy.contents(), events) == set()
    assert missing(toy.contents(), events[2:]) == {"a"}  # its stream began before
    assert missing(toy.tallies(), events) != set()  # all streams touch them
    assert missing(replace(toy.tallies(), once=True), events) == set()
    assert missing(toy.contents(), events, position=0) == {"a", "b"}  # some may be ahead


async def test_a_document_may_go_and_come_again(log: Log, handler: CommandHandler) -> None:
    def fold(_: toy.Content | None, recorded: Recorded, __: str) -> toy.Content | None:
        return None if isinstance(recorded.event, toy.MarblesTaken) else toy.Content(marbles=1)

    shrinking = (replace(toy.contents(), fold=fold),)
    await prepare_read_models(log, shrinking)
    projector = Projector(log, shrinking)
    there = []
    for commands in (
        [toy.Put(jar="a", marbles=5), toy.Put(jar="b", marbles=5)],
        [toy.Take(jar="a"), toy.Put(jar="b")],
        [toy.Put(jar="a"), toy.Take(jar="b"), toy.Put(jar="b"), toy.Take(jar="b")],
        [toy.Put(jar="c"), toy.Take(jar="c")],
    ):
        await handle_all(handler, commands)
        await projector.run_to_end()
        there.append({document["_id"] for document in await documents(log, "contents")})
        assert await problems(log, shrinking) == []
    assert there == [{"a", "b"}, {"b"}, {"a"}, {"a"}]


async def test_a_document_that_nobody_has_projected_gives_way(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    stray = {"_id": "a", "position": 99, "marbles": 7}
    await log.mongo.run(lambda db: db["rm_contents_1"].insert_one(dict(stray)))
    await handle_all(handler, [toy.Put(jar="a", marbles=5), toy.Put(jar="b")])
    await projector.run_to_end()
    assert await problems(log) == []


# -- crashes


async def test_a_batch_that_cannot_be_loaded_is_not_taken_for_new_documents(
    log: Log, handler: CommandHandler, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await handle_all(handler, [toy.Put(jar="a", marbles=5)])
    await projector.run_to_end()
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="b")])
    fresh = Projector(log, toy.BOTH)
    failures = iter([True])

    class Away:
        def __getitem__(self, _: str) -> Any:
            raise Unavailable("just now")

    away: Any = Away()

    def broken_once(db: Any, batches: Any) -> None:
        load_together(away if next(failures, False) else db, batches)

    monkeypatch.setattr(batches_module, "load_together", broken_once)
    with pytest.raises(Unavailable):
        await fresh.run_once()
    await fresh.run_to_end()
    assert await problems(log) == []


async def test_killing_it_again_and_again_repeats_nothing(
    log: Log,
    handler: CommandHandler,
    projector: Projector,
    mongodb_uri: str,
    database_name: str,
) -> None:
    chance, stop = random.Random(2), asyncio.Event()

    async def commands() -> None:
        while not stop.is_set():
            await handle_all(handler, [toy.Put(jar=str(chance.randint(1, 30))) for _ in range(10)])

    async with running(commands()) as writing:
        for _ in range(3):
            before = (await checkpoint(log)).position
            async with process("project", mongodb_uri, database_name, 3) as victim:
                await ready(victim)
                await projected(log, before + 9)
                await asyncio.sleep(chance.random() / 50)
                victim.kill()
        stop.set()
        await writing
    await projector.run_to_end()
    assert await problems(log) == []


async def test_two_projectors_of_one_group_apply_nothing_twice(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await some_history(handler)
    other = Projector(log, toy.BOTH)

    async def project(own: Projector) -> None:
        while await own.run_once(5):
            pass

    await asyncio.gather(project(projector), project(other))
    assert (await checkpoint(log)).position == (await log.head()).position
    assert await problems(log) == []


async def test_two_that_take_turns_apply_nothing_twice(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    """Each has documents in memory that the other has changed meanwhile."""
    other = Projector(log, toy.BOTH)
    for turn in range(8):
        await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar=f"{turn % 3}")])
        await (projector, other)[turn % 2].run_to_end()
        assert await problems(log) == []


async def test_it_keeps_projecting_after_a_fault(
    log: Log, handler: CommandHandler, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, failures = log.read, iter([True, False, True])

    async def sometimes(*arguments: Any, **options: Any) -> Any:
        if next(failures, False):
            raise Unavailable("just now")
        return await read(*arguments, **options)

    monkeypatch.setattr(log, "read", sometimes)
    async with projecting(log, projector):
        await handler.handle(asked(toy.Put(jar="a")))
        await projected(log, 1)


async def test_another_release_does_not_fold_into_what_this_one_has_rebuilt(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handler.handle(asked(toy.Put(jar="a")))
    await projector.run_to_end()
    await prepare_read_models(log, (toy.contents(version=2), toy.TALLIES))
    await handler.handle(asked(toy.Put(jar="a")))
    await projector.run_once()  # notices
    with pytest.raises(Superseded, match="contents: 2 is live, not 1"):
        await projector.run_once()
    assert (await checkpoint(log)).position == 1


# -- what cannot be read


@pytest.mark.usefixtures("projector")
async def test_an_event_that_nobody_can_read_is_not_passed_over(
    log: Log, handler: CommandHandler
) -> None:
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="a")])
    rename = {"$set": {"type": "MarblesLost"}}
    await log.mongo.run(lambda db: db[EVENTS].update_one({"_id": 2}, rename))
    stranger = Projector(Log(log.mongo, log.codec), toy.BOTH)
    with pytest.raises(Unreadable, match="MarblesLost"):
        await stranger.run_once()
    assert (await checkpoint(log)).position == 0
    assert await log.mongo.run(lambda db: db[PARKED].count_documents({})) == 0
