"""Branches: what they store, what they leave alone, and several hands at work."""

import asyncio
import hashlib
import signal
from collections.abc import Iterable
from dataclasses import replace

import bson
import pytest

from infra.branches import Branches, BranchNotReady, BranchRefused, BranchUnknown, Parts
from infra.branching.working import Worker
from infra.commands import CommandHandler
from infra.documents import Documents
from infra.log import Log
from infra.mongo import Mongo, SyncDatabase, Unavailable
from infra.projector import Projector
from infra.reads import ReadModelBehind
from tests.infra import toy
from tests.infra.other_pasts import (
    Doubled,
    agrees,
    other,
    put,
    some_history,
)
from tests.infra.parts import asked, running
from tests.infra.processes import process

# -- what is left alone


def hashes(db: SyncDatabase) -> dict[str, str]:
    """Of all collections that do not belong to branches, byte for byte."""
    return {
        name: hashlib.sha256(
            b"".join(bson.encode(own) for own in db[name].find(sort=[("_id", 1)]))
        ).hexdigest()
        for name in db.list_collection_names()
        if not name.startswith("branch") and not name.startswith("past")
    }


def of_branches(db: SyncDatabase) -> list[str]:
    return sorted(name for name in db.list_collection_names() if name.startswith("branch-"))


async def test_nothing_else_is_written_and_little_of_the_branch_itself(
    mongo: Mongo, handler: CommandHandler, projector: Projector, branches: Branches
) -> None:
    await some_history(handler, projector)
    before = await mongo.run(hashes)
    branch = await branches.create("what if", "ada", at=1)
    await branches.drop(branch.id, [2])
    await branches.send(branch.id, asked(toy.Put(jar="a", marbles=7)))
    await branches.use(branch.id, "doubled", Doubled(each=50))
    _, computed = await branches.ready(branch.id)
    assert await mongo.run(hashes) == before
    counts = computed.documents
    assert {name: found.changed for name, found in counts.items()} == {"contents": 2, "tallies": 3}
    stored = await mongo.run(of_branches)
    assert {name.partition(".")[2] for name in stored if computed.token in name} == {
        f"{computed.token.partition('.')[2]}.{kind}.{name}"
        for kind in ("own", "was")
        for name in ("contents", "tallies")
    }
    await branches.remove(branch.id)
    assert await mongo.run(of_branches) == []
    assert await mongo.run(hashes) == before
    with pytest.raises(BranchUnknown):
        await branches.documents(branch.id)


async def test_old_documents_of_a_branch_are_dropped(
    mongo: Mongo, handler: CommandHandler, projector: Projector, branches: Branches
) -> None:
    await some_history(handler, projector)
    branch = await branches.create("again and again", "ada", at=1)
    for position in range(1, 8):
        await branches.drop(branch.id, [position])
        await branches.ready(branch.id)
    tokens = {name.split(".")[1] for name in await mongo.run(of_branches)}
    assert {token.partition("-")[0] for token in tokens} == {"7", "8"}


# -- several hands


async def test_many_changes_at_once_are_all_there(
    log: Log, handler: CommandHandler, projector: Projector, branches: Branches, parts: Parts
) -> None:
    await some_history(handler, projector)
    branch = await branches.create("many hands", "ada", at=1)
    elsewhere = Branches(parts)
    async with running(elsewhere.run()):
        await asyncio.gather(
            *(hand.drop(branch.id, [position]) for position, hand in _dealt(branches, elsewhere))
        )
        history = other(await log.read(0), drop=set(range(1, 21)))
        for hand in (branches, elsewhere):
            await agrees(await hand.documents(branch.id), history)


def _dealt(*hands: Branches) -> Iterable[tuple[int, Branches]]:
    return ((position, hands[position % len(hands)]) for position in range(1, 21))


async def test_what_was_not_finished_goes_on_after_a_restart(
    handler: CommandHandler, projector: Projector, parts: Parts
) -> None:
    await some_history(handler, projector)
    stopped = Branches(parts, seconds=0)
    branch = await stopped.create("interrupted", "ada", at=1)
    await stopped.drop(branch.id, [2])
    with pytest.raises(BranchNotReady):
        await stopped.documents(branch.id)
    await stopped._worker.close()
    async with running(Branches(parts).run()):
        async with asyncio.timeout(10):
            while not (done := (await stopped.get(branch.id)).computed) or done.revision < 2:  # noqa: ASYNC110 others do it
                await asyncio.sleep(0.01)
    await stopped.documents(branch.id)


async def test_killed_while_it_is_worked_out_it_leaves_nothing_that_is_wrong(
    log: Log,
    handler: CommandHandler,
    projector: Projector,
    parts: Parts,
    *,
    mongodb_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await some_history(handler, projector)
    before = await log.mongo.run(hashes)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(Worker, "start", lambda *_: None)
        branch = await Branches(parts).create("half done", "ada", at=1)
        await Branches(parts).drop(branch.id, [2])
    async with process("branch", mongodb_uri, log.mongo.name, branch.id) as killed:
        assert await asyncio.wait_for(killed.wait(), 30) == -signal.SIGKILL
    (half, _) = left = await log.mongo.run(of_branches)
    assert {name.rpartition(".")[2] for name in left} == {"contents"}
    again = Branches(parts)
    async with running(again.run()):
        await agrees(await again.documents(branch.id), other(await log.read(0), drop={2}))
        assert half in await log.mongo.run(of_branches)  # nobody reads it
        await again.remove(branch.id)
    assert await log.mongo.run(of_branches) == []
    assert await log.mongo.run(hashes) == before


async def test_what_is_away_for_a_while_is_waited_for(
    log: Log,
    handler: CommandHandler,
    projector: Projector,
    parts: Parts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("infra.branching.working.RETRY_SECONDS", 0.01)
    await some_history(handler, projector)
    troubles = [Unavailable("the store is away"), ReadModelBehind(101, 100)]

    async def base(position: int) -> Documents:
        if troubles:
            raise troubles.pop()
        return await parts.base(position)

    branches = Branches(replace(parts, base=base))
    branch = await branches.create("patient", "ada")
    await branches.inject(branch.id, "jar-a", put("a", 9), "ada")
    await branches.ready(branch.id)
    assert troubles == []
    events = await log.read(0)
    history = other(events, more={events[-1].position: [put("a", 9)]})
    await agrees(await branches.documents(branch.id), history)


async def test_another_version_of_a_read_model_works_it_out_anew(
    handler: CommandHandler, projector: Projector, branches: Branches, parts: Parts
) -> None:
    await some_history(handler, projector)
    branch = await branches.create("of today", "ada", at=1)
    await branches.drop(branch.id, [2])
    _, computed = await branches.ready(branch.id)
    newer = Branches(replace(parts, projections=(toy.contents(version=2), toy.TALLIES)))
    _, again = await newer.ready(branch.id)
    assert again.token != computed.token
    assert again.versions == {"contents": 2, "tallies": 1}


# -- what is refused


async def test_what_makes_no_branch_is_refused(
    handler: CommandHandler, projector: Projector, branches: Branches
) -> None:
    end = await some_history(handler, projector)
    for begin, upto in ((end + 1, None), (5, 4), (0, end + 1), (-1, None)):
        with pytest.raises(BranchRefused):
            await branches.create("impossible", "ada", at=begin, upto=upto)
    branch = await branches.create("small", "ada", at=10, upto=20)
    for position in (9, 21):
        with pytest.raises(BranchRefused):
            await branches.drop(branch.id, [position])
        with pytest.raises(BranchRefused):
            await branches.replace(branch.id, position, put("a", 1))
    for after in (8, 21):
        with pytest.raises(BranchRefused):
            await branches.inject(branch.id, "jar-a", put("a", 1), "ada", after=after)
        with pytest.raises(BranchRefused):
            await branches.send(branch.id, asked(toy.Put(jar="a")), after=after)
    for stream in ("jar", "jar-", "box-a"):
        with pytest.raises(BranchRefused):
            await branches.inject(branch.id, stream, put("a", 1), "ada")
    assert (await branches.get(branch.id)).changes == 0


async def test_a_failure_is_told_until_something_changes(
    handler: CommandHandler, projector: Projector, branches: Branches
) -> None:
    await some_history(handler, projector)
    branch = await branches.create("unheard of", "ada", at=1)
    await branches.use(branch.id, "of another release", Doubled(each=1))
    with pytest.raises(BranchRefused, match="of another release"):
        await branches.documents(branch.id)
