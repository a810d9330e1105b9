"""From messages to Kafka records and back: CloudEvents 1.0 in binary mode.

1. Attributes are headers (`ce_…`), the data is the value, in JSON. A tombstone has no value.
2. The id is that of the event, with the message's type where something is told of it: what is sent
   twice has the same id, and nothing else has it (with the same source).
3. The key is the partition key, so that what is told of one subject stays in order.
4. Reading is tolerant: what is not known (a header, a field, a type) is no error. What is known and
   wrong is `Unreadable`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from domain.decider import message
from domain.published_messages import PUBLISHED, Message, MessageType
from domain.recorded import Meta, Recorded
from infra.codec import Unreadable

PREFIX: Final = "tidings"
LOG_PREFIX: Final = "tidings.log"
"""Types of stored events begin with it: they are not what is published, even of the same name."""

MARKER: Final = "tidings.Marker.v1"
"""The type of what tells how far a partition is that rests."""

CONTENT_TYPE: Final = "application/json"
_TRACE: Final = re.compile("[0-9a-f]{32}")
_TYPE: Final = re.compile(r"(?P<name>[\w.]+)\.v(?P<version>\d{1,9})")


class Encoded(NamedTuple):
    """What a producer sends."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


def type_name(kind: MessageType | Message) -> str:
    """`tidings.OrderPlaced.v1`."""
    name = kind.name if isinstance(kind, MessageType) else kind.type
    return f"{PREFIX}.{name}.v{kind.version}"


def stored_type_name(name: str, schema: int) -> str:
    """`tidings.log.OrderPlaced.v2`."""
    return f"{LOG_PREFIX}.{name}.v{schema}"


# -- to records


def encoded(message: Message, recorded: Recorded, source: str) -> Encoded:
    """A message that tells of an event."""
    told = type_name(message)
    attributes = {
        "id": f"{recorded.meta.event_id}/{told}",
        "source": source,
        "type": told,
        "subject": message.subject,
        "partitionkey": message.key,
        "position": str(recorded.position),
    }
    value = None if message.data is None else msgspec.json.encode(message.data)
    return Encoded(message.key.encode(), value, list(_headers(attributes, recorded.meta, value)))


@message
class StoredEvent:
    """An event as it is stored, for projectors of our own: `data` is of the shape `schema`."""

    position: int
    stream: str
    version: int
    type: str
    schema: int
    data: Any
    meta: Meta


def encoded_event(stored: Mapping[str, Any], meta: Meta, source: str) -> Encoded:
    """A document of the log."""
    stream, position = stored["stream"], stored["_id"]
    attributes = {
        "id": meta.event_id,
        "source": source,
        "type": stored_type_name(stored["type"], stored["schema"]),
        "subject": stream,
        "partitionkey": stream,
        "position": str(position),
    }
    event = StoredEvent(
        position=position,
        stream=stream,
        version=stored["version"],
        type=stored["type"],
        schema=stored["schema"],
        data=stored["data"],
        meta=meta,
    )
    value = msgspec.json.encode(event)
    return Encoded(stream.encode(), value, list(_headers(attributes, meta, value)))


def _headers(
    attributes: Mapping[str, str], meta: Meta, value: bytes | None
) -> Iterator[tuple[str, bytes]]:
    yield "ce_specversion", b"1.0"
    for name, text in attributes.items():
        yield f"ce_{name}", text.encode()
    yield "ce_time", _time_text(meta.recorded_at).encode()
    yield "ce_correlationid", meta.correlation_id.encode()
    yield "ce_causationid", meta.causation_id.encode()
    if parent := traceparent(meta.trace, meta.event_id):
        yield "traceparent", parent.encode()
    if value is not None:
        yield "content-type", CONTENT_TYPE.encode()


def _time_text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def traceparent(trace: str | None, event_id: str) -> str | None:
    """A trace as W3C Trace Context wants it, with a span that is the same for the same event."""
    if trace is None or not _TRACE.fullmatch(trace):
        return None
    return f"00-{trace}-{blake2b(event_id.encode(), digest_size=8).hexdigest()}-01"


# -- from records


class Record(Protocol):
    """What a consumer gets."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message as a recipient reads it. `type` is without version: `OrderPlaced`. `data` is None
    for a tombstone; of a type that is not known it is what JSON makes of it."""

    id: str
    source: str
    type: str
    version: int
    subject: str
    key: str
    position: int
    at: datetime
    correlation_id: str
    causation_id: str
    traceparent: str | None
    data: Any


_TYPES: Final = {(kind.name, kind.version): kind.data for kind in PUBLISHED}


def decoded(record: Record) -> Received:
    """Raises `Unreadable` for what is not of our making."""
    texts = {name.lower(): value.decode() for name, value in record.headers}
    try:
        found = _TYPE.fullmatch(texts["ce_type"].removeprefix(f"{PREFIX}."))
        if not found:
            raise Unreadable(f"{texts['ce_type']!r} is no type of ours")
        name, version = found["name"], int(found["version"])
        return Received(
            id=texts["ce_id"],
            source=texts["ce_source"],
            type=name,
            version=version,
            subject=texts["ce_subject"],
            key=(record.key or b"").decode(),
            position=int(texts["ce_position"]),
            at=datetime.fromisoformat(texts["ce_time"]),
            correlation_id=texts["ce_correlationid"],
            causation_id=texts["ce_causationid"],
            traceparent=texts.get("traceparent"),
            data=_data(record.value, _TYPES.get((name, version), Any)),
        )
    except (KeyError, ValueError) as error:
        raise Unreadable(f"{texts.get('ce_type')}: {type(error).__name__}: {error}") from error


def _data(value: bytes | None, kind: Any) -> Any:
    return None if value is None else msgspec.json.decode(value, type=kind)
