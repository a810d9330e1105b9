"""The scalars of the schema: text in, a value of the domain out, and back.

1. Money travels as decimal text in major units and lives as a whole number of minor units.
2. A position is opaque to clients: log partition and number.
3. Times have an offset and are kept in UTC to the millisecond.
"""

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NewType, TypeVar
from uuid import UUID

import strawberry
from strawberry.types.scalar import ScalarDefinition

from domain.money import MINOR_DIGITS
from domain.recorded import PARTITION, position_text
from infra.codec import milliseconds

T = TypeVar("T")

Position = NewType("Position", int)
CurrencyCode = NewType("CurrencyCode", str)
Count = NewType("Count", int)


def _text(kind: str, parse: Callable[[str], T]) -> Callable[[Any], T]:
    """A parser that takes text only and says what it wanted."""

    def parse_value(value: Any) -> T:
        if isinstance(value, str) and len(value) <= 64:
            try:
                return parse(value)
            except (ValueError, OverflowError, InvalidOperation):
                pass
        raise ValueError(f"A {kind} was expected.")

    return parse_value


def _position(text: str) -> int:
    if not (found := re.fullmatch(rf"{PARTITION}:(\d{{1,18}})", text)):
        raise ValueError(text)
    return int(found[1])


def _date_time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(text)
    return milliseconds(at)


def _decimal(text: str) -> Decimal:
    if not re.fullmatch(r"-?\d{1,18}(\.\d{1,9})?", text):
        raise ValueError(text)
    return Decimal(text)


def _currency(text: str) -> str:
    if text not in MINOR_DIGITS:
        raise ValueError(text)
    return text


def _scalar(
    name: str,
    description: str,
    parse: Callable[[str], Any],
    serialize: Callable[[Any], str],
    url: str | None = None,
) -> ScalarDefinition:
    return strawberry.scalar(
        name=name,
        description=description,
        specified_by_url=url,
        serialize=serialize,
        parse_value=_text(name, parse),
    )


def _utc_text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


SCALARS: Final[dict[object, ScalarDefinition]] = {
    Position: _scalar(
        "Position",
        "A place in the log, such as `0:1042`. Opaque, but for its order: a later one is further.",
        _position,
        position_text,
    ),
    CurrencyCode: _scalar(
        "CurrencyCode",
        "A currency that is accepted here, such as `EUR`.",
        _currency,
        str,
        "https://www.iso.org/iso-4217-currency-codes.html",
    ),
    Count: strawberry.scalar(
        name="Count",
        description="How many, as a number: sums of pieces may be more than an `Int` can say.",
        serialize=int,
    ),
    datetime: _scalar(
        "DateTime",
        "A time with its offset, such as `2026-03-01T09:30:00Z`; always UTC in answers.",
        _date_time,
        _utc_text,
        "https://scalars.graphql.org/andimarek/date-time",
    ),
    date: _scalar(
        "Date",
        "A day, such as `2026-03-01`.",
        date.fromisoformat,
        date.isoformat,
        "https://scalars.graphql.org/andimarek/local-date",
    ),
    Decimal: _scalar("Decimal", 'An exact number, as text: `"12.50"`.', _decimal, str),
    UUID: _scalar(
        "UUID",
        "Made by the client, and different for everything that it names.",
        UUID,
        str,
        "https://datatracker.ietf.org/doc/html/rfc9562",
    ),
}
