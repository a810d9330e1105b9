"""What the sampler has found: kept for operators, the oldest goes first."""

from datetime import datetime
from typing import Final

from domain.decider import message
from infra.codec import from_stored, to_stored
from infra.differences import Difference
from infra.mongo import Mongo, SyncDatabase

FOUND: Final = "differences"
_MOST: Final = {"capped": True, "size": 4 * 1024 * 1024, "max": 1_000}


@message
class Found:
    """A difference, when it was found, and whether the document has been made anew."""

    at: datetime
    difference: Difference
    repaired: bool


async def prepare_found(mongo: Mongo) -> None:
    """Create the collection; harmless when it exists."""
    await mongo.prepare({FOUND: _MOST})


async def keep_found(mongo: Mongo, found: list[Found]) -> None:
    """Add to what is kept."""
    await mongo.run(lambda db: db[FOUND].insert_many([to_stored(each) for each in found]))


async def found_lately(mongo: Mongo, most: int) -> list[Found]:
    """What was found last comes first."""

    def read(db: SyncDatabase) -> list[Found]:
        rows = db[FOUND].find(sort=[("$natural", -1)], limit=most)
        return [from_stored(Found, row) for row in rows]

    return await mongo.run(read)
