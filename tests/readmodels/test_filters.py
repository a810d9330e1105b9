"""Filters: each operator against its meaning, and what is refused."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readmodels.page import FIRST_PAGE, Condition, FilterInvalid, Op, Page, select
from tests.readmodels.matching import Document
from tests.readmodels.sample_documents import (
    BY_NUMBER,
    FIELDS,
    SORTABLE,
    TEXTS,
    VALUES,
    as_stored,
    ask,
    documents,
    sorted_naively,
)


def chosen(everything: list[Document], *where: Condition) -> list[Document]:
    return ask(everything, select(FIELDS, where, BY_NUMBER, Page(first=100))).found


@settings(deadline=None)
@given(documents(), st.sampled_from(SORTABLE), st.data())
def test_operators_mean_what_they_say(
    everything: list[Document], name: str, data: st.DataObject
) -> None:
    low, high = data.draw(st.tuples(VALUES[name], VALUES[name]))
    a, b = as_stored(low), as_stored(high)
    for op, value, meant in (
        (Op.EQ, low, lambda v: v == a),
        (Op.GT, low, lambda v: v > a),
        (Op.GTE, low, lambda v: v >= a),
        (Op.LT, low, lambda v: v < a),
        (Op.LTE, low, lambda v: v <= a),
        (Op.IN, [low, high], lambda v: v in (a, b)),
        (Op.BETWEEN, (low, high), lambda v: a <= v <= b),
    ):
        expected = [d for d in sorted_naively(everything, BY_NUMBER) if meant(d[name])]
        assert chosen(everything, Condition(name, op, value)) == expected


@settings(deadline=None)
@given(documents(), TEXTS)
def test_text_is_found_by_its_beginning(everything: list[Document], prefix: str) -> None:
    whole = sorted_naively(everything, BY_NUMBER)
    by_text = chosen(everything, Condition("text", Op.STARTS_WITH, prefix))
    assert by_text == [d for d in whole if d["text"].startswith(prefix)]
    by_words = chosen(everything, Condition("words", Op.STARTS_WITH, prefix))
    assert by_words == [d for d in whole if any(w.startswith(prefix) for w in d["words"])]


def test_all_conditions_must_hold() -> None:
    where = (Condition("number", Op.GT, 1), Condition("number", Op.LT, 5))
    query = select(FIELDS, where, BY_NUMBER, FIRST_PAGE, always={"listed": {"$eq": True}})
    assert query.filter == {
        "$and": [{"listed": {"$eq": True}}, {"number": {"$gt": 1}}, {"number": {"$lt": 5}}]
    }


@pytest.mark.parametrize(
    "condition",
    [
        Condition("$where", Op.EQ, "1"),
        Condition("unknown", Op.EQ, 1),
        Condition("number", Op.EQ, "1"),
        Condition("number", Op.EQ, True),
        Condition("number", Op.EQ, {"$gt": 0}),
        Condition("number", Op.EQ, None),
        Condition("number", Op.EQ, 2**63),
        Condition("number", Op.STARTS_WITH, 1),
        Condition("number", Op.IN, 1),
        Condition("number", Op.IN, list(range(101))),
        Condition("number", Op.BETWEEN, (1,)),
        Condition("text", Op.EQ, ["a"]),
        Condition("text", Op.EQ, "\ud800"),
        Condition("day", Op.EQ, datetime(2026, 1, 1, tzinfo=UTC)),
        Condition("colour", Op.EQ, "red"),
    ],
)
def test_a_value_of_another_kind_is_refused(condition: Condition) -> None:
    with pytest.raises(FilterInvalid):
        select(FIELDS, (condition,), BY_NUMBER, FIRST_PAGE)
