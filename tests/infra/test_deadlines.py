"""Deadlines on a real MongoDB: once each, when they have passed, unless they are dropped."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from domain.process import DeadlinePassed, SetDeadline
from infra.codec import now
from infra.deadlines import DEADLINES, MOST_AT_ONCE
from infra.mending import mend_story
from infra.parked import StillFailing, parked_keys
from infra.reactor import Reactor
from infra.stories import OUTBOX, prepare_follower
from tests.infra.errands import (
    AT,
    ERRANDS,
    FOLLOWER,
    PATIENCE,
    Begin,
    House,
    Tell,
    eventually,
    following,
    open_house,
)


async def begun(house: House, number: int = 1) -> None:
    await prepare_follower(house.mongo, FOLLOWER)
    await house.do(*(Begin(errand_id=f"errand-{n}") for n in range(number)))


def clock(later: timedelta) -> Callable[[], datetime]:
    return lambda: AT + later


IN_TIME = clock(PATIENCE - timedelta(seconds=1))
TOO_LATE = clock(PATIENCE + timedelta(days=1))


async def asked(house: House) -> list[str]:
    return [row["kind"] for row in await house.rows(OUTBOX)]


async def test_a_deadline_fires_once_when_it_has_passed(house: House) -> None:
    await begun(house)
    await Reactor(house.log, FOLLOWER, clock=IN_TIME).run_to_end()
    assert await asked(house) == ["TakeStep"]
    for _ in range(2):
        await Reactor(house.log, FOLLOWER, clock=TOO_LATE).run_to_end()
        assert await asked(house) == ["TakeStep", "GiveUp"]
    assert not await house.rows(DEADLINES)
    (given_up,) = await house.rows(OUTBOX, kind="GiveUp")
    (event,) = (await house.log.streams(["errand-0"]))["errand-0"]
    assert given_up["cause"]["event_id"] == event.meta.event_id
    assert given_up["cause"]["kind"] == "deadline patience"
    assert given_up["cause"]["at"] == AT + PATIENCE


async def test_a_deadline_that_passed_while_the_process_was_down_fires_after_the_start(
    house: House,
) -> None:
    await begun(house)
    await Reactor(house.log, FOLLOWER, clock=IN_TIME).run_to_end()
    soon = {"$set": {"at": now() + timedelta(seconds=0.2)}}
    await house.mongo.run(lambda db: db[DEADLINES].update_one({}, soon))
    await asyncio.sleep(0.3)
    async with following(house, (FOLLOWER, house.send())):
        await eventually(lambda: _gave_up(house))
        await asyncio.sleep(0.6)
    assert (await house.happened("errand-0")).count("GivenUp") == 1


async def _gave_up(house: House) -> bool:
    return "GivenUp" in await house.happened("errand-0")


async def test_what_came_in_time_is_told_before_a_deadline_that_has_passed(house: House) -> None:
    await begun(house)
    await Reactor(house.log, FOLLOWER, clock=IN_TIME).run_to_end()
    await house.do(Tell(errand_id="errand-0"))
    await Reactor(house.log, FOLLOWER, clock=TOO_LATE).run_to_end()
    assert await asked(house) == ["TakeStep", "Finish"]
    assert not await house.rows(DEADLINES)


async def test_what_another_process_recorded_in_time_counts_too(
    house: House, mongodb_uri: str, database_name: str
) -> None:
    await begun(house)
    async with open_house(mongodb_uri, database_name) as second:
        await second.do(Tell(errand_id="errand-0"))
    await Reactor(house.log, FOLLOWER, clock=TOO_LATE).run_to_end()
    assert await asked(house) == ["TakeStep", "Finish"]
    assert not await house.rows(DEADLINES)


async def test_many_deadlines_at_once_are_told_in_several_goes(house: House) -> None:
    await begun(house, MOST_AT_ONCE + 10)
    await Reactor(house.log, FOLLOWER, clock=IN_TIME).run_to_end()
    await Reactor(house.log, FOLLOWER, clock=TOO_LATE).run_to_end()
    assert (await asked(house)).count("GiveUp") == MOST_AT_ONCE + 10


async def test_two_reactors_tell_of_a_deadline_once(
    house: House, mongodb_uri: str, database_name: str
) -> None:
    await begun(house, 20)
    await Reactor(house.log, FOLLOWER, clock=IN_TIME).run_to_end()
    async with open_house(mongodb_uri, database_name) as second:
        await asyncio.gather(
            Reactor(house.log, FOLLOWER, clock=TOO_LATE).run_to_end(),
            Reactor(second.log, FOLLOWER, clock=TOO_LATE).run_to_end(),
        )
    assert (await asked(house)).count("GiveUp") == 20


async def test_a_deadline_that_is_set_again_while_it_fires_stays(house: House) -> None:
    def react(memory: Any, event: Any) -> Any:
        if isinstance(event, DeadlinePassed):
            yield SetDeadline(name="patience", at=event.at + timedelta(days=30))
        yield from ERRANDS.react(memory, event)

    await begun(house)
    await Reactor(house.log, FOLLOWER, clock=IN_TIME).run_to_end()
    await Reactor(house.log, replace(FOLLOWER, react=react), clock=TOO_LATE).run_to_end()
    (again,) = await house.rows(DEADLINES)
    assert again["at"] == AT + PATIENCE + timedelta(days=30)
    assert await asked(house) == ["TakeStep", "GiveUp"]


async def test_a_sooner_deadline_wakes_the_reactor_earlier(house: House) -> None:
    def react(_: Any, event: Any) -> Any:
        if isinstance(event, DeadlinePassed):
            yield from ERRANDS.react(None, event)  # type: ignore[arg-type]  # it reads no state
        else:
            yield SetDeadline(name="patience", at=now() + timedelta(milliseconds=100))

    await prepare_follower(house.mongo, FOLLOWER)
    reactor = Reactor(house.log, replace(FOLLOWER, react=react))
    await reactor.run_to_end()
    assert reactor.seconds_to_wait > 0.3
    await house.do(Begin(errand_id="errand-0"))
    await reactor.run_to_end()
    assert reactor.seconds_to_wait <= 0.1


def failing(memory: Any, event: Any) -> Any:
    """Like the errands, but one of them cannot bear deadlines."""
    if isinstance(event, DeadlinePassed) and event.story == "errand-0":
        raise ZeroDivisionError
    return ERRANDS.react(memory, event)


@pytest.mark.parametrize("skip", [True, False])
async def test_a_deadline_whose_reaction_fails_parks_its_story(house: House, *, skip: bool) -> None:
    await begun(house, 2)
    await Reactor(house.log, FOLLOWER, clock=IN_TIME).run_to_end()
    await house.mongo.run(lambda db: db[OUTBOX].delete_many({}))
    bad = replace(
        FOLLOWER, react=lambda m, e: (failing if e.story.endswith("0") else ERRANDS.react)(m, e)
    )
    await Reactor(house.log, bad, clock=TOO_LATE).run_to_end()
    assert await asked(house) == ["GiveUp"]
    await house.do(Tell(errand_id="errand-0"))
    await Reactor(house.log, FOLLOWER, clock=TOO_LATE).run_to_end()
    assert await asked(house) == ["GiveUp"]

    (parked,) = await parked_keys(house.log)
    assert (parked.key, parked.deadline) == ("errand-0", "patience")
    if not skip:
        with pytest.raises(StillFailing):
            await mend_story(house.log, bad, parked, skip=False)
    await mend_story(house.log, FOLLOWER, parked, skip=skip)
    assert (await asked(house))[1:] == (["Finish"] if skip else ["GiveUp", "Finish"])
    assert not await house.rows(DEADLINES)
    assert not await parked_keys(house.log)
