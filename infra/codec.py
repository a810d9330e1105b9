"""From values to what MongoDB stores and back.

1. The stored name of an event is its class name; registries are the only list of names.
2. What was stored in today's shape is read directly; what is older goes through its upcasters.
3. Decoding is strict: a wrong type is an error with its path, never a guess.
4. BSON keeps milliseconds: times are cut to that before anything is decided on them.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar, cast

import msgspec

from domain.decider import DomainError
from domain.recorded import Meta, Recorded
from domain.upcasting import Shape, Upcaster, by_old_shape, newest, upcast

T = TypeVar("T")


def to_stored(value: Any) -> Any:
    """A value as plain dicts, lists and scalars; times stay times, dates become ISO text."""
    return msgspec.to_builtins(value, builtin_types=(datetime,))


Convert: TypeAlias = Callable[[Any, Any], Any]
"""From a type and what is stored of it to the value."""


def from_stored(kind: type[T], stored: Any) -> T:
    """The value of this kind; raises `msgspec.ValidationError` with the path of what is wrong."""
    return msgspec.convert(stored, kind, builtin_types=(datetime,))


def from_json(kind: type[T], parsed: Any) -> T:
    """The same from JSON, where times are text; as strict otherwise."""
    return msgspec.convert(parsed, kind)


def milliseconds(at: datetime) -> datetime:
    """The same time, in UTC, cut to whole milliseconds."""
    at = at.astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def now() -> datetime:
    """The time of day, as precise as it can be stored."""
    return milliseconds(datetime.now(UTC))


def fingerprint(*parts: Any) -> str:
    """The same text for the same values: tells a repeated command from another one."""
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=16).hexdigest()


class Unreadable(Exception):
    """A stored event or error that no registered type can read."""


def schema_of(kind: type) -> int:
    """The number of a type's present shape; 1 until it has changed."""
    return getattr(kind, "SCHEMA", 1)


class EventCodec:
    """The events (or commands) of the registries, by stored name, with what reads older shapes.
    `convert` reads what they are stored as."""

    def __init__(
        self,
        kinds: Iterable[type],
        upcasters: Iterable[Upcaster] = (),
        convert: Convert = from_stored,
    ) -> None:
        self._convert = convert
        self._current = {kind.__name__: (schema_of(kind), kind) for kind in kinds}
        self._upcasters = by_old_shape(upcasters)
        self._names = {name: {name} for name in self._current}
        for old in self._upcasters:
            for shape in newest(self._upcasters, old):
                self._names.setdefault(shape.type, {shape.type}).add(old.type)

    def stored_names(self, kinds: Iterable[type]) -> list[str]:
        """The names under which such events are stored: today's, and those that are read as one."""
        names = (kind.__name__ for kind in kinds)
        return sorted(set().union(*(self._names.get(name, {name}) for name in names)))

    def decode(self, name: str, schema: int, stored: Any) -> tuple[Any, ...]:
        """What was stored, as today's events: nearly always one. Raises `Unreadable`."""
        present, kind = self._current.get(name, (0, None))
        if kind is not None and schema == present:
            return (self._read(name, kind, stored),)
        shape = Shape(name, schema)
        if shape not in self._upcasters:
            raise Unreadable(_why_not(shape, present))
        return tuple(self._upcast(shape, stored))

    def _upcast(self, shape: Shape, stored: Any) -> Iterator[Any]:
        try:
            parts = list(upcast(self._upcasters, shape, stored))
        except Exception as error:  # an upcaster may fail in any way
            raise Unreadable(
                f"{shape} cannot be upcast: {type(error).__name__}: {error}"
            ) from error
        for new, data in parts:
            present, kind = self._current.get(new.type, (0, None))
            if kind is None or new.schema != present:
                raise Unreadable(f"{shape} is upcast to {new}: {_why_not(new, present)}")
            yield self._read(f"{shape}, read as {new}", kind, data)

    def recorded(self, stored: Mapping[str, Any]) -> tuple[Recorded, ...]:
        """A document of the log as today's events; raises `Unreadable`.

        Nearly always that is one. Where it was split since, all have its position and version, and
        the later ones `.1`, `.2` … after its event id, so that ids derived from theirs are unique.
        """
        events = self.decode(stored["type"], stored["schema"], stored["data"])
        first = Recorded(
            event=events[0],
            position=stored["_id"],
            stream=stored["stream"],
            version=stored["version"],
            meta=self.meta(stored["meta"]),
        )
        return (first,) if len(events) == 1 else (first, *_later(first, events[1:]))

    def meta(self, stored: Any) -> Meta:
        """Where the event came from; raises `Unreadable`."""
        return self._read("meta", Meta, stored)

    def _read(self, name: str, kind: type[T], stored: Any) -> T:
        try:
            return cast(T, self._convert(kind, stored))
        except msgspec.ValidationError as error:
            raise Unreadable(f"{name}: {error}") from error


def _later(first: Recorded, events: Iterable[Any]) -> Iterator[Recorded]:
    """The other parts of an event that was split."""
    for part, event in enumerate(events, start=1):
        meta = replace(first.meta, event_id=f"{first.meta.event_id}.{part}")
        yield replace(first, event=event, meta=meta)


def _why_not(shape: Shape, present: int) -> str:
    """Why nothing can be read from this shape; `present` is 0 where nothing has such a name."""
    if not present:
        return f"nothing is called {shape.type!r}"
    if shape.schema > present:
        return f"{shape} is of a newer release: this one knows {shape.type}/{present}"
    return f"no upcaster reads {shape}"


class ErrorCodec:
    """The refusals of the registries, by code, so that a remembered refusal reads the same."""

    def __init__(self, errors: Iterable[type[DomainError]]) -> None:
        self._kinds = {error.__name__: error for error in errors}

    def encode(self, error: DomainError) -> dict[str, Any]:
        return {"kind": type(error).__name__, "facts": error.facts, "path": list(error.path)}

    def decode(self, stored: dict[str, Any]) -> DomainError:
        kind = self._kinds.get(stored["kind"])
        if kind is None:
            raise Unreadable(f"no refusal is called {stored['kind']!r}")
        error = kind(**stored["facts"])
        error.path = tuple(stored["path"])
        return error
