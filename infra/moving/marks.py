"""What a database remembers of an import into it."""

from typing import Final

from domain.decider import message
from infra.codec import from_stored, to_stored
from infra.log import COUNTERS, Log

_ID: Final = "imported"


@message
class Mark:
    """`whole` once all of the file is here; `redacted` where personal data was left out of it."""

    whole: bool = True
    redacted: bool = False


async def mark_of(log: Log) -> Mark:
    """Of the last import; of a log of its own where there was none."""
    found = await log.mongo.run(lambda db: db[COUNTERS].find_one({"_id": _ID}))
    return from_stored(Mark, found or {})


async def mark(log: Log, told: Mark) -> None:
    await log.mongo.run(
        lambda db: db[COUNTERS].update_one({"_id": _ID}, {"$set": to_stored(told)}, upsert=True)
    )


async def why_no_reactions(log: Log) -> str | None:
    """Why nothing may react to this log; None where it may."""
    mark = await mark_of(log)
    if mark.redacted:
        return "personal data was left out of this log: it is for looking at only"
    if not mark.whole:
        return "this log is imported in part: run `tidings import` again"
    return None
