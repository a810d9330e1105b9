"""From values to what MongoDB stores and back.

1. The stored name of an event is its class name; registries are the only list of names.
2. Decoding is strict: a wrong type is an error with its path, never a guess.
3. BSON keeps milliseconds: times are cut to that before anything is decided on them.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from domain.decider import DomainError
from domain.recorded import Meta

T = TypeVar("T")


def to_stored(value: Any) -> Any:
    """A value as plain dicts, lists and scalars; times stay times, dates become ISO text."""
    return msgspec.to_builtins(value, builtin_types=(datetime,))


def from_stored(kind: type[T], stored: Any) -> T:
    """The value of this kind; raises `msgspec.ValidationError` with the path of what is wrong."""
    return msgspec.convert(stored, kind, builtin_types=(datetime,))


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


class EventCodec:
    """The events (or commands) of the registries, by stored name."""

    def __init__(self, kinds: Iterable[type]) -> None:
        self._kinds = {kind.__name__: kind for kind in kinds}

    def schema(self, event: object) -> int:
        """The number of the event's shape; 1 until a shape has changed."""
        return getattr(type(event), "SCHEMA", 1)

    def decode(self, name: str, stored: Any) -> Any:
        """The event; raises `Unreadable` for an unknown name or a shape that does not fit."""
        try:
            return from_stored(self._kinds[name], stored)
        except KeyError:
            raise Unreadable(f"nothing is called {name!r}") from None
        except msgspec.ValidationError as error:
            raise Unreadable(f"{name}: {error}") from error

    def meta(self, stored: Any) -> Meta:
        """Where the event came from; raises `Unreadable`."""
        try:
            return from_stored(Meta, stored)
        except msgspec.ValidationError as error:
            raise Unreadable(f"meta: {error}") from error


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
