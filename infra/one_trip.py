"""Several write statements of a transaction, sent to MongoDB in one go.

The driver waits for the answer to each statement before it sends the next one. Every wait costs two
switches between threads, and under load the turn of the interpreter. MongoDB works off what arrives
on a connection in order, so statements that do not depend on each other's answers need one wait.

1. They go through the driver's own connection, session and error handling: failover, time limits
   and the retries of `with_transaction` stay as they are. Commit and abort are left to it.
2. All answers are read before any is looked at, so that the connection stays in step.
3. The first answer that tells of an error is the last: what follows it only says that the
   transaction has been aborted.

The driver has no public way to do this: `in_one_trip` and `_exchanged` use its inside, of the very
release that `pyproject.toml` names.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import bson
from pymongo.helpers_shared import _check_command_response
from pymongo.read_preferences import ReadPreference

from infra.mongo import Document, Session, SyncDatabase

MOST_BYTES: Final = 16_000_000
"""Documents in one statement; MongoDB takes three times as much in a message."""

MOST_DOCUMENTS: Final = 50_000
"""In one statement; MongoDB takes twice as many."""

_OP_MSG: Final = 2013


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A command (without the documents that it is about) and those, as BSON, in its `field`."""

    command: Document
    field: str
    documents: Sequence[bytes]


def insert(collection: str, documents: Iterable[bytes]) -> Iterator[Statement]:
    """Statements that insert these documents in order; none for none."""
    return _in_pieces({"insert": collection, "ordered": True}, "documents", documents)


def put(collection: str, documents: Iterable[Document]) -> Iterator[Statement]:
    """Statements that put each of these in the place of the one with its `_id`, if there is one."""
    places = ({"q": {"_id": each["_id"]}, "u": each, "upsert": True} for each in documents)
    return _in_pieces({"update": collection}, "updates", map(bson.encode, places))


def delete(collection: str, keys: Iterable[str]) -> Iterator[Statement]:
    """Statements that delete the documents with these `_id`s."""
    places = ({"q": {"_id": key}, "limit": 1} for key in keys)
    return _in_pieces({"delete": collection}, "deletes", map(bson.encode, places))


def _in_pieces(command: Document, field: str, documents: Iterable[bytes]) -> Iterator[Statement]:
    piece: list[bytes] = []
    size = 0
    for document in documents:
        if piece and (size + len(document) > MOST_BYTES or len(piece) == MOST_DOCUMENTS):
            yield Statement(command=command, field=field, documents=piece)
            piece, size = [], 0
        piece.append(document)
        size += len(document)
    if piece:
        yield Statement(command=command, field=field, documents=piece)


def update(collection: str, where: Document, change: Document) -> Statement:
    """Changes the first document that is as `where` says; the answer counts it as `n`."""
    documents = [bson.encode({"q": where, "u": change})]
    return Statement(command={"update": collection}, field="updates", documents=documents)


def in_one_trip(
    db: SyncDatabase, session: Session, statements: Sequence[Statement]
) -> list[Document]:
    """The answers of MongoDB, in order, up to the first one that tells of errors in `writeErrors`.
    Raises what the driver raises."""
    client: Any = db.client
    with client._conn_for_writes(session, "append") as connection:  # noqa: SLF001
        answers = []
        for reply in _exchanged(client, connection, session, db.name, statements):
            answer = reply.unpack_response()[0]
            client._process_response(answer, session)  # noqa: SLF001
            _check_command_response(answer, connection.max_wire_version)
            answers.append(answer)
            if "writeErrors" in answer:
                break
    return answers


def _exchanged(
    client: Any, connection: Any, session: Any, name: str, statements: Sequence[Statement]
) -> list[Any]:
    """What comes back when all have been sent."""
    messages = []
    for number, statement in enumerate(statements, start=1):
        command = {**statement.command, "$db": name}
        session._apply_to(command, False, ReadPreference.PRIMARY, connection)  # noqa: SLF001
        connection.send_cluster_time(command, session, client)
        connection.apply_timeout(command)
        session._transaction.set_in_progress()  # noqa: SLF001
        messages.append(message(number, command, statement))
    largest = max(len(document) for each in statements for document in each.documents)
    connection.send_message(b"".join(messages), largest)
    return [connection.receive_message(number) for number, _ in enumerate(statements, start=1)]


def message(number: int, command: Document, statement: Statement) -> bytes:
    """An OP_MSG with this request id: the command, and its documents as a sequence."""
    body = bson.encode(command)
    name = statement.field.encode() + b"\0"
    size = 4 + len(name) + sum(map(len, statement.documents))
    parts = (
        struct.pack("<iiiiIB", 16 + 4 + 1 + len(body) + 1 + size, number, 0, _OP_MSG, 0, 0),
        body,
        struct.pack("<Bi", 1, size),
        name,
        *statement.documents,
    )
    return b"".join(parts)
