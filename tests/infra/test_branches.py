"""Branches: what documents would be, had history been another one. Real history never notices."""

import asyncio
import hashlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final

import bson
import pytest
import pytest_asyncio

from domain.decider import message
from domain.recorded import Recorded
from domain.variant import Variant
from infra.branches import Branches, BranchNotReady, BranchRefused, BranchUnknown, Domain, Parts
from infra.commands import CommandHandler
from infra.differences import as_read
from infra.documents import Documents
from infra.folding import Projection, document_of
from infra.log import Log
from infra.mongo import Document, Mongo, SyncDatabase
from infra.past import Pasts
from infra.projector import Projector
from infra.reads import Reads
from infra.settings import PastLimits
from tests.infra import toy
from tests.infra.parts import asked, handle_all, running

JAR: Final = replace(
    toy.JAR,
    gives={toy.Put: (toy.MarblesPut,), toy.Take: (toy.MarblesTaken,), toy.Seal: (toy.JarSealed,)},
)
DOMAIN: Final = Domain(deciders=(JAR,), joints=toy.JOINTS, processes=(), gateways=())
ALL: tuple[Mapping[str, Any], ...] = ({"$sort": {"_id": 1}},)


@message
class Doubled:
    """Of every `each` puts into a jar, one has twice as many marbles."""

    each: int


def doubling(rule: Doubled, state: int | None, event: Any) -> tuple[int, Any]:
    """A jar that would be sealed stays open."""
    if isinstance(event, toy.JarSealed):
        return state or 0, None
    count = (state or 0) + 1
    return count, event if count % rule.each else replace(event, marbles=2 * event.marbles)


DOUBLING: Final = Variant(
    "doubled", Doubled, (toy.MarblesPut, toy.JarSealed), attrgetter("jar"), doubling
)


@pytest_asyncio.fixture
async def parts(log: Log, reads: Reads) -> AsyncIterator[Parts]:
    pasts = Pasts(log, reads, PastLimits())
    async with running(pasts.run()):
        yield Parts(log, toy.BOTH, DOMAIN, (DOUBLING,), pasts.at)


@pytest_asyncio.fixture
async def branches(parts: Parts) -> AsyncIterator[Branches]:
    branches = Branches(parts)
    async with running(branches.run()):
        yield branches


async def some_history(handler: CommandHandler, projector: Projector, commands: int = 40) -> int:
    """Answers with where it ends."""
    chance, jars = random.Random(3), "abcd"
    await handle_all(handler, [toy.Put(jar=jar, marbles=5) for jar in jars])
    for number in range(commands):
        jar, to = chance.choice(jars), chance.choice(jars)
        await handle_all(handler, [toy.Put(jar=jar, marbles=number), toy.Move(jar=to, to=jar)])
    await projector.run_to_end()
    return (await handler._log.head()).position


# -- what is expected, told by the simplest means


def folded(projection: Projection, history: Sequence[Recorded]) -> dict[str, Document]:
    views: dict[str, tuple[Any, int]] = {}
    for recorded in history:
        if isinstance(recorded.event, projection.events):
            for key in projection.keys(recorded):
                before, _ = views.get(key, (None, 0))
                views[key] = projection.evolve(before, recorded, key), recorded.position
    return {
        key: as_read(document_of(key, view, position)) for key, (view, position) in views.items()
    }


async def agrees(documents: Documents, history: Sequence[Recorded]) -> None:
    """All ways to ask give the documents of this history."""
    for projection in toy.BOTH:
        expected = [own for _, own in sorted(folded(projection, history).items())]
        keys = [own["_id"] for own in expected]
        rows = await documents.get(projection, [*keys, "nothing of that kind"])
        assert [rows[key].document for key in keys] == expected
        assert len(rows) == len(keys)
        found = await documents.find(projection, {}, (("_id", 1),), 0)
        assert [row.document for row in found] == expected
        assert [row.view for row in found] == [rows[key].view for key in keys]
        assert await documents.aggregate(projection, ALL) == expected
        most = sorted(expected, key=lambda own: (-own["marbles"], own["_id"]))
        some = {"marbles": {"$gt": 10}}
        matching = [own for own in most if own["marbles"] > 10]
        found = await documents.find(projection, some, (("marbles", -1), ("_id", 1)), 2)
        assert [row.document for row in found] == matching[:2]
        assert await documents.count(projection, some, 3) == min(len(matching), 3)
        assert await documents.aggregate(projection, [{"$match": some}, *ALL]) == [
            own for own in expected if own["marbles"] > 10
        ]


def put(jar: str, marbles: int) -> toy.MarblesPut:
    return toy.MarblesPut(jar=jar, marbles=marbles, note="")


def other(events: Sequence[Recorded], **places: Any) -> list[Recorded]:
    """History with other events: `drop` and `instead` by position, `more` (event, stream) after."""
    drop, instead = places.get("drop", ()), places.get("instead", {})
    more = places.get("more", {})
    numbers = iter(range(events[-1].position + 1, 10_000))
    found = []
    for recorded in events:
        if recorded.position not in drop:
            found.append(replace(recorded, event=instead.get(recorded.position, recorded.event)))
        found += [
            replace(recorded, event=event, stream=toy.stream(event.jar), position=next(numbers))
            for event in more.get(recorded.position, ())
        ]
    return found


# -- documents


async def test_a_branch_without_changes_is_real_history(
    log: Log, handler: CommandHandler, projector: Projector, branches: Branches
) -> None:
    end = await some_history(handler, projector)
    branch = await branches.create("nothing", "ada")
    assert (branch.at, branch.upto) == (end, end)
    documents = await branches.documents(branch.id)
    assert documents.position == end
    await agrees(documents, await log.read(0))


async def test_documents_are_those_of_the_other_history(
    log: Log, handler: CommandHandler, projector: Projector, branches: Branches
) -> None:
    end = await some_history(handler, projector)
    events = await log.read(0)
    branch = await branches.create("all at once", "ada", at=10)
    await branches.drop(branch.id, [11, 40, end])
    await branches.replace(branch.id, 20, put(events[19].event.jar, 1_000))
    await branches.inject(branch.id, "jar-new", put("new", 7), "ada", after=30)
    await branches.inject(branch.id, "jar-a", put("a", 9), "ada")
    await branches.inject(branch.id, "jar-a", put("a", 11), "ada", after=end)
    history = other(
        events,
        drop={11, 40, end},
        instead={20: put(events[19].event.jar, 1_000)},
        more={10: [put("a", 9)], 30: [put("new", 7)], end: [put("a", 11)]},
    )
    at = [r.position for r in history]
    assert at.count(end + 1) == 1
    renamed = {at[at.index(10) + 1]: end + 2, at[at.index(30) + 1]: end + 1}
    history = [replace(r, position=renamed.get(r.position, r.position)) for r in history]
    await agrees(await branches.documents(branch.id), history)


async def test_it_stays_the_same_while_real_history_goes_on(
    log: Log, handler: CommandHandler, projector: Projector, branches: Branches
) -> None:
    await some_history(handler, projector)
    events = await log.read(0)
    branch = await branches.create("of then", "ada", at=1)
    await branches.drop(branch.id, [5])
    await agrees(await branches.documents(branch.id), other(events, drop={5}))
    await handle_all(handler, [toy.Put(jar=jar, marbles=500) for jar in "abcdef"])
    await projector.run_to_end()
    await agrees(await branches.documents(branch.id), other(events, drop={5}))
    of_before = await branches.create("before that", "ada", at=1, upto=20)
    await branches.drop(of_before.id, [5])
    await agrees(await branches.documents(of_before.id), other(events[:20], drop={5}))


async def test_where_much_differs_the_branch_has_all_of_it(
    log: Log, handler: CommandHandler, projector: Projector, branches: Branches
) -> None:
    branches._worker.most_apart = 2
    await some_history(handler, projector)
    await handle_all(handler, [toy.Put(jar="apart", marbles=70), toy.Put(jar="alone")])
    await projector.run_to_end()
    events = await log.read(0)
    branch = await branches.create("much", "ada", at=1)
    await branches.drop(branch.id, [1, 2, events[-1].position])
    documents = await branches.documents(branch.id)
    await agrees(documents, other(events, drop={1, 2, events[-1].position}))
    _, computed = await branches.ready(branch.id)
    assert computed.documents["contents"].whole
    assert len(await branches.differences(computed, toy.CONTENTS)) == 3


async def test_versions_are_counted_anew(
    handler: CommandHandler, projector: Projector, parts: Parts
) -> None:
    @message
    class Version:
        version: int = 0
        marbles: int = 0

    versions = toy.Toy(
        "versions",
        Version,
        lambda recorded: (recorded.event.jar,),
        lambda _, recorded, __: Version(version=recorded.version, marbles=1),
    )
    await handle_all(handler, [toy.Put(jar="a") for _ in range(5)])
    await projector.run_to_end()
    branches = Branches(replace(parts, projections=(versions,)))
    branch = await branches.create("shorter", "ada", at=1)
    await branches.drop(branch.id, [2])
    _, computed = await branches.ready(branch.id)
    (found,) = await branches.differences(computed, versions)
    assert (found.before.version, found.after.version) == (5, 4)
    await branches.inject(branch.id, "jar-a", put("a", 1), "ada", after=1)
    await branches.inject(branch.id, "jar-a", put("a", 1), "ada", after=1)
    _, computed = await branches.ready(branch.id)
    (found,) = await branches.differences(computed, versions)
    assert (found.before.version, found.after.version) == (5, 6)


async def test_a_variant_is_followed_from_where_the_branch_begins(
    log: Log, handler: CommandHandler, projector: Projector, branches: Branches
) -> None:
    await some_history(handler, projector)
    await handle_all(handler, [toy.Seal(jar="a")])
    await projector.run_to_end()
    events = await log.read(0)
    branch = await branches.create("every third is doubled", "ada", at=20)
    await branches.drop(branch.id, [25])
    await branches.use(branch.id, "doubled", Doubled(each=3))
    counts: dict[str, int] = defaultdict(int)
    instead = {}
    for recorded in events:
        event = recorded.event
        if isinstance(event, toy.MarblesPut) and 20 <= recorded.position != 25:
            counts[event.jar] += 1
            if not counts[event.jar] % 3:
                instead[recorded.position] = replace(event, marbles=2 * event.marbles)
    assert len(instead) > 5
    drop = {25, events[-1].position}
    history = other(events, drop=drop, instead=instead)
    await agrees(await branches.documents(branch.id), history)
    _, sent = await branches.send(branch.id, asked(toy.Put(jar="a")), events[-1].position)
    assert sent.commands[0].errors == ()  # it was never sealed there


async def test_what_cannot_be_folded_stays_as_it_was(
    handler: CommandHandler, projector: Projector, parts: Parts
) -> None:
    await handle_all(handler, [toy.Put(jar=jar, note=jar) for jar in "abcab"])
    await projector.run_to_end()
    poisoned = toy.contents(poison={"bad"})
    branches = Branches(replace(parts, projections=(poisoned,)))
    branch = await branches.create("poison", "ada", at=1)
    event = toy.MarblesPut(jar="a", marbles=70, note="bad")
    await branches.inject(branch.id, "jar-a", event, "ada", after=1)
    rows = await (await branches.documents(branch.id)).get(poisoned, ["a", "b"])
    assert [rows[key].view.marbles for key in "ab"] == [1, 2]


# -- commands and refusals


async def test_a_command_is_decided_on_what_the_branch_knows(
    handler: CommandHandler, projector: Projector, branches: Branches
) -> None:
    await handle_all(handler, [toy.Put(jar="a", marbles=3), toy.Take(jar="a", marbles=3)])
    await projector.run_to_end()
    branch = await branches.create("what if", "ada", at=1)
    take = toy.Take(jar="a", marbles=3)
    _, late = await branches.send(branch.id, asked(take), after=2)
    assert [type(error).__name__ for error in late.commands[0].errors] == ["TooFewMarbles"]
    _, early = await branches.send(branch.id, asked(toy.Move(jar="a", to="b", marbles=2)))
    assert [(r.stream, r.version, r.position) for r in early.events] == [
        ("jar-a", 2, 3),
        ("jar-b", 1, 4),
    ]
    documents = await branches.documents(branch.id)
    rows = await documents.get(toy.CONTENTS, ["a", "b"])
    assert {key: row.view.history for key, row in rows.items()} == {"a": (1, 3, 2), "b": (4,)}
    _, computed = await branches.ready(branch.id)
    (refused,) = await branches.refusals(computed)
    assert (refused.position, refused.stream, refused.version) == (2, "jar-a", 3)
    assert refused.codes == ("TOO_FEW_MARBLES",)
    assert refused.errors == ("3 marbles are wanted, 1 are there.",)


async def test_later_events_that_make_no_sense_are_named(
    handler: CommandHandler, projector: Projector, branches: Branches
) -> None:
    for command in (
        toy.Put(jar="a", marbles=5),
        toy.Put(jar="a", marbles=2),
        toy.Take(jar="a", marbles=3),
        toy.Take(jar="a", marbles=4),
        toy.Seal(jar="a"),
    ):
        await handle_all(handler, [command])
    await projector.run_to_end()
    branch = await branches.create("never put", "ada", at=1)
    await branches.drop(branch.id, [1])
    _, computed = await branches.ready(branch.id)
    assert [one.position for one in await branches.refusals(computed)] == [3, 4]
    await branches.inject(branch.id, "jar-a", put("a", 1), "ada", after=2)
    _, computed = await branches.ready(branch.id)
    # the three that were wanted first are there now, and the others not any more
    assert [one.position for one in await branches.refusals(computed)] == [4]
    assert [one.number for one in await branches.refusals(computed, after=1)] == []


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
