"""The newest changes of one kind, and the cursors that go along them.

1. A window holds all changes in (floor, upto]. What has left it is read from the store.
2. A cursor is a place among the changes of one topic. It owns no queue, and what it has found is
   shared with those that are forked from it.
3. All that a cursor has not handed out yet comes after its position: one that is as far as another
   can take its place without a gap, and skips what it has had by the positions.
"""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Protocol

from domain.decider import message
from domain.recorded import Recorded
from infra.newest import Snapshot
from infra.reads import Reads

WINDOW: Final = 5_000
PAGE: Final = 100


@message
class Change:
    """Something that a subscriber may be told: `value` as of `position`, for its topics."""

    key: str
    position: int
    topics: frozenset[str]
    value: Any


class Source(Protocol):
    """One kind of change: how it follows from events, and how it is read from the store."""

    @property
    def kind(self) -> str: ...
    @property
    def latest_wins(self) -> bool: ...
    async def changes(self, events: Sequence[Recorded], at: Snapshot) -> list[Change]:
        """What these events changed, by position."""

    async def stored(self, topic: str, after: int, limit: int, at: Snapshot) -> list[Change]:
        """Changes of a topic after a position, by position, at most `limit`."""


class Window:
    """The newest changes of one kind: all those in (floor, upto]."""

    def __init__(self, source: Source, reads: Reads) -> None:
        self.source, self.reads = source, reads
        self.cursors = 0
        self.floor = self.upto = 0
        self._changes: list[Change] = []
        self._waiting: dict[str, set[asyncio.Future[int]]] = defaultdict(set)

    def needs(self, position: int) -> bool:
        """Whether somebody watches, and it has not come that far."""
        return bool(self.cursors) and self.upto < position

    def restart(self, position: int) -> None:
        """Forget all; what follows begins after `position`."""
        self._changes.clear()
        self.floor = self.upto = position

    def add(self, changes: list[Change], upto: int) -> None:
        """Take in what happened up to a position, and wake those it concerns."""
        before, self.upto = self.upto, max(self.upto, upto)
        self._changes += changes
        if (surplus := len(self._changes) - WINDOW) > 0:
            self.floor = self._changes[surplus - 1].position
            del self._changes[:surplus]
        for topic in frozenset[str]().union(*(change.topics for change in changes)):
            for waiter in self._waiting.pop(topic, ()):
                if not waiter.done():
                    waiter.set_result(before)

    def after(self, position: int, topic: str) -> list[Change] | None:
        """Changes of a topic after a position; None when they are no longer all here."""
        if position < self.floor:
            return None
        first = bisect_right(self._changes, position, key=attrgetter("position"))
        return [change for change in self._changes[first:] if topic in change.topics]

    async def wait(self, topic: str, waiter: asyncio.Future[int]) -> int:
        """Wait for a change of the topic; answers with a position before it, after which nothing
        of the topic has been missed."""
        self._waiting[topic].add(waiter)
        try:
            return await waiter
        finally:
            if waiters := self._waiting.get(topic):
                waiters.discard(waiter)
                if not waiters:
                    del self._waiting[topic]

    async def stored(self, topic: str, after: int) -> tuple[list[Change], int]:
        """What the store has after a position, and how far that reaches."""
        at, limit = await self.reads.snapshot(), PAGE
        while True:
            found = await self.source.stored(topic, after, limit, at)
            if len(found) < limit:
                return found, at.position
            # the page may end between two changes of one event: leave that one for the next
            whole = [change for change in found if change.position < found[-1].position]
            if whole:
                return whole, whole[-1].position
            limit *= 2


async def open_cursor(window: Window, topic: str, after: int | None) -> "Cursor":
    """One that begins after a position (now if None); `close` it when done."""
    now = (await window.reads.snapshot()).position
    if not window.cursors:
        window.restart(max(now, window.reads.position))
    return Cursor(window, topic, max(now, window.upto) if after is None else after)


class Cursor:
    """Iterates over the changes of a topic, for ever or `until` something."""

    def __init__(self, window: Window, topic: str, position: int) -> None:
        self._window, self._topic = window, topic
        self._found: Sequence[Change] = ()
        self._next = 0
        self._reached = position
        self._waiter: asyncio.Future[int] | None = None
        self.position = position
        """The farthest that it has handed out; there is nothing left before it."""
        self.handed_out = 0
        """How many changes."""
        self.ended = False
        """Because `ends` said so."""
        self._ends: Callable[[Cursor], bool] | None = None
        window.cursors += 1

    @property
    def kind(self) -> str:
        return self._window.source.kind

    def close(self) -> None:
        """Once, by its owner."""
        self._window.cursors -= 1

    def fork(self) -> "Cursor":
        """Another one, for what this one has not handed out yet."""
        other = Cursor(self._window, self._topic, self.position)
        other._found, other._next, other._reached = self._found, self._next, self._reached
        return other

    async def at_present(self) -> "Cursor":
        """Another one of the same topic, for what happens from now on."""
        return await open_cursor(self._window, self._topic, None)

    def wake(self) -> None:
        """Have it look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self.position)

    def until(self, ends: Callable[["Cursor"], bool] | None) -> "Cursor":
        """Itself, to end when it has nothing to hand out and `ends` says yes; never if None."""
        self._ends, self.ended = ends, False
        return self

    def __aiter__(self) -> "Cursor":
        return self

    async def __anext__(self) -> Change:
        while self._next == len(self._found):
            self.position = max(self.position, self._reached)
            await self._look()
        change = self._found[self._next]
        self._next += 1
        self.handed_out += 1
        self.position = max(self.position, change.position)
        return change

    async def _look(self) -> None:
        window = self._window
        found = window.after(self.position, self._topic)
        if found:
            self._reached = window.upto
        elif found is None:
            found, self._reached = await window.stored(self._topic, self.position)
        else:
            # nothing is awaited between the look and the wait: no wake-up is missed
            self._reached = await self._wait()
        self._found, self._next = _latest(found) if window.source.latest_wins else found, 0

    async def _wait(self) -> int:
        self.position = max(self.position, self._window.upto)
        if self._ends is not None and self._ends(self):
            self.ended = True
            raise StopAsyncIteration
        self._waiter = asyncio.get_running_loop().create_future()
        return await self._window.wait(self._topic, self._waiter)


@dataclass(eq=False)
class Following:
    """How an operation follows changes: along the cursor that it is given, or one that it opens."""

    cursor: Cursor | None = None
    ends: Callable[[Cursor], bool] | None = None
    counted: bool = True
    """Whether it is one subscriber; others are counted one by one."""

    @property
    def ended(self) -> bool:
        return self.cursor is not None and self.cursor.ended

    def wake(self) -> None:
        """Have the cursor look again whether it ends."""
        if self.cursor is not None:
            self.cursor.wake()

    def take(self) -> Cursor | None:
        """The cursor, no longer to be closed here."""
        cursor, self.cursor = self.cursor, None
        return cursor

    def close(self) -> None:
        if cursor := self.take():
            cursor.close()


def _latest(changes: list[Change]) -> list[Change]:
    """The last change of each key, in order."""
    return sorted({change.key: change for change in changes}.values(), key=attrgetter("position"))
