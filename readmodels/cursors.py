"""Cursors: the place of a document in an order, as a text that clients hand back.

1. A cursor holds the sort values and the key of a document, so it stays valid while documents
   come and go; it is refused where it was made for another order.
2. Nothing in it is taken on trust: what comes back is a stored value of the field's type.
3. Sort fields are never None.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from readmodels.filters import Document, Fields, QueryRefused, storable


class CursorInvalid(QueryRefused):
    pass


@dataclass(frozen=True)
class Sort:
    field: str
    descending: bool = False

    @property
    def direction(self) -> int:
        return -1 if self.descending else 1


def cursor_of(order: Sequence[Sort], document: Document) -> str:
    """The place of the document, as it is stored, in an order that ends with the key."""
    values = [_plain(document[by.field]) for by in order]
    content = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_check(order, content) + content).rstrip(b"=").decode()


def beyond(fields: Fields, order: Sequence[Sort], cursor: str, turn: int) -> Document:
    """The filter for documents after the cursor; before it, when `turn` is -1.

    After (a, b) is: a further, or a the same and b further. The bound on the first field, implied
    by that, is what lets an index begin there.
    """
    values = _values(fields, order, cursor)
    choices: list[Document] = []
    same: Document = {}
    for by, value in zip(order, values, strict=True):
        choices.append({**same, by.field: {_further(by, turn): value}})
        same = {**same, by.field: {"$eq": value}}
    return {order[0].field: {_further(order[0], turn) + "e": values[0]}, "$or": choices}


def _further(by: Sort, turn: int) -> str:
    return "$gt" if by.direction * turn > 0 else "$lt"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _check(order: Sequence[Sort], content: bytes) -> bytes:
    """Tells a cursor of this order from anything else that clients may send."""
    names = ",".join(f"{by.field}:{by.direction}" for by in order)
    return binascii.crc32(names.encode() + b"\0" + content).to_bytes(4, "big")


def _values(fields: Fields, order: Sequence[Sort], cursor: str) -> list[Any]:
    kinds = [fields[by.field].kind for by in order[:-1]] + [str]
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True)
        values = json.loads(raw[4:]) if raw[:4] == _check(order, raw[4:]) else ()
        return [_revived(kind, value) for kind, value in zip(kinds, values, strict=True)]
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise CursorInvalid("The cursor is not one of this list in this order.") from None


def _revived(kind: type, value: Any) -> Any:
    if kind is datetime:
        return datetime.fromisoformat(value).astimezone(UTC)
    stored = kind if kind in (int, bool) else str
    if type(value) is not stored or not storable(value):
        raise TypeError
    return value
