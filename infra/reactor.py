"""The reactor: from events, and from deadlines that have passed, to work in the outbox.

1. What was decided (states of stories, work, deadlines, parked stories) is written in one
   transaction with the checkpoint, for all that was told in a moment. A crash tells it again.
2. The checkpoint is moved from exactly what was read, so a second reactor, or an operator who mends
   a story, is noticed: the slower one begins again. Two reactors at once are harmless.
3. A deadline fires once, when its story has been told all that the log holds by then; it is deleted
   in the transaction that holds what it led to.
4. A story whose reaction fails is parked: it waits, with its deadlines, and all others go on.
5. What events ask for is handed over before it is written: asked again, it is the same, since
   nothing is told on a state that another reactor has told more. What a deadline asks for comes
   after: until it is deleted, it may still be dropped.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import inf
from time import monotonic
from typing import Any, Final

from domain.recorded import Recorded
from infra import metrics
from infra.codec import now
from infra.deadlines import due
from infra.folding import PARKED
from infra.following import Deadline, Fact, Follower, Reaction, Row, fact_of, passed, react
from infra.log import COUNTERS, EVENTS, Log
from infra.mongo import SyncDatabase
from infra.outbox import Outbox
from infra.projector import Overtaken
from infra.stories import Place, load_states, place_of, write_reaction

log = logging.getLogger("tidings.reactor")

BATCH: Final = 500
MOST_REMEMBERED: Final = 20_000
"""States of stories kept in memory; the least recently used goes first."""

WRITE_AFTER: Final = 0.05
"""Seconds that what was told may wait to be written with what is told meanwhile."""

LOOK_AGAIN: Final = timedelta(seconds=0.5)
"""How often deadlines are looked for: another process may have set one."""


class Reactor:
    """Tells one follower what happens; `run_to_end` or `keep_reacting`."""

    def __init__(
        self,
        log: Log,
        follower: Follower,
        outbox: Outbox | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._log = log
        self._mongo = log.mongo
        self._follower = follower
        self._types = log.codec.stored_names(follower.events)
        self._outbox = outbox
        self._clock = clock
        self._place: Place | None = None
        self._seen = 0
        self._look_at: datetime | None = None
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._parked: dict[str, int] = {}
        self._told = Reaction()
        self._must_write = False
        self._since: float | None = None

    async def run_to_end(self) -> None:
        """Tell all there is, and then of the deadlines that have passed."""
        await self.tell_all()
        await self.write()
        while await self.fire():
            pass

    async def tell_all(self) -> None:
        """Tell all there is. What came of it is handed over, and written later."""
        while await self.tell():
            pass

    async def tell(self) -> bool:
        """Tell the next batch; whether there may be more."""
        try:
            place = await self._begun()
            seen, facts, more = await self._next()
        except Overtaken:
            self.forget()
            return True
        if facts:
            self._react(place, facts)
        self._seen = seen
        if self._told.size >= BATCH:
            await self.write()
        return more

    def _react(self, place: Place, facts: Sequence[Fact]) -> None:
        heard = [f for f in facts if f.cause.position < self._parked.get(f.story, inf)]
        # who mends a story looks no further than the place that is written
        self._must_write |= len(heard) < len(facts)
        before = len(self._told.rows)
        react(self._follower, self._kept, heard, place.revision + 1, self._told)
        if rows := self._told.rows[before:]:
            self._expect(place, rows)
        if self._unwritten and self._since is None:
            self._since = monotonic()
        metrics.REACTED.labels(self._follower.name).inc(len(heard))

    @property
    def _unwritten(self) -> bool:
        return bool(self._told) or self._must_write

    async def write(self) -> None:
        """Write what came of all that was told."""
        if not self._unwritten:
            return
        place = await self._begun()
        try:
            await self._commit(place, self._told)
        except Overtaken:
            self.forget()

    async def fire(self) -> bool:
        """Tell of deadlines that have passed; whether there may be more."""
        try:
            return await self._fire()
        except Overtaken:
            self.forget()
            return True

    async def _fire(self) -> bool:
        await self.write()
        await self._begun()
        at = self._clock()
        if self._look_at is not None and at < self._look_at:
            return False
        found, look_at, head = await self._due(at)
        if found and head > self._seen:  # what others have appended may drop them
            while self._seen < head:
                await self.tell()
            await self.write()
            found, look_at, _ = await self._due(at)
        place = await self._begun()
        facts = [passed(deadline, self._seen + 1) for deadline in found]
        if facts:
            await self._mongo.run(lambda db: self._load(db, facts))
            reaction = react(self._follower, self._kept, facts, place.revision + 1)
            told = {deadline.id: None for deadline in found if deadline.story in reaction.states}
            reaction.deadlines = {**told, **reaction.deadlines}
            await self._commit(place, reaction)
            metrics.DEADLINES.labels(self._follower.name).inc(len(told))
        self._look_at = min(at + LOOK_AGAIN, look_at or at + LOOK_AGAIN)
        return bool(facts)

    @property
    def seconds_to_wait(self) -> float:
        """Until something has to be written, or deadlines have to be looked at again."""
        if self._since is not None:
            return max(0.0, self._since + WRITE_AFTER - monotonic())
        if self._look_at is None:
            return 0.0
        return max(0.0, (self._look_at - self._clock()).total_seconds())

    def forget(self) -> None:
        """Trust nothing in memory: begin again at the stored checkpoint."""
        self._place = None
        self._told, self._must_write, self._since = Reaction(), False, None

    async def _begun(self) -> Place:
        if self._place is None:
            name = self._follower.name
            place, parked = await self._mongo.run(
                lambda db: (place_of(db, name), list(db[PARKED].find({"projection": name})))
            )
            self._place, self._seen, self._look_at = place, place.position, None
            self._kept.clear()
            self._parked = {row["key"]: row["position"] for row in parked}
        return self._place

    async def _next(self) -> tuple[int, list[Fact], bool]:
        """The position reached, what happened up to there, and whether there may be more."""
        recent = self._log.recent(self._seen, BATCH)
        if not recent:
            return await self._mongo.run(self._read)
        kinds = self._follower.events
        facts = self._facts(recorded for recorded in recent if isinstance(recorded.event, kinds))
        if not self._known(facts):
            await self._mongo.run(lambda db: self._load(db, facts))
        seen = recent[-1].position
        return seen, facts, seen < self._log.appended

    def _facts(self, events: Iterable[Recorded]) -> list[Fact]:
        facts = (fact_of(self._follower, recorded) for recorded in events)
        return [fact for fact in facts if fact is not None]

    def _read(self, db: SyncDatabase) -> tuple[int, list[Fact], bool]:
        """The same from what is stored, by this process or others."""
        head = self._log.appended
        if head <= self._seen:  # others may have appended
            head = _head(db)
        if head == self._seen:
            return head, [], False
        where = {"_id": {"$gt": self._seen, "$lte": head}, "type": {"$in": self._types}}
        found = list(db[EVENTS].find(where, sort=[("_id", 1)], limit=BATCH))
        facts = self._facts(self._log.all_decoded(found))
        if not self._known(facts):
            self._load(db, facts)
        more = len(found) == BATCH
        return found[-1]["_id"] if more else head, facts, more

    async def _due(self, at: datetime) -> tuple[list[Deadline], datetime | None, int]:
        """Deadlines that have passed, when to look again if known, and where the log ends."""
        name, parked = self._follower.name, list(self._parked)
        return await self._mongo.run(lambda db: (*due(db, name, at, parked), _head(db)))

    def _known(self, facts: Iterable[Fact]) -> bool:
        """Whether the states of these stories are in memory; those that begin are put there."""
        for fact in facts:
            if fact.first:
                self._kept.setdefault(fact.story, self._follower.initial)
        return all(fact.story in self._kept for fact in facts)

    def _load(self, db: SyncDatabase, facts: Iterable[Fact]) -> None:
        """Have the states of these stories in memory."""
        if missing := list({fact.story for fact in facts} - self._kept.keys()):
            states = load_states(db, self._follower, missing)
            if any(position > self._seen for _, position in states.values()):
                raise Overtaken  # another reactor has told them more
            self._kept.update((story, state) for story, (state, _) in states.items())

    async def _commit(self, before: Place, reaction: Reaction) -> None:
        """Write what was decided; raises `Overtaken` when somebody else was faster."""
        after = Place(position=self._seen, revision=before.revision + 1)
        unwritten = reaction
        if self._outbox:
            self._outbox.expect(before.revision, after.revision, ())
            unwritten = replace(reaction, rows=self._outbox.unfinished(reaction.rows))
        committed = False
        try:
            await self._mongo.transaction(
                lambda db, session: write_reaction(
                    db, session, self._follower, (before, after), unwritten
                )
            )
            committed = True
            if reaction is not self._told:
                self._expect(before, reaction.rows)
        finally:
            if self._outbox:
                self._outbox.settle(committed=committed)
        self._place = after
        self._told, self._must_write, self._since = Reaction(), False, None
        self._keep(reaction)

    def _expect(self, before: Place, rows: Sequence[Row]) -> None:
        if self._outbox:
            self._outbox.expect(before.revision, before.revision + 1, rows)

    def _keep(self, reaction: Reaction) -> None:
        for story, (state, _) in reaction.states.items():
            self._kept[story] = state
            self._kept.move_to_end(story)
        while len(self._kept) > MOST_REMEMBERED:
            self._kept.popitem(last=False)
        for parked in reaction.parked.values():
            self._parked[parked.key] = parked.position
            metrics.PARKED_KEYS.labels(parked.projection).inc()
            log.error("%s parks %s: %s", parked.projection, parked.key, parked.error)
        times = [d.at for d in reaction.deadlines.values() if d is not None]
        if times and self._look_at is not None:
            self._look_at = min(self._look_at, *times)


def _head(db: SyncDatabase) -> int:
    counter = db[COUNTERS].find_one({"_id": "log"})
    assert counter is not None, "the log has been prepared"
    return int(counter["position"])
