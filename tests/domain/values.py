"""Values of the domain made up from their type annotations, for the laws.

Small pools of ids, words and numbers, so that commands meet. Three commands of four are sound, so
that stories get somewhere; in the others one thing may be wrong.
"""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, TypeAlias, Union, get_args, get_origin, get_type_hints

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from domain.money import MOST_MINOR_UNITS, MOST_PIECES

Strategy: TypeAlias = st.SearchStrategy[Any]

LAW: Final = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine breaks no law."""

MOST_STORED: Final = 2**63 - 1
"""The largest whole number that the boundary lets in and MongoDB keeps."""

SOUND_POOLS: Final[dict[str, tuple[Any, ...]]] = {
    "customer_id": ("customer-1",),
    "payment_id": ("payment-1",),
    "shipment_id": ("shipment-1",),
    "entry_id": ("entry-1", "entry-2"),
    "capture_id": ("capture-1", "capture-2"),
    "refund_id": ("refund-1", "refund-2"),
    "sku": ("A", "B"),
    "email": ("ada@example.org", "a@example.org"),
    "currency": ("EUR",),
    "quantity": (1, 1, 2, 3, 8),
}
"""What fields of these names hold."""

ODD_POOLS: Final = SOUND_POOLS | {
    "email": ("", "nobody", "a@b@c", "half@\ud83d"),
    "currency": ("USD", "JPY", "XXX", ""),
    "quantity": (-1, 0, MOST_PIECES, MOST_PIECES + 1, 2**31 - 1),
}


def ids(name: str) -> tuple[str, ...] | None:
    """Ids of aggregates are made by the API: a stream's name, never a text of a client."""
    category, found, rest = name.partition("_id")
    return (f"{category}-1", f"{category}-2") if found and not rest else None


DAY: Final = datetime(2026, 3, 1, tzinfo=UTC)
TIMES: Final = st.integers(0, 23).map(lambda hour: DAY.replace(hour=hour))

SOUND: Final[dict[Any, Strategy]] = {
    str: st.sampled_from(("one", "two", "Zoë 北京")),
    int: st.sampled_from((1, 1, 1, 2, 2, 3, 7, 1_900, 9_999)),
    bool: st.booleans(),
    tuple[int, ...]: st.sampled_from(((1,), (1,), (2,), (1, 2), (2, 1, 2))),  # line numbers
    datetime: TIMES,
    date: TIMES.map(datetime.date),
    NoneType: st.none(),
}

ODD_TEXTS: Final = ("", " ", "a\x00b", "half \ud83d", "x" * 41, "x" * 201)
ODD_NUMBERS: Final = (-1, 0, 10_000, 10_001, MOST_PIECES, MOST_MINOR_UNITS, MOST_STORED)

ODD: Final = SOUND | {
    str: st.sampled_from(ODD_TEXTS),
    int: st.sampled_from(ODD_NUMBERS),
    tuple[int, ...]: st.lists(st.integers(-1, 4), max_size=3).map(tuple),
}


@cache
def values(hint: Any, *, sound: bool) -> Strategy:
    """Values of a type, as far as the domain uses types."""
    if hint in ODD:
        return (SOUND if sound else ODD)[hint]
    if get_origin(hint) in (UnionType, Union):
        return st.one_of(*(values(part, sound=sound) for part in get_args(hint)))
    if get_origin(hint) is tuple:
        part = values(get_args(hint)[0], sound=sound)
        return st.lists(part, min_size=int(sound), max_size=3).map(tuple)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    assert is_dataclass(hint), f"no values for {hint}"
    return messages(hint, sound=sound)


def messages(kind: Any, *, sound: bool = False) -> Strategy:
    """Commands, events, errors or parts of them, every field filled in; at most one oddly."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]

    def field_values(name: str, *, sound: bool) -> Strategy:
        pool = (SOUND_POOLS if sound else ODD_POOLS).get(name) or ids(name)
        return values(hints[name], sound=sound) if pool is None else st.sampled_from(pool)

    def built(odd: str | None) -> Strategy:
        return st.builds(kind, **{name: field_values(name, sound=name != odd) for name in names})

    return built(None) if sound else st.one_of(*map(built, names))


def commands(kinds: Iterable[type]) -> Strategy:
    """Commands of these kinds, three of four without anything wrong in themselves."""
    kinds = list(kinds)
    sound = [messages(kind, sound=True) for kind in kinds]
    return st.one_of(*sound, *sound, *sound, *(messages(kind) for kind in kinds))


def lives(kinds: Iterable[type]) -> st.SearchStrategy[list[Any]]:
    """Sound commands in the order of their declaration, which is that of a life; few left out."""
    sound = (messages(kind, sound=True) for kind in kinds)
    steps = st.tuples(*(st.one_of(step, step, step, st.none()) for step in sound))
    return steps.map(lambda life: [command for command in life if command is not None])


def stories(kinds: Iterable[type], most: int = 12) -> st.SearchStrategy[list[Any]]:
    """A life, and then commands of these kinds in any order."""
    kinds = list(kinds)
    parts = st.tuples(lives(kinds), st.lists(commands(kinds), max_size=most))
    return parts.map(lambda story: [*story[0], *story[1]])
