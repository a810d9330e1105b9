"""The outbox: work that was asked for is carried out at least once, and until there is an answer.

1. Rows of a story are carried out one after the other, those of different stories at once.
2. A row is deleted after its answer is durable. Carrying one out twice must change nothing: its id
   goes with it. So a crash, or a second outbox, costs time and nothing else.
3. What is put off is tried again with back-off, for ever; what is refused several times is parked,
   with the later rows of its story, until an operator retries or skips it.
4. Fresh rows are handed over in memory, and carried out before they are written; those done by then
   never are. What else came of them counts once they are: rows that could not be written will be
   asked for again.
5. Rows of another process, or too many to keep in memory, are read by the revision that they came
   with.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from infra import metrics
from infra.codec import now
from infra.folding import PARKED, parked_document
from infra.following import Row
from infra.mongo import Mongo, Session, SyncDatabase, Unavailable
from infra.outcomes import Carry, Done, Later, Outcome, Refused, parked_row, put_off
from infra.stories import OUTBOX, place_of, row_document, row_of

log = logging.getLogger("tidings.outbox")

MOST_LOADED: Final = 5_000
"""Rows read at once, and kept in memory while more are waiting: above the rows of one batch."""

SWEEP_SECONDS: Final = 0.1
LOOK_SECONDS: Final = 1.0


@dataclass
class _Coming:
    """A batch that the reactor has not written yet. Rows that are `done` before it does need not be
    written; None once it is at it."""

    revision: int
    committed: asyncio.Future[bool]
    done: set[str] | None


@dataclass(frozen=True)
class _Taken:
    """A row in memory, and the batch that it came with unless it was read."""

    row: Row
    coming: _Coming | None = None

    async def is_stored(self) -> bool:
        # whoever stops waiting for it does not take it from the others
        return self.coming is None or await asyncio.shield(self.coming.committed)

    def is_done_unwritten(self) -> bool:
        """Mark it as done if it is not being written yet."""
        if self.coming is None or self.coming.done is None:
            return False
        self.coming.done.add(self.row.id)
        return True


class Outbox:
    """Carries out the rows of one follower; `run` must be running."""

    def __init__(self, mongo: Mongo, follower: str, carry: Carry, at_once: int = 64) -> None:
        self._mongo = mongo
        self._follower = follower
        self._carry = carry
        self._at_once = at_once
        self._revision = -1
        self._coming: _Coming | None = None
        self._passed_over = -1
        self._stories: dict[str, deque[_Taken]] = {}
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._held: dict[str, str] = {}
        self._behind = True
        self._done: list[str] = []
        self._wake = asyncio.Event()

    def expect(self, before: int, after: int, rows: Iterable[Row]) -> None:
        """Take what the reactor will write, unless there is more to read first: rows of revision
        `after`, on top of `before`. It may have more rows of the same batch later."""
        if (
            self._coming is None
            and before == self._revision
            and after != self._passed_over
            and not self._full
        ):
            committed = asyncio.get_running_loop().create_future()
            self._coming = _Coming(after, committed, set())
        if self._coming is None:
            self._passed_over = after
        else:
            for row in rows:
                self._take(_Taken(row, self._coming))

    def unfinished(self, rows: Iterable[Row]) -> list[Row]:
        """Those that are still to be written; to be asked once, right before they are."""
        if self._coming is None:
            return list(rows)
        done, self._coming.done = self._coming.done or set(), None
        return [row for row in rows if row.id not in done]

    def settle(self, *, committed: bool) -> None:
        """Know how that has ended; rows that were not taken, or not written, are read."""
        coming, self._coming, self._passed_over = self._coming, None, -1
        if coming:
            coming.committed.set_result(committed)
        if coming and committed:
            self._revision = coming.revision
        else:
            self._behind = True
            self._wake.set()

    @property
    def _full(self) -> bool:
        """Whether enough stories are in memory, those not counted that a parked row holds back."""
        return len(self._stories) - len(self._held) >= MOST_LOADED

    async def run(self) -> None:
        """Carry out whatever there is, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_looking())
            tasks.create_task(self._keep_sweeping())
            for _ in range(self._at_once):
                tasks.create_task(self._keep_carrying())

    def _take(self, taken: _Taken) -> None:
        row = taken.row
        if row.story in self._stories:
            self._stories[row.story].append(taken)
        else:
            self._stories[row.story] = deque([taken])
            self._begin(row)

    def _begin(self, row: Row) -> None:
        """Carry it out when its time has come; it is the first of its story."""
        if row.parked:
            self._held[row.story] = row.id
        elif row.not_before is None:
            self._ready.put_nowait(row.story)
        else:
            seconds = max(0.0, (row.not_before - now()).total_seconds())
            asyncio.get_running_loop().call_later(seconds, self._ready.put_nowait, row.story)

    # -- reading what was not handed over

    async def _keep_looking(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._look()
                await self._look_at_held()
            except Exception:
                log.exception("reading the outbox failed; trying again")
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        """Read on, as far as memory allows."""
        while not self._full:
            rows, upto = await self._mongo.run(self._read)
            if self._coming:  # it is in memory already, or another reactor was faster
                upto = min(upto, self._coming.revision - 1)
            if upto <= self._revision:
                self._behind = False
                return
            for row in rows:
                if self._revision < row.batch <= upto:
                    self._take(_Taken(row))
            self._revision = upto

    def _read(self, db: SyncDatabase) -> tuple[list[Row], int]:
        """Rows of whole batches, and the revision up to which these are all."""
        after = self._revision
        revision = place_of(db, self._follower).revision
        if revision <= after:
            return [], after
        where = {"follower": self._follower, "batch": {"$gt": after, "$lte": revision}}
        found = db[OUTBOX].find(where, sort=[("batch", 1), ("place", 1)], limit=MOST_LOADED)
        rows = [row_of(document) for document in found]
        if len(rows) < MOST_LOADED:
            return rows, revision
        last = rows[-1].batch
        return [row for row in rows if row.batch < last], last - 1

    async def _look_at_held(self) -> None:
        """Go on with stories whose parked row an operator has retried or skipped."""
        held = dict(self._held)
        if not held:
            return
        ids = list(held.values())
        found = await self._mongo.run(lambda db: list(db[OUTBOX].find({"_id": {"$in": ids}})))
        rows = {document["_id"]: row_of(document) for document in found}
        for story, row_id in held.items():
            row = rows.get(row_id)
            if row is None or not row.parked:
                del self._held[story]
                self._go_on(story, row)

    # -- carrying out

    async def _keep_carrying(self) -> None:
        while True:
            story = await self._ready.get()
            taken = self._stories[story][0]
            row = taken.row
            outcome = await self._carried(row)
            metrics.CARRIED.labels(self._follower, type(outcome).__name__.lower()).inc()
            if (
                isinstance(outcome, Done) and taken.is_done_unwritten()
            ) or not await taken.is_stored():
                self._go_on(story, None)
            elif isinstance(outcome, Done):
                self._done.append(row.id)
                self._go_on(story, None)
            else:
                self._go_on(story, await self._put_off(row, outcome))

    async def _carried(self, row: Row) -> Outcome:
        try:
            return await self._carry(row)
        except Unavailable as error:
            return Later(str(error))
        except Exception as error:
            log.exception("carrying out %s of %s failed", row.kind, row.story)
            return Refused(f"{type(error).__name__}: {error}")

    def _go_on(self, story: str, first: Row | None) -> None:
        """With the first row as it is now, or without it."""
        rows = self._stories[story]
        if first is None:
            rows.popleft()
        else:
            rows[0] = _Taken(first)
        if rows:
            self._begin(rows[0].row)
        else:
            del self._stories[story]
            metrics.OUTBOX.labels(self._follower).set(len(self._stories))
        if self._behind and not self._full:
            self._wake.set()

    async def _put_off(self, row: Row, outcome: Refused | Later) -> Row | None:
        """The row as it is tried again; None when another process has had its answer."""
        after = put_off(row, outcome)

        def write(db: SyncDatabase, session: Session) -> Row | None:
            same = {"_id": row.id, "attempts": row.attempts, "parked": False}
            if db[OUTBOX].replace_one(same, row_document(after), session=session).matched_count:
                if after.parked:
                    db[PARKED].insert_one(parked_document(parked_row(after)), session=session)
                return after
            found = db[OUTBOX].find_one({"_id": row.id}, session=session)
            return None if found is None else row_of(found)

        try:
            stored = await self._mongo.transaction(write)
        except Exception:
            log.exception("putting off %s of %s failed", row.kind, row.story)
            return replace(row, not_before=after.not_before)
        if after.parked:
            log.error("%s parks %s of %s: %s", row.follower, row.kind, row.story, after.error)
        return stored

    async def _keep_sweeping(self) -> None:
        """Delete what is done, many at a time."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            done = self._done
            if done:
                self._done = []
                try:
                    await self._mongo.run(partial(_delete, done))
                except Exception:
                    log.exception("sweeping the outbox failed; trying again")
                    self._done += done


def _delete(done: list[str], db: SyncDatabase) -> None:
    db[OUTBOX].delete_many({"_id": {"$in": done}})
