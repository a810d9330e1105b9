"""From committed documents to subscribers.

1. One tail per process: the events between two snapshots are read once, and what they changed is
   put into a bounded window per kind, however many subscribers there are.
2. A subscriber, or all that share a subscription, is a cursor into the window. It owns no queue: a
   slow one costs nothing, falls behind the window, and reads from the store at its own pace until
   it has caught up.
3. A cursor is a position, so a subscriber that comes back continues without a gap or a repeat.
4. Where the latest state wins, changes of one key that wait together are sent as one.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from domain.recorded import Recorded
from infra import cursors
from infra.cursors import Change, Cursor, Source, Window, open_cursor
from infra.folding import Projection
from infra.log import Log
from infra.mongo import Unavailable
from infra.newest import Snapshot
from infra.reads import BeingBuilt, Reads

log = logging.getLogger("tidings.changes")

EVERYTHING: Final = "*"


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


class Changes:
    """What changes, for all subscribers of this process; `run` must be running."""

    def __init__(self, log: Log, reads: Reads, sources: Iterable[Source]) -> None:
        self._log, self._reads = log, reads
        self._windows = {source.kind: Window(source, reads) for source in sources}
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
            events = await self._log.read(min(w.upto for w in watched), at.position, cursors.WINDOW)
            upto = events[-1].position if len(events) >= cursors.WINDOW else at.position
            for window in watched:
                # a window that was opened while this was read begins at its own position
                news = [event for event in events if event.position > window.upto]
                try:
                    window.add(await window.source.changes(news, at) if news else [], upto)
                except BeingBuilt:  # it waits where it is, until there are documents again
                    windows.remove(window)

    async def open(self, kind: str, topic: str = EVERYTHING, after: int | None = None) -> Cursor:
        """Along the changes of a topic after a position (from now on if None); `close` it."""
        return await open_cursor(self._windows[kind], topic, after)

    async def follow(
        self, kind: str, topic: str = EVERYTHING, after: int | None = None
    ) -> AsyncGenerator[Change, None]:
        """Changes of a topic after a position (from now on if None), for ever."""
        cursor = await self.open(kind, topic, after)
        try:
            async for change in cursor:
                yield change
        finally:
            cursor.close()
