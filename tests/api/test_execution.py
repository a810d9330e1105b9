"""One operation from its text to its answer, against a toy schema on the real executor."""

import asyncio
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from api import documents
from api.auth import Principal, Role
from api.errors import ApiError, ErrorCode, Refused
from api.execution import Answer, Executor
from infra.settings import Limits
from tests.api.toy import ANN, SCHEMA, ToyContext, executor


async def run(query: str, subject: Executor | None = None, /, **variables: Any) -> Answer:
    subject = subject or executor()
    prepared = subject.prepare(query, None)
    subject.check(prepared, variables, ANN)
    return await subject.execute(prepared, variables, ToyContext(ANN, "t1"))


async def events(query: str, subject: Executor | None = None, /, **variables: Any) -> list[Answer]:
    subject = subject or executor()
    prepared = subject.prepare(query, None)
    stream = await subject.subscribe(prepared, variables, ToyContext(ANN, "t1"))
    return [answer async for answer in stream]


def codes(answer: Answer) -> list[str]:
    return [error["extensions"]["code"] for error in answer.get("errors", [])]


async def test_what_strawberry_knows_works_without_its_executor() -> None:
    answer = await run(
        """query ($id: ID!, $colour: Colour!) {
          order(id: $id) { __typename id lines { sku price { amount colour } } itself { id } }
          orders(first: 2, colour: $colour) { nodes { id } pageInfo { more } }
          nodes(ids: ["a"]) { __typename id }
          found { ... on Order { id } ... on Customer { name } }
        }""",
        id="order-9",
        colour="BLUE",
    )
    assert answer == {
        "data": {
            "order": {
                "__typename": "Order",
                "id": "order-9",
                "lines": [{"sku": "a", "price": {"amount": "1.50", "colour": "RED"}}],
                "itself": {"id": "order-9"},
            },
            "orders": {
                "nodes": [{"id": "order-0"}, {"id": "order-1"}],
                "pageInfo": {"more": True},
            },
            "nodes": [{"__typename": "Order", "id": "a"}],
            "found": [{"id": "order-1"}, {"name": "Ann"}],
        },
        "extensions": {"position": "0:7", "cost": 28},
    }


async def test_the_same_answers_as_strawberry_gives() -> None:
    query = "{ order(id: 1) { lines { price { amount } } } found { __typename } }"
    stock = await SCHEMA.execute(query, context_value=ToyContext(ANN, "t1"))
    assert stock.errors is None
    assert (await run(query))["data"] == stock.data


async def test_what_is_not_known_is_masked_and_logged_with_its_trace_id() -> None:
    with capture_logs() as logs:
        answer = await run("{ hello broken }")
    assert answer["data"] == {"hello": "there", "broken": None}
    assert answer["errors"] == [
        {
            "message": "Something went wrong on our side.",
            "locations": [{"line": 1, "column": 9}],
            "path": ["broken"],
            "extensions": {"code": "INTERNAL", "traceId": "t1"},
        }
    ]
    assert [(entry["trace_id"], str(entry["exc_info"])) for entry in logs] == [
        ("t1", "secret of ours")
    ]


async def test_an_api_error_of_a_resolver_goes_out_as_it_is() -> None:
    with capture_logs() as logs:
        answer = await run("{ behind }")
    assert answer["errors"][0]["message"] == "Not there yet."
    assert codes(answer) == ["READ_MODEL_BEHIND"]
    assert logs == []


async def test_arguments_that_are_wrong_only_at_run_time_are_the_clients_fault() -> None:
    with capture_logs() as logs:
        answer = await run("query ($n: Int) { orders(first: $n) { pageInfo { more } } }", n=None)
    assert codes(answer) == ["VALIDATION_FAILED"]
    assert logs == []


async def test_there_are_never_more_errors_than_the_limit() -> None:
    broken = " ".join(f"a{n}: broken" for n in range(9))
    with capture_logs() as logs:
        answer = await run("{ " + broken + " }")
    assert len(answer["errors"]) == len(logs) == 5


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ hello", ErrorCode.SYNTAX_ERROR),
        ("{ missing }", ErrorCode.VALIDATION_FAILED),
        ("subscription { count(to: 1) @skip(if: true) }", ErrorCode.VALIDATION_FAILED),
        ("subscription { a: count(to: 1) b: count(to: 1) }", ErrorCode.VALIDATION_FAILED),
        ("subscription { }", ErrorCode.VALIDATION_FAILED),
        ("{ __schema { types { name } } }", ErrorCode.VALIDATION_FAILED),
        ("{ hello @defer }", ErrorCode.VALIDATION_FAILED),
    ],
)
def test_refused_before_it_runs(query: str, code: ErrorCode) -> None:
    with capture_logs() as logs, pytest.raises(Refused) as caught:
        executor().prepare(query, None)
    assert caught.value.code is code
    assert caught.value.status == 400
    assert logs == []


@pytest.mark.parametrize(
    "variables", [{}, {"id": {"$gt": ""}}, {"id": [[[]]]}, {"id": None}, {"id": True}]
)
async def test_variables_that_cannot_be_coerced(variables: dict[str, Any]) -> None:
    with capture_logs() as logs, pytest.raises(Refused) as caught:
        await run("query ($id: ID!) { order(id: $id) { id } }", **variables)
    assert caught.value.code is ErrorCode.VALIDATION_FAILED
    assert logs == []


def test_operations_by_name() -> None:
    subject = executor()
    query = "query A { hello } mutation B { place }"
    assert subject.prepare(query, "A").root_fields == ("Query.hello",)
    assert subject.prepare(query, "B").kind == "mutation"
    for name in (None, "C"):
        with pytest.raises(Refused):
            subject.prepare(query, name)


def test_documents_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "KEPT_DOCUMENTS", 2)
    subject = executor()
    first = subject.prepare("{ hello }", None)
    subject.prepare("{ a: hello }", None)
    assert subject.prepare("{ hello }", None) is first
    subject.prepare("{ b: hello }", None)
    assert subject.prepare("{ hello }", None) is first
    assert len(subject._documents._kept) == 2
    monkeypatch.setattr(documents, "KEPT_CHARACTERS", 100)
    subject.prepare("{ hello " + "," * 90 + "}", None)
    assert len(subject._documents._kept) == 1
    subject.prepare("{ hello " + "," * 200 + "}", None)
    assert subject._documents._characters == 0


def test_rights_are_per_root_field_fragments_included() -> None:
    subject = executor()
    customer = Principal("carl", frozenset({Role.CUSTOMER}), "customer-1", 4e9)
    operator = Principal("olga", frozenset({Role.OPERATOR}), None, 4e9)
    secret = subject.prepare("{ ...F } fragment F on Query { ... { x: secret } }", None)
    typename = subject.prepare("{ __typename }", None)
    assert subject.check(secret, {}, operator) == 0
    assert subject.check(typename, {}, customer) == 0
    for principal in (customer, ANN):
        with pytest.raises(ApiError) as caught:
            subject.check(secret, {}, principal)
        assert caught.value.code is ErrorCode.FORBIDDEN


def test_a_root_field_that_nobody_declared_is_for_nobody() -> None:
    subject = Executor(SCHEMA, Limits(), introspection=False, allowed={})
    everything = Principal("all", frozenset(Role), "customer-1", 4e9)
    with pytest.raises(ApiError) as caught:
        subject.check(subject.prepare("{ hello }", None), {}, everything)
    assert caught.value.code is ErrorCode.FORBIDDEN


def test_introspection_can_be_allowed_for_some() -> None:
    subject = Executor(
        SCHEMA,
        Limits(),
        introspection=False,
        allowed={"Query.__schema": frozenset({Role.OPERATOR})},
    )
    prepared = subject.prepare("{ __schema { types { name } } }", None)
    with pytest.raises(ApiError):
        subject.check(prepared, {}, ANN)
    subject.check(prepared, {}, Principal("olga", frozenset({Role.OPERATOR}), None, 4e9))


def test_cost_is_limited_with_variables_resolved() -> None:
    subject = executor()
    prepared = subject.prepare(
        "query ($n: Int!) { orders(first: $n) { nodes { itself { id } } } }", None
    )
    assert subject.check(prepared, {"n": 100}, ANN) == 102
    with pytest.raises(ApiError) as caught:
        subject.check(prepared, {"n": 2_000}, ANN)
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED


def test_the_budget_runs_out() -> None:
    subject = executor(Limits(cost_per_minute=10))
    prepared = subject.prepare("mutation { place }", None)
    subject.check(prepared, {}, ANN)
    with pytest.raises(ApiError) as caught:
        subject.check(prepared, {}, ANN)
    assert caught.value.code is ErrorCode.RATE_LIMITED
    assert caught.value.retry_after is not None


async def test_a_slow_query_is_cancelled() -> None:
    start = time.perf_counter()
    answer = await run("{ slow }", executor(Limits(seconds=0.05)))
    assert time.perf_counter() - start < 1
    assert answer["data"] is None
    assert codes(answer) == ["TIMEOUT"]


async def test_a_slow_mutation_is_answered_but_goes_on() -> None:
    subject = executor(Limits(seconds=0.02))
    prepared = subject.prepare("mutation { place(wait: 0.1) }", None)
    context = ToyContext(ANN, "t1")
    answer = await subject.execute(prepared, {}, context)
    assert codes(answer) == ["TIMEOUT"]
    assert context.done == []
    await subject.drain()
    assert context.done == ["placed"]


async def test_a_mutation_outlives_whoever_waited_for_it() -> None:
    subject = executor()
    prepared = subject.prepare("mutation { place(wait: 0.1) }", None)
    context = ToyContext(ANN, "t1")
    waiting = asyncio.create_task(subject.execute(prepared, {}, context))
    await asyncio.sleep(0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await subject.drain()
    assert context.done == ["placed"]


async def test_a_subscription_answers_for_every_event() -> None:
    answers = await events("subscription ($to: Int!) { count(to: $to) }", to=2)
    assert answers == [
        {"data": {"count": n}, "extensions": {"position": "0:7", "cost": 0}} for n in range(2)
    ]


async def test_a_source_that_fails_ends_with_a_masked_error() -> None:
    with capture_logs() as logs:
        answers = await events("subscription { failing }")
    assert answers[0]["data"] == {"failing": 1}
    assert codes(answers[1]) == ["INTERNAL"]
    assert "secret" not in str(answers)
    assert len(logs) == 1


async def test_a_source_that_closes_its_door_says_so() -> None:
    answers = await events("subscription { closed }")
    assert [codes(answer) for answer in answers] == [["FORBIDDEN"]]


async def test_a_subscription_is_refused_before_its_first_event() -> None:
    with pytest.raises(Refused) as caught:
        await events("subscription ($to: Int!) { count(to: $to) }", to="many")
    assert caught.value.code is ErrorCode.VALIDATION_FAILED


async def test_closing_a_subscription_closes_its_source() -> None:
    subject = executor()
    prepared = subject.prepare("subscription { count(to: 9) }", None)
    stream = await subject.subscribe(prepared, {}, ToyContext(ANN, "t1"))
    await anext(stream)
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
