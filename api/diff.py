"""What differs between two plain values (dicts, lists and scalars), path by path."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from domain.decider import message


@message
class Change:
    """`path` goes into values: `lines.0.quantity`; it is empty for the value as a whole. None
    stands for what is not there."""

    path: str
    before: Any
    after: Any


def diff(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """The smallest parts that differ, in the order in which they stand. Items of lists are told
    apart by their place."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            yield from diff(before.get(key), after.get(key), _inside(path, key))
    elif isinstance(before, list) and isinstance(after, list):
        for index, (one, other) in enumerate(zip_longest(before, after)):
            yield from diff(one, other, _inside(path, index))
    elif before != after:
        yield Change(path=path, before=before, after=after)


def _inside(path: str, part: object) -> str:
    return f"{path}.{part}" if path else str(part)
