"""MongoDB's filters and sorts, as far as pages use them, over documents in memory."""

import operator
from collections.abc import Callable, Mapping
from functools import cmp_to_key
from typing import Any

Document = dict[str, Any]

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$in": lambda value, among: value in among,
    "$elemMatch": lambda values, wanted: any(_meets(value, wanted) for value in values),
}


def matches(document: Document, wanted: Document) -> bool:
    for name, condition in wanted.items():
        if name == "$and":
            met = all(matches(document, part) for part in condition)
        elif name == "$or":
            met = any(matches(document, part) for part in condition)
        else:
            met = _meets(document[name], condition)
        if not met:
            return False
    return True


def _meets(value: Any, operators: Document) -> bool:
    return all(_OPERATORS[name](value, operand) for name, operand in operators.items())


def found(
    documents: list[Document], wanted: Document, sort: list[tuple[str, int]], limit: int
) -> list[Document]:
    chosen = [document for document in documents if matches(document, wanted)]
    return in_order(chosen, sort)[: limit or None]


def in_order(documents: list[Document], sort: list[tuple[str, int]]) -> list[Document]:
    def compare(one: Document, other: Document) -> int:
        for name, direction in sort:
            if one[name] != other[name]:
                return direction if one[name] > other[name] else -direction
        return 0

    return sorted(documents, key=cmp_to_key(compare))
