"""Repair: documents made anew from all their events.

In one transaction that takes hold of the checkpoint: it does not move until the documents are
written, and its `repairs` tell the projector to forget what it holds in memory. So do generations
of the past, which may be copies of the documents as they were.
"""

from collections.abc import Collection, Iterable
from functools import partial

from domain.recorded import Recorded
from infra import past_records
from infra.codec import from_stored
from infra.differences import events_of
from infra.folding import PARKED, Changed, Folder, Projection, left_out_in
from infra.generations import checkpoint_of
from infra.log import Log
from infra.looking import live_collection
from infra.mongo import Document, Session, SyncDatabase
from infra.projector import CHECKPOINTS, MAIN, Checkpoint, Overtaken


async def repair(log: Log, projection: Projection, keys: Collection[str]) -> set[str]:
    """Fold these keys again and write them; answers with those it could. The others are parked, or
    cannot be folded."""
    while True:
        try:
            return await _repaired(log, projection, keys)
        except Overtaken:
            continue


def held(db: SyncDatabase, session: Session) -> Checkpoint:
    """The checkpoint, which does not move until the transaction ends."""
    before = db[CHECKPOINTS].find_one_and_update(
        {"_id": MAIN}, {"$inc": {"repairs": 1}}, session=session
    )
    return from_stored(Checkpoint, before)


async def _repaired(log: Log, projection: Projection, keys: Collection[str]) -> set[str]:
    at = await log.mongo.run(checkpoint_of)
    collection = live_collection(at, projection)
    if collection is None:
        return set()
    folder = Folder(projection, collection)
    folder.leave_out(await log.mongo.run(partial(left_out_in, projection=projection)))
    folder.expect_new(keys)
    changed: Changed = dict.fromkeys(keys, (None, at.position))  # what no event explains goes
    async for events in events_of(log, projection, keys, at.position):
        changed.update(_fold(folder, keys, events))

    def write(db: SyncDatabase, session: Session) -> set[str]:
        """May be tried again, so it leaves what is folded as it is."""
        now = held(db, session)
        if (now.generations, now.repairs) != (at.generations, at.repairs):
            raise Overtaken  # an operator may have skipped an event
        of_these: Document = {"projection": projection.name, "key": {"$in": list(keys)}}
        waiting = {row["key"] for row in db[PARKED].find(of_these, session=session)}
        events = log.read_within(db, session, at.position, now.position)
        whole = {**changed, **_fold(folder, keys, events)}
        good = {key: whole[key] for key in keys if key not in waiting | folder.parked.keys()}
        folder.write(db, good, session)
        past_records.forget(db, session, projection.name)
        return set(good)

    return await log.mongo.transaction(write)


def _fold(folder: Folder, keys: Collection[str], events: Iterable[Recorded]) -> Changed:
    """The documents after these events; one that fails is not folded any more."""
    touched = {key: told for key, told in folder.touched(events).items() if key in keys}
    changed, failed = folder.fold(touched)
    folder.parked.update((one.key, one.position) for one in failed)
    return changed
