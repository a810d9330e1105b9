"""The log: every event, once, in commit order.

1. Positions are dense: the head moves in the same transaction, as its first write, from exactly
   where the writer knew it to be. A writer that did not know of others' events is told `Behind`.
2. Acknowledged means majority and journal.
3. An event states its version in its stream; a version taken already is a `VersionTaken`.
4. One append may span streams and commands, all or nothing.
5. Each command is recorded with its answer in the same transaction; a repeat is a `CommandSeen`.
6. Events are chained by hash; the head of the chain sits with the position (see `chain`).
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final
from uuid import uuid4

import bson
from pymongo.errors import OperationFailure

from domain.decider import message
from domain.recorded import Meta, Recorded
from infra.chain import GENESIS, chained
from infra.codec import EventCodec, schema_of, to_stored
from infra.mongo import Document, Mongo, Session, SyncDatabase
from infra.one_trip import in_one_trip, insert, update

EVENTS: Final = "events"
COMMANDS: Final = "commands"
COUNTERS: Final = "counters"
SCAN_BATCH: Final = 5_000
SCAN_AHEAD: Final = 2
"""Batches that are fetched while one is worked on."""
RECENT: Final = 2_000
"""Events kept in memory of those that this process has appended: who follows the log here is told
without asking for what has just been written."""
_DUPLICATE: Final = 11000


class Behind(Exception):
    """The head has moved: others have appended since."""


class VersionTaken(Exception):
    """A stream has an event of this version already."""


class CommandSeen(Exception):
    """A command of this append has been recorded before."""


@message
class Head:
    """The last position (0 for an empty log) and the hash of the event there."""

    position: int
    hash: bytes


@message
class NewEvent:
    """An event to be appended as `version` of `stream`."""

    event: Any
    stream: str
    version: int
    meta: Meta


class Log:
    """The events of one database."""

    def __init__(self, mongo: Mongo, codec: EventCodec) -> None:
        self.mongo = mongo
        self.codec = codec
        self.id = uuid4().hex
        """Tells who has moved the head, so that nobody is woken by what it knows."""
        self.appended = 0
        """The last position that this process has appended."""
        self._recent: deque[Recorded] = deque(maxlen=RECENT)
        self._listeners: list[Callable[[Sequence[NewEvent]], None]] = []

    async def prepare(self) -> None:
        """Create collections, indexes and the head; harmless when they exist."""
        clustered = {"clusteredIndex": {"key": {"_id": 1}, "unique": True, "name": "position"}}
        await self.mongo.prepare({EVENTS: clustered, COMMANDS: {}, COUNTERS: {}})

        def indexes(db: SyncDatabase) -> None:
            db[EVENTS].create_index([("stream", 1), ("version", 1)], unique=True)
            db[COUNTERS].update_one(
                {"_id": "log"}, {"$setOnInsert": {"position": 0, "hash": GENESIS}}, upsert=True
            )

        await self.mongo.run(indexes)

    def listen(self, listener: Callable[[Sequence[NewEvent]], None]) -> None:
        """Call `listener` with the events of each append by this process."""
        self._listeners.append(listener)

    async def head(self) -> Head:
        """Where the log ends now."""
        found = await self.mongo.run(lambda db: db[COUNTERS].find_one({"_id": "log"}))
        assert found is not None, "the log has been prepared"
        return Head(position=found["position"], hash=bytes(found["hash"]))

    async def append(
        self, head: Head, events: Sequence[NewEvent], commands: Sequence[Document] = ()
    ) -> Head:
        """Append after `head` and answer with the new head.

        Raises `Behind`, `VersionTaken`, `CommandSeen`, or `infra.mongo.Unavailable`; the last
        leaves open whether the append took place, which the command records answer later.
        """

        def write(db: SyncDatabase, session: Session) -> Head:
            documents, after = self._encoded(head, events)
            mark = f"{self.id}:{after.position}"
            move = update(
                COUNTERS,
                {"_id": "log", "position": head.position},
                {"$set": {"position": after.position, "hash": after.hash, "by": mark}},
            )
            # Records first: what a repeat would append is none of its events' fault.
            records = list(insert(COMMANDS, map(bson.encode, commands)))
            answers = in_one_trip(db, session, [move, *records, *insert(EVENTS, documents)])
            if not answers[0]["n"]:
                raise Behind
            _check(answers[-1], CommandSeen if len(answers) <= 1 + len(records) else VersionTaken)
            return after

        after = await self.mongo.transaction(write)
        self._remember(head, events)
        self.appended = after.position
        for listener in self._listeners:
            listener(events)
        return after

    def _remember(self, head: Head, events: Iterable[NewEvent]) -> None:
        if self.appended != head.position:  # others have appended in between
            self._recent.clear()
        self._recent.extend(
            Recorded(
                event=new.event,
                position=position,
                stream=new.stream,
                version=new.version,
                meta=new.meta,
            )
            for position, new in enumerate(events, start=head.position + 1)
        )

    def recent(self, after: int, limit: int, upto: int | None = None) -> list[Recorded]:
        """Events above `after` from memory, without a gap; none where it does not hold them."""
        last = self.appended if upto is None else upto
        if not self._recent or not self._recent[0].position <= after + 1 <= last <= self.appended:
            return []
        start = after + 1 - self._recent[0].position
        return list(islice(self._recent, start, start + min(limit, last - after)))

    def _encoded(self, head: Head, events: Iterable[NewEvent]) -> tuple[list[bytes], Head]:
        documents, position, digest = [], head.position, head.hash
        for new in events:
            position += 1
            raw, digest = chained(
                digest,
                {
                    "_id": position,
                    "stream": new.stream,
                    "version": new.version,
                    "type": type(new.event).__name__,
                    "schema": schema_of(type(new.event)),
                    "data": to_stored(new.event),
                    "meta": to_stored(new.meta),
                },
            )
            documents.append(raw)
        return documents, Head(position=position, hash=digest)

    def decoded(self, stored: Document) -> tuple[Recorded, ...]:
        """The stored document as today's events; raises `infra.codec.Unreadable`."""
        return self.codec.recorded(stored)

    def all_decoded(self, stored: Iterable[Document]) -> list[Recorded]:
        """All these documents as today's events."""
        return [recorded for document in stored for recorded in self.codec.recorded(document)]

    async def stored(
        self, after: int, upto: int | None = None, limit: int = 0, **where: Any
    ) -> list[Document]:
        """Stored documents of positions above `after`, in order; `where` narrows them."""
        place = {"$gt": after} if upto is None else {"$gt": after, "$lte": upto}
        return await self.mongo.run(
            lambda db: list(
                db[EVENTS].find({"_id": place, **where}, sort=[("_id", 1)], limit=limit)
            )
        )

    def read_within(
        self, db: SyncDatabase, session: Session, after: int, upto: int, **where: Any
    ) -> list[Recorded]:
        """Events above `after` up to `upto`, read as part of a transaction."""
        place = {"$gt": after, "$lte": upto}
        found = db[EVENTS].find({"_id": place, **where}, sort=[("_id", 1)], session=session)
        return self.all_decoded(found)

    async def read(
        self, after: int, upto: int | None = None, limit: int = 0, **where: Any
    ) -> list[Recorded]:
        """Events of positions above `after`, in order; decoded where they arrive, in the worker
        thread, so that the event loop is not held up.

        `limit` counts stored events: where one was split, all its parts come. With a limit and no
        `upto` there may be more, however few are given.
        """
        if limit and not where and (found := self.recent(after, limit, upto)):
            return found
        place = {"$gt": after} if upto is None else {"$gt": after, "$lte": upto}
        return await self.mongo.run(
            lambda db: self.all_decoded(
                db[EVENTS].find({"_id": place, **where}, sort=[("_id", 1)], limit=limit)
            )
        )

    async def scan(
        self, after: int = 0, upto: int | None = None, **where: Any
    ) -> AsyncIterator[list[Recorded]]:
        """Events in order, in batches, to where the log ends now unless told otherwise.

        Positions are dense, so it is known where each batch begins: the next ones are fetched
        while one is worked on.
        """
        end = (await self.head()).position if upto is None else upto
        fetching: deque[asyncio.Task[list[Recorded]]] = deque()
        try:
            for start in range(after, end, SCAN_BATCH):
                batch = self.read(start, min(start + SCAN_BATCH, end), **where)
                fetching.append(asyncio.create_task(batch))
                if len(fetching) > SCAN_AHEAD and (events := await fetching.popleft()):
                    yield events
            while fetching:
                if events := await fetching.popleft():
                    yield events
        finally:
            for task in fetching:
                task.cancel()

    async def streams(
        self, names: Iterable[str], upto: int | None = None
    ) -> dict[str, list[Recorded]]:
        """The events of each named stream, by version; an unknown stream has none. `upto` leaves
        out those of later positions."""
        return await self.mongo.run(lambda db: self.streams_in(db, names, upto))

    def streams_in(
        self, db: SyncDatabase, names: Iterable[str], upto: int | None = None
    ) -> dict[str, list[Recorded]]:
        """The same for one who is in a worker thread already."""
        found: dict[str, list[Recorded]] = {name: [] for name in names}
        where: Document = {"stream": {"$in": list(found)}}
        if upto is not None:
            where["_id"] = {"$lte": upto}
        for document in db[EVENTS].find(where, sort=[("stream", 1), ("version", 1)]):
            found[document["stream"]] += self.decoded(document)
        return found

    async def commands(self, ids: Sequence[str]) -> dict[str, Document]:
        """What has been recorded of these commands."""
        rows = await self.mongo.run(lambda db: list(db[COMMANDS].find({"_id": {"$in": ids}})))
        return {row["_id"]: row for row in rows}


def _check(answer: Document, taken: type[Exception]) -> None:
    """Raise what the answer complains of: `taken` where that is a duplicate."""
    for error in answer.get("writeErrors", ()):
        if error.get("code") == _DUPLICATE:
            raise taken
        raise OperationFailure(error.get("errmsg", ""), error.get("code"), answer)
