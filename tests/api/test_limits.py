"""The shape and cost of operations, and the budget of a principal."""

import gc
import time
from typing import Any

import pytest
from graphql import get_introspection_query

from api.errors import ApiError, ErrorCode, Refused
from api.limits import Budget
from infra.settings import Limits
from tests.api.toy import DOUBLING, executor


def refusal(query: str, limits: Limits | None = None, *, introspection: bool = False) -> Refused:
    with pytest.raises(Refused) as caught:
        executor(limits, introspection=introspection).prepare(query, None)
    return caught.value


def cost(query: str, **variables: Any) -> int:
    return executor(Limits(cost=10**9)).prepare(query, None).cost.of(variables)


def chain(n: int) -> str:
    return "{ order(id: 1) " + "{ itself " * n + "{ id }" + " }" * n + " }"


@pytest.mark.parametrize(
    ("query", "what"),
    [
        (chain(9), "depth"),
        ("{ " + " ".join(f"a{n}: hello" for n in range(1_000)) + " }", "tokens"),
        ("{ " + " ".join(f"a{n}: hello" for n in range(16)) + " }", "aliases"),
        ("{ " + "hello " * 301 + "}", "fields"),
        ("{ hello " + "@skip(if: false) " * 21 + "}", "directives"),
        ("query ($a: Int " + "@x " * 21 + ") { hello }", "directives"),
        (" ".join(f"query Q{n} {{ hello }}" for n in range(6)), "operations"),
        ("{ " + "hello " * 21 + "}", "root fields"),
        ("{ ...F ...F } fragment F on Query { " + "hello " * 11 + "}", "root fields"),
        ("{ hello " + "# x\n" * 1_001 + "}", None),
        (DOUBLING, "fields"),
        ("{ hello } fragment F on Query { " + "hello " * 301 + "}", "fields"),
        ("{ order(id: 1) { ...A } } fragment A on Order { itself { ...A } }", None),
        ("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }", None),
        ("{ ...Missing }", None),
        ("{ hello } { hello }", None),
        ("fragment F on Query { hello }", None),
        ("{" * 5_000, None),
        ("{ orders(first: " + "9" * 5_000 + ") { nodes { id } } }", None),
        ("{ order(id: " + "[" * 400 + "]" * 400 + ") { id } }", None),
        ("{ " + "... { " * 300 + "hello" + " }" * 300 + " }", None),
        ("{ }", None),
        ("", None),
        ("type Query { hello: String }", None),
        ('{ order(id: "\\uD800") { id } }', None),
        ("{ __typename __schema { types { name } } }", None),
        ('{ __type(name: "Order") { name } }', None),
    ],
)
def test_what_is_hostile_is_refused_at_once(query: str, what: str | None) -> None:
    subject = executor()
    subject.prepare("{ hello }", None)
    gc.collect()  # a full collection of what all tests left behind is not the document's doing
    start = time.thread_time()
    with pytest.raises(Refused) as caught:
        subject.prepare(query, None)
    assert time.thread_time() - start < 0.1
    if what is not None:
        assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
        assert f"The {what} of the document exceed" in caught.value.message


def test_doubling_fragments_cost_nothing_to_refuse() -> None:
    subject = executor()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        with pytest.raises(Refused):
            subject.prepare(DOUBLING, None)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.005


def test_the_most_that_is_accepted_is_validated_in_time() -> None:
    """The rule about fields that can be merged is quadratic in them."""
    subject = executor(Limits(root_fields=300))
    start = time.perf_counter()
    subject.prepare("{ " + "hello " * 300 + "}", None)
    assert time.perf_counter() - start < 0.5


def test_what_fits_exactly_is_accepted() -> None:
    subject = executor()
    subject.prepare(chain(8), None)
    subject.prepare("{ " + " ".join(f"a{n}: hello" for n in range(15)) + " }", None)
    subject.prepare("{ " + "hello " * 20 + "}", None)


def test_introspection_passes_where_it_is_allowed() -> None:
    subject = executor(introspection=True)
    assert subject.prepare(get_introspection_query(), None).cost.of({}) == 0
    deep = "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }"
    assert refusal(deep, introspection=True).code is ErrorCode.VALIDATION_FAILED


def test_suggestions_are_for_those_who_may_introspect() -> None:
    assert "Did you mean" not in refusal("{ helo }").message
    assert "Did you mean" in refusal("{ helo }", introspection=True).message


NESTED = """
query ($n: Int) { orders(last: $n) { ...P } }
fragment P on Orders { nodes { ...O } }
fragment O on Order { itself { itself { id } } }
"""


@pytest.mark.parametrize(
    ("query", "variables", "expected"),
    [
        ("{ hello }", {}, 0),
        ("{ __typename }", {}, 0),
        ("{ order(id: 1) { id } }", {}, 1),
        ("{ order(id: 1) { lines { sku price { amount } } } }", {}, 1 + 1 + 20),
        ("{ orders { nodes { id } } }", {}, 2),
        ("{ orders(first: 50) { nodes { id lines { sku } } } }", {}, 2 + 50),
        ("{ orders(first: 50) { nodes { lines { price { amount } } } } }", {}, 2 + 50 * 21),
        ("{ orders(first: 50) { pageInfo { more } } }", {}, 2),
        ("{ orders { nodes { itself { id } } } }", {}, 2 + 20),
        ("{ orders(last: null) { nodes { itself { id } } } }", {}, 2 + 20),
        ("{ orders(first: 3, last: 7) { nodes { itself { id } } } }", {}, 2 + 7),
        ("query ($n: Int!) { orders(first: $n) { nodes { itself { id } } } }", {"n": 30}, 32),
        ("query ($n: Int!) { orders(first: $n) { nodes { itself { id } } } }", {"n": 3e1}, 32),
        ("query ($n: Int = 5) { orders(last: $n) { nodes { itself { id } } } }", {}, 7),
        ("query ($n: Int) { orders(last: $n) { nodes { itself { id } } } }", {}, 22),
        ("query ($n: Int) { orders(last: $n) { nodes { itself { id } } } }", {"n": None}, 22),
        ("query ($n: Int) { orders(last: $n) { nodes { itself { id } } } }", {"n": -4}, 2),
        ("query ($n: Int) { orders(last: $n) { nodes { itself { id } } } }", {"n": "x"}, 2),
        (NESTED, {"n": 9}, 2 + 9 * 2),
        ('{ nodes(ids: ["a", "b"]) { ... on Order { itself { id } } } }', {}, 1 + 2),
        ("query ($i: [ID!]!) { nodes(ids: $i) { ... on Order { itself { id } } } }",
         {"i": ["a", "b", "c"]}, 1 + 3),
        ("mutation { place again: place __typename }", {}, 20),
    ],
)  # fmt: skip
def test_cost(query: str, variables: dict[str, Any], expected: int) -> None:
    assert cost(query, **variables) == expected


def test_the_budget_is_per_principal_and_minute() -> None:
    clock = [59.0]
    budget = Budget(100, lambda: clock[0])
    budget.spend("ann", 60)
    budget.spend("bob", 100)
    with pytest.raises(ApiError) as caught:
        budget.spend("ann", 41)
    assert caught.value.code is ErrorCode.RATE_LIMITED
    assert caught.value.retry_after == 1
    budget.spend("ann", 40)
    clock[0] = 60.0
    budget.spend("ann", 100)


def test_what_is_free_still_counts() -> None:
    budget = Budget(2, lambda: 0.0)
    budget.spend("ann", 0)
    budget.spend("ann", 0)
    with pytest.raises(ApiError):
        budget.spend("ann", 0)
