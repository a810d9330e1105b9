"""Branches: what documents would be, had history been another one. Real history never notices."""

from collections import defaultdict
from dataclasses import replace

from domain.decider import message
from infra.branches import Branches, Parts
from infra.commands import CommandHandler
from infra.log import Log
from infra.projector import Projector
from tests.infra import toy
from tests.infra.other_pasts import Doubled, agrees, other, put, some_history
from tests.infra.parts import asked, handle_all


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
