"""One batch of events: its documents folded, and written with the place that was come to.

However events reach a projector, straight from the log or over Kafka, this is what becomes of them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import bson
from bson.errors import InvalidDocument
from bson.timestamp import Timestamp
from pymongo.errors import DocumentTooLarge

from infra import metrics
from infra.folding import (
    PARKED,
    Changed,
    Folder,
    Parked,
    Touched,
    parked_document,
)
from infra.mongo import Document, Session, SyncDatabase, in_transaction
from infra.one_trip import Statement, in_one_trip, insert

UNSTORABLE: Final = (OverflowError, InvalidDocument, DocumentTooLarge)
"""A number beyond 64 bits, or more than 16 MB."""

OF: Final = "_of"
"""Says of a document, while it is read with those of other collections, where it is from."""

Batch: TypeAlias = tuple[Folder, Touched]
Folded: TypeAlias = list[tuple[Folder, Changed, list[Parked]]]
Move: TypeAlias = Callable[[SyncDatabase, Session], None]
"""Moves the place that was come to, from what it was; raises `Overtaken` where it is elsewhere."""


class _Unexpected(Exception):
    """A document is there that no projector has written: it gives way to ours."""


def fold_and_write(
    db: SyncDatabase, batches: Sequence[Batch], move: Move
) -> tuple[Folded, Timestamp]:
    """What came of the batches, written in one transaction with the place, and when that was; all
    in one worker thread."""
    load_together(db, batches)
    folded: Folded = [(folder, *folder.fold(keys)) for folder, keys in batches]

    def quickly(db: SyncDatabase, session: Session) -> Session:
        move(db, session)
        if statements := list(_statements(folded)):
            answers = in_one_trip(db, session, statements)
            if "writeErrors" in answers[-1]:
                raise _Unexpected
        return session

    def one_by_one(db: SyncDatabase, session: Session) -> Session:
        move(db, session)
        for folder, changed, failed in folded:
            folder.write(db, changed, session)
            if failed:
                db[PARKED].insert_many([parked_document(p) for p in failed], session=session)
        return session

    def written() -> Session:
        try:
            return in_transaction(db, quickly)
        except _Unexpected:
            return in_transaction(db, one_by_one)

    try:
        session = written()
    except UNSTORABLE:  # one of the documents is to blame: find it, and park it
        folded = [(folder, *folder.fold(keys, tried=True)) for folder, keys in batches]
        session = written()
    assert session.operation_time, "it has been written"
    return folded, session.operation_time


def _statements(folded: Folded) -> Iterator[Statement]:
    for folder, changed, failed in folded:
        yield from folder.statements(changed)
        yield from insert(PARKED, (bson.encode(parked_document(parked)) for parked in failed))


def load_together(db: SyncDatabase, batches: Iterable[Batch]) -> None:
    """Have the documents of all these in memory, with one call, or none."""
    for folder, touched in batches:
        folder.expect_begun(touched)
    missing = {
        folder.collection: (folder, keys)
        for folder, touched in batches
        if (keys := folder.missing(touched))
    }
    if not missing:
        return
    parts: list[tuple[str, list[Document]]] = [
        (collection, [{"$match": {"_id": {"$in": keys}}}, {"$set": {OF: collection}}])
        for collection, (_, keys) in missing.items()
    ]
    (first, pipeline), *others = parts
    unions = [{"$unionWith": {"coll": name, "pipeline": stages}} for name, stages in others]
    found: dict[str, list[Document]] = defaultdict(list)
    for document in db[first].aggregate([*pipeline, *unions]):
        found[document.pop(OF)].append(document)
    for collection, (folder, keys) in missing.items():
        folder.take(keys, found[collection])


def remember(folded: Folded) -> None:
    """Keep in memory what has been committed."""
    for folder, changed, failed in folded:
        folder.keep(changed)
        folder.parked.update((p.key, p.position) for p in failed)
        if failed:
            metrics.PARKED_KEYS.labels(folder.projection.name).inc(len(failed))
