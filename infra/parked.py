"""Parked keys: what waits because an event could not be folded, and how an operator moves on.

Retrying folds the key again from the event it failed at; skipping leaves that event out. Either is
done in one transaction with the checkpoint, whose `repairs` tell the projector to look again. Where
a later event fails, the key has come that far and waits there. What the past and branches of this
history have made of the key is made again.
"""

from functools import partial

from domain.recorded import Recorded
from infra import past_records
from infra.branching import record
from infra.folding import (
    PARKED,
    SKIPPED,
    Changed,
    Folder,
    Parked,
    Projection,
    parked_document,
    skipped_in,
)
from infra.generations import checkpoint_of
from infra.jobs import active_job
from infra.log import Log
from infra.looking import live_collection
from infra.mongo import Document, Session, SyncDatabase
from infra.projector import Overtaken
from infra.reads import BeingBuilt
from infra.records import ParkedKey, bound
from infra.repair import held


class StillFailing(Exception):
    """The key cannot be folded to the end yet; it stays parked."""


class NoLongerParked(Exception):
    """Somebody else has dealt with it: doing it again would fold events twice."""


async def parked_keys(log: Log) -> list[ParkedKey]:
    """All that waits, the oldest first."""
    records = await bound(ParkedKey, log.mongo)
    return await records.find_all().sort("+position").to_list()


async def retry(log: Log, projection: Projection, parked: ParkedKey) -> None:
    """Fold the key again from the event it failed at.

    Raises `StillFailing`, `NoLongerParked`, or `infra.reads.BeingBuilt` where this release has no
    live documents of it.
    """
    await _until_done(log, projection, parked.position - 1, parked)


async def skip(log: Log, projection: Projection, parked: ParkedKey) -> None:
    """Leave out the event it failed at and go on.

    Raises `StillFailing` (then the event it fails at is another one), `NoLongerParked` or
    `infra.reads.BeingBuilt`.
    """
    await _until_done(log, projection, parked.position, parked)


async def _until_done(log: Log, projection: Projection, after: int, parked: ParkedKey) -> None:
    while True:
        try:
            failed = await _folded(log, projection, after, parked)
        except Overtaken:
            continue
        if failed:
            raise StillFailing(f"at position {failed.position}: {failed.error}")
        return


async def _folded(log: Log, projection: Projection, after: int, parked: ParkedKey) -> Parked | None:
    """Fold the key onto its document; what still fails."""
    at, key = await log.mongo.run(checkpoint_of), parked.key
    collection = live_collection(at, projection)
    if collection is None:
        if job := await active_job(log.mongo, projection.name):
            raise BeingBuilt(projection.name, job)
        raise StillFailing(f"and is out of reach: rebuild {projection.name} first")
    folder = Folder(projection, collection)
    folder.skipped = await log.mongo.run(partial(skipped_in, projection=projection))
    await log.mongo.run(partial(Folder.load, folder, keys=[key]))
    changed: Changed = {}
    listened: Document = {"type": {"$in": log.codec.stored_names(projection.events)}}
    async for events in log.scan(after, at.position, **listened):
        news, failed = _fold(folder, key, events)
        changed.update(news)
        folder.hold(news)
        if failed:
            if failed.position == parked.position:
                return failed  # nothing is gained
            break
    else:
        failed = None

    def write(db: SyncDatabase, session: Session) -> Parked | None:
        """Take hold of the checkpoint, fold what has come meanwhile, write. May be tried again."""
        now = held(db, session)
        if now.generations != at.generations:
            raise Overtaken
        _take_away(db, session, parked)
        if after == parked.position:
            _remember(db, session, projection, parked)
        past_records.forget(db, session, projection.name, parked.position)
        record.make_again(db, session, parked.position)
        news: Changed = {}
        still = failed
        if still is None:
            events = log.read_within(db, session, at.position, now.position, **listened)
            news, still = _fold(folder, key, events)
        folder.write(db, {**changed, **news}, session)
        if still:
            db[PARKED].insert_one(parked_document(still), session=session)
        return still

    return await log.mongo.transaction(write)


def _fold(folder: Folder, key: str, events: list[Recorded]) -> tuple[Changed, Parked | None]:
    changed, failed = folder.fold({key: folder.touched(events).get(key, [])})
    return changed, failed[0] if failed else None


def _remember(
    db: SyncDatabase, session: Session, projection: Projection, parked: ParkedKey
) -> None:
    """That the event was left out, for whoever folds the key again with the same code."""
    row = {"projection": projection.name, "version": projection.version, "key": parked.key}
    db[SKIPPED].insert_one({**row, "position": parked.position}, session=session)


def _take_away(db: SyncDatabase, session: Session, parked: ParkedKey) -> None:
    row = {"_id": parked.id, "position": parked.position}
    if not db[PARKED].delete_one(row, session=session).deleted_count:
        raise NoLongerParked(parked.id)
