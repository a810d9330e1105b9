"""Documents with a field of every type that can be asked for, and a naive answer to queries."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

from hypothesis import strategies as st

from readmodels.page import FIRST_PAGE, Field, Select, Slice, Sort, select, slice_of
from tests.readmodels.matching import Document, found, in_order


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


FIELDS = {
    "text": Field(str),
    "number": Field(int),
    "flag": Field(bool),
    "day": Field(date),
    "time": Field(datetime),
    "colour": Field(Colour),
    "words": Field(str, many=True, sortable=False),
}
BY_NUMBER = (Sort("number"),)

TEXTS = st.sampled_from(["", "a", "ab", "b", "é", "😀", "a😀"])
TIMES = st.sampled_from([datetime(2026, 1, n, tzinfo=UTC) for n in (1, 2, 3)])
VALUES = {
    "text": TEXTS,
    "number": st.integers(-2, 2),
    "flag": st.booleans(),
    "day": st.sampled_from([date(2026, 1, 9), date(2026, 1, 10), date(2026, 2, 1)]),
    "time": TIMES,
    "colour": st.sampled_from(Colour),
}
SORTABLE = tuple(VALUES)


def as_stored(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if type(value) is date else value


@st.composite
def documents(draw: st.DrawFn) -> list[Document]:
    keys = draw(st.lists(st.text("abc-:é", min_size=1), unique=True, max_size=12))
    return [
        {
            "_id": key,
            "words": draw(st.lists(TEXTS, max_size=3)),
            **{name: as_stored(draw(values)) for name, values in VALUES.items()},
        }
        for key in keys
    ]


def ask(everything: list[Document], query: Select) -> Slice[Document]:
    return slice_of(query, found(everything, query.filter, query.sort, query.limit), itself)


def itself(document: Document) -> Document:
    return document


def sorted_naively(everything: list[Document], order_by: Sequence[Sort]) -> list[Document]:
    return in_order(everything, select(FIELDS, (), order_by, FIRST_PAGE).sort)
