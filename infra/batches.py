"""One batch of events: its documents folded, and written with the place that was come to.

However events reach a projector, straight from the log or over Kafka, this is what becomes of them.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from bson.errors import InvalidDocument
from bson.timestamp import Timestamp
from pymongo.errors import DocumentTooLarge

from infra import metrics
from infra.folding import (
    PARKED,
    Batch,
    Changed,
    Folder,
    Parked,
    load_together,
    parked_document,
)
from infra.mongo import Session, SyncDatabase, in_transaction

UNSTORABLE: Final = (OverflowError, InvalidDocument, DocumentTooLarge)
"""A number beyond 64 bits, or more than 16 MB."""

Folded: TypeAlias = list[tuple[Folder, Changed, list[Parked]]]
Move: TypeAlias = Callable[[SyncDatabase, Session], None]
"""Moves the place that was come to, from what it was; raises `Overtaken` where it is elsewhere."""


def fold_and_write(
    db: SyncDatabase, batches: Sequence[Batch], move: Move
) -> tuple[Folded, Timestamp]:
    """What came of the batches, written in one transaction with the place, and when that was; all
    in one worker thread."""
    load_together(db, batches)
    folded: Folded = [(folder, *folder.fold(keys)) for folder, keys in batches]

    def write(db: SyncDatabase, session: Session) -> Session:
        move(db, session)
        for folder, changed, failed in folded:
            folder.write(db, changed, session)
            if failed:
                db[PARKED].insert_many([parked_document(p) for p in failed], session=session)
        return session

    try:
        session = in_transaction(db, write)
    except UNSTORABLE:  # one of the documents is to blame: find it, and park it
        folded = [(folder, *folder.fold(keys, tried=True)) for folder, keys in batches]
        session = in_transaction(db, write)
    assert session.operation_time, "it has been written"
    return folded, session.operation_time


def remember(folded: Folded) -> None:
    """Keep in memory what has been committed."""
    for folder, changed, failed in folded:
        folder.keep(changed)
        folder.parked.update((p.key, p.position) for p in failed)
        metrics.PARKED_KEYS.labels(folder.projection.name).inc(len(failed))
