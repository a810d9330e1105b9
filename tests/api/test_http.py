"""GraphQL over HTTP: what is answered how, and everything hostile refused, typed and at once."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from api.auth import Principal, Role, dev_token, open_authenticator
from api.execution import Prepared
from api.http import cors, graphql_endpoint
from api.media import GRAPHQL_JSON, JSON
from infra.settings import Limits, Settings
from tests.api.toy import DOUBLING, executor, open_context

Open: TypeAlias = Callable[..., httpx.AsyncClient]


async def on_sse(
    request: Request, prepared: Prepared, variables: Mapping[str, Any], principal: Principal
) -> Response:
    assert request.method == "POST"
    return PlainTextResponse(f"{prepared.kind} {dict(variables)} {principal.subject}")


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    clients: list[httpx.AsyncClient] = []

    def client(limits: Limits | None = None, *, origins: tuple[str, ...] = ()) -> httpx.AsyncClient:
        limits = limits or Limits()
        settings = Settings(home=tmp_path)
        endpoint = graphql_endpoint(
            executor(limits), open_authenticator(settings), open_context, limits, on_sse=on_sse
        )
        app = Starlette(routes=[Route("/graphql", endpoint)], middleware=cors(origins))
        token = dev_token(settings, "ann", [Role.STAFF], None, 60)
        clients.append(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://tidings",
                headers={
                    "Authorization": f"Bearer {token}",
                    "Content-Type": JSON,
                    "Accept": GRAPHQL_JSON,
                },
            )
        )
        return clients[-1]

    yield client
    for each in clients:
        await each.aclose()


@pytest.fixture
def client(opened: Open) -> httpx.AsyncClient:
    return opened()


def body(query: str, **more: Any) -> bytes:
    return orjson.dumps({"query": query, **more})


def codes(response: httpx.Response) -> list[str]:
    return [error["extensions"]["code"] for error in response.json()["errors"]]


async def test_an_answer(client: httpx.AsyncClient) -> None:
    sent = body(
        "query A($id: ID!) { order(id: $id) { id } } query B { hello }",
        operationName="A",
        variables={"id": "order-1"},
        extensions={},
    )
    response = await client.post("/graphql", content=sent)
    assert response.status_code == 200
    assert response.headers["content-type"] == GRAPHQL_JSON
    assert response.json() == {
        "data": {"order": {"id": "order-1"}},
        "extensions": {"position": "0:7", "cost": 1},
    }


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (GRAPHQL_JSON, GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}, {JSON}", GRAPHQL_JSON),
        (f"{JSON}, {GRAPHQL_JSON}", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON};q=0.5, {JSON}", JSON),
        (f"{GRAPHQL_JSON};q=x, {JSON};charset=utf-8", JSON),
        (f"text/html, {GRAPHQL_JSON}; q=0.9, */*;q=0.1", GRAPHQL_JSON),
    ],
)
async def test_the_media_type_of_the_answer(
    client: httpx.AsyncClient, accept: str | None, expected: str
) -> None:
    client.headers.pop("accept")
    headers = {} if accept is None else {"Accept": accept}
    good = await client.post("/graphql", content=body("{ hello }"), headers=headers)
    assert (good.status_code, good.headers["content-type"]) == (200, expected)
    bad = await client.post("/graphql", content=body("{ missing }"), headers=headers)
    assert bad.status_code == (200 if expected == JSON else 400)
    assert codes(bad) == ["VALIDATION_FAILED"]


WRONG: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "BAD_REQUEST"),
    "no JSON": (b"{ hello }", 400, "BAD_REQUEST"),
    "cut JSON": (b'{"query": "{ hel', 400, "BAD_REQUEST"),
    "bad UTF-8": (b'{"query": "\xff\xfe"}', 400, "BAD_REQUEST"),
    "lone surrogate": (b'{"query": "\\ud800"}', 400, "BAD_REQUEST"),
    "UTF-16": ('{"query": "{ hello }"}'.encode("utf-16"), 400, "BAD_REQUEST"),
    "number": (b"1", 400, "BAD_REQUEST"),
    "string": (b'"x"', 400, "BAD_REQUEST"),
    "null": (b"null", 400, "BAD_REQUEST"),
    "batch": (b'[{"query": "{ hello }"}]', 400, "BAD_REQUEST"),
    "100,000 brackets": (b"[" * 100_000, 400, "BAD_REQUEST"),
    "100,000 braces": (b'{"a":' * 20_000, 400, "BAD_REQUEST"),
    "no query": (b"{}", 400, "BAD_REQUEST"),
    "query null": (b'{"query": null}', 400, "BAD_REQUEST"),
    "query a list": (b'{"query": ["{ hello }"]}', 400, "BAD_REQUEST"),
    "operation name a number": (body("{ hello }", operationName=1), 400, "BAD_REQUEST"),
    "variables a list": (body("{ hello }", variables=[]), 400, "BAD_REQUEST"),
    "variables a string": (body("{ hello }", variables="{}"), 400, "BAD_REQUEST"),
    "extensions a string": (body("{ hello }", extensions="x"), 400, "BAD_REQUEST"),
    "number too large": (b'{"query": "{ hello }", "variables": {"n": 1e999}}', 400, "BAD_REQUEST"),
    "giant": (b" " * 200_000, 413, "LIMIT_EXCEEDED"),
    "syntax": (body("{ hello"), 400, "SYNTAX_ERROR"),
    "empty query": (body(""), 400, "SYNTAX_ERROR"),
    "50,000 braces": (body("{" * 50_000), 400, "SYNTAX_ERROR"),
    "600 braces": (body("{a" * 450), 400, "SYNTAX_ERROR"),
    "comments": (body("{ hello }" + "#\n" * 30_000), 400, "LIMIT_EXCEEDED"),
    "long string": (body('{ order(id: "' + "x" * 90_000 + '") { id'), 400, "SYNTAX_ERROR"),
    "unknown field": (body("{ helo }"), 400, "VALIDATION_FAILED"),
    "500 unknown fields": (body("{" + " x" * 290 + "}"), 400, "VALIDATION_FAILED"),
    "unknown operation": (body("{ hello }", operationName="X"), 400, "VALIDATION_FAILED"),
    "introspection": (body("{ __schema { types { name } } }"), 400, "VALIDATION_FAILED"),
    "deep": (body("{ order(id: 1) " + "{ itself " * 50 + "{ id }" + "}" * 51), 400,
             "LIMIT_EXCEEDED"),
    "doubling fragments": (body(DOUBLING), 400, "LIMIT_EXCEEDED"),
    "1,000 aliases": (body("{" + " ".join(f"a{n}: hello" for n in range(1_000)) + "}"), 400,
                      "LIMIT_EXCEEDED"),
    "long number": (body("{ orders(first: " + "9" * 90_000 + ") { pageInfo { more } } }"), 400,
                    "VALIDATION_FAILED"),
    "16 aliases": (body("{" + " ".join(f"a{n}: hello" for n in range(16)) + "}"), 400,
                   "LIMIT_EXCEEDED"),
    "too dear": (body("{ orders(first: 2000) { nodes { itself { id } } } }"), 400,
                 "LIMIT_EXCEEDED"),
    "coercion": (body("query ($n: Int!) { orders(first: $n) { pageInfo { more } } }",
                      variables={"n": "many"}), 400, "VALIDATION_FAILED"),
    "operator for a string": (body("query ($i: ID!) { order(id: $i) { id } }",
                                   variables={"i": {"$ne": None}}), 400, "VALIDATION_FAILED"),
    "deep variables": (b'{"query": "query ($i: ID!) { order(id: $i) { id } }", "variables": {"i":'
                       + b"[" * 900 + b"]" * 900 + b"}}", 400, "VALIDATION_FAILED"),
    "not for staff": (body("{ secret }"), 403, "FORBIDDEN"),
    "subscription": (body("subscription { count(to: 1) }"), 400, "BAD_REQUEST"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_is_refused_typed_and_at_once(
    client: httpx.AsyncClient, name: str
) -> None:
    sent, status, code = WRONG[name]
    await client.post("/graphql", content=body("{ hello }"))
    start = time.perf_counter()
    with capture_logs() as logs:
        response = await client.post("/graphql", content=sent)
    assert time.perf_counter() - start < 0.1
    assert response.status_code == status
    assert 1 <= len(response.json()["errors"]) <= 5
    assert len(response.content) < 5_000
    assert set(codes(response)) == {code}
    assert "data" not in response.json()
    assert logs == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_only_post(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/graphql", params={"query": "{ hello }"})
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json-evil"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "text/plain; application/json"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json; charset=utf-16"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": "application/json; charset=UTF-8"}, 200),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Encoding": "identity"}, 415),
        ({"Accept": "text/html"}, 406),
        ({"Accept": ";;;,,,q=q"}, 406),
    ],
)
async def test_headers(client: httpx.AsyncClient, headers: dict[str, str], status: int) -> None:
    response = await client.post("/graphql", content=body("{ hello }"), headers=headers)
    assert response.status_code == status
    if status != 200:
        assert codes(response) == ["BAD_REQUEST"]


async def test_a_compressed_bomb_is_not_opened(client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    response = await client.post("/graphql", content=bomb, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert (await client.post("/graphql", content=bomb)).status_code == 400


async def test_a_body_without_length_is_read_no_further_than_the_limit(
    client: httpx.AsyncClient,
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 10_000
            yield b" " * 10_000

    response = await client.post("/graphql", content=endless())
    assert response.status_code == 413
    assert sent <= 120_000


async def test_a_body_that_never_comes(opened: Open) -> None:
    async def hanging() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    response = await opened(Limits(seconds=0.05)).post("/graphql", content=hanging())
    assert response.status_code == 408


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer x.y.z", "Basic YTpi", "Bearer a b"]
)
@pytest.mark.parametrize("accept", [JSON, GRAPHQL_JSON])
async def test_who_is_not_signed_in(
    client: httpx.AsyncClient, header: str | None, accept: str
) -> None:
    client.headers.pop("authorization")
    headers = {"Accept": accept} | ({} if header is None else {"Authorization": header})
    response = await client.post("/graphql", content=body("{ __typename }"), headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert codes(response) == ["UNAUTHENTICATED"]


async def test_two_tokens_are_none(client: httpx.AsyncClient) -> None:
    token = client.headers["authorization"]
    twice = [("Authorization", token), ("Authorization", token)]
    client.headers.pop("authorization")
    response = await client.post("/graphql", content=body("{ hello }"), headers=twice)
    assert response.status_code == 401


async def test_errors_of_resolvers_are_masked_in_a_good_answer(client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        response = await client.post(
            "/graphql",
            content=body("{ broken }"),
            headers={"Traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"},
        )
    assert response.status_code == 200
    assert response.json()["data"] == {"broken": None}
    assert "secret" not in response.text
    assert response.json()["errors"][0]["extensions"]["traceId"] == "ab" * 16
    assert logs[0]["trace_id"] == "ab" * 16


async def test_a_budget_that_is_spent(opened: Open) -> None:
    client = opened(Limits(cost_per_minute=1))
    assert (await client.post("/graphql", content=body("{ hello }"))).status_code == 200
    for accept in (JSON, GRAPHQL_JSON):
        response = await client.post(
            "/graphql", content=body("{ hello }"), headers={"Accept": accept}
        )
        assert response.status_code == 429
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert codes(response) == ["RATE_LIMITED"]


async def test_too_much_to_do(opened: Open) -> None:
    client = opened(Limits(running=2, seconds=0.2))
    slow = [client.post("/graphql", content=body("{ slow }")) for _ in range(2)]
    running = [asyncio.create_task(each) for each in slow]
    await asyncio.sleep(0.05)
    refused = await client.post("/graphql", content=body("{ hello }"))
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert codes(refused) == ["OVERLOADED"]
    assert [codes(await each) for each in running] == [["TIMEOUT"], ["TIMEOUT"]]
    assert (await client.post("/graphql", content=body("{ hello }"))).status_code == 200


async def test_event_streams_are_for_those_who_accept_them(client: httpx.AsyncClient) -> None:
    sent = body("subscription ($n: Int!) { count(to: $n) }", variables={"n": 1})
    for accept in ("text/event-stream", f"text/event-stream, {JSON}"):
        response = await client.post("/graphql", content=sent, headers={"Accept": accept})
        assert response.text == "subscription {'n': 1} ann"
    headers = {"Accept": "text/event-stream"}
    query = await client.post("/graphql", content=body("{ hello }"), headers=headers)
    assert query.text == "query {} ann"
    secret = await client.post("/graphql", content=body("{ secret }"), headers=headers)
    assert secret.status_code == 403
    both = {"Accept": f"text/event-stream, {JSON}"}
    answer = await client.post("/graphql", content=body("{ hello }"), headers=both)
    assert answer.json()["data"] == {"hello": "there"}


async def test_pages_of_other_origins(opened: Open) -> None:
    asks = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    closed = await opened().options("/graphql", headers=asks)
    assert "access-control-allow-origin" not in closed.headers
    client = opened(origins=("https://shop.example",))
    let_in = await client.options("/graphql", headers=asks)
    assert let_in.headers["access-control-allow-origin"] == "https://shop.example"
    other = await client.options("/graphql", headers={**asks, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
