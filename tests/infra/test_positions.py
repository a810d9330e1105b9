"""From moments to positions of the log."""

import random
from datetime import timedelta

import pytest

from domain.recorded import Meta
from infra.codec import now
from infra.commands import CommandHandler
from infra.log import Log, NewEvent
from infra.positions import VersionUnknown, last, position_at, position_of
from tests.infra import toy
from tests.infra.parts import handle_all

START = now()


def recorded_after(seconds: float, version: int) -> NewEvent:
    return NewEvent(
        event=toy.JarSealed(jar="a"),
        stream="jar-a",
        version=version,
        meta=Meta(
            event_id=f"c{version}:0",
            command_id=f"c{version}",
            command="Seal",
            correlation_id=f"c{version}",
            causation_id=f"c{version}",
            actor="ada",
            recorded_at=START + timedelta(seconds=seconds),
        ),
    )


async def test_a_time_is_after_all_that_was_recorded_by_then(log: Log) -> None:
    assert await position_at(log, START) == 0
    times = (0, 1, 1, 1, 2, 5)
    events = [recorded_after(time, version) for version, time in enumerate(times, start=1)]
    await log.append(await log.head(), events)
    asked = {-1: 0, 0: 1, 0.5: 1, 1: 4, 1.999: 4, 2: 5, 4: 5, 5: 6, 100: 6}
    for seconds, position in asked.items():
        assert await position_at(log, START + timedelta(seconds=seconds)) == position


def test_it_is_where_time_goes_past_and_stays_there() -> None:
    chance = random.Random(1)
    for _ in range(200):
        clock = [position + chance.randint(-9, 9) for position in range(60)]
        time = chance.randint(0, 30)

        def is_by_then(position: int, clock: list[int] = clock, time: int = time) -> bool:
            return clock[position - 1] <= time

        found = [last(head, is_by_then) for head in range(61)]
        for head, position in enumerate(found):
            assert position == 0 or is_by_then(position)
            assert position == head or not is_by_then(position + 1)
        assert set(found[40:]) == {found[40]}  # nothing was recorded by then any more


async def test_where_a_version_is(log: Log, handler: CommandHandler) -> None:
    for jar in ("a", "b", "a"):
        await handle_all(handler, [toy.Put(jar=jar)])
    assert await position_of(log, "jar-a", 2) == 3
    for stream, version in (("jar-a", 3), ("jar-a", 0), ("jar-c", 1)):
        with pytest.raises(VersionUnknown):
            await position_of(log, stream, version)
