"""Looking at some keys of a read model: are their documents what the log makes of them?

Documents, checkpoint and events are read at one moment, so a projector at work does no harm. Two
ways: by key, where a read model can name the streams of a key; else along the log, of which all is
read for the keys of a range. Both are done in worker threads, a little at a time.
"""

from collections.abc import Collection, Iterable, Sequence

from domain.decider import message
from domain.recorded import Recorded
from infra.differences import Difference, difference
from infra.folding import (
    Changed,
    Folder,
    LeftOut,
    Projection,
    as_read,
    collection_of,
    document_of,
    left_out_in,
)
from infra.generations import checkpoint_of
from infra.log import EVENTS, Log
from infra.mongo import Document, Session, SyncDatabase
from infra.projector import Checkpoint


@message
class Range:
    """Keys above `after` up to `upto`, or to the end."""

    after: str = ""
    upto: str | None = None

    def __contains__(self, key: str) -> bool:
        return self.after < key and (self.upto is None or key <= self.upto)

    @property
    def where(self) -> Document:
        """The filter for its documents."""
        end = {} if self.upto is None else {"$lte": self.upto}
        return {"_id": {"$gt": self.after, **end}}


def live_collection(at: Checkpoint, projection: Projection) -> str | None:
    """Where this release's documents are; None while another release's, or none, are live."""
    if at.versions.get(projection.name) != projection.version:
        return None
    return collection_of(projection.name, at.generations[projection.name])


def look_by_key(
    log: Log, projection: Projection, keys: Sequence[str], db: SyncDatabase
) -> list[Difference]:
    """The documents of these keys that differ; the read model can name their streams."""
    with db.client.start_session(snapshot=True) as session:
        at = checkpoint_of(db, session)
        collection = live_collection(at, projection)
        if collection is None:
            return []
        names = {name for key in keys for name in _streams(projection, key)}
        events = _events(log, names, at.position, (db, session))
        stored = list(db[collection].find({"_id": {"$in": list(keys)}}, session=session))
        left_out = left_out_in(db, projection, session)
    folder = Folder(projection, "")
    folder.leave_out(left_out)
    folded = fold(folder, keys, events)
    looked_at = set(keys) - folder.parked.keys()
    return compared(projection.name, at.position, looked_at, folded, stored)


def _streams(projection: Projection, key: str) -> tuple[str, ...]:
    assert projection.streams is not None, "it is looked at by key"
    return projection.streams(key)


def _events(
    log: Log, streams: Iterable[str], upto: int, within: tuple[SyncDatabase, Session]
) -> list[Recorded]:
    db, session = within
    where = {"stream": {"$in": list(streams)}, "_id": {"$lte": upto}}
    order = [("stream", 1), ("version", 1)]  # by its index; to sort by position MongoDB scans all
    found = log.all_decoded(db[EVENTS].find(where, sort=order, session=session))
    return sorted(found, key=lambda recorded: recorded.position)


def fold(folder: Folder, keys: Collection[str] | Range, events: Iterable[Recorded]) -> Changed:
    """What these events make of the keys; one that cannot be folded is left out from there on."""
    touched = {key: told for key, told in folder.touched(events).items() if key in keys}
    folder.expect_new(touched)
    changed, failed = folder.fold(touched)
    folder.hold(changed)
    folder.parked.update((one.key, one.position) for one in failed)
    return changed


def compared(
    projection: str, position: int, keys: Iterable[str], folded: Changed, stored: Iterable[Document]
) -> list[Difference]:
    """How what is stored under these keys differs from what was folded."""
    there = {document["_id"]: document for document in stored}
    found = (
        difference(projection, key, position, _expected(key, folded), there.get(key))
        for key in sorted(keys)
    )
    return [each for each in found if each is not None]


def _expected(key: str, folded: Changed) -> Document | None:
    view, position = folded.get(key, (None, 0))
    return None if view is None else as_read(document_of(key, view, position))


class Walk:
    """Along the log for one read model, folding the keys of a range; then `look`."""

    def __init__(self, projection: Projection, keys: Range, left_out: LeftOut) -> None:
        self.projection, self.keys = projection, keys
        self._folder = Folder(projection, "")
        self._folder.leave_out(left_out)
        self._folded: Changed = {}

    def take(self, events: Iterable[Recorded]) -> None:
        """Fold what comes next."""
        self._folded.update(fold(self._folder, self.keys, events))

    def look(self, at: Checkpoint, db: SyncDatabase, session: Session) -> list[Difference]:
        """The documents of the range that differ, all events up to the checkpoint being taken."""
        collection = live_collection(at, self.projection)
        if collection is None:
            return []
        stored = list(db[collection].find(self.keys.where, session=session))
        keys = self._folded.keys() | {document["_id"] for document in stored}
        keys -= self._folder.uncertain(left_out_in(db, self.projection, session))
        return compared(self.projection.name, at.position, keys, self._folded, stored)
