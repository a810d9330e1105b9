"""The generations of the past there are: one record each, in the database.

1. A record is written before its collection, and deleted before its collection is dropped: who has
   read documents and then still finds the record has read all of them.
2. Each build has a collection of its own. Two processes that build the same do no harm.
3. What was not used for long, or is too much together, is removed by any process that runs; so is
   what a killed one has left.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from domain.decider import message
from infra.codec import from_stored, now, to_stored
from infra.folding import Projection
from infra.mongo import Document, Session, SyncDatabase
from infra.settings import PastLimits

PASTS: Final = "pasts"
PREFIX: Final = "past_"
LONGEST_BUILD: Final = timedelta(hours=1)
"""After which a generation that is not ready will not become so."""


class GivenUp(Exception):
    """It took so long that it was taken for one that a killed process had left, or what it was
    made from was mended meanwhile."""


@message
class Past:
    """A read model as of a position. `parked` are the keys that have stayed as they were since a
    position, as one of their events could not be folded."""

    collection: str
    projection: str
    version: int
    position: int
    parked: dict[str, int]


@message
class Kept:
    """How a generation is doing: when it was begun or last used, and its size when it is ready."""

    collection: str
    used: datetime
    size: int | None


def new(projection: Projection, position: int) -> Past:
    """A generation that nobody else builds."""
    return Past(
        collection=f"{PREFIX}{projection.name}_{position}_{uuid4().hex[:8]}",
        projection=projection.name,
        version=projection.version,
        position=position,
        parked={},
    )


def begin(db: SyncDatabase, past: Past) -> None:
    """Tell of it before it is built."""
    record = {"_id": past.collection, "used": now(), "size": None}
    db[PASTS].insert_one({**_stored(past), **record})


def finish(db: SyncDatabase, past: Past, parked: dict[str, int]) -> Past:
    """It may be read from now on; raises `GivenUp` where it was removed meanwhile."""
    ready = replace(past, parked=parked)
    size = db.command("collStats", past.collection)
    values = {**_stored(ready), "used": now(), "size": size["size"] + size["totalIndexSize"]}
    if not db[PASTS].update_one({"_id": past.collection}, {"$set": values}).matched_count:
        raise GivenUp(past.collection)
    return ready


def _stored(past: Past) -> Document:
    """Keys may hold dots and dollars: they are stored as values."""
    return {**to_stored(past), "parked": [list(each) for each in past.parked.items()]}


def ready_ones(db: SyncDatabase, projection: Projection, position: int | None = None) -> list[Past]:
    """Those of a read model that can be read: all, or those of one position."""
    where = {"projection": projection.name, "version": projection.version, "size": {"$ne": None}}
    if position is not None:
        where["position"] = position
    found = list(db[PASTS].find(where))
    if not found:
        return []
    there = _collections(db)  # one dropped by hand would read as an empty one
    return [_past(record) for record in found if record["_id"] in there]


def _past(record: Document) -> Past:
    return from_stored(Past, {**record, "parked": dict(record["parked"])})


def _collections(db: SyncDatabase) -> list[str]:
    return db.list_collection_names(filter={"name": {"$regex": f"^{PREFIX}"}})


def is_there(db: SyncDatabase, past: Past) -> bool:
    """Whether it has not been removed."""
    return db[PASTS].find_one({"_id": past.collection}, {"_id": 1}) is not None


def touch(db: SyncDatabase, collections: Iterable[str]) -> None:
    """Note that these have been used."""
    db[PASTS].update_many({"_id": {"$in": list(collections)}}, {"$max": {"used": now()}})


def remove(db: SyncDatabase, collection: str) -> None:
    """Nobody is to read it any more."""
    db[PASTS].delete_one({"_id": collection})
    db[collection].drop()


def forget(db: SyncDatabase, session: Session, projection: str, position: int = 0) -> None:
    """Those of this position or a later one are not right any more. Whoever reads or builds one
    notices that its record is gone; the next sweep drops its collection."""
    later = {"projection": projection, "position": {"$gte": position}}
    db[PASTS].delete_many(later, session=session)


def sweep(db: SyncDatabase, limits: PastLimits) -> set[str]:
    """Remove what is too old or too much, and collections without a record; what is left."""
    collections = _collections(db)
    kept = [
        Kept(collection=record["_id"], used=record["used"], size=record["size"])
        for record in db[PASTS].find()
    ]
    given_up = superfluous(kept, limits, now())
    known = {each.collection for each in kept}
    for collection in (*given_up, *(name for name in collections if name not in known)):
        remove(db, collection)
    return known.difference(given_up)


def superfluous(kept: Iterable[Kept], limits: PastLimits, at: datetime) -> list[str]:
    """The collections to be removed: the last one used stays, however big it is."""
    oldest = at - timedelta(seconds=limits.seconds)
    dead = [
        each.collection
        for each in kept
        if (each.used < at - LONGEST_BUILD if each.size is None else each.used < oldest)
    ]
    ready = [each for each in kept if each.size is not None and each.collection not in dead]
    room = limits.megabytes * 1_000_000
    for number, each in enumerate(sorted(ready, key=lambda one: one.used, reverse=True)):
        room -= each.size or 0
        if number and (number >= limits.generations or room < 0):
            dead.append(each.collection)
    return dead
