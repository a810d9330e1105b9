"""Parked keys: what waits because an event could not be folded, and how an operator moves on.

Retrying folds the key again from the event it failed at; skipping leaves that event out. Either is
done in one transaction with the checkpoint, whose `repairs` tell the projector to look again.
"""

from functools import partial
from typing import Any

from infra.folding import PARKED, Folder, Projection, collection_of
from infra.log import Log
from infra.mongo import Document, Session, SyncDatabase
from infra.projector import CHECKPOINTS, Checkpoint, Overtaken
from infra.rebuild import checkpoint
from infra.records import ParkedKey, bound


class StillFailing(Exception):
    """The key cannot be folded yet; it stays parked."""


async def parked_keys(log: Log) -> list[ParkedKey]:
    """All that waits, the oldest first."""
    records = await bound(ParkedKey, log.mongo)
    return await records.find_all().sort("+position").to_list()


async def retry(log: Log, projection: Projection, parked: ParkedKey) -> None:
    """Fold the key again from the event it failed at; raises `StillFailing`."""
    await refold(log, projection, parked.key, parked.position - 1)


async def skip(log: Log, projection: Projection, parked: ParkedKey) -> None:
    """Leave out the event it failed at and go on; raises `StillFailing`."""
    await refold(log, projection, parked.key, parked.position)


async def refold(
    log: Log, projection: Projection, key: str, after: int, *, afresh: bool = False
) -> None:
    """Fold one key from the events after a position, onto its document or `afresh` onto none."""
    while True:
        at = await checkpoint(log)
        folder = Folder(projection, collection_of(projection.name, at.generations[projection.name]))
        if afresh:
            folder.expect_new([key])
        else:
            await log.mongo.run(partial(Folder.load, folder, keys=[key]))
        names = [kind.__name__ for kind in projection.events]
        view, position = folder.view(key), 0
        async for events in log.scan(after, at.position, type={"$in": names}):
            mine = {key: folder.touched(events).get(key, [])}
            changed, failed = folder.fold(mine)
            if failed:
                raise StillFailing(f"at position {failed[0].position}: {failed[0].error}")
            if key in changed:
                view, position = changed[key]
                folder.hold(changed)
        try:
            await log.mongo.transaction(_written(folder, key, (view, position), at))
        except Overtaken:
            continue
        return


def _written(folder: Folder, key: str, after: tuple[Any, int], at: Checkpoint) -> Any:
    def write(db: SyncDatabase, session: Session) -> None:
        seen: Document = {"position": at.position, "repairs": at.repairs}
        moved = db[CHECKPOINTS].update_one(
            {"_id": "main", **seen}, {"$inc": {"repairs": 1}}, session=session
        )
        if not moved.matched_count:
            raise Overtaken
        if after[1]:
            folder.write(db, {key: after}, session)
        db[PARKED].delete_one({"_id": f"{folder.projection.name}/{key}"}, session=session)

    return write
