"""What is published of the log: every event as it is stored, and what `published` makes of it.

The states that fat messages are made of are folded along, event by event, so that each message
tells of its own moment however late it is sent.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from domain.decider import Decider
from domain.recorded import Recorded
from infra.cloud_events import encoded_event
from infra.kafka import EVENTS, Record, partition_of
from infra.log import EVENTS as LOG
from infra.log import Log
from infra.mongo import Document, SyncDatabase
from infra.relaying.lanes import Outgoing
from infra.relaying.records import source_of
from infra.snapshots import decider_of

MOST_REMEMBERED: Final = 20_000
"""States kept in memory; the least recently used goes first."""

Published: TypeAlias = Callable[[Recorded, Any], Iterable[tuple[str, Record]]]
"""What leaves the house because of an event, and by which topic. The state is that of its stream
after it, or None where the stream is not of a kind that is told in full."""


class Composer:
    """Reads the log and makes records of it. `deciders` are those whose states are told in full."""

    def __init__(
        self,
        log: Log,
        published: Published,
        deciders: Iterable[Decider[Any, Any, Any]],
        partitions: Mapping[str, int],
    ) -> None:
        self._log = log
        self._source = source_of(log)
        self._published = published
        self._deciders = {decider.category: decider for decider in deciders}
        self._partitions = partitions
        self._kept: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    async def read(self, after: int, limit: int) -> tuple[int, list[Outgoing]]:
        """The position reached, and all that tells of the events up to there; in one worker
        thread, so that the event loop is not held up."""
        return await self._log.mongo.run(lambda db: self._read(db, after, limit))

    def _read(self, db: SyncDatabase, after: int, limit: int) -> tuple[int, list[Outgoing]]:
        where = {"_id": {"$gt": after}}
        documents = list(db[LOG].find(where, sort=[("_id", 1)], limit=limit))
        if not documents:
            return after, []
        self._load(db, documents)
        told = [each for document in documents for each in self._told(document)]
        while len(self._kept) > MOST_REMEMBERED:
            self._kept.popitem(last=False)
        return documents[-1]["_id"], told

    def _told(self, document: Document) -> Iterator[Outgoing]:
        position, parts = document["_id"], self._log.decoded(document)
        event = encoded_event(document, parts[0].meta, self._source)
        yield self._outgoing(EVENTS, position, Record(*event))
        for recorded, state in self._with_states(parts):
            for topic, record in self._published(recorded, state):
                yield self._outgoing(topic, position, record)

    def _outgoing(self, topic: str, position: int, record: Record) -> Outgoing:
        assert record.key is not None, "what is told is told of something"
        return Outgoing(topic, partition_of(record.key, self._partitions[topic]), position, record)

    def _with_states(self, parts: Sequence[Recorded]) -> Iterator[tuple[Recorded, Any]]:
        """The events that a stored one is read as, each with the state after it."""
        stream, version = parts[0].stream, parts[0].version
        decider = decider_of(stream, self._deciders)
        if decider is None:
            yield from ((recorded, None) for recorded in parts)
            return
        _, state = self._kept[stream]
        for recorded in parts:
            state = decider.evolve(state, recorded.event)
            yield recorded, state
        self._kept[stream] = version, state
        self._kept.move_to_end(stream)

    def _load(self, db: SyncDatabase, documents: Sequence[Document]) -> None:
        """Have the states in memory that the streams had before these events."""
        missing = []
        for stream, before in _versions_before(documents).items():
            decider = decider_of(stream, self._deciders)
            if decider is None or (stream in self._kept and self._kept[stream][0] == before):
                continue
            self._kept[stream] = before, decider.initial
            if before:
                missing.append(stream)
        if missing:
            upto = documents[0]["_id"] - 1
            for stream, events in self._log.streams_in(db, missing, upto).items():
                state = self._deciders[stream.partition("-")[0]].fold(r.event for r in events)
                self._kept[stream] = events[-1].version, state


def _versions_before(documents: Iterable[Document]) -> dict[str, int]:
    before: dict[str, int] = {}
    for document in documents:
        before.setdefault(document["stream"], document["version"] - 1)
    return before
