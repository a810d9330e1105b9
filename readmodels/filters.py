"""Filters, as MongoDB has them.

1. Only fields of an allow-list are compared, each with values of its own type, under operators
   written here: no text of a client ever becomes a key or an operator.
2. Values are compared as they are stored: dates as ISO text, enums by value, text by code point.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, Final, TypeAlias

Document: TypeAlias = dict[str, Any]

MOST_VALUES: Final = 100
"""Values of one `in`."""

_MOST_INT: Final = 2**63 - 1
_LAST_CHARACTER: Final = "\U0010ffff"
_HALF_CHARACTER: Final = re.compile("[\ud800-\udfff]")


class QueryRefused(Exception):
    """What was asked for cannot be answered; the text says why, and is fit for clients."""


class FilterInvalid(QueryRefused):
    pass


class Op(Enum):
    EQ = "eq"
    IN = "in"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    BETWEEN = "between"
    """From the first of two values to the second, both included."""
    STARTS_WITH = "startsWith"


@dataclass(frozen=True)
class Field:
    """What may be compared: its type.

    `many` where a document has several values of it; `sortable` where an index has its order.
    """

    kind: type
    many: bool = False
    sortable: bool = True


Fields: TypeAlias = Mapping[str, Field]
"""The allow-list of one read model. An index begins with each field, or with `always` and it."""


@dataclass(frozen=True)
class Condition:
    """`value` is of the field's type, or a sequence of such for IN and BETWEEN."""

    field: str
    op: Op
    value: Any


def compiled(fields: Fields, condition: Condition) -> Document:
    """The condition as a filter; raises `FilterInvalid`."""
    field = fields.get(condition.field)
    if field is None:
        raise FilterInvalid("This cannot be compared.")
    operators = _operators(field.kind, condition.op, condition.value)
    # Without $elemMatch, two bounds could be met by two different values of the document.
    return {condition.field: {"$elemMatch": operators} if field.many else operators}


def _operators(kind: type, op: Op, value: Any) -> Document:
    match op:
        case Op.IN:
            return {"$in": [_stored(kind, one) for one in _several(value, 0, MOST_VALUES)]}
        case Op.BETWEEN:
            low, high = _several(value, 2, 2)
            return {"$gte": _stored(kind, low), "$lte": _stored(kind, high)}
        case Op.STARTS_WITH:
            if kind is not str:
                raise FilterInvalid("Only text starts with text.")
            prefix = _stored(kind, value)
            return {"$gte": prefix, "$lt": prefix + _LAST_CHARACTER}
        case _:
            return {f"${op.value}": _stored(kind, value)}


def _several(values: Any, least: int, most: int) -> Sequence[Any]:
    if isinstance(values, (list, tuple)) and least <= len(values) <= most:
        return values
    raise FilterInvalid(f"A list of {least} to {most} values is needed.")


def _stored(kind: type, value: Any) -> Any:
    """The value as documents hold it. A bool is no int, and a datetime is no date."""
    if type(value) is not kind:
        raise FilterInvalid(f"A value of type {kind.__name__} is needed.")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if not storable(value):
        raise FilterInvalid("The value is out of range.")
    return value


def storable(value: Any) -> bool:
    """Whether BSON has the value: text without half characters, numbers of 64 bits."""
    if isinstance(value, str):
        return not _HALF_CHARACTER.search(value)
    return bool(-_MOST_INT <= value <= _MOST_INT)
