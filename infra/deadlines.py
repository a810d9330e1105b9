"""Deadlines: kept in MongoDB until they are dropped or have passed.

The reactor sets, drops and deletes them in its own transactions; see there why each fires once.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from pymongo import DeleteOne, ReplaceOne

from infra.codec import from_stored, to_stored
from infra.following import Deadline
from infra.mongo import Document, Session, SyncDatabase

DEADLINES: Final = "deadlines"
MOST_AT_ONCE: Final = 500


def index_deadlines(db: SyncDatabase) -> None:
    db[DEADLINES].create_index([("follower", 1), ("at", 1)])


def due(
    db: SyncDatabase, follower: str, at: datetime, parked: Iterable[str]
) -> tuple[list[Deadline], datetime | None]:
    """The deadlines that have passed, of each story the first; and when to look again, if known."""
    waiting = db[DEADLINES].find(
        {"follower": follower, "story": {"$nin": list(parked)}},
        sort=[("at", 1)],
        limit=MOST_AT_ONCE,
    )
    found: dict[str, Deadline] = {}
    for stored in waiting:
        deadline = from_stored(Deadline, stored)
        if deadline.at > at or deadline.story in found:
            return list(found.values()), deadline.at
        found[deadline.story] = deadline
    return list(found.values()), at if len(found) == MOST_AT_ONCE else None


def write_deadlines(
    db: SyncDatabase, deadlines: Mapping[str, Deadline | None], session: Session
) -> None:
    """Set those that are given, and drop those that are None."""
    if deadlines:
        db[DEADLINES].bulk_write(
            [_written(key, deadline) for key, deadline in deadlines.items()],
            ordered=False,
            session=session,
        )


def _written(key: str, deadline: Deadline | None) -> ReplaceOne[Document] | DeleteOne:
    if deadline is None:
        return DeleteOne({"_id": key})
    return ReplaceOne({"_id": key}, {"_id": key, **to_stored(deadline)}, upsert=True)
