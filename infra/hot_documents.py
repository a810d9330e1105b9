"""Documents that were asked for before, kept in memory: exactly as they are at each snapshot.

1. The documents of a live generation change in the transactions that move its checkpoint, and only
   there: with the position, by the events that are passed, or with `repairs`, by an operator's
   hand. Whoever changes documents otherwise must count a repair.
2. So what was read as of one position holds at another one of the same generation and repairs, as
   long as no event in between touches it. One tail per process takes in all events up to each
   snapshot before that is the newest one: what this process has appended is in memory already
   (`Log.recent`), the rest is read. Until then, the store answers.
3. A document is touched by its key; what was made of many, such as a page, by any key.
4. A history that was interrupted may be another one: everything is forgotten.
5. Bounded: the read model with most in memory loses what was not asked for longest.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from sys import maxsize
from typing import Any, Final, TypeAlias

import msgspec
from bson.timestamp import Timestamp
from pymongo.errors import PyMongoError

from domain.recorded import Recorded
from infra import metrics
from infra.codec import Unreadable
from infra.documents import Row
from infra.folding import Projection
from infra.log import Log
from infra.mongo import Document, Unavailable
from infra.newest import Snapshot

log = logging.getLogger("tidings.hot")

STEP: Final = 500
"""Events that are taken in at once: some milliseconds of the event loop."""

FAR: Final = 10_000
"""Events: who is further behind forgets everything, which costs less than reading them."""

UNIT: Final = 2_048
"""Bytes, as msgpack: a larger document counts as several."""

LARGEST: Final = 1 / 8
"""Of all that is kept: no answer larger than that is."""

_SIZE: Final = msgspec.msgpack.Encoder(enc_hook=str)

Answer: TypeAlias = Sequence[str] | Sequence[Document]
"""What was made of many documents: the keys of a page, or a sum."""


class Held:
    """Something in memory: what it is from `since` on and before `until`, as far as is known;
    `as_of` is where it was read. A value of None: there is no such document."""

    __slots__ = ("as_of", "since", "until", "value", "weight")

    def __init__(self, value: Any, since: int, as_of: int, until: int, weight: int) -> None:
        self.value, self.since, self.as_of = value, since, as_of
        self.until, self.weight = until, weight


class Table:
    """What is in memory of the live generation of one read model: of what was read at `since` or
    later, whether it was touched is known up to where the tail is."""

    def __init__(self, all_: "HotDocuments", projection: Projection, generation: int) -> None:
        self._all = all_
        self.projection, self.generation = projection, generation
        self.since = self.touched = all_.goal
        """`touched` is the last position that touched any document."""
        self.weight = 0
        self._held: OrderedDict[str | tuple[str], Held] = OrderedDict()
        """By key; answers by what was asked, in a tuple."""
        reads = metrics.HOT_READS
        self._hits = reads.labels(projection.name, "memory")
        self._misses = reads.labels(projection.name, "store")

    # -- documents

    def rows(self, keys: Iterable[str], position: int) -> tuple[dict[str, Row[Any]], list[str]]:
        """The documents of these keys as of a position, and the keys that are not known here."""
        held, used = self._held, self._held.move_to_end
        found, missing = {}, []
        ahead = position > self._all.position  # nothing is known of events before it
        for key in keys:
            one = held.get(key)
            if (
                one is None
                or not one.since <= position < one.until
                or (ahead and one.as_of < position)
            ):
                missing.append(key)
                continue
            used(key)
            if one.value is not None:
                found[key] = one.value
        (self._misses if missing else self._hits).inc()
        return found, missing

    def keep_rows(self, keys: Iterable[str], found: dict[str, Row[Any]], as_of: int) -> None:
        """Take in what was read of these keys."""
        until = maxsize if self.touched <= as_of else as_of + 1  # by which events is not known
        for key in keys:
            row = found.get(key)
            if row is None:
                self._keep(key, Held(None, as_of, as_of, until, 1))
            else:
                weight = _weight(row.document)
                self._keep(key, Held(row.lean(), row.position, as_of, until, weight))
        self._all.make_room()

    # -- what is made of many documents

    def answer(self, asked: str, position: int) -> Answer | None:
        """What was answered to this; None where it is not known here."""
        one = self._held.get((asked,))
        if one is None or not self._still(one.as_of, position):
            self._misses.inc()
            return None
        self._held.move_to_end((asked,))
        self._hits.inc()
        return one.value  # type: ignore[no-any-return]  # `keep_answer` has put it there

    def _still(self, as_of: int, position: int) -> bool:
        return as_of == position or (self.touched <= as_of <= position <= self._all.position)

    def keep_answer(self, asked: str, answer: Answer, as_of: int) -> None:
        """Take in what was answered."""
        weight = _weight(answer)
        if weight <= self._all.most * LARGEST:
            self._keep((asked,), Held(answer, as_of, as_of, maxsize, weight))
            self._all.make_room()

    # -- keeping

    def _keep(self, key: str | tuple[str], new: Held) -> None:
        if self._all.tables.get(self.projection.name) is not self or new.as_of < self.since:
            return
        old = self._held.get(key)
        if old is not None and old.as_of > new.as_of:
            return
        self._weigh(new.weight - (old.weight if old else 0))
        self._held[key] = new
        self._held.move_to_end(key)

    def _weigh(self, more: int) -> None:
        self.weight += more
        self._all.weight += more

    def drop_oldest(self) -> None:
        """Forget what was not asked for longest."""
        _, gone = self._held.popitem(last=False)
        self._weigh(-gone.weight)

    def touch(self, recorded: Recorded) -> None:
        """Something has happened to documents: an event that the read model listens to."""
        position = recorded.position
        for key in self.projection.keys(recorded):
            self.touched = max(self.touched, position)
            one = self._held.get(key)
            if one is not None and one.as_of < position < one.until:
                one.until = position


class HotDocuments:
    """Of all read models, in one process; `run` must be running. `most` is the number of documents
    of usual size."""

    def __init__(self, events: Log, most: int) -> None:
        self.most = most
        self.weight = 0
        self.position = 0
        """All events up to there have been taken in."""
        self.goal = 0
        """The newest snapshot's."""
        self.tables: dict[str, Table] = {}
        self._log = events
        self._newest: Snapshot | None = None
        self._since: Timestamp | None = None
        self._listening: dict[type, list[Table]] = {}
        self._behind = asyncio.Event()

    def table(self, projection: Projection, at: Snapshot) -> Table | None:
        """What is in memory of a read model; None where that says nothing of this snapshot."""
        newest, name = self._newest, projection.name
        if newest is None or self._since is None or at.at < self._since or name in at.fed:
            return None
        if at.repairs is None or at.repairs != newest.repairs:
            return None
        table, generation = self.tables.get(name), at.generations.get(name)
        if table is None:
            if generation is None or generation != newest.generations.get(name):
                return None
            table = self.tables[name] = Table(self, projection, generation)
            self._listening.clear()
        return table if table.generation == generation else None

    def make_room(self) -> None:
        """Keep within the bound."""
        while self.weight > self.most:
            max(self.tables.values(), key=lambda table: table.weight).drop_oldest()

    def forget(self, at: Snapshot | None = None) -> None:
        """Begin anew, at this snapshot; None: at the next one."""
        self.tables.clear()
        self._listening.clear()
        self.weight, self._newest = 0, at
        self._since = at.at if at else None

    # -- following

    def follow(self, at: Snapshot) -> None:
        """Come along to what is about to be the newest snapshot: at once, if that is possible."""
        before = self._newest
        if before is None or at.repairs != before.repairs or at.position < before.position:
            self.forget(at)
        self._newest, self.goal = at, at.position
        for name, table in list(self.tables.items()):
            if name in at.fed or at.generations.get(name) != table.generation:
                self._drop(name)
        if at.position - self.position > FAR:
            self.forget(at)
        if not self.tables:
            self.position = at.position
        elif at.position > self.position and not self._took_recent(at.position):
            self._behind.set()

    def _drop(self, name: str) -> None:
        self.weight -= self.tables.pop(name).weight
        self._listening.clear()

    def _took_recent(self, upto: int) -> bool:
        """Take in what this process has appended, if that is all up to there, and not much."""
        events = self._log.recent(self.position, STEP + 1, upto)
        if 0 < len(events) <= STEP:
            self._take_in(events, upto)
        return self.position >= upto

    def _take_in(self, events: Iterable[Recorded], upto: int) -> None:
        """Take in these events, all that there are up to a position. Twice does no harm."""
        listening = self._listening
        for recorded in events:
            kind = type(recorded.event)
            tables = listening.get(kind)
            if tables is None:
                tables = listening[kind] = [
                    each
                    for each in self.tables.values()
                    if issubclass(kind, each.projection.events)
                ]
            for table in tables:
                table.touch(recorded)
        self.position = max(self.position, upto)

    async def run(self) -> None:
        """Take in what others have appended, until cancelled."""
        while True:
            await self._behind.wait()
            self._behind.clear()
            try:
                await self._catch_up()
            except (PyMongoError, Unavailable, Unreadable) as error:
                log.info("events cannot be taken in: %r", error)
                self.forget()

    async def _catch_up(self) -> None:
        while self.position < self.goal and (since := self._since):
            after, upto = self.position, min(self.goal, self.position + STEP)
            kinds = {kind for table in self.tables.values() for kind in table.projection.events}
            listened = {"$in": self._log.codec.stored_names(kinds)}
            events = await self._log.read(after, upto, type=listened)
            if since == self._since:  # a read model that is new has nothing of before
                self._take_in(events, upto)


def _weight(one: Document | Answer) -> int:
    return 1 + len(_SIZE.encode(one)) // UNIT
