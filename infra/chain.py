"""The hash chain over what is stored (design: each event carries a hash over itself and its
predecessor's hash).

The hash is taken over the event's BSON without its last field, which is the hash itself. MongoDB
gives the same bytes back, so a check needs no second form of an event to be agreed upon.
"""

import hashlib
import struct
from typing import Any, Final

import bson

GENESIS: Final = b"\0" * 32
"""The predecessor of the first event."""

_HEADER: Final = b"\x05hash\x00" + struct.pack("<iB", 32, 0)
_FIELD_BYTES: Final = len(_HEADER) + 32


def link(previous: bytes, body: bytes) -> bytes:
    """The hash (32 bytes) of an event with this BSON after an event with that hash."""
    return hashlib.sha256(previous + body).digest()


def chained(previous: bytes, document: dict[str, Any]) -> tuple[bytes, bytes]:
    """The document's BSON with its hash as the last field, and the hash."""
    body = bson.encode(document)
    digest = link(previous, body)
    length = struct.pack("<i", len(body) + _FIELD_BYTES)
    return length + body[4:-1] + _HEADER + digest + b"\0", digest


def holds(previous: bytes, raw: bytes) -> bytes | None:
    """The hash of a stored event if it follows from its predecessor's, else None."""
    at = len(raw) - 1 - _FIELD_BYTES
    if raw[at : at + len(_HEADER)] != _HEADER:
        return None
    digest = raw[at + len(_HEADER) : -1]
    body = struct.pack("<i", at + 1) + raw[4:at] + b"\0"
    return digest if link(previous, body) == digest else None
