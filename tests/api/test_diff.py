"""What differs between two plain values."""

from typing import Any

import pytest

from api.diff import Change, diff

LINE = {"sku": "A", "quantity": 2}
CASES: dict[str, tuple[Any, Any, list[tuple[str, Any, Any]]]] = {
    "nothing": ({"a": 1, "b": [1]}, {"a": 1, "b": [1]}, []),
    "a field": ({"a": 1, "b": 2}, {"a": 1, "b": 3}, [("b", 2, 3)]),
    "a deep field": (
        {"order": {"lines": [LINE, LINE]}},
        {"order": {"lines": [LINE, {**LINE, "quantity": 3}]}},
        [("order.lines.1.quantity", 2, 3)],
    ),
    "an item more": ({"lines": []}, {"lines": [LINE]}, [("lines.0", None, LINE)]),
    "an item less": ([1, 2], [1], [("1", 2, None)]),
    "a key more and one less": ({"a": 1}, {"b": 2}, [("a", 1, None), ("b", None, 2)]),
    "what was not there is not news as null": ({}, {"a": None}, []),
    "another kind of value": ({"a": [1]}, {"a": {"b": 1}}, [("a", [1], {"b": 1})]),
    "the value itself": (1, 2, [("", 1, 2)]),
}


@pytest.mark.parametrize(("before", "after", "changes"), CASES.values(), ids=CASES)
def test_the_smallest_parts_that_differ_are_told(
    before: Any, after: Any, changes: list[tuple[str, Any, Any]]
) -> None:
    found = [(change.path, change.before, change.after) for change in diff(before, after)]
    assert found == changes


def test_a_value_from_nothing() -> None:
    assert list(diff(None, {"a": 1})) == [Change(path="", before=None, after={"a": 1})]
