"""From committed documents to subscribers.

1. One tail per process: the events between two snapshots are read once, and what they changed is
   put into a bounded window per kind, however many subscribers there are.
2. A subscriber is a cursor into the window. It owns no queue: a slow one costs nothing, falls
   behind the window, and reads from the store at its own pace until it has caught up.
3. A cursor is a position, so a subscriber that comes back continues without a gap or a repeat.
4. Where the latest state wins, changes of one key that wait together are sent as one.
"""

import asyncio
import logging
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Protocol

from domain.decider import message
from domain.recorded import Recorded
from infra import metrics
from infra.folding import Projection
from infra.log import Log
from infra.mongo import Unavailable
from infra.newest import Snapshot
from infra.reads import BeingBuilt, Reads

log = logging.getLogger("tidings.changes")

WINDOW: Final = 5_000
PAGE: Final = 100
EVERYTHING: Final = "*"


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


class DocumentSource:
    """Changed documents of a read model. `topics(view)` says who may be interested; `where(topic)`
    finds the documents of a topic."""

    def __init__(
        self,
        reads: Reads,
        projection: Projection,
        topics: Callable[[Any], Iterable[str]],
        where: Callable[[str], Mapping[str, Any]],
        *,
        latest_wins: bool,
    ) -> None:
        self._reads, self._projection = reads, projection
        self._topics, self._where = topics, where
        self.kind, self.latest_wins = projection.name, latest_wins

    def _change(self, row: Any) -> Change:
        topics = frozenset((EVERYTHING, *self._topics(row.view)))
        return Change(key=row.key, position=row.position, topics=topics, value=row.view)

    async def changes(self, events: Sequence[Recorded], at: Snapshot) -> list[Change]:
        kinds, keys = self._projection.events, self._projection.keys
        touched = {k for e in events if isinstance(e.event, kinds) for k in keys(e)}
        if not touched:
            return []
        rows = await self._reads.get(self._projection, list(touched), at)
        first, last = events[0].position, events[-1].position
        # a parked document has not changed; one changed again later comes with those events
        changed = (row for row in rows.values() if first <= row.position <= last)
        return sorted(map(self._change, changed), key=attrgetter("position"))

    async def stored(self, topic: str, after: int, limit: int, at: Snapshot) -> list[Change]:
        where = {**self._where(topic), "position": {"$gt": after}}
        order = (("position", 1), ("_id", 1))
        rows = await self._reads.find(self._projection, where, order, limit, at)
        return [self._change(row) for row in rows]


class EventSource:
    """The events themselves; topics are their streams."""

    kind: Final = "events"
    latest_wins: Final = False

    def __init__(self, log: Log) -> None:
        self._log = log

    def _change(self, recorded: Recorded) -> Change:
        return Change(
            key=recorded.meta.event_id,
            position=recorded.position,
            topics=frozenset((EVERYTHING, recorded.stream)),
            value=recorded,
        )

    async def changes(self, events: Sequence[Recorded], at: Snapshot) -> list[Change]:
        return [self._change(recorded) for recorded in events if recorded.position <= at.position]

    async def stored(self, topic: str, after: int, limit: int, at: Snapshot) -> list[Change]:
        where = {} if topic == EVERYTHING else {"stream": topic}
        events = await self._log.read(after, at.position, limit, **where)
        return [self._change(recorded) for recorded in events]


class _Window:
    """The newest changes of one kind: all those in (floor, upto]."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.subscribers = 0
        self.floor = self.upto = 0
        self._changes: list[Change] = []
        self._waiting: dict[str, set[asyncio.Future[int]]] = defaultdict(set)

    def needs(self, position: int) -> bool:
        """Whether somebody watches, and it has not come that far."""
        return bool(self.subscribers) and self.upto < position

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

    def after(self, cursor: int, topic: str) -> list[Change] | None:
        """Changes of a topic after a position; None when they are no longer all here."""
        if cursor < self.floor:
            return None
        first = bisect_right(self._changes, cursor, key=attrgetter("position"))
        return [change for change in self._changes[first:] if topic in change.topics]

    async def wait(self, topic: str) -> int:
        """Wait for a change of the topic; answers with a position before it, after which nothing
        of the topic has been missed."""
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[topic].add(waiter)
        try:
            return await waiter
        finally:
            if waiters := self._waiting.get(topic):
                waiters.discard(waiter)
                if not waiters:
                    del self._waiting[topic]


class Changes:
    """What changes, for all subscribers of this process; `run` must be running."""

    def __init__(self, log: Log, reads: Reads, sources: Iterable[Source]) -> None:
        self._log, self._reads = log, reads
        self._windows = {source.kind: _Window(source) for source in sources}
        self._moved = asyncio.Event()
        reads.listen(lambda _: self._moved.set())

    async def run(self) -> None:
        """Take in what becomes visible, until cancelled."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            try:
                await self._take_in(await self._reads.snapshot())
            except Unavailable:
                await self._again()
            except Exception:
                log.exception("changes cannot be read; trying again")
                await self._again()

    async def _again(self) -> None:
        await asyncio.sleep(0.2)
        self._moved.set()

    async def _take_in(self, at: Snapshot) -> None:
        """Bring the watched windows up to the snapshot, a window's worth of events at a time."""
        windows = list(self._windows.values())
        while watched := [w for w in windows if w.needs(at.position)]:
            events = await self._log.read(min(w.upto for w in watched), at.position, WINDOW)
            upto = events[-1].position if len(events) >= WINDOW else at.position
            for window in watched:
                # a window that was opened while this was read begins at its own position
                news = [event for event in events if event.position > window.upto]
                try:
                    window.add(await window.source.changes(news, at) if news else [], upto)
                except BeingBuilt:  # it waits where it is, until there are documents again
                    windows.remove(window)

    async def follow(
        self, kind: str, topic: str = EVERYTHING, after: int | None = None
    ) -> AsyncGenerator[Change, None]:
        """Changes of a topic after a position (from now on if None), for ever."""
        window = self._windows[kind]
        now = (await self._reads.snapshot()).position
        if not window.subscribers:
            window.restart(max(now, self._reads.position))
        window.subscribers += 1
        metrics.SUBSCRIBERS.labels(kind).inc()
        cursor = max(now, window.upto) if after is None else after
        try:
            while True:
                found = window.after(cursor, topic)
                if found:
                    reached = window.upto
                elif found is None:
                    found, reached = await self._stored(window.source, topic, cursor)
                else:
                    # nothing is awaited between the look and the wait: no wake-up is missed
                    reached = await window.wait(topic)
                for change in _latest(found) if window.source.latest_wins else found:
                    yield change
                cursor = max(cursor, reached)
        finally:
            window.subscribers -= 1
            metrics.SUBSCRIBERS.labels(kind).dec()

    async def _stored(self, source: Source, topic: str, cursor: int) -> tuple[list[Change], int]:
        """What the store has after the cursor, and how far that reaches."""
        at, limit = await self._reads.snapshot(), PAGE
        while True:
            found = await source.stored(topic, cursor, limit, at)
            if len(found) < limit:
                return found, at.position
            # the page may end between two changes of one event: leave that one for the next
            whole = [change for change in found if change.position < found[-1].position]
            if whole:
                return whole, whole[-1].position
            limit *= 2


def _latest(changes: list[Change]) -> list[Change]:
    """The last change of each key, in order."""
    return sorted({change.key: change for change in changes}.values(), key=attrgetter("position"))
