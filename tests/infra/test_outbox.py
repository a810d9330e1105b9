"""The outbox on a real MongoDB: in order per story, until there is an answer."""

import asyncio
from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest

from infra import outbox, outcomes
from infra.folding import PARKED
from infra.following import Row
from infra.mending import mend_row
from infra.mongo import SyncDatabase
from infra.outbox import Outbox
from infra.outcomes import Done, Later, Outcome, Refused
from infra.parked import parked_keys
from infra.projector import CHECKPOINTS
from infra.reactor import Reactor
from infra.stories import OUTBOX, prepare_follower, row_document, row_of
from tests.infra.errands import (
    FOLLOWER,
    Begin,
    Begun,
    House,
    TakeStep,
    eventually,
    following,
    open_house,
)
from tests.infra.parts import running


class Desk:
    """Carries rows out by noting them; `answers` says otherwise for the first times."""

    def __init__(self, seconds: float = 0.0, **answers: list[Outcome]) -> None:
        self.carried: dict[str, list[int]] = defaultdict(list)
        self.under_way = self.most_under_way = 0
        self._seconds, self._answers = seconds, answers

    async def carry(self, row: Row) -> Outcome:
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        await asyncio.sleep(self._seconds)
        self.under_way -= 1
        answers = self._answers.get(row.story.replace("-", "_"))
        outcome = answers.pop(0) if answers else Done()
        if isinstance(outcome, Done):
            self.carried[row.story].append(row.place)
        return outcome


async def asked_for(house: House, stories: int, each: int = 3) -> None:
    """Work in the outbox: a few rows for each of some stories."""

    def react(_: Any, event: Any) -> Any:
        for _ in range(each):
            yield TakeStep(errand_id=event.errand_id)

    await prepare_follower(house.mongo, FOLLOWER)
    await house.do(*(Begin(errand_id=f"errand-{n}") for n in range(stories)))
    follower = replace(FOLLOWER, react=react)
    await Reactor(house.log, follower).run_to_end()


async def empty(house: House) -> bool:
    return not await house.rows(OUTBOX)


async def test_stories_are_carried_out_at_once_and_each_in_order(house: House) -> None:
    await asked_for(house, 30)
    desk = Desk(seconds=0.01)
    async with running(Outbox(house.mongo, FOLLOWER.name, desk.carry, at_once=8).run()):
        await eventually(lambda: empty(house))
    assert desk.most_under_way == 8
    assert len(desk.carried) == 30
    assert all(places == sorted(places) and len(places) == 3 for places in desk.carried.values())


async def test_more_work_than_memory_holds_is_read_bit_by_bit(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_LOADED", 10)
    for _ in range(5):
        await asked_for(house, 3, each=1)
    desk = Desk(seconds=0.001)
    async with running(Outbox(house.mongo, FOLLOWER.name, desk.carry, at_once=2).run()):
        await eventually(lambda: empty(house))
    assert sorted(map(len, desk.carried.values())) == [5, 5, 5]


async def test_what_is_put_off_holds_back_its_story_only_also_after_a_restart(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "FIRST_DELAY", 1.0)
    await asked_for(house, 3)
    desk = Desk(errand_1=[Later("nobody answers")])
    async with running(Outbox(house.mongo, FOLLOWER.name, desk.carry).run()):
        await eventually(lambda: _left(house, 3))
    assert desk.carried.keys() == {"errand-0", "errand-2"}
    (first, *_) = await house.rows(OUTBOX, delays=1)
    assert (first["error"], first["attempts"]) == ("nobody answers", 0)

    async with running(Outbox(house.mongo, FOLLOWER.name, desk.carry).run()):
        await asyncio.sleep(0.1)
        assert "errand-1" not in desk.carried
        await eventually(lambda: empty(house))
    assert desk.carried["errand-1"] == sorted(desk.carried["errand-1"])
    assert len(desk.carried["errand-1"]) == 3


async def _left(house: House, number: int) -> bool:
    return len(await house.rows(OUTBOX)) == number


async def test_what_is_refused_again_and_again_is_parked_and_can_be_retried(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(outbox, "LOOK_SECONDS", 0.05)
    await asked_for(house, 3)
    desk = Desk(errand_1=[Refused("no")] * 7)
    async with running(Outbox(house.mongo, FOLLOWER.name, desk.carry).run()):
        await eventually(lambda: house.rows(PARKED))
        await eventually(lambda: _left(house, 3))
        (parked,) = await parked_keys(house.log)
        assert (parked.projection, parked.key) == ("outbox/process/errands", "errand-1")
        assert parked.error == "TakeStep: no"
        await mend_row(house.log, parked, skip=False)
        await eventually(lambda: empty(house))
    assert len(desk.carried["errand-1"]) == 3
    assert not await parked_keys(house.log)


async def test_a_parked_row_that_is_skipped_lets_the_later_ones_go(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "FIRST_DELAY", 0.001)
    await asked_for(house, 2)
    desk = Desk(errand_1=[Refused("no")] * 5)
    async with running(Outbox(house.mongo, FOLLOWER.name, desk.carry).run()):
        await eventually(lambda: house.rows(PARKED))
    async with running(Outbox(house.mongo, FOLLOWER.name, desk.carry).run()):
        await asyncio.sleep(0.1)
        (parked,) = await parked_keys(house.log)
        await mend_row(house.log, parked, skip=True)
        await eventually(lambda: empty(house))
    assert len(desk.carried["errand-1"]) == 2


async def test_a_refused_command_is_tried_again_under_another_id(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal is remembered: under the same id it would be answered from memory."""
    monkeypatch.setattr(outcomes, "FIRST_DELAY", 0.05)

    def react(_: Any, event: Any) -> Any:
        yield TakeStep(errand_id=event.errand_id.replace("first", "second"))

    follower = replace(FOLLOWER, events=(Begun,), react=react)
    async with following(house, (follower, house.send())):
        await house.do(Begin(errand_id="errand-first"))
        await eventually(lambda: house.rows(OUTBOX, attempts=1))
        await house.do(Begin(errand_id="errand-second"))
        await eventually(lambda: empty(house))
    assert (await house.happened("errand-second")).count("StepTaken") == 2


async def test_a_stored_command_that_no_registry_knows_is_parked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "FIRST_DELAY", 0.001)
    await asked_for(house, 1, each=1)
    await house.mongo.run(lambda db: db[OUTBOX].update_one({}, {"$set": {"kind": "Fly"}}))
    async with running(Outbox(house.mongo, FOLLOWER.name, house.send()).run()):
        await eventually(lambda: house.rows(PARKED))
    (parked,) = await parked_keys(house.log)
    assert parked.error == "Fly: Unreadable: nothing is called 'Fly'"


async def test_two_outboxes_of_two_processes_agree_on_every_attempt(
    house: House, mongodb_uri: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(outbox, "LOOK_SECONDS", 0.01)

    def react(_: Any, event: Any) -> Any:
        yield TakeStep(errand_id=event.errand_id)
        yield TakeStep(errand_id="errand-unknown")

    await prepare_follower(house.mongo, FOLLOWER)
    await house.do(*(Begin(errand_id=f"errand-{n}") for n in range(20)))
    follower = replace(FOLLOWER, react=react)
    await Reactor(house.log, follower).run_to_end()
    async with (
        open_house(mongodb_uri, database_name) as second,
        running(
            Outbox(house.mongo, FOLLOWER.name, house.send()).run(),
            Outbox(second.mongo, FOLLOWER.name, second.send()).run(),
        ),
    ):
        await eventually(lambda: _all_parked(house, 20))
    for n in range(20):
        assert await house.happened(f"errand-{n}") == ["Begun", "StepTaken"]
    rows = await house.rows(OUTBOX, parked=True)
    assert [row["attempts"] for row in rows] == [5] * 20


async def _all_parked(house: House, number: int) -> bool:
    return len(await house.rows(PARKED)) == number


async def handed_over(house: House) -> list[Row]:
    """Rows that a reactor is about to write, in the batch after those there are."""
    await asked_for(house, 1)
    stored = [row_of(document) for document in await house.rows(OUTBOX)]
    await house.mongo.run(lambda db: db[OUTBOX].delete_many({}))
    return [replace(row, batch=2, id=f"{row.id}-next") for row in stored]


async def test_what_is_carried_out_early_counts_once_it_is_written(house: House) -> None:
    rows = await handed_over(house)
    desk = Desk(errand_0=[Refused("no")])
    outbox = Outbox(house.mongo, FOLLOWER.name, desk.carry)
    async with running(outbox.run()):
        await asyncio.sleep(0.1)  # it has looked at what there is
        outbox.expect(1, 2, rows)
        await asyncio.sleep(0.1)
        assert not await house.rows(OUTBOX), "the refusal waits for the rows"
        left = [row_document(row) for row in outbox.unfinished(rows)]
        await house.mongo.run(lambda db: db[OUTBOX].insert_many(left))
        outbox.settle(committed=True)
        await eventually(lambda: empty(house))
    assert desk.carried == {"errand-0": [0, 1, 2]}


async def test_what_is_done_before_it_is_written_need_not_be(house: House) -> None:
    rows = await handed_over(house)
    desk = Desk()
    outbox = Outbox(house.mongo, FOLLOWER.name, desk.carry)
    async with running(outbox.run()):
        await asyncio.sleep(0.1)  # it has looked at what there is
        outbox.expect(1, 2, rows[:2])
        outbox.expect(1, 2, rows[2:])
        await asyncio.sleep(0.1)
        assert outbox.unfinished(rows) == []
    assert desk.carried == {"errand-0": [0, 1, 2]}


async def test_what_was_not_written_is_forgotten_and_the_faster_reactors_rows_are_read(
    house: House,
) -> None:
    rows = await handed_over(house)
    desk = Desk()
    outbox = Outbox(house.mongo, FOLLOWER.name, desk.carry)
    async with running(outbox.run()):
        await asyncio.sleep(0.1)  # it has looked at what there is
        outbox.expect(1, 2, rows[:1])
        await Reactor(house.log, FOLLOWER).run_to_end()
        others = [row_document(row) for row in rows[1:]]

        def faster(db: SyncDatabase) -> None:
            db[CHECKPOINTS].update_one({"_id": FOLLOWER.name}, {"$set": {"revision": 2}})
            db[OUTBOX].insert_many(others)

        await house.mongo.run(faster)
        await asyncio.sleep(1.2)  # it looks again meanwhile
        assert desk.carried == {"errand-0": [0]}
        outbox.settle(committed=False)
        await eventually(lambda: empty(house))
    assert desk.carried == {"errand-0": [0, 1, 2]}
