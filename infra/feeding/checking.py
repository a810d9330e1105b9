"""Proof of what is fed over Kafka: folded again from the log, and compared document by document.

All are read at one moment. Each is compared as of the position that its partition had come to then.
"""

from collections.abc import Sequence
from functools import partial

from domain.recorded import Recorded
from infra.differences import Difference, difference
from infra.feeding.group import checkpoint_fed, places, read_rounds
from infra.folding import PARKED, Changed, Folder, Projection, as_read, collection_of, document_of
from infra.kafka import partition_of
from infra.log import Log
from infra.mongo import Document, SyncDatabase


async def wrong_fed(log: Log, projections: Sequence[Projection]) -> list[Difference]:
    """How the documents of those read models that are fed over Kafka differ from the log."""
    at = await log.mongo.run(checkpoint_fed)
    fed = [each for each in projections if at.versions.get(each.name) == each.version]
    return [found for each in fed for found in await _wrong(log, each, at.position)]


async def _wrong(log: Log, projection: Projection, reached: int) -> list[Difference]:
    folder, folded = Folder(projection, ""), Changed()
    listened: Document = {"type": {"$in": log.codec.stored_names(projection.events)}}
    async for events in log.scan(0, reached, **listened):
        _fold(folder, folded, events)
    return await log.mongo.run(partial(_compare, log, folder, folded, reached))


def _fold(folder: Folder, folded: Changed, events: Sequence[Recorded]) -> None:
    touched = folder.touched(events)
    folder.expect_new(touched)
    changed, failed = folder.fold(touched)
    folder.hold(changed)
    folded.update(changed)
    folder.parked.update((one.key, one.position) for one in failed)


def _compare(
    log: Log, folder: Folder, folded: Changed, reached: int, db: SyncDatabase
) -> list[Difference]:
    name = folder.projection.name
    with db.client.start_session(snapshot=True) as session:
        rounds, come_to = read_rounds(db, session), places(db, name, session)
        if rounds is None or name not in rounds.generations:
            return []  # it has gone back to the main group, and is compared there
        last = max(place.position for place in come_to.values())
        news = log.read_within(db, session, reached, last)
        parts = len(come_to)
        _fold(
            folder,
            folded,
            [
                recorded
                for recorded in news
                if recorded.position
                <= come_to[partition_of(recorded.stream.encode(), parts)].position
            ],
        )
        waiting = {row["key"] for row in db[PARKED].find({"projection": name}, session=session)}
        rows = db[collection_of(name, rounds.generations[name])].find(session=session)
        stored = {row["_id"]: row for row in rows}
    expected = {
        key: as_read(document_of(key, view, position))
        for key, (view, position) in folded.items()
        if view is not None
    }
    compared = (
        difference(name, key, last, expected.get(key), stored.get(key))
        for key in sorted((expected.keys() | stored.keys()) - waiting)
    )
    return [found for found in compared if found is not None]
