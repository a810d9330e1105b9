"""What is said over a websocket, against a real server and a client library of its own."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from websockets.exceptions import InvalidStatus

from tests.api.sockets import LIMITS, Live, close_code, cut, heard, live, say, subscribe

GOOD = {"authorization": "Bearer good"}


@pytest.fixture
async def server() -> AsyncIterator[Live]:
    async with live() as running:
        yield running


# The handshake


async def test_without_the_subprotocol_the_socket_is_closed(server: Live) -> None:
    async with server.connect(subprotocols=None) as client:
        assert await close_code(client) == 4406


async def test_the_legacy_protocol_is_not_spoken(server: Live) -> None:
    async with server.connect(subprotocols=["graphql-ws"]) as client:
        assert await close_code(client) == 4406


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://shop.example.evil.example", "null", "http://[", ""]
)
async def test_pages_of_other_origins_are_refused_before_accepting(
    server: Live, origin: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with server.connect(additional_headers={"Origin": origin}):
            pass
    assert refused.value.response.status_code == 403


async def test_allowed_and_own_origins_are_welcome(server: Live) -> None:
    async with server.signed_in(origin="https://shop.example"):
        pass
    async with server.signed_in(origin=f"http://127.0.0.1:{server.port}"):
        pass


# Initialisation


@pytest.mark.parametrize("key", ["authorization", "Authorization", "AUTHORIZATION"])
async def test_the_token_comes_in_the_init_message(server: Live, key: str) -> None:
    async with server.connect() as client:
        await say(client, type="connection_init", payload={key: "bearer good"})
        assert await heard(client) == {"type": "connection_ack"}


async def test_the_token_may_come_with_the_upgrade_request(server: Live) -> None:
    async with server.connect(additional_headers={"Authorization": "Bearer good"}) as client:
        await say(client, type="connection_init")
        assert await heard(client) == {"type": "connection_ack"}


async def test_the_init_message_has_the_last_word(server: Live) -> None:
    async with server.connect(additional_headers={"Authorization": "Bearer good"}) as client:
        await say(client, type="connection_init", payload={"authorization": "Bearer bad"})
        assert await close_code(client) == 4403


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"authorization": "Bearer bad"}, {"authorization": "good"}, {"authorization": 7}],
)
async def test_a_bad_token_ends_the_socket(server: Live, payload: Any) -> None:
    async with server.connect() as client:
        await say(client, type="connection_init", payload=payload)
        assert await close_code(client) == 4403


async def test_trouble_with_keys_asks_to_try_again(server: Live) -> None:
    async with server.connect() as client:
        await say(client, type="connection_init", payload={"authorization": "Bearer outage"})
        assert await close_code(client) == 1013


async def test_a_fault_of_ours_ends_the_socket_without_details() -> None:
    async with (
        live(logged=["Exception in ASGI application"]) as server,
        server.connect() as client,
    ):
        await say(client, type="connection_init", payload={"authorization": "Bearer fault"})
        assert await close_code(client) == 1011
        assert client.close_reason == "Internal error"


async def test_init_must_come_in_time() -> None:
    async with live(replace(LIMITS, init_seconds=0.1)) as server, server.connect() as client:
        await say(client, type="ping")
        assert await close_code(client) == 4408


async def test_init_comes_once(server: Live) -> None:
    async with server.signed_in() as client:
        await say(client, type="connection_init", payload=GOOD)
        assert await close_code(client) == 4429


async def test_nothing_is_answered_before_init(server: Live) -> None:
    async with server.connect() as client:
        await subscribe(client, "1", "{ hello }")
        assert await close_code(client) == 4401


# Messages


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "1",
        "null",
        '"x"',
        "[]",
        "{}",
        "[" * 3_000,
        '{"type": 1}',
        '{"type": "start"}',
        '{"type": ["ping"]}',
        '{"type": "ping", "payload": 1}',
        '{"type": "pong", "payload": []}',
        '{"type": "connection_init", "payload": "token"}',
        '{"type": "complete"}',
        '{"type": "complete", "id": 1}',
        '{"type": "subscribe", "id": "", "payload": {"query": "{hello}"}}',
        '{"type": "subscribe", "payload": {"query": "{hello}"}}',
        '{"type": "subscribe", "id": 1, "payload": {"query": "{hello}"}}',
        '{"type": "subscribe", "id": "1"}',
        '{"type": "subscribe", "id": "1", "payload": []}',
        '{"type": "subscribe", "id": "1", "payload": {}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 1}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{hello}", "operationName": 1}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{hello}", "variables": []}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{hello}", "extensions": 1}}',
        '{"type": "subscribe", "id": "' + "1" * 257 + '", "payload": {"query": "{hello}"}}',
        '{"type": "\\ud800"}',
    ],
)
async def test_a_broken_message_ends_the_socket(server: Live, text: str) -> None:
    async with server.signed_in() as client:
        await client.send(text)
        assert await close_code(client) == 4400


async def test_binary_messages_are_not_understood(server: Live) -> None:
    async with server.signed_in() as client:
        await client.send(b'{"type": "ping"}')
        assert await close_code(client) == 4400


@pytest.mark.parametrize("max_size", [LIMITS.message_bytes, 16 * 1024 * 1024])
async def test_large_messages_end_the_socket_in_the_server_or_here(max_size: int) -> None:
    async with live(max_size=max_size) as server, server.signed_in() as client:
        await client.send('"' + "é" * (LIMITS.message_bytes // 2) + '"')
        assert await close_code(client) == 1009


async def test_pings_are_answered_even_before_init(server: Live) -> None:
    async with server.connect() as client:
        await say(client, type="ping")
        assert await heard(client) == {"type": "pong"}
        await say(client, type="pong")
        await say(client, type="ping", payload={"n": 1})
        assert await heard(client) == {"type": "pong", "payload": {"n": 1}}


# Operations


async def test_queries_work_over_the_socket(server: Live) -> None:
    async with server.signed_in() as client:
        query = "query A($name: String!) { hello(name: $name) } query B { fails }"
        await subscribe(client, "q", query, operationName="A", variables={"name": "Bob"})
        answer = await heard(client)
        assert (answer["id"], answer["type"]) == ("q", "next")
        assert answer["payload"]["data"] == {"hello": "hello Bob from ann"}
        assert await heard(client) == {"id": "q", "type": "complete"}
        await subscribe(client, "q", "{ hello }")  # the id is free again
        assert (await heard(client))["type"] == "next"


async def test_subscriptions_tell_everything_then_complete(server: Live) -> None:
    async with server.signed_in() as client:
        await subscribe(client, "s", "subscription { ticks(to: 3) }")
        answers = [await heard(client) for _ in range(4)]
    assert [answer["type"] for answer in answers] == ["next", "next", "next", "complete"]
    assert [answer["payload"]["data"]["ticks"] for answer in answers[:3]] == [0, 1, 2]


@pytest.mark.parametrize("characters", [1, 10, 200, 70_000])
async def test_answers_of_any_length_and_under_any_id(server: Live, characters: int) -> None:
    """A frame says its length in one byte, three or nine."""
    async with server.signed_in() as client:
        name = 'a "quoted" \\ \u00e9 \u2028 id'
        await subscribe(client, name, f"subscription {{ endless(characters: {characters}) }}")
        for number in (1, 2):
            answer = await heard(client)
            assert (answer["id"], answer["type"]) == (name, "next")
            assert answer["payload"]["data"]["endless"] == f"{number}:" + "x" * characters
        cut(client)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "SYNTAX_ERROR"),
        ("{ nothing }", "VALIDATION_FAILED"),
        ("query A { hello } query B { hello }", "VALIDATION_FAILED"),
        ("{ hello(name: null) }", "VALIDATION_FAILED"),
        ("{ __schema { queryType { name } } }", None),
        ("subscription ($to: Int!) { ticks(to: $to) }", "VALIDATION_FAILED"),
    ],
)
async def test_a_broken_operation_costs_only_itself(
    server: Live, query: str, code: str | None
) -> None:
    async with server.signed_in() as client:
        await subscribe(client, "1", query)
        refusal = await heard(client)
        assert (refusal["id"], refusal["type"]) == ("1", "error")
        assert code in (None, refusal["payload"][0]["extensions"]["code"])
        await subscribe(client, "1", "{ hello }")
        assert (await heard(client))["payload"]["data"]["hello"]


@pytest.mark.parametrize("query", ["{ fails }", "subscription { breaks }"])
async def test_faults_are_masked_and_end_their_operation_only(server: Live, query: str) -> None:
    async with server.signed_in() as client:
        await subscribe(client, "1", query)
        told: list[Any] = []
        while not told or told[-1]["type"] == "next":
            told.append(await heard(client))
        assert b"INTERNAL" in orjson.dumps(told)
        assert b"secret" not in orjson.dumps(told)
        await subscribe(client, "2", "{ hello }")
        assert (await heard(client))["id"] == "2"


async def test_an_id_in_use_ends_the_socket(server: Live) -> None:
    async with server.signed_in() as client:
        await subscribe(client, "1", "subscription { silent }")
        await heard(client)
        await subscribe(client, "1", "{ hello }")
        assert await close_code(client) == 4409


async def test_one_operation_too_many_is_refused_and_the_others_go_on(server: Live) -> None:
    async with server.signed_in() as client:
        for number in range(LIMITS.subscriptions):
            await subscribe(client, str(number), "subscription { silent }")
            assert (await heard(client))["type"] == "next"
        await subscribe(client, "more", "{ hello }")
        refusal = await heard(client)
        assert (refusal["id"], refusal["type"]) == ("more", "error")
        assert refusal["payload"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"
        await say(client, type="complete", id="0")
        await subscribe(client, "more", "{ hello }")
        assert (await heard(client))["type"] == "next"


async def test_operations_of_a_socket_do_not_wait_for_each_other(server: Live) -> None:
    async with server.signed_in() as client:
        await subscribe(client, "slow", "{ waits }")
        await subscribe(client, "quick", "{ hello }")
        assert [(await heard(client))["id"] for _ in range(2)] == ["quick", "quick"]
        server.toy.gate.set()
        assert [(await heard(client))["id"] for _ in range(2)] == ["slow", "slow"]
