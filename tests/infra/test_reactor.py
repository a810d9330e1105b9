"""The reactor on a real MongoDB: every event told once, whatever happens to the processes."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from domain.process import DropDeadline
from domain.recorded import Recorded
from infra.folding import PARKED
from infra.following import Row
from infra.log import EVENTS
from infra.mending import mend_story
from infra.mongo import SyncDatabase
from infra.outbox import Outbox
from infra.outcomes import Done, Outcome
from infra.parked import StillFailing, parked_keys
from infra.projector import CHECKPOINTS
from infra.reactor import Reactor
from infra.stories import OUTBOX, prepare_follower
from tests.infra.errands import (
    DOOR,
    ERRANDS,
    FOLLOWER,
    Begin,
    Begun,
    House,
    StepTaken,
    TakeStep,
    Tell,
    answered,
    eventually,
    following,
    open_house,
)
from tests.infra.parts import running
from tests.infra.processes import ROOT

WHOLE = ["Begun", "StepTaken", "StepTaken", "Asked", "Told", "Finished"]


def errands(number: int) -> list[str]:
    return [f"errand-{n}" for n in range(number)]


async def count(house: House, kind: str) -> int:
    return await house.mongo.run(lambda db: db[EVENTS].count_documents({"type": kind}))


async def swept(house: House) -> bool:
    return not await house.rows(OUTBOX)


def both(house: House) -> tuple[Any, Any]:
    return (FOLLOWER, house.send()), (DOOR, house.call(answered))


async def test_a_flow_runs_to_its_end_and_says_what_caused_what(house: House) -> None:
    async with following(house, *both(house)):
        await house.do(Begin(errand_id="errand-1"))
        await eventually(lambda: _finished(house, 1))
        await eventually(lambda: swept(house))
    assert await house.happened("errand-1") == WHOLE
    events: list[Recorded] = (await house.log.streams(["errand-1"]))["errand-1"]
    for before, after in pairwise(events):
        assert after.meta.causation_id == before.meta.event_id
        assert after.meta.cause == type(before.event).__name__
        assert after.meta.cause_at == before.meta.recorded_at
        assert after.meta.correlation_id == events[0].meta.correlation_id
    actors = [event.meta.actor for event in events]
    assert actors == ["tester", *["process/errands"] * 3, "gateway/outside", "process/errands"]


async def _finished(house: House, number: int) -> bool:
    return await count(house, "Finished") >= number


async def test_told_everything_again_it_changes_nothing(house: House) -> None:
    async with following(house, *both(house)):
        await house.do(*(Begin(errand_id=errand) for errand in errands(20)))
        await eventually(lambda: _finished(house, 20))
        await eventually(lambda: swept(house))
    before = await house.log.head()

    def forget(db: SyncDatabase) -> None:
        db[CHECKPOINTS].update_many({}, {"$set": {"position": 0}})
        db["stories_errands"].drop()

    await house.mongo.run(forget)
    async with following(house, *both(house)):
        await house.do(Begin(errand_id="errand-last"))
        await eventually(lambda: _finished(house, 21))
        await eventually(lambda: swept(house))
    assert (await house.log.head()).position == before.position + len(WHOLE)


async def test_a_checkpoint_passes_events_of_others_without_a_write(house: House) -> None:
    others = replace(FOLLOWER, events=(StepTaken,))
    await prepare_follower(house.mongo, others)
    reactor = Reactor(house.log, others)
    await house.do(*(Begin(errand_id=errand) for errand in errands(5)))
    await reactor.run_to_end()
    assert [row["revision"] for row in await house.rows(CHECKPOINTS)] == [0]
    await house.do(TakeStep(errand_id="errand-1"))
    await reactor.run_to_end()
    rows = await house.rows(CHECKPOINTS)
    assert [(row["position"], row["revision"]) for row in rows] == [(6, 1)]


async def test_two_reactors_at_once_are_harmless(
    house: House, mongodb_uri: str, database_name: str
) -> None:
    async with (
        open_house(mongodb_uri, database_name) as second,
        following(house, *both(house)),
        following(second, *both(second)),
    ):
        for batch in range(10):
            await house.do(*(Begin(errand_id=f"errand-{batch}-{n}") for n in range(10)))
        await eventually(lambda: _finished(house, 100))
        await eventually(lambda: swept(house))
    for batch in range(10):
        for n in range(10):
            assert await house.happened(f"errand-{batch}-{n}") == WHOLE


REACTING = """
import asyncio, sys
from tests.infra.errands import DOOR, FOLLOWER, answered, following, open_house

async def main():
    async with open_house(*sys.argv[1:]) as house:
        parts = ((FOLLOWER, house.send()), (DOOR, house.call(answered)))
        async with following(house, *parts):
            print("reacting", flush=True)
            await asyncio.sleep(600)

asyncio.run(main())
"""


@asynccontextmanager
async def reacting(uri: str, database: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that reacts, killed in the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", REACTING, uri, database, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"reacting\n"
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()


async def test_killed_again_and_again_it_loses_nothing_and_does_nothing_twice(
    house: House, mongodb_uri: str, database_name: str
) -> None:
    async def keep_beginning() -> None:
        for n in range(300):
            await house.do(Begin(errand_id=f"errand-{n}", steps=3))
            await asyncio.sleep(0.02)

    beginning = asyncio.create_task(keep_beginning())
    for kill in range(8):
        async with reacting(mongodb_uri, database_name):
            await asyncio.sleep(0.2 + kill * 0.07)
    await beginning
    async with reacting(mongodb_uri, database_name):
        await eventually(lambda: _finished(house, 300), seconds=120)
        await eventually(lambda: swept(house))
    whole = [*WHOLE[:2], *WHOLE[1:]]
    for n in range(300):
        assert await house.happened(f"errand-{n}") == whole


# -- stories that fail


def poisoned(*bad: str) -> Any:
    """The errands, whose reaction to a step of these errands raises."""

    def react(memory: Any, event: Any) -> Any:
        if isinstance(event, StepTaken) and event.errand_id in bad:
            raise ZeroDivisionError("no such errand")
        return ERRANDS.react(memory, event)

    return replace(FOLLOWER, react=react)


async def parked_one(house: House) -> Any:
    (parked,) = await parked_keys(house.log)
    return parked


async def test_a_poison_event_parks_its_story_and_the_others_go_on(house: House) -> None:
    door = (DOOR, house.call(answered))
    async with following(house, (poisoned("errand-3"), house.send()), door):
        await house.do(*(Begin(errand_id=errand) for errand in errands(200)))
        await eventually(lambda: _finished(house, 199))
        await house.do(Tell(errand_id="errand-3"))
        await house.do(Begin(errand_id="errand-last"))
        await eventually(lambda: _finished(house, 200))
    assert await house.happened("errand-3") == ["Begun", "StepTaken", "Told"]
    parked = await parked_one(house)
    assert (parked.projection, parked.key) == ("process/errands", "errand-3")
    assert parked.error == "ZeroDivisionError: no such errand"

    with pytest.raises(StillFailing, match="no such errand"):
        await mend_story(house.log, poisoned("errand-3"), parked, skip=False)
    async with following(house, *both(house)):
        await mend_story(house.log, FOLLOWER, parked, skip=False)
        await eventually(lambda: swept(house))
        await eventually(lambda: _finished(house, 202))
    told = await house.happened("errand-3")
    assert Counter(told) == Counter([*WHOLE, "Told", "Finished"])
    assert not await parked_keys(house.log)


async def test_skipping_leaves_the_event_out_and_nothing_else(house: House) -> None:
    async with following(house, (poisoned("errand-1"), house.send())):
        await house.do(Begin(errand_id="errand-1"))
        await eventually(lambda: house.rows(PARKED))
        await house.do(Tell(errand_id="errand-1"))
        await mend_story(house.log, poisoned("errand-1"), await parked_one(house), skip=True)
        await eventually(lambda: _finished(house, 1))
    assert await house.happened("errand-1") == ["Begun", "StepTaken", "Told", "Finished"]


async def test_a_state_that_cannot_be_read_parks_its_story_until_it_is_folded_anew(
    house: House,
) -> None:
    await prepare_follower(house.mongo, FOLLOWER)
    await house.do(Begin(errand_id="errand-1"))
    await Reactor(house.log, FOLLOWER).run_to_end()
    broken = {"$set": {"state.steps": "two"}}
    await house.mongo.run(lambda db: db["stories_errands"].update_one({}, broken))
    await house.do(TakeStep(errand_id="errand-1"))
    reactor = Reactor(house.log, FOLLOWER)
    await reactor.run_to_end()
    parked = await parked_one(house)
    assert "ValidationError" in parked.error
    await mend_story(house.log, FOLLOWER, parked, skip=False)
    (story,) = await house.rows("stories_errands")
    assert story["state"] == {"steps": 2, "taken": 1}


async def test_what_a_failing_reaction_asked_for_before_it_failed_is_not_done(
    house: House,
) -> None:
    def react(_: Any, event: Any) -> Any:
        if isinstance(event, Begun):
            yield DropDeadline(name="patience")
            yield TakeStep(errand_id=event.errand_id)
            raise ZeroDivisionError

    follower = replace(FOLLOWER, react=react)
    await prepare_follower(house.mongo, follower)
    await house.do(Begin(errand_id="errand-1"))
    await Reactor(house.log, follower).run_to_end()
    assert len(await parked_keys(house.log)) == 1
    assert not await house.rows(OUTBOX)
    assert not await house.rows("stories_errands")


async def test_work_is_handed_over_while_it_is_being_written(house: House) -> None:
    told: list[Any] = []

    async def carry(row: Row) -> Outcome:
        told.append((row.kind, await house.rows(OUTBOX)))
        return Done()

    await prepare_follower(house.mongo, FOLLOWER)
    outbox = Outbox(house.mongo, FOLLOWER.name, carry)
    async with running(outbox.run()):
        await asyncio.sleep(0.1)  # it has looked at what there is
        await house.do(Begin(errand_id="errand-1"))
        await Reactor(house.log, FOLLOWER, outbox).run_to_end()
        await eventually(lambda: swept(house))
    assert told == [("TakeStep", [])]
