"""Whether a log is whole: told its events in order, it names what is changed, missing or cut.

1. Each event is at the next position, is the next version of its stream, and its hash follows from
   the event before. After missing positions the chain cannot hold: they alone are told.
2. The counter ends where the log does, with the same hash.
"""

from collections import Counter
from collections.abc import Callable

import bson
from bson.raw_bson import RawBSONDocument

from domain.recorded import Recorded
from infra.chain import GENESIS, holds
from infra.codec import Unreadable
from infra.log import EVENTS, Head, Log
from infra.mongo import CODEC, Document


class LogCheck:
    """Reports what is wrong, and where."""

    def __init__(self, log: Log, report: Callable[[str, object], None]) -> None:
        self._log, self._report = log, report
        self.events = 0
        self.end = Head(position=0, hash=GENESIS)
        self._versions: Counter[str] = Counter()

    def take(self, raw: RawBSONDocument) -> tuple[Recorded, ...]:
        """The next event as it is today; nothing where it cannot be decoded."""
        stored: Document = bson.decode(raw.raw, CODEC)
        position, before = stored["_id"], self.end
        self.events += 1
        if position != before.position + 1:
            self._report(_missing(before.position + 1, position - 1), position)
        self._check_version(stored, position)
        digest = holds(before.hash, bytes(raw.raw))
        if digest is None:
            digest = bytes(stored.get("hash", GENESIS))
            if position == before.position + 1:
                self._report("the hash chain is broken: changed, or its predecessor is", position)
        self.end = Head(position=position, hash=digest)
        try:
            return self._log.decoded(stored)
        except (Unreadable, KeyError) as error:
            self._report(f"cannot be decoded: {error}", position)
            return ()

    def _check_version(self, stored: Document, position: int) -> None:
        stream, version = stored.get("stream", ""), stored.get("version", 0)
        self._versions[stream] += 1
        expected = self._versions[stream]
        if version != expected:
            self._report(f"{stream} has version {version}, not {expected}", position)
            self._versions[stream] = version if isinstance(version, int) else expected

    async def finish(self) -> None:
        """Check where the log ends."""
        end, head = self.end, await self._log.head()
        if head.position < end.position or (
            head.position == end.position and head.hash != end.hash
        ):
            self._report("the counter does not end where the log does", end.position)
        elif head.position > end.position and not await self._log.stored(end.position, limit=1):
            self._report(f"the log is cut: the counter is at {head.position}", end.position)
        stray = {"_id": {"$not": {"$type": "number"}}}  # no reader sees it, but a decider would
        for event in await self._log.mongo.run(lambda db: list(db[EVENTS].find(stray))):
            self._report("an event without a position", event["_id"])


def _missing(first: int, last: int) -> str:
    return (
        f"position {first} is missing"
        if first == last
        else f"positions {first} to {last} are missing"
    )
