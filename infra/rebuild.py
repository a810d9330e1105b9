"""Rebuilding a read model: a shadow generation is filled from the log while the live one serves,
and goes live in one write.

The switch is a transaction that first takes hold of the checkpoint, then folds the few events that
the shadow lacks: a request sees the old generation or the new one, both of the same position, and
a busy projector cannot put the switch off.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from pymongo import InsertOne, ReturnDocument

from domain.recorded import Recorded
from infra.codec import from_stored, to_stored
from infra.folding import (
    PARKED,
    Changed,
    Folder,
    Parked,
    Projection,
    collection_of,
    document_of,
    prepare_collection,
)
from infra.log import Log
from infra.mongo import Session, SyncDatabase
from infra.projector import CHECKPOINTS, Checkpoint

FLUSH: Final = 50_000
"""Changed documents kept in memory before they are written."""

FEW: Final = 5_000
"""Events that a rebuild may lack when it stops chasing the projector and takes hold of it."""


class Shadow:
    """A generation that is being filled. Documents are written when there are many, or at the end,
    so a document that many events touch is written once."""

    def __init__(self, log: Log, projection: Projection, generation: int) -> None:
        self.projection, self.generation = projection, generation
        self.position = 0
        self._log = log
        self._folder = Folder(projection, collection_of(projection.name, generation))
        self._changed: Changed = {}
        self._first = True

    @property
    def _listened(self) -> dict[str, Any]:
        return {"type": {"$in": [kind.__name__ for kind in self.projection.events]}}

    async def fill(self, upto: int, progress: Callable[[int], None]) -> None:
        """Fold the events up to a position; what cannot be folded raises `RebuildFailed`."""
        async for events in self._log.scan(self.position, upto, **self._listened):
            await self._fold(events)
            self.position = events[-1].position
            progress(self.position)
        await self._flush()
        self.position = upto

    def complete(self, db: SyncDatabase, session: Session, upto: int) -> None:
        """Fold the last events within a transaction, which may be tried again."""
        events = self._log.read_within(db, session, self.position, upto, **self._listened)
        touched = self._folder.touched(events)
        self._folder.load(db, touched)
        changed, failed = self._folder.fold(touched)
        if failed:
            raise RebuildFailed(failed[0])
        self._folder.write(db, changed, session)

    async def _fold(self, events: Sequence[Recorded]) -> None:
        touched = self._folder.touched(events)
        if self._first:  # the collection is empty: nothing to load
            self._folder.expect_new(touched)
        else:
            await self._log.mongo.run(lambda db: self._folder.load(db, touched))
        changed, failed = self._folder.fold(touched)
        if failed:
            raise RebuildFailed(failed[0])
        self._changed.update(changed)
        self._folder.hold(changed)
        if len(self._changed) >= FLUSH:
            await self._flush()

    async def _flush(self) -> None:
        changed, self._changed = self._changed, {}
        first, self._first = self._first, False
        if first:
            await self._log.mongo.run(lambda db: self._insert(db, changed))
        else:
            await self._log.mongo.run(lambda db: self._folder.write(db, changed, None))
        self._folder.keep(changed)

    def _insert(self, db: SyncDatabase, changed: Changed) -> None:
        documents: list[InsertOne[Any]] = [
            InsertOne(document_of(key, view, position))
            for key, (view, position) in changed.items()
            if view is not None
        ]
        if documents:
            db[self._folder.collection].bulk_write(documents, ordered=False)


class RebuildFailed(Exception):
    """A fold failed; the live generation was not touched."""

    def __init__(self, at: Parked) -> None:
        super().__init__(f"{at.key} cannot be folded at position {at.position}: {at.error}")


async def checkpoint(log: Log, name: str = "main") -> Checkpoint:
    """The checkpoint as it is now."""
    found = await log.mongo.run(lambda db: db[CHECKPOINTS].find_one({"_id": name}))
    return from_stored(Checkpoint, found)


async def prepare_read_models(
    log: Log, projections: Sequence[Projection], name: str = "main"
) -> None:
    """Have a live generation of each read model, made by the projection's present version.

    A new or changed read model is built from the log; harmless when nothing is new.
    """
    empty = Checkpoint(position=0, generations={}, versions={})
    await log.mongo.prepare({CHECKPOINTS: {}, PARKED: {}})
    await log.mongo.run(
        lambda db: db[CHECKPOINTS].update_one(
            {"_id": name}, {"$setOnInsert": to_stored(empty)}, upsert=True
        )
    )
    versions = (await checkpoint(log, name)).versions
    for projection in projections:
        if versions.get(projection.name) != projection.version:
            await rebuild(log, projection, name)


async def rebuild(
    log: Log,
    projection: Projection,
    name: str = "main",
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Build the read model anew and make it live; answers with its generation."""
    generation = await _new_generation(log, name, projection)
    shadow = Shadow(log, projection, generation)
    await prepare_collection(log.mongo, projection, generation)
    while True:
        upto = (await checkpoint(log, name)).position
        few = upto - shadow.position <= FEW
        await shadow.fill(upto, progress)
        if few:
            await _switch(log, name, shadow)
            return generation


async def _new_generation(log: Log, name: str, projection: Projection) -> int:
    """A number that no other rebuild has: two may be under way at once."""
    last = {"$max": [f"$numbers.{projection.name}", f"$generations.{projection.name}", 0]}
    counted: Any = await log.mongo.run(
        lambda db: db[CHECKPOINTS].find_one_and_update(
            {"_id": name},
            [{"$set": {f"numbers.{projection.name}": {"$add": [last, 1]}}}],
            return_document=ReturnDocument.AFTER,
        )
    )
    return int(counted["numbers"][projection.name])


async def _switch(log: Log, name: str, shadow: Shadow) -> None:
    projection = shadow.projection

    def write(db: SyncDatabase, session: Session) -> None:
        at = db[CHECKPOINTS].find_one_and_update(
            {"_id": name},
            {
                "$set": {
                    f"generations.{projection.name}": shadow.generation,
                    f"versions.{projection.name}": projection.version,
                }
            },
            session=session,
        )
        shadow.complete(db, session, from_stored(Checkpoint, at).position)
        # the new documents hold what the parked ones were waiting for
        db[PARKED].delete_many({"projection": projection.name}, session=session)

    await log.mongo.transaction(write)
