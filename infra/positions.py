"""From a moment to a position of the log.

1. A time is after every event that was recorded at or before it: several of one millisecond count
   together.
2. Times grow with positions, but for clocks that disagree. Where they do, the answer is a place
   where time goes past: the event there was recorded by then, the next one later. It stays the same
   while the log grows on.
"""

from collections.abc import Callable
from datetime import datetime

from infra.log import COUNTERS, EVENTS, Log
from infra.mongo import SyncDatabase


class PositionUnknown(Exception):
    """The log does not go that far."""

    def __init__(self, position: int, head: int) -> None:
        self.position, self.head = position, head
        super().__init__(f"Position {position} is not known: the log ends at {head}.")


class VersionUnknown(Exception):
    """The stream has no event of that version."""

    def __init__(self, stream: str, version: int) -> None:
        self.stream, self.version = stream, version
        super().__init__(f"{stream} has no version {version}.")


async def position_at(log: Log, time: datetime) -> int:
    """The last event recorded at or before `time`; 0 before the first one."""

    def search(db: SyncDatabase) -> int:
        def is_by_then(position: int) -> bool:
            only = {"_id": 0, "meta.recorded_at": 1}
            found = db[EVENTS].find_one({"_id": position}, only)
            return found is not None and bool(found["meta"]["recorded_at"] <= time)

        head = db[COUNTERS].find_one({"_id": "log"})
        return last(head["position"] if head else 0, is_by_then)

    return await log.mongo.run(search)


def last(head: int, holds: Callable[[int], bool]) -> int:
    """The last of 1 … `head` for which it holds, where it holds for all before; 0 if for none.

    The steps are powers of two whatever the head is, so that more at the end change nothing.
    """
    found = 0
    for power in reversed(range(head.bit_length())):
        step = found + (1 << power)
        if step <= head and holds(step):
            found = step
    return found


async def position_of(log: Log, stream: str, version: int) -> int:
    """Where the log has this version of a stream; raises `VersionUnknown`."""
    found = await log.mongo.run(
        lambda db: db[EVENTS].find_one({"stream": stream, "version": version}, {"_id": 1})
    )
    if found is None:
        raise VersionUnknown(stream, version)
    return int(found["_id"])
