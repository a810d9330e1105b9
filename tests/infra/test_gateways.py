"""Gateways on a real MongoDB: every request is carried out, and its answer recorded once."""

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from infra import outbox, outcomes
from infra.folding import PARKED
from infra.gateways import ClosedDoor, TryLater
from infra.parked import parked_keys
from infra.projector import CHECKPOINTS
from infra.stories import OUTBOX
from tests.infra.errands import (
    DOOR,
    FOLLOWER,
    Ask,
    Begin,
    Finish,
    House,
    Tell,
    eventually,
    following,
    open_house,
)


class Outside:
    """Answers a key once it has been asked `trouble` times before; keeps what it was asked."""

    def __init__(self, trouble: int = 0) -> None:
        self.asked: dict[str, list[Any]] = defaultdict(list)
        self._trouble = trouble

    async def call(self, event: Any, key: str) -> Any:
        self.asked[key].append(event)
        await asyncio.sleep(0)
        if len(self.asked[key]) <= self._trouble:
            raise TryLater("503")
        return Tell(errand_id=event.errand_id, at=event.at)


async def told(house: House, number: int) -> bool:
    happened = await house.rows("events", type="Told")
    return len(happened) == number and not await house.rows(OUTBOX)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "FIRST_DELAY", 0.01)


async def begin_and_ask(house: House, number: int) -> list[str]:
    """The event ids of the requests."""
    await house.do(*(Begin(errand_id=f"errand-{n}") for n in range(number)))
    await house.do(*(Ask(errand_id=f"errand-{n}") for n in range(number)))
    return [row["meta"]["event_id"] for row in await house.rows("events", type="Asked")]


async def test_the_id_of_a_request_is_its_key_and_its_answer_says_what_it_answers(
    house: House,
) -> None:
    outside = Outside()
    async with following(house, (DOOR, house.call(outside.call))):
        keys = await begin_and_ask(house, 10)
        await eventually(lambda: told(house, 10))
    assert sorted(outside.asked) == sorted(keys)
    for answer in await house.rows("events", type="Told"):
        assert answer["meta"]["causation_id"] in keys
        assert answer["meta"]["cause"] == "Asked"
        assert answer["meta"]["actor"] == "gateway/outside"


async def test_trouble_outside_is_waited_out_under_the_same_key(house: House) -> None:
    outside = Outside(trouble=7)
    async with following(house, (DOOR, house.call(outside.call))):
        await begin_and_ask(house, 3)
        await eventually(lambda: told(house, 3))
    assert [len(asked) for asked in outside.asked.values()] == [8, 8, 8]
    assert not await parked_keys(house.log)


async def test_an_answer_that_was_lost_is_asked_for_again_and_recorded_once(house: House) -> None:
    """As after a crash between the call and the record."""
    outside, lost = Outside(), asyncio.Event()

    async def loses(event: Any, key: str) -> Any:
        await outside.call(event, key)
        lost.set()
        await asyncio.sleep(60)

    async with following(house, (DOOR, house.call(loses))):
        await begin_and_ask(house, 1)
        await lost.wait()
    async with following(house, (DOOR, house.call(outside.call))):
        await eventually(lambda: told(house, 1))
    ((first, second),) = outside.asked.values()
    assert first == second


async def test_two_at_once_ask_under_the_same_key_and_record_once(
    house: House, mongodb_uri: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LOOK_SECONDS", 0.01)
    outside = Outside(trouble=2)
    async with (
        open_house(mongodb_uri, database_name) as second,
        following(house, (DOOR, house.call(outside.call))),
        following(second, (DOOR, second.call(outside.call))),
    ):
        keys = await begin_and_ask(house, 30)
        await eventually(lambda: told(house, 30))
    assert sorted(outside.asked) == sorted(keys)
    for n in range(30):
        assert (await house.happened(f"errand-{n}")).count("Told") == 1


async def test_requests_of_the_past_are_not_called_again(house: House) -> None:
    outside = Outside()
    async with following(house, (DOOR, house.call(outside.call))):
        await begin_and_ask(house, 5)
        await eventually(lambda: told(house, 5))
    position = (await house.log.head()).position
    door = ClosedDoor()
    async with following(house, (DOOR, house.call(door.call))):
        await asyncio.sleep(0.3)
    assert door.calls == []
    assert (await house.log.head()).position == position


async def test_a_closed_door_lists_what_would_have_been_called(house: House) -> None:
    door = ClosedDoor()
    async with following(house, (DOOR, house.call(door.call)), (FOLLOWER, house.send())):
        await house.do(Begin(errand_id="errand-1", steps=1))
        await eventually(lambda: _knocked(door))
    (asked,) = await house.rows("events", type="Asked")
    assert {key for _, key in door.calls} == {asked["meta"]["event_id"]}
    assert "Told" not in await house.happened("errand-1")


async def _knocked(door: ClosedDoor) -> bool:
    return bool(door.calls)


async def test_requests_wait_for_a_door_that_is_opened_later(house: House) -> None:
    await begin_and_ask(house, 3)
    assert not await house.rows(CHECKPOINTS)
    async with following(house, (DOOR, house.call(Outside().call))):
        await eventually(lambda: told(house, 3))


async def test_an_answer_that_is_none_of_the_door_parks_the_request(
    house: House,
) -> None:
    async def confused(event: Any, _: str) -> Any:
        return Finish(errand_id=event.errand_id)

    async with following(house, (DOOR, house.call(confused))):
        await begin_and_ask(house, 1)
        await eventually(lambda: house.rows(PARKED))
    (parked,) = await parked_keys(house.log)
    assert (parked.projection, parked.key) == ("outbox/gateway/outside", "errand-0")
    assert "is no answer to" in parked.error
    assert "Finished" not in await house.happened("errand-0")
