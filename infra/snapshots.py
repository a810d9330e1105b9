"""Snapshots: states of long streams, so that deciding need not begin at the first event.

1. A cache. Without a snapshot, or with one that cannot be used, a stream is folded from its first
   event: all snapshots may be deleted at any time.
2. A snapshot is of an event that has been committed, and keeps its hash. The hash covers the whole
   log up to there, so a snapshot of another history (a log restored or changed) is not used.
3. Nor is one of another shape of the state, or of another `state_version` of the decider.
4. It is written in the background, never in the way of a command; one that is lost is no loss.
5. A short stream costs no look for a snapshot: its newest few events are read first, and mostly are
   all. Of a long one they mostly reach back to its snapshot. Where many streams are loaded at once,
   a call more is shared by all: their snapshots are read first.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TypeAlias, get_args, get_origin, get_type_hints

import msgspec
from pymongo import ReplaceOne
from pymongo.errors import PyMongoError

from domain.decider import Decider, message
from infra import metrics
from infra.codec import fingerprint
from infra.log import EVENTS, Log
from infra.mongo import Document, Mongo, SyncDatabase, Unavailable

log = logging.getLogger("tidings.snapshots")

SNAPSHOTS: Final = "snapshots"

FEW: Final = 12
"""Events of a stream that are read before it is asked for a snapshot. That question is a call of
its own, which costs as much as reading some twenty events: most streams never have that many."""

MANY: Final = 8
"""Streams from which on their snapshots are asked for first: of long ones, a few events of each
would be read in vain."""

FOLDED: Final = 32
"""Events after its snapshot that a loaded stream had, for a new one to be written: reading and
folding them has cost about as much as the calls that loading takes anyway. Waiting for more would
make commands slower; not waiting would write a state for every few events."""

GROWN: Final = 500
"""Events that a stream in memory has grown by, for a new one to be written. It is only for the next
process, which reads and folds so many in some ten milliseconds."""

MOST_BYTES: Final = 15_000_000
"""Of a state that is kept: MongoDB takes 16 MB."""

MOST_WAITING: Final = 1_000
"""States that wait to be written; what comes on top is let go."""

Deciders: TypeAlias = Mapping[str, Decider[Any, Any, Any]]
"""By category."""


@message
class Versioned:
    """The state of a stream after its event number `version` (0: nothing has happened), and the
    version of the newest snapshot that is known of or on its way."""

    state: Any
    version: int
    snapshot: int = 0


def decider_of(stream: str, deciders: Deciders) -> Decider[Any, Any, Any] | None:
    """The decider for a stream, by the category its name begins with."""
    return deciders.get(stream.partition("-")[0])


# -- which snapshots can be used


def state_schema(decider: Decider[Any, Any, Any]) -> str:
    """Says of a snapshot whether this decider can go on from it."""
    kind: Any = type(decider.initial)
    return _schema(decider.state_version, kind)


@cache
def _schema(number: int, kind: Any) -> str:
    return fingerprint(number, shape(kind))


def shape(kind: Any, above: tuple[Any, ...] = ()) -> str:
    """The fields and types that a value of this type is made of, all the way down."""
    if kind in above:
        return str(kind.__name__)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        parts = (f"{f.name}: {shape(hints[f.name], (*above, kind))}" for f in fields(kind))
        return f"{kind.__name__}({', '.join(parts)})"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"{kind.__name__}({', '.join(repr(member.value) for member in kind)})"
    if arguments := get_args(kind):
        return f"{get_origin(kind)}[{', '.join(shape(part, above) for part in arguments)}]"
    return repr(kind)


def usable(row: Document, deciders: Deciders) -> Versioned | None:
    """The state in a snapshot, unless it is of another shape or cannot be read."""
    decider = decider_of(row["_id"], deciders)
    try:
        if decider is None or row["schema"] != state_schema(decider):
            return None
        state = msgspec.msgpack.decode(row["state"], type=type(decider.initial))
        return Versioned(state=state, version=row["version"], snapshot=row["version"])
    except (KeyError, TypeError, msgspec.MsgspecError):
        return None


# -- loading


def load_states(
    db: SyncDatabase, events: Log, deciders: Deciders, streams: Iterable[str]
) -> dict[str, Versioned]:
    """The states of these streams. What names no kind of aggregate (an id that a client made up)
    has no state and no events."""
    found = {stream: Versioned(state=None, version=0) for stream in streams}
    known = {s: decider for s in found if (decider := decider_of(s, deciders))}
    begun, documents = _begun(db, deciders, list(known))
    by_stream = _by_stream(documents)
    for stream, decider in known.items():
        start = begun.get(stream, Versioned(state=decider.initial, version=0))
        found[stream] = _folded(decider, start, by_stream.get(stream, ()), events)
    return found


def _begun(
    db: SyncDatabase, deciders: Deciders, streams: Sequence[str]
) -> tuple[dict[str, Versioned], list[Document]]:
    """The states to begin from, and at least the events after each of them; all events of the
    others."""
    newest: list[Document] = []
    few = FEW * len(streams)
    if len(streams) < MANY:
        newest = _newest(db, streams, few)
        if len(newest) < few or not few:
            return {}, newest
    rows = {row["_id"]: row for row in db[SNAPSHOTS].find({"_id": {"$in": streams}})}
    begun = {s: state for s, row in rows.items() if (state := usable(row, deciders))}
    if len(streams) == 1 and any(_is_of(rows[s], event) for s in begun for event in newest):
        return begun, newest
    documents = _events(db, _from(begun, streams))
    first = {stream: own[0] for stream, own in _by_stream(documents).items()}
    strange = [s for s in begun if not _is_of(rows[s], first.get(s))]
    if strange:
        begun = {s: state for s, state in begun.items() if s not in strange}
        documents = _events(db, _from(begun, streams))
    return begun, documents


def _from(begun: Mapping[str, Versioned], streams: Iterable[str]) -> list[Document]:
    """Which events: from that of the snapshot on, which proves that it is of this history."""
    rest = [stream for stream in streams if stream not in begun]
    later = [{"stream": s, "version": {"$gte": at.version}} for s, at in begun.items()]
    return [{"stream": {"$in": rest}}, *later]


def _is_of(row: Document, event: Document | None) -> bool:
    """Whether the snapshot was taken after this event."""
    wanted = (row["version"], row.get("hash"))
    return event is not None and (event["version"], event.get("hash")) == wanted


def _events(db: SyncDatabase, places: Sequence[Document]) -> list[Document]:
    return list(db[EVENTS].find({"$or": places}, sort=[("stream", 1), ("version", 1)]))


def _newest(db: SyncDatabase, streams: Sequence[str], limit: int) -> list[Document]:
    """The events of these streams in the same order; no more than the last `limit` of them."""
    backwards = [("stream", -1), ("version", -1)]
    found = db[EVENTS].find({"stream": {"$in": streams}}, sort=backwards, limit=limit)
    return list(found)[::-1]


def _by_stream(documents: Iterable[Document]) -> dict[str, list[Document]]:
    return {stream: list(own) for stream, own in groupby(documents, itemgetter("stream"))}


def _folded(
    decider: Decider[Any, Any, Any],
    start: Versioned,
    documents: Sequence[Document],
    events: Log,
) -> Versioned:
    """The state after the events that `start` lacks."""
    later = [document for document in documents if document["version"] > start.version]
    if not later:
        return start
    state = decider.fold((r.event for r in events.all_decoded(later)), start.state)
    return Versioned(state=state, version=later[-1]["version"], snapshot=start.snapshot)


# -- writing


class SnapshotWriter:
    """Writes the states that it is given; `run` must be running."""

    def __init__(self, mongo: Mongo, deciders: Deciders) -> None:
        self._mongo, self._deciders = mongo, deciders
        self._waiting: dict[str, Versioned] = {}
        self._wake = asyncio.Event()

    def save(self, stream: str, committed: Versioned) -> None:
        """Have it written soon."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting[stream] = committed
            self._wake.set()

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            await self._wake.wait()
            await self.write()

    async def write(self) -> None:
        """Write what waits; what cannot be written is let go."""
        self._wake.clear()
        states, self._waiting = self._waiting, {}
        try:
            await self._mongo.run(partial(self._write, states))
        except (PyMongoError, Unavailable) as error:
            log.warning("%s snapshots could not be written: %s", len(states), error)

    def _write(self, states: Mapping[str, Versioned], db: SyncDatabase) -> None:
        places = [{"stream": s, "version": state.version} for s, state in states.items()]
        hashes = {event["stream"]: event["hash"] for event in _events(db, places)}
        rows = [
            {"_id": s, "version": states[s].version, "hash": digest, **stored}
            for s, digest in hashes.items()
            if (stored := self._stored(s, states[s].state))
        ]
        if rows:
            writes = [ReplaceOne({"_id": row["_id"]}, row, upsert=True) for row in rows]
            db[SNAPSHOTS].bulk_write(writes, ordered=False)
            metrics.SNAPSHOTS.inc(len(rows))

    def _stored(self, stream: str, state: Any) -> Document | None:
        """Packed, which is quicker than a document and takes any key; None for what is too large,
        be it a number beyond 64 bits."""
        decider = decider_of(stream, self._deciders)
        try:
            packed = msgspec.msgpack.encode(state)
        except (OverflowError, ValueError):
            return None
        if decider is None or len(packed) > MOST_BYTES:
            return None
        return {"schema": state_schema(decider), "state": packed}
