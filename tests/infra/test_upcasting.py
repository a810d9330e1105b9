"""Events that an older release has stored, read by everything that reads the log.

The old release knew `Filled` (now `MarblesPut`, by two steps) and `Swapped` (now `MarblesTaken` and
`MarblesPut`).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from domain.decider import message
from domain.recorded import Meta
from domain.upcasting import Data, Shape, Upcaster
from infra.answers import Accepted
from infra.changes import EVERYTHING, EventSource
from infra.codec import EventCodec, now, to_stored
from infra.following import Cause, Follower, Row, fact_of, react
from infra.gateways import TryLater, caller
from infra.log import Log, NewEvent
from infra.mongo import Mongo
from infra.outcomes import Later
from infra.parked import parked_keys, retry, skip
from infra.projector import Projector
from infra.reads import Reads
from infra.rebuild import prepare_read_models, rebuild
from infra.verify import Verification
from tests.infra import toy
from tests.infra.errands import AT, ERRAND, OUTSIDE, Asked, House
from tests.infra.parts import asked, documents, handler_on, running


@message
class Filled:
    jar: str
    count: int


@message
class Swapped:
    SCHEMA: ClassVar[int] = 4
    jar: str
    out: int
    put: int


def _counted_in_marbles(data: Data) -> tuple[Data]:
    return ({"jar": data["jar"], "marbles": data["count"]},)


def _noted(data: Data) -> tuple[Data]:
    return ({**data, "note": ""},)


def _taken_and_put(data: Data) -> tuple[Data, Data]:
    taken = {"jar": data["jar"], "marbles": data["out"]}
    return taken, {"jar": data["jar"], "marbles": data["put"], "note": "swapped"}


UPCASTERS = (
    Upcaster(Shape("Filled", 1), (Shape("Filled", 2),), _counted_in_marbles),
    Upcaster(Shape("Filled", 2), (Shape("MarblesPut", 1),), _noted),
    Upcaster(
        Shape("Swapped", 4), (Shape("MarblesTaken", 1), Shape("MarblesPut", 1)), _taken_and_put
    ),
)

TODAY = EventCodec(toy.JAR.events, UPCASTERS)
IN_ORDER = [
    toy.MarblesPut(jar="a", marbles=5, note=""),
    toy.MarblesTaken(jar="a", marbles=2),
    toy.MarblesPut(jar="a", marbles=7, note="swapped"),
    toy.MarblesPut(jar="a", marbles=1, note=""),
]
OLD = [Filled(jar="a", count=5), Swapped(jar="a", out=2, put=7), Filled(jar="a", count=1)]


@pytest_asyncio.fixture
async def log(mongo: Mongo) -> Log:
    """A log with what the old release has stored of jar a."""
    log = Log(mongo, TODAY)
    await log.prepare()
    await store_as_before(log, OLD)
    return log


async def store_as_before(log: Log, events: Sequence[Any], version: int = 0) -> None:
    """What the old release does with what happens to jar a."""
    before = Log(log.mongo, EventCodec([Filled, Swapped]))
    new = [
        NewEvent(event=event, stream="jar-a", version=number, meta=_meta(number))
        for number, event in enumerate(events, start=version + 1)
    ]
    await before.append(await before.head(), new)


def _meta(number: int) -> Meta:
    return Meta(
        event_id=f"old{number}:0",
        command_id=f"old{number}",
        command="Old",
        correlation_id=f"old{number}",
        causation_id=f"old{number}",
        actor="ada",
        recorded_at=now(),
    )


async def test_a_chain_and_a_split_are_read_as_what_they_are_today(log: Log) -> None:
    events = await log.read(0)
    assert [recorded.event for recorded in events] == IN_ORDER
    assert [(recorded.position, recorded.version) for recorded in events] == [
        (1, 1),
        (2, 2),
        (2, 2),
        (3, 3),
    ]
    ids = [recorded.meta.event_id for recorded in events]
    assert ids == ["old1:0", "old2:0", "old2:0.1", "old3:0"]
    assert (await log.streams(["jar-a"]))["jar-a"] == events
    assert [recorded async for batch in log.scan() for recorded in batch] == events


async def test_what_is_stored_stays_as_it_is(log: Log) -> None:
    swapped = (await log.stored(0))[1]
    assert (swapped["type"], swapped["schema"]) == ("Swapped", 4)
    assert swapped["data"] == {"jar": "a", "out": 2, "put": 7}


def test_who_listens_to_an_event_asks_for_its_old_names_too() -> None:
    assert TODAY.stored_names([toy.MarblesTaken]) == ["MarblesTaken", "Swapped"]
    assert TODAY.stored_names([toy.MarblesPut]) == ["Filled", "MarblesPut", "Swapped"]
    assert TODAY.stored_names([toy.JarSealed]) == ["JarSealed"]


@pytest.mark.parametrize("size", [1, 2, 1000])
async def test_documents_are_folded_from_all_parts_in_order(log: Log, size: int) -> None:
    await prepare_read_models(log, toy.BOTH)
    projector = Projector(log, toy.BOTH)
    while await projector.run_once(size):
        pass
    (content,) = await documents(log, "contents")
    assert (content["marbles"], content["history"]) == (11, [1, 2, 2, 3])
    assert [tally["changes"] for tally in await documents(log, "tallies")] == [4, 4, 4]
    before = await documents(log, "contents")
    await rebuild(log, toy.CONTENTS)
    assert await documents(log, "contents") == before
    assert await Verification(log, toy.BOTH).run() == []


async def test_a_split_whose_second_part_fails_is_folded_whole_once_it_does_not(log: Log) -> None:
    broken, sound = toy.contents(poison=["swapped"]), toy.contents()
    await prepare_read_models(log, (broken,))
    await Projector(log, (broken,)).run_to_end()
    (content,) = await documents(log, "contents")
    assert (content["marbles"], content["position"]) == (5, 1)
    (parked,) = await parked_keys(log)
    assert parked.position == 2
    await retry(log, sound, parked)
    (content,) = await documents(log, "contents")
    assert (content["marbles"], content["history"]) == (11, [1, 2, 2, 3])


async def test_a_split_that_is_skipped_is_left_out_whole(log: Log) -> None:
    broken = toy.contents(poison=["swapped"])
    await prepare_read_models(log, (broken,))
    await Projector(log, (broken,)).run_to_end()
    (parked,) = await parked_keys(log)
    await skip(log, broken, parked)
    (content,) = await documents(log, "contents")
    assert (content["marbles"], content["history"]) == (6, [1, 3])


async def test_decisions_are_on_all_parts_and_on_the_stored_version(log: Log) -> None:
    handler = handler_on(log)
    async with running(handler.run()):
        answer = await handler.handle(asked(toy.Take(jar="a", marbles=11), expected_version=3))
        assert isinstance(answer, Accepted)
        assert answer.version == 4
        # the old release goes on: what this process remembers has to follow
        await store_as_before(log, [Filled(jar="a", count=3), Swapped(jar="a", out=3, put=9)], 4)
        answer = await handler.handle(asked(toy.Take(jar="a", marbles=9), expected_version=6))
        assert isinstance(answer, Accepted)
        assert answer.version == 7


async def test_subscribers_are_told_every_part_under_an_id_of_its_own(
    log: Log, mongo: Mongo
) -> None:
    await prepare_read_models(log, toy.BOTH)
    await Projector(log, toy.BOTH).run_to_end()
    source, at = EventSource(log), await Reads(mongo).snapshot()
    stored = await source.stored(EVERYTHING, 1, 100, at)
    assert [(change.key, change.position) for change in stored] == [
        ("old2:0", 2),
        ("old2:0.1", 2),
        ("old3:0", 3),
    ]
    assert stored == await source.changes(await log.read(1), at)


# -- reactions


async def test_a_story_is_told_the_parts_that_it_listens_to(log: Log) -> None:
    follower = Follower(
        name="process/adding",
        events=(toy.MarblesPut,),
        story_of=lambda recorded: recorded.event.jar,
        initial=0,
        evolve=lambda put, event: put + event.marbles,
        react=lambda put, _: [toy.Put(jar="sum", marbles=put)],
    )
    facts = [fact for recorded in await log.read(0) if (fact := fact_of(follower, recorded))]
    assert [fact.key for fact in facts] == ["old1:0", "old2:0.1", "old3:0"]
    reaction = react(follower, {}, facts, 1)
    assert [row.data["marbles"] for row in reaction.rows] == [5, 12, 13]
    assert len({row.id for row in reaction.rows}) == 3


async def test_a_story_is_told_of_one_position_whole_or_not_at_all(log: Log) -> None:
    follower = Follower(
        name="process/both",
        events=(toy.MarblesPut, toy.MarblesTaken),
        story_of=lambda recorded: recorded.event.jar,
        initial=(),
        evolve=lambda told, event: (*told, type(event).__name__),
        react=lambda told, event: [toy.Put(jar=told[-1], marbles=1 // (event.marbles != 7))],
    )
    facts = [fact for recorded in await log.read(0) if (fact := fact_of(follower, recorded))]
    reaction = react(follower, {}, facts, 1)
    assert reaction.states == {"a": (("MarblesPut",), 1)}
    assert [row.data["jar"] for row in reaction.rows] == ["MarblesPut"]
    assert reaction.parked["a"].position == 2


async def test_a_request_that_waits_since_an_older_release_is_carried_out(house: House) -> None:
    asked_for: list[Any] = []

    async def call(event: Any, _: str) -> Any:
        asked_for.append(event)
        raise TryLater("another time")

    renamed = Upcaster(Shape("Enquired", 1), (Shape("Asked", 1),), lambda data: (data,))
    carry = caller(house.handler, OUTSIDE, call, EventCodec(ERRAND.events, [renamed]))
    asked = Asked(errand_id="errand-1", at=AT)
    cause = Cause(event_id="e:0", kind="Enquired", at=AT, correlation_id="e", position=1)
    row = Row(
        id="row",
        follower="gateway/outside",
        story="errand-1",
        batch=1,
        place=0,
        kind="Enquired",
        schema=1,
        data=to_stored(asked),
        cause=cause,
    )
    assert await carry(row) == Later("another time")
    assert asked_for == [asked]
