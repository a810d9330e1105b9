"""The history of one aggregate: each version with its events, and the state before and after it."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from domain.decider import Decider, message
from domain.recorded import Recorded
from infra.log import EVENTS, Log
from infra.mongo import SyncDatabase


@message
class Version:
    """What one stored event has made of the state. It has several events where it has been split
    since it was stored."""

    number: int
    events: tuple[Recorded, ...]
    before: Any
    after: Any


@message
class History:
    """Some versions in order; `last` is the newest one that there is, 0 for an unknown stream."""

    versions: tuple[Version, ...]
    last: int


async def history(
    log: Log, decider: Decider[Any, Any, Any], stream: str, after: int, most: int
) -> History:
    """At most so many versions after version `after`."""

    def read(db: SyncDatabase) -> History:
        last = db[EVENTS].find_one({"stream": stream}, {"version": 1}, sort=[("version", -1)])
        upto = {"stream": stream, "version": {"$lte": after + most}}
        events = log.all_decoded(db[EVENTS].find(upto, sort=[("version", 1)]))
        earlier = [recorded.event for recorded in events if recorded.version <= after]
        later = events[len(earlier) :]
        return History(
            versions=tuple(_versions(decider, decider.fold(earlier), later)),
            last=last["version"] if last else 0,
        )

    return await log.mongo.run(read)


def _versions(
    decider: Decider[Any, Any, Any], state: Any, events: Sequence[Recorded]
) -> Iterable[Version]:
    for number, group in groupby(events, attrgetter("version")):
        own = tuple(group)
        after = decider.fold((recorded.event for recorded in own), state)
        yield Version(number=number, events=own, before=state, after=after)
        state = after
