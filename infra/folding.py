"""Folding: what events make of the documents of one collection.

The same code runs for the live generation and for one that is being rebuilt.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Any, Final, Protocol, TypeAlias

import bson
from pymongo import DeleteOne, ReplaceOne

from domain.decider import message
from domain.recorded import Recorded
from infra.codec import from_stored, now, to_stored
from infra.mongo import CODEC, Document, Mongo, Session, SyncDatabase
from infra.one_trip import Statement, delete, insert, put

PARKED: Final = "parked"
SKIPPED: Final = "skipped"
GONE: Final = "gone"
"""A field of what stands for a document that was deleted, in a generation that is being filled."""
MOST_REMEMBERED: Final = 50_000
"""Documents kept in memory, so that a document touched again soon is not loaded again."""


class Projection(Protocol):
    """What the projector needs of a read model (`readmodels.projection.Projection`)."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def view(self) -> type[Any]: ...
    @property
    def events(self) -> tuple[type, ...]: ...
    @property
    def keys(self) -> Callable[[Recorded], Iterable[str]]: ...
    @property
    def evolve(self) -> Callable[[Any, Recorded, str], Any]: ...
    @property
    def indexes(self) -> tuple[tuple[tuple[str, int], ...], ...]: ...
    @property
    def streams(self) -> Callable[[str], tuple[str, ...]] | None: ...
    @property
    def once(self) -> bool: ...


@message
class Parked:
    """A key that waits: the event (or deadline) it failed at and what was said."""

    projection: str
    key: str
    position: int
    error: str
    deadline: str | None = None


@message
class LeftOut:
    """What is not folded into live documents, by key: all from a position on, where the key waits;
    and the events that operators have skipped."""

    parked: dict[str, int]
    skipped: dict[str, set[int]]


def collection_of(projection: str, generation: int) -> str:
    """Where the documents of this generation live."""
    return f"rm_{projection}_{generation}"


Touched: TypeAlias = dict[str, list[Recorded]]
"""The events of a batch by the key they touch."""

Changed: TypeAlias = dict[str, tuple[Any, int]]
"""Documents after a batch, each with the position of the last event that touched it."""


class Folder:
    """Folds events into the documents of one collection, and remembers what it wrote.

    `position` is where the folding goes on. A document beyond it was written by one that was
    interrupted: the events that it holds already are passed over.
    """

    def __init__(self, projection: Projection, collection: str, position: float = inf) -> None:
        self.projection = projection
        self.collection = collection
        self.parked: dict[str, int] = {}
        self.skipped: dict[str, set[int]] = {}
        self._position = position
        self._ahead: dict[str, int] = {}
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def leave_out(self, left_out: LeftOut) -> None:
        """Fold as the live documents have been."""
        self.parked, self.skipped = dict(left_out.parked), left_out.skipped

    def uncertain(self, now: LeftOut) -> set[str]:
        """Keys that wait, and those of which an operator has skipped something meanwhile."""
        news = {key for key, skipped in now.skipped.items() if skipped != self.skipped.get(key)}
        return {*self.parked, *now.parked, *news}

    def touched(self, events: Iterable[Recorded]) -> Touched:
        """The events that this read model listens to, by key; parked keys wait."""
        kinds, keys, parked = self.projection.events, self.projection.keys, self.parked
        found: Touched = defaultdict(list)
        for recorded in events:
            if isinstance(recorded.event, kinds):
                for key in keys(recorded):
                    if not parked or recorded.position < parked.get(key, inf):
                        found[key].append(recorded)
        return found

    def load(self, db: SyncDatabase, keys: Iterable[str]) -> None:
        """Have the documents of these keys in memory."""
        if missing := self.missing(keys):
            self.take(missing, list(db[self.collection].find({"_id": {"$in": missing}})))

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys whose documents are not in memory."""
        return [key for key in keys if key not in self._kept]

    def take(self, keys: Iterable[str], documents: Iterable[Document]) -> None:
        """Remember the documents that were found of these keys."""
        found = {document["_id"]: document for document in documents}
        # all or nothing: a view that cannot be read must not make others look missing
        views = {key: self._view(found[key]) if key in found else None for key in keys}
        self._kept.update(views)
        self._ahead.update(
            (key, document["position"])
            for key, document in found.items()
            if document["position"] > self._position
        )

    def _view(self, document: Document) -> Any:
        return None if GONE in document else from_stored(self.projection.view, document)

    def view(self, key: str) -> Any:
        """The document in memory."""
        return self._kept[key]

    def expect_new(self, keys: Iterable[str]) -> None:
        """Take keys not in memory as having no document, where the caller knows that."""
        for key in keys:
            self._kept.setdefault(key, None)

    def expect_begun(self, touched: Touched) -> None:
        """The same of keys that nothing can have touched before these events. Only where each event
        is folded into what is stored once: nothing there is ahead."""
        once, streams = self.projection.once, self.projection.streams
        if self._position != inf:
            return
        if once:
            self.expect_new(touched)
        elif streams is not None:
            begun = ((key, events[0]) for key, events in touched.items() if events[0].version == 1)
            self.expect_new(key for key, first in begun if streams(key) == (first.stream,))

    def fold(self, touched: Touched, *, tried: bool = False) -> tuple[Changed, list[Parked]]:
        """The documents after the batch with the position of their last event; what failed.

        `tried` also tries whether MongoDB can hold each of them, which costs as much as writing.
        """
        changed: Changed = {}
        failed: list[Parked] = []
        for key, events in touched.items():
            view, position, ahead = self._kept[key], 0, self._ahead.get(key, 0)
            skipped = self.skipped.get(key, ())
            for recorded in events:
                if recorded.position <= ahead or recorded.position in skipped:
                    continue
                try:
                    after = self.projection.evolve(view, recorded, key)
                    if tried and after is not None:
                        bson.encode(document_of(key, after, recorded.position))
                    view, position = after, recorded.position
                except Exception as error:  # noqa: BLE001 a fold may fail in any way: park the key
                    view, position = self._before(recorded.position, key, events)
                    failed.append(
                        Parked(
                            projection=self.projection.name,
                            key=key,
                            position=recorded.position,
                            error=f"{type(error).__name__}: {error}",
                        )
                    )
                    break
            if position:
                changed[key] = (view, position)
        return changed, failed

    def _before(self, position: int, key: str, events: Iterable[Recorded]) -> tuple[Any, int]:
        """The document before a position: an event that was split is folded whole or not at all,
        so that the key can be gone on with from there."""
        earlier = [recorded for recorded in events if recorded.position < position]
        changed, _ = self.fold({key: earlier})
        return changed.get(key, (None, 0))

    def write(self, db: SyncDatabase, changed: Changed, session: Session | None) -> None:
        """Write the changed documents in one call."""
        if changed:
            db[self.collection].bulk_write(
                [_written(key, *after) for key, after in changed.items()],
                ordered=False,
                session=session,
            )

    def statements(self, changed: Changed) -> Iterator[Statement]:
        """The same where the documents in memory are what is stored, to be sent with others: those
        that are new are inserted, which costs half as much."""
        new, known, gone = [], [], []
        for key, (view, position) in changed.items():
            if self._kept[key] is None:
                if view is not None:
                    new.append(bson.encode(document_of(key, view, position)))
            elif view is None:
                gone.append(key)
            else:
                known.append(document_of(key, view, position))
        yield from insert(self.collection, new)
        yield from put(self.collection, known)
        yield from delete(self.collection, gone)

    def hold(self, changed: Changed) -> None:
        """Remember documents, however many: they are not written yet."""
        for key, (view, _) in changed.items():
            self._kept[key] = view
            self._kept.move_to_end(key)

    def keep(self, changed: Changed) -> None:
        """Remember what has been committed; the least recently used goes first."""
        if self.projection.once:
            for key in changed:
                self._kept.pop(key, None)
            return
        self.hold(changed)
        while len(self._kept) > MOST_REMEMBERED:
            self._kept.popitem(last=False)


def document_of(key: str, view: Any, position: int) -> Document:
    """A view as it is stored."""
    return {"_id": key, "position": position, **to_stored(view)}


def as_read(document: Document) -> Document:
    """The document as the store gives it back: tuples are lists then, for instance."""
    return bson.decode(bson.encode(document), CODEC)


def _written(key: str, view: Any, position: int) -> ReplaceOne[Document] | DeleteOne:
    if view is None:
        return DeleteOne({"_id": key})
    return ReplaceOne({"_id": key}, document_of(key, view, position), upsert=True)


def left_out_in(
    db: SyncDatabase, projection: Projection, session: Session | None = None
) -> LeftOut:
    """What whoever folds again leaves out, to come to what the live documents are."""
    waiting = db[PARKED].find({"projection": projection.name}, session=session)
    parked = {row["key"]: row["position"] for row in waiting}
    return LeftOut(parked=parked, skipped=skipped_in(db, projection, session))


def skipped_in(
    db: SyncDatabase, projection: Projection, session: Session | None = None
) -> dict[str, set[int]]:
    """The events that an operator has left out, by key. Another version tries them again."""
    found: dict[str, set[int]] = defaultdict(set)
    where = {"projection": projection.name, "version": projection.version}
    for row in db[SKIPPED].find(where, session=session):
        found[row["key"]].add(row["position"])
    return found


def parked_document(parked: Parked) -> Document:
    return {"_id": f"{parked.projection}/{parked.key}", "at": now(), **to_stored(parked)}


async def prepare_collection(mongo: Mongo, projection: Projection, generation: int) -> None:
    """Create a generation's collection with its indexes; harmless when it exists."""
    name = collection_of(projection.name, generation)
    await mongo.prepare({name: {}})

    def indexes(db: SyncDatabase) -> None:
        for fields in projection.indexes:
            db[name].create_index(list(fields))

    await mongo.run(indexes)
