"""Are snapshots what the events make of the states? A changed `evolve` whose decider kept its
`state_version` is found here, before a wrong state has been decided on for long."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from domain.decider import Decider
from infra.log import EVENTS, Log
from infra.mongo import SyncDatabase
from infra.snapshots import SNAPSHOTS, Deciders, decider_of, usable


async def wrong_snapshots(
    log: Log, deciders: Iterable[Decider[Any, Any, Any]]
) -> list[tuple[str, int]]:
    """The streams, with the versions, of snapshots that would be used and are not right."""
    by_category = {decider.category: decider for decider in deciders}
    names = await log.mongo.run(lambda db: db[SNAPSHOTS].distinct("_id"))
    checked = [await log.mongo.run(partial(_wrong, log, by_category, name)) for name in names]
    return [wrong for wrong in checked if wrong]


def _wrong(log: Log, deciders: Deciders, stream: str, db: SyncDatabase) -> tuple[str, int] | None:
    row, decider = db[SNAPSHOTS].find_one({"_id": stream}), decider_of(stream, deciders)
    kept = usable(row, deciders) if row else None
    if kept is None or decider is None:
        return None
    upto = {"stream": stream, "version": {"$lte": kept.version}}
    events = log.all_decoded(db[EVENTS].find(upto, sort=[("version", 1)]))
    state = decider.fold(recorded.event for recorded in events)
    return (stream, kept.version) if state != kept.state else None
