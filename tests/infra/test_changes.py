"""Changes: every subscriber is told everything of its topic, once, in order, at its own pace."""

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from domain.recorded import Recorded
from infra import cursors
from infra.changes import EVERYTHING, Changes, DocumentSource, EventSource
from infra.commands import CommandHandler
from infra.cursors import Change, Source
from infra.folding import PARKED
from infra.log import Log
from infra.mongo import Unavailable
from infra.newest import Snapshot
from infra.projector import Projector
from infra.reads import Reads
from tests.infra import toy
from tests.infra.parts import Seen, asked, handle_all, projecting, running, until

ALL_JARS = "jars"


def contents(reads: Reads, *, latest_wins: bool = True) -> DocumentSource:
    """The jars; a topic is a jar's key, or all of them."""

    def where(topic: str) -> dict[str, Any]:
        return {} if topic in (EVERYTHING, ALL_JARS) else {"_id": topic.removeprefix("n:")}

    return DocumentSource(
        reads,
        toy.CONTENTS,
        lambda view: (ALL_JARS, f"n:{view.history[0]}"),
        where,
        latest_wins=latest_wins,
    )


@dataclass
class Counting:
    """A source that counts what it is asked, and can be made to fail."""

    source: Source
    read: int = 0
    stored_read: int = 0
    fails: list[Exception] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.source.kind

    @property
    def latest_wins(self) -> bool:
        return self.source.latest_wins

    async def changes(self, events: Sequence[Recorded], at: Snapshot) -> list[Change]:
        self.read += 1
        if self.fails:
            raise self.fails.pop()
        return await self.source.changes(events, at)

    async def stored(self, topic: str, after: int, limit: int, at: Snapshot) -> list[Change]:
        self.stored_read += 1
        return await self.source.stored(topic, after, limit, at)


@dataclass
class Opened:
    changes: Changes
    events: Counting
    jars: Counting
    handler: CommandHandler
    projector: Projector

    async def put(self, *jars: str) -> int:
        """One marble into each of the jars; answers with the position of the last one."""
        answers = await handle_all(self.handler, [toy.Put(jar=jar) for jar in jars])
        await self.projector.run_to_end()
        return max(answer.position for answer in answers)


@pytest_asyncio.fixture
async def opened(
    log: Log, handler: CommandHandler, projector: Projector, reads: Reads
) -> AsyncIterator[Opened]:
    events, jars = Counting(EventSource(log)), Counting(contents(reads))
    changes = Changes(log, reads, (events, jars))
    async with running(changes.run()):
        yield Opened(changes, events, jars, handler, projector)


@asynccontextmanager
async def collecting(source: AsyncGenerator[Change, None]) -> AsyncIterator[list[Change]]:
    """What a subscriber is told while the block runs; it is waiting when the block begins."""
    told: list[Change] = []

    async def collect() -> None:
        async with aclosing(source):
            async for change in source:
                told.append(change)  # noqa: PERF401 it never ends

    async with running(collect()):
        await asyncio.sleep(0.05)
        yield told


def told_of(told: Sequence[Change], position: int) -> bool:
    return position in positions(told)


def positions(told: Sequence[Change]) -> list[int]:
    return [change.position for change in told]


# -- what is told


async def test_events_from_now_on_are_told_in_order(opened: Opened) -> None:
    before = await opened.put("a", "b")
    await until(lambda: opened.changes._reads.position == before)
    async with collecting(opened.changes.follow("events")) as told:
        for _ in range(5):
            await opened.put("a", "b")
        await until(lambda: len(told) >= 10)
    assert positions(told) == list(range(3, 13))


async def test_a_topic_is_told_no_others(opened: Opened) -> None:
    async with (
        collecting(opened.changes.follow("events", "jar-a")) as of_a,
        collecting(opened.changes.follow("events", "jar-b")) as of_b,
    ):
        for _ in range(5):
            await opened.put("a", "b", "c")
        await until(lambda: len(of_a) + len(of_b) >= 10)
    assert {change.value.stream for change in of_a} == {"jar-a"}
    assert positions(of_a) == [1, 4, 7, 10, 13]
    assert positions(of_b) == [2, 5, 8, 11, 14]


async def test_documents_are_told_as_they_are_at_their_position(opened: Opened) -> None:
    async with collecting(opened.changes.follow("contents", ALL_JARS)) as told:
        for expected in range(1, 4):
            await opened.put("a")
            await until(partial(told_of, told, expected))
            assert told[-1].value.marbles == expected
    assert [change.key for change in told] == ["a"] * 3


async def test_the_latest_wins_for_whoever_waits_or_is_busy(opened: Opened) -> None:
    source = opened.changes.follow("contents")
    first = asyncio.ensure_future(anext(source))
    await asyncio.sleep(0.05)
    await opened.put("a")
    assert (await first).position == 1
    for _ in range(5):  # while the subscriber is busy with the first one
        await opened.put("a", "b")
    await until(lambda: opened.changes._windows["contents"].upto == 11)
    rest = [await anext(source) for _ in range(2)]
    assert [(change.key, change.position) for change in rest] == [("a", 10), ("b", 11)]
    assert [change.value.marbles for change in rest] == [6, 5]
    await source.aclose()


# -- seams: after a position, without a gap or a repeat


@pytest.mark.parametrize("after", [0, 1, 57, 149, 150, 151, 299])
async def test_after_a_position_nothing_is_missed_or_repeated(opened: Opened, after: int) -> None:
    """From the store (in pages), then from the window, while more comes."""
    await opened.put(*"ab" * 75)
    async with (
        collecting(opened.changes.follow("events")),  # so that there is a window
        collecting(opened.changes.follow("events", after=after)) as told,
    ):
        for _ in range(15):
            await opened.put(*"ab" * 5)
        await until(lambda: told and told[-1].position == 300)
    assert positions(told) == list(range(after + 1, 301))


async def test_many_that_come_at_any_time_miss_nothing(
    log: Log, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursors, "WINDOW", 40)
    monkeypatch.setattr(cursors, "PAGE", 7)
    stop = asyncio.Event()

    async def commands() -> None:
        for _ in range(40):
            await handle_all(opened.handler, [toy.Put(jar=jar) for jar in "abcab"])
        stop.set()

    async def subscriber(after: int) -> tuple[int, list[int]]:
        told: list[int] = []
        async with aclosing(opened.changes.follow("events", "jar-c", after)) as source:
            async for change in source:
                told.append(change.position)
                if change.position == 198:
                    break
                if after % 3 == 0:
                    await asyncio.sleep(0.005)  # a slow one
        return after, told

    async with projecting(log, opened.projector), running(commands()) as writing:
        subscribers = []
        for after in range(60):
            subscribers.append(asyncio.create_task(subscriber(after)))
            await asyncio.sleep(0.002)
        async with asyncio.timeout(30):
            ended = await asyncio.gather(*subscribers)
            await writing
    for after, told in ended:
        assert told == [p for p in range(3, 199, 5) if p > after]


async def test_a_change_before_the_first_subscriber_is_not_told(opened: Opened) -> None:
    await opened.put("a")
    async with collecting(opened.changes.follow("contents")) as told:
        position = await opened.put("b")
        await until(lambda: told)
    assert positions(told) == [position]


async def test_a_subscriber_ahead_of_the_read_models_is_told_what_comes_after(
    opened: Opened,
) -> None:
    await opened.put("a")
    async with collecting(opened.changes.follow("events", after=3)) as told:
        for _ in range(4):
            await opened.put("a")
        await until(lambda: len(told) >= 2)
    assert positions(told) == [4, 5]


async def test_a_page_never_ends_between_two_changes_of_one_event(
    log: Log, opened: Opened, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event changes three tallies."""
    monkeypatch.setattr(cursors, "PAGE", 2)
    tallies = DocumentSource(reads, toy.TALLIES, lambda _: (), lambda _: {}, latest_wins=False)
    changes = Changes(log, reads, (tallies,))
    await opened.put("a")
    async with (
        running(changes.run()),
        collecting(changes.follow("tallies", after=0)) as told,
    ):
        await until(lambda: len(told) == 3)
    assert [change.key for change in told] == ["a", "b", "c"]


async def test_a_parked_document_is_no_change(
    log: Log, handler: CommandHandler, reads: Reads, projector: Projector
) -> None:
    del projector
    poisoned = toy.contents(poison=["bad"])
    own = Projector(log, (poisoned, toy.TALLIES))
    for note in ("", "bad"):
        await handler.handle(asked(toy.Put(jar="a", note=note)))
        await handler.handle(asked(toy.Put(jar="b")))
    await own.run_to_end()
    assert await log.mongo.run(lambda db: db[PARKED].count_documents({})) == 1
    at = await reads.snapshot(4)
    found = await contents(reads).changes(await log.read(2), at)
    assert [(change.key, change.position) for change in found] == [("b", 4)]


async def test_whoever_takes_over_is_told_what_has_not_been_handed_out(opened: Opened) -> None:
    """Of one event too: it may have changed two documents."""
    cursor = await opened.changes.open("contents")
    topics, window = frozenset((EVERYTHING,)), opened.changes._windows["contents"]
    window.add([Change(key=key, position=7, topics=topics, value=None) for key in "abc"], 9)
    assert (await anext(cursor)).key == "a"
    other = cursor.fork()
    for follower in (cursor, other):
        assert [(await anext(follower)).key for _ in range(2)] == ["b", "c"]
        follower.close()


# -- slow ones, and many


async def test_whoever_falls_behind_the_window_catches_up_from_the_store(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursors, "WINDOW", 10)
    source = opened.changes.follow("events")
    first = asyncio.ensure_future(anext(source))
    await asyncio.sleep(0.05)
    await opened.put("a")
    told = [(await first).position]
    for _ in range(20):
        await opened.put("a", "b")
    window = opened.changes._windows["events"]
    await until(lambda: window.upto == 41)
    assert len(window._changes) == 10
    assert opened.events.stored_read == 0
    told += [(await anext(source)).position for _ in range(40)]
    assert told == list(range(1, 42))
    assert opened.events.stored_read > 0
    await source.aclose()


async def test_a_slow_subscriber_keeps_nothing_in_memory(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursors, "WINDOW", 20)
    async with collecting(opened.changes.follow("events")) as told:
        slow = [opened.changes.follow("events") for _ in range(10)]
        first = [asyncio.ensure_future(anext(source)) for source in slow]
        await asyncio.sleep(0.05)
        for _ in range(10):
            await opened.put(*"abcdefghij")
        await until(lambda: len(told) >= 100)
        await asyncio.gather(*first)
        kept = len(told)
        del first
        gc.collect()
        alive = sum(type(each) is Change for each in gc.get_objects())  # a proxy may be dead
        for source in slow:
            await source.aclose()
    assert kept == 100
    assert alive <= 100 + 10 * len(slow)  # the list of this test, and a turn of each slow one


async def test_an_event_is_read_once_for_all_subscribers(seen: Seen, opened: Opened) -> None:
    """`seen` is asked for first, so it hears the client of `opened`."""
    sources = [opened.changes.follow("contents") for _ in range(200)]
    waiting = [asyncio.ensure_future(anext(source)) for source in sources]
    await asyncio.sleep(0.1)
    seen.clear()
    before = opened.jars.read
    await opened.put("a")
    told = await asyncio.gather(*waiting)
    assert {change.position for change in told} == {1}
    assert opened.jars.read - before == 1
    assert opened.jars.stored_read == 0
    collections = [find["find"] for find in seen.of("find")]
    assert collections.count("rm_contents_1") <= 2  # the projector's, and ours
    for source in sources:
        await source.aclose()


async def test_without_subscribers_nothing_is_read(opened: Opened) -> None:
    for _ in range(3):
        await opened.put("a")
    assert opened.events.read == opened.jars.read == 0


# -- coming and going


async def test_a_subscriber_that_goes_leaves_nothing_behind(opened: Opened) -> None:
    windows = opened.changes._windows
    for _ in range(20):
        async with collecting(opened.changes.follow("events", "jar-a")):
            assert windows["events"].cursors == 1
    assert windows["events"].cursors == 0
    assert not windows["events"]._waiting


async def test_whoever_comes_after_all_have_gone_begins_at_the_present(opened: Opened) -> None:
    async with collecting(opened.changes.follow("events")) as told:
        await opened.put("a")
        await until(lambda: told)
    await opened.put("a")
    await opened.put("a")
    async with collecting(opened.changes.follow("events")) as told:
        await opened.put("a")
        await until(lambda: told)
    assert positions(told) == [4]


async def test_one_that_comes_before_anything_is_known_does_not_get_the_whole_log(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    """As when clients reconnect to a server that has just started."""
    await handle_all(handler, [toy.Put(jar="a")] * 50)
    await projector.run_to_end()
    reads = Reads(log.mongo)
    events = Counting(EventSource(log))
    changes = Changes(log, reads, (events,))
    async with (
        collecting(changes.follow("events")) as told,
        running(reads.follow(), changes.run()),
    ):
        await handle_all(handler, [toy.Put(jar="a")])
        await projector.run_to_end()
        await until(lambda: told)
    assert positions(told) == [51]


@pytest.mark.parametrize("fault", [Unavailable("just now"), RuntimeError("a bug")])
async def test_a_fault_while_reading_loses_nothing(opened: Opened, fault: Exception) -> None:
    async with (
        collecting(opened.changes.follow("events")) as events,
        collecting(opened.changes.follow("contents")) as jars,
    ):
        opened.jars.fails.append(fault)
        await opened.put("a")
        await opened.put("a")
        await until(lambda: jars and jars[-1].position == 2)
        await until(lambda: len(events) >= 2)
        await asyncio.sleep(0.05)
    assert positions(events) == [1, 2]
