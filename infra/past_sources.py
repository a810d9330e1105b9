"""What a generation of the past, as of a position P, begins with: documents near it.

1. There are the nearest generations of the past before and after it, and the live one.
2. From an earlier one the build goes forward over the events between. From a later one it goes
   back: it reads the events between for what they touch, then what touched that before.
3. A document whose position is not above P is as it was at P, whenever it is read. So the
   live ones may move on while they are copied.
"""

from typing import Final

from domain.decider import message
from infra import past_records
from infra.folding import Projection
from infra.generations import checkpoint_of
from infra.log import EVENTS
from infra.looking import live_collection
from infra.mongo import SyncDatabase
from infra.past_records import Past

AGAIN: Final = 2
"""What an event costs that is read by its stream, against one read in order: all of the latter
count, also those of other read models, which the server passes over."""

SAMPLE: Final = 50
"""Documents looked at to guess how many events all of them have."""


class SourceGone(Exception):
    """What was copied from was removed, or is not live any more."""


@message
class Source:
    """Documents of a collection, as of a position. `past` is None for the live ones."""

    collection: str
    position: int
    past: Past | None = None

    @property
    def parked(self) -> dict[str, int]:
        """Keys that wait there; those of the live documents are known elsewhere."""
        return self.past.parked if self.past else {}


NOTHING: Final = Source(collection="", position=0)
"""How every read model began."""


def copied(db: SyncDatabase, projection: Projection, target: Past) -> Source:
    """The source with the fewest events to be read, once its unchanged documents are in the target.

    Of the live documents, the position that they had come to then. Raises `SourceGone`.
    """
    source = _cheapest(db, projection, target.position)
    if source is NOTHING:
        return source
    unchanged = {"$match": {"position": {"$lte": target.position}}}
    db[source.collection].aggregate([unchanged, {"$out": target.collection}])
    if source.past is not None:
        if not past_records.is_there(db, source.past):
            raise SourceGone(source.collection)
        return source
    still = _live(db, projection)
    if still is None or still.collection != source.collection:
        raise SourceGone(source.collection)
    return still


def _cheapest(db: SyncDatabase, projection: Projection, position: int) -> Source:
    there = [_source(past) for past in past_records.ready_ones(db, projection)]
    lower = max((s for s in there if s.position <= position), key=_position, default=NOTHING)
    upper = min((s for s in there if s.position > position), key=_position, default=None)
    upper = upper or _live(db, projection)
    forward = position - lower.position
    if upper is None or projection.streams is None or upper.position - position >= forward:
        return lower
    again = _earlier_events(db, projection, upper, position)
    back = upper.position - position + AGAIN * again
    return upper if back < forward else lower


def _source(past: Past) -> Source:
    return Source(collection=past.collection, position=past.position, past=past)


def _position(source: Source) -> int:
    return source.position


def _live(db: SyncDatabase, projection: Projection) -> Source | None:
    """The live documents; None while another version of the read model is live, or none."""
    at = checkpoint_of(db)
    collection = live_collection(at, projection)
    if collection is None:
        return None
    return Source(collection=collection, position=at.position)


def _earlier_events(db: SyncDatabase, projection: Projection, source: Source, position: int) -> int:
    """About how many events up to a position are of documents that have changed after it."""
    assert projection.streams is not None, "it is only asked where that is known"
    documents, changed = db[source.collection], {"position": {"$gt": position}}
    some = list(documents.aggregate([{"$match": changed}, {"$sample": {"size": SAMPLE}}]))
    if not some:
        return 0
    names = [name for row in some for name in projection.streams(row["_id"])]
    events = db[EVENTS].count_documents({"stream": {"$in": names}, "_id": {"$lte": position}})
    return events * documents.count_documents(changed) // len(some)
