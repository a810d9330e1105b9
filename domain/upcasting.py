"""Events over years: what was stored in an older shape is read as today's events.

1. What is stored is never rewritten. It has a type, the number of its shape, and data: plain dicts,
   lists and scalars, times as times.
2. An upcaster is one pure function of that data, from one shape to the next. The next may have
   another name (a rename), or be several, in the order in which they happened (a split).
3. Upcasters follow on from each other until no further one reads what has come out: a chain. It
   may not come back to a shape that it has left.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Data: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Shape:
    """How an event was stored: the name of its type, and the number that its shape had then."""

    type: str
    schema: int

    def __str__(self) -> str:
        return f"{self.type}/{self.schema}"


@dataclass(frozen=True)
class Upcaster:
    """`up` answers with the data of each shape that the old one becomes, in their order."""

    old: Shape
    new: tuple[Shape, ...]
    up: Callable[[Data], Sequence[Data]]


Upcasters: TypeAlias = Mapping[Shape, Upcaster]


def by_old_shape(upcasters: Iterable[Upcaster]) -> Upcasters:
    """The upcasters by what they read; raises `ValueError` where they contradict each other."""
    found: dict[Shape, Upcaster] = {}
    for upcaster in upcasters:
        if upcaster.old in found:
            raise ValueError(f"two upcasters read {upcaster.old}")
        if not upcaster.new:
            raise ValueError(f"{upcaster.old} becomes nothing: what has happened is not dropped")
        found[upcaster.old] = upcaster
    for old in found:
        tuple(newest(found, old))
    return found


def newest(
    upcasters: Upcasters, shape: Shape, before: frozenset[Shape] = frozenset()
) -> Iterator[Shape]:
    """The shapes that this one becomes in the end; itself, where no upcaster reads it."""
    if shape in before:
        raise ValueError(f"{shape} becomes itself again")
    upcaster = upcasters.get(shape)
    if upcaster is None:
        yield shape
        return
    for new in upcaster.new:
        yield from newest(upcasters, new, before | {shape})


def upcast(upcasters: Upcasters, shape: Shape, data: Data) -> Iterator[tuple[Shape, Data]]:
    """The same in the newest shapes; as it is, where no upcaster reads its shape."""
    upcaster = upcasters.get(shape)
    if upcaster is None:
        yield shape, data
        return
    for new, part in zip(upcaster.new, upcaster.up(data), strict=True):
        yield from upcast(upcasters, new, part)
