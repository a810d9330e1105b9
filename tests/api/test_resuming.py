"""Where a subscription begins is told apart from what it asks for, and only where that is sure."""

from typing import Any

import pytest

from api.execution import Executor
from api.resuming import Beginning, beginning_of
from api.schema import RIGHTS, SCHEMA
from infra.settings import Limits

EXECUTOR = Executor(SCHEMA, Limits(), introspection=False, allowed=RIGHTS)
FOLLOW = "notifications(customerId: $c, after: $a) { text }"
VARIABLES = {"c": "customer-1", "a": "0:7"}
REST = {"c": "customer-1"}


def beginning(document: str, operation: str | None = None, **variables: Any) -> Beginning:
    return beginning_of(EXECUTOR.prepare(document, operation), variables)


@pytest.mark.parametrize(
    "declared",
    ["$c: ID, $a: Position", "$c: ID, $a: Position!", '$c: ID, $a: Position = "0:1"'],
)
def test_the_variable_that_says_where_is_no_part_of_the_rest(declared: str) -> None:
    found = beginning(f"subscription ({declared}) {{ {FOLLOW} }}", **VARIABLES)
    assert found == Beginning(is_now=False, rest=REST)


@pytest.mark.parametrize(
    ("declared", "is_now"),
    [
        ("$c: ID, $a: Position", True),
        ("$c: ID, $ a : Position", True),
        ("$c: ID, $a: Position!", False),
        ('$c: ID, $a: Position = "0:1"', False),
    ],
)
@pytest.mark.parametrize("given", [{}, {"a": None}])
def test_without_a_value_it_begins_now_where_it_may_be_left_out(
    declared: str, given: dict[str, None], *, is_now: bool
) -> None:
    found = beginning(f"subscription ({declared}) {{ {FOLLOW} }}", **REST, **given)
    assert found == Beginning(is_now=is_now, rest=REST)


def test_what_has_no_such_argument_begins_now() -> None:
    assert beginning("subscription { notifications { text } }", other=1) == Beginning(
        is_now=True, rest={"other": 1}
    )


@pytest.mark.parametrize(
    "document",
    [
        'subscription { notifications(after: "0:7") { text } }',
        f"subscription ($c: ID, $a: Position) {{ ...F }} fragment F on Subscription {{ {FOLLOW} }}",
        # another operation uses the same name: that is not looked into
        """subscription S ($a: Position) { notifications(after: $a) { text } }
           query Q ($a: Position) { order(id: "1", atLeast: $a) { id } }""",
    ],
)
def test_what_is_not_simply_seen_is_left_as_it_is(document: str) -> None:
    name = "S" if "query Q" in document else None
    assert beginning(document, name, **VARIABLES) == Beginning(is_now=False, rest=VARIABLES)
