"""What is stored of a branch's documents: those that differ, and what real history has instead.

1. Every computation writes collections of its own, named by a token; a branch's record says which
   are valid. Nothing else in the database is written.
2. `own(…)` holds the documents of the branch; `was(…)` has a row for every key that differs, with
   the real document, if there is one. So a key in `was` that is not in `own` has no document.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from domain.decider import DomainError, message
from domain.recorded import Recorded
from domain.redeciding import Refusal
from infra.branching.record import Counts
from infra.codec import from_stored, to_stored
from infra.documents import Documents
from infra.folding import Changed, Projection, document_of
from infra.mongo import Document, Mongo, SyncDatabase

AT_ONCE: Final = 5_000
"""Documents written in one call."""


def own(token: str, projection: str) -> str:
    return f"{token}.own.{projection}"


def was(token: str, projection: str) -> str:
    return f"{token}.was.{projection}"


def refused(token: str) -> str:
    return f"{token}.refused"


@message
class Difference:
    """A document as it is and as it would be; None where there is none."""

    key: str
    before: Any
    after: Any


@message
class Refused:
    """An event that makes no sense any more, with what a decider says to it."""

    number: int
    position: int
    stream: str
    version: int
    type: str
    data: dict[str, Any]
    errors: tuple[str, ...]
    codes: tuple[str, ...]


def write_documents(
    db: SyncDatabase, token: str, name: str, outcome: tuple[Changed, Changed]
) -> Counts:
    """Store what differs of a read model."""
    real, branch = (
        {key: document_of(key, *each) for key, each in changed.items() if each[0] is not None}
        for changed in outcome
    )
    keys = [key for key in real.keys() | branch.keys() if real.get(key) != branch.get(key)]
    _insert(db, was(token, name), [{"_id": key, "before": real.get(key)} for key in keys])
    _insert(db, own(token, name), [branch[key] for key in keys if key in branch])
    added = sum(key not in real for key in keys)
    removed = sum(key not in branch for key in keys)
    return Counts(changed=len(keys) - added - removed, added=added, removed=removed)


async def complete(
    mongo: Mongo, token: str, projection: Projection, base: Documents, at_once: int = AT_ONCE
) -> None:
    """Store the documents that do not differ as well, with all indexes."""
    mine, theirs = own(token, projection.name), was(token, projection.name)
    last = ""
    while rows := await base.find(projection, {"_id": {"$gt": last}}, (("_id", 1),), at_once):
        last, found = rows[-1].key, {row.key: row.document for row in rows}

        def copy(db: SyncDatabase, found: dict[str, Document] = found) -> None:
            among = {"_id": {"$in": list(found)}}
            differing = {row["_id"] for row in db[theirs].find(among, {"_id": 1})}
            _insert(db, mine, [found[key] for key in found if key not in differing])

        await mongo.run(copy)

    def index(db: SyncDatabase) -> None:
        for fields in projection.indexes:
            db[mine].create_index(list(fields))

    await mongo.run(index)


def write_refusals(db: SyncDatabase, token: str, found: Iterable[Refusal]) -> int:
    """Store refusals, in the order of history; answers with their number."""
    documents = [
        _refusal(number, refusal.recorded, refusal.errors)
        for number, refusal in enumerate(found, start=1)
    ]
    _insert(db, refused(token), documents)
    return len(documents)


def _refusal(number: int, recorded: Recorded, errors: Sequence[DomainError]) -> Document:
    return {
        "_id": number,
        "position": recorded.position,
        "stream": recorded.stream,
        "version": recorded.version,
        "type": type(recorded.event).__name__,
        "data": to_stored(recorded.event),
        "errors": [str(error) for error in errors],
        "codes": [error.code for error in errors],
    }


def _insert(db: SyncDatabase, collection: str, documents: Sequence[Document]) -> None:
    for start in range(0, len(documents), AT_ONCE):
        db[collection].insert_many(documents[start : start + AT_ONCE], ordered=False)


def read_differences(
    db: SyncDatabase, token: str, projection: Projection, after: str | None, limit: int
) -> list[Difference]:
    """Documents that differ, by key, after a key; all of them where the limit is 0."""
    where = {} if after is None else {"_id": {"$gt": after}}
    rows = list(db[was(token, projection.name)].find(where, sort=[("_id", 1)], limit=limit))
    wanted = {"_id": {"$in": [row["_id"] for row in rows]}}
    after_ = {found["_id"]: found for found in db[own(token, projection.name)].find(wanted)}
    return [
        Difference(
            key=row["_id"],
            before=_view(projection, row["before"]),
            after=_view(projection, after_.get(row["_id"])),
        )
        for row in rows
    ]


def _view(projection: Projection, document: Document | None) -> Any:
    return None if document is None else from_stored(projection.view, document)


def read_refusals(db: SyncDatabase, token: str, after: int, limit: int) -> list[Refused]:
    """Refused events in the order of history; all of them where the limit is 0."""
    found = db[refused(token)].find({"_id": {"$gt": after}}, sort=[("_id", 1)], limit=limit)
    return [from_stored(Refused, {**row, "number": row["_id"]}) for row in found]


def remove(db: SyncDatabase, prefix: str) -> None:
    """Drop the collections of a token, or of all tokens of a branch."""
    for name in db.list_collection_names():
        if name.startswith(f"{prefix}."):
            db[name].drop()
