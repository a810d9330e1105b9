"""A generation that is being filled, from the position it has come to.

1. Documents are written when there are many, or after a while, so a document that many events
   touch is written once. Then the position is written: all events up to there are in documents.
2. A crash may leave documents beyond that position. They say so, and are passed over by the events
   that they hold already; what stands for a deleted one says so, too, until the position is
   written.
3. A document is replaced by a later one only: a holder that has lost its lease spoils nothing.
4. A key that cannot be folded waits, as in the projector, where it waits in the live generation at
   the same event, or nothing is live. Elsewhere it would be worse than what is live: the rebuild
   fails. What cannot be stored is found by a `careful` shadow, which tries each document.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from pymongo import DeleteOne, InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError

from domain.recorded import Recorded
from infra.folding import (
    GONE,
    PARKED,
    Changed,
    Folder,
    Parked,
    Projection,
    collection_of,
    document_of,
    parked_document,
    skipped_in,
)
from infra.generations import Generation, checkpoint_of, parked_in, put_parked_aside
from infra.jobs import Lease, Stopped
from infra.log import Log
from infra.mongo import Document, Session, SyncDatabase

FLUSH: Final = 50_000
"""Changed documents kept in memory before they are written."""
FLUSH_SECONDS: Final = 2.0
"""After which they are written anyway: as much is done again after a crash."""


class RebuildFailed(Exception):
    """It did not go live; what is live was not touched. The text says why."""


class Shadow:
    """Filled in worker threads; `open` first."""

    def __init__(self, log: Log, projection: Projection, target: Generation, lease: Lease) -> None:
        self.projection, self.generation = projection, target.generation
        self.read = target.position
        """Up to where events have been folded; not all of it is written."""
        self.stopping = self.careful = False
        self._target, self._lease, self._log = target, lease, log
        self._folder = Folder(
            projection, collection_of(projection.name, target.generation), target.position
        )
        self._changed: Changed = {}
        self._parked: list[Parked] = []
        self._first = self._leftovers = False
        self._position = target.position
        self._written = time.monotonic()

    @property
    def collection(self) -> str:
        return self._folder.collection

    @property
    def _listened(self) -> Document:
        return {"type": {"$in": self._log.codec.stored_names(self.projection.events)}}

    def open(self, db: SyncDatabase) -> None:
        """Find out what is there."""
        self._first = db[self.collection].find_one({}, {"_id": 1}) is None
        self._leftovers = not self._first
        self._folder.parked = parked_in(db, self._target)
        self._folder.skipped = skipped_in(db, self.projection)

    # -- filling

    async def fill(self, upto: int) -> None:
        """Fold the events up to a position and write.

        Raises `RebuildFailed`, or `Stopped` where the job is paused, cancelled or lost.
        """
        run = self._log.mongo.run
        async for events in self._log.scan(self.read, upto, **self._listened):
            await run(partial(self._take, events=events))
            if self.stopping:
                await run(self._flush)
                raise Stopped
        self.read = max(upto, self.read)
        await run(self._flush)
        if self._leftovers:
            await run(self._clear)
            self._leftovers = False

    def _take(self, db: SyncDatabase, events: Sequence[Recorded]) -> None:
        touched = self._folder.touched(events)
        if self._first:
            self._folder.expect_new(touched)
        else:
            self._folder.load(db, touched)
        changed, failed = self._folder.fold(touched, tried=self.careful)
        self._check(db, failed)
        self._parked += failed
        self._folder.parked.update((one.key, one.position) for one in failed)
        self._changed.update(changed)
        self._folder.hold(changed)
        self.read = events[-1].position
        if len(self._changed) >= FLUSH or time.monotonic() - self._written > FLUSH_SECONDS:
            self._flush(db)

    def _check(self, db: SyncDatabase, failed: Sequence[Parked]) -> None:
        if not failed or self.projection.name not in checkpoint_of(db).generations:
            return
        for one in failed:
            waiting = {"_id": parked_document(one)["_id"], "position": one.position}
            if db[PARKED].find_one(waiting) is None:
                raise RebuildFailed(
                    f"{one.key} cannot be folded at position {one.position}: {one.error}"
                )

    # -- writing

    def _flush(self, db: SyncDatabase) -> None:
        changed, parked = self._changed, self._parked
        if changed or parked:
            self._lease.renew(db)  # or nothing is written
            self._write(db, self._writes(changed))
            put_parked_aside(db, self._target, parked)
        if self.read != self._position:
            self._lease.renew(db, position=self.read, read=self.read)
        gone = [key for key, (view, _) in changed.items() if view is None]
        self._write(db, [DeleteOne({"_id": key, GONE: True}) for key in gone])
        self._folder.keep(changed)
        self._changed, self._parked = {}, []
        self._position, self._written = self.read, time.monotonic()

    def _writes(self, changed: Changed) -> Sequence[Any]:
        if not self._first:
            return [_replaced(*one) for one in changed.items()]
        self._first = False
        return _inserted(changed)

    def _write(self, db: SyncDatabase, writes: Sequence[Any]) -> None:
        if not writes:
            return
        try:
            db[self.collection].bulk_write(writes, ordered=False)
        except BulkWriteError as error:  # only another holder writes there, and it is further
            if any(e.get("code") != 11000 for e in (error.details or {}).get("writeErrors", ())):
                raise
            raise Stopped from error

    def _clear(self, db: SyncDatabase) -> None:
        """Delete what an interrupted holder left standing for deleted documents."""
        db[self.collection].delete_many({GONE: True})

    # -- going live

    def complete(self, db: SyncDatabase, session: Session, upto: int) -> None:
        """Fold the last events within a transaction, which may be tried again."""
        events = self._log.read_within(db, session, self.read, upto, **self._listened)
        touched = self._folder.touched(events)
        self._folder.load(db, touched)
        changed, failed = self._folder.fold(touched, tried=self.careful)
        self._check(db, failed)
        self._folder.write(db, changed, session)
        if failed:
            db[PARKED].insert_many([parked_document(one) for one in failed], session=session)


def _inserted(changed: Changed) -> list[InsertOne[Document]]:
    return [
        InsertOne(document_of(key, view, position))
        for key, (view, position) in changed.items()
        if view is not None
    ]


def _replaced(key: str, after: tuple[Any, int]) -> ReplaceOne[Document]:
    view, position = after
    gone = {"_id": key, "position": position, GONE: True}
    document = gone if view is None else document_of(key, view, position)
    earlier = {"_id": key, "position": {"$lt": position}}
    return ReplaceOne(earlier, document, upsert=True)
