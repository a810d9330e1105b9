"""Event streams, against a real server: what is sent, what ends them, and what stays behind."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from api.drain import Drain
from api.http import graphql_endpoint
from api.sharing import Sharing
from api.sse import SseEndpoint
from infra.settings import Limits
from tests.api.live import (
    PATIENCE,
    Toy,
    ToyAuthenticator,
    eventually,
    largest_step,
    served,
    settled,
    toy_context,
    toy_executor,
)

HEADERS = {
    "Accept": "text/event-stream",
    "Traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01",
}


@dataclass
class Live:
    port: int
    toy: Toy
    drain: Drain

    @property
    def at_rest(self) -> bool:
        return self.toy.at_rest and self.drain.connections == 0

    @asynccontextmanager
    async def stream(self, query: str, token: str = "good") -> AsyncIterator[httpx.Response]:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client,
            client.stream(
                "POST",
                f"http://127.0.0.1:{self.port}/",
                json={"query": query},
                headers={**HEADERS, "Authorization": f"Bearer {token}"},
            ) as response,
        ):
            yield response

    async def text(self, query: str, token: str = "good") -> str:
        async with self.stream(query, token) as response:
            return (await response.aread()).decode()


@asynccontextmanager
async def live(logged: Sequence[str] = (), **options: Any) -> AsyncIterator[Live]:
    toy, drain, limits = Toy(), Drain(), Limits()
    executor = toy_executor(limits)
    endpoint = SseEndpoint(
        executor=executor,
        open_context=toy_context(toy),
        sharing=Sharing(executor, toy_context(toy)),
        limits=limits,
        drain=drain,
        **options,
    )
    view = graphql_endpoint(
        executor, ToyAuthenticator(), toy_context(toy), limits, on_sse=endpoint.respond
    )
    app = Starlette(routes=[Route("/", view)])
    async with served(app, logged=logged) as port:
        yield Live(port, toy, drain)
    await eventually(lambda: toy.at_rest and drain.connections == 0)


@pytest.fixture
async def server() -> AsyncIterator[Live]:
    async with live() as running:
        yield running


def events(text: str) -> list[tuple[str, Any]]:
    """Names and parsed data, in order, comments left out."""
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            name, data = (line.partition(":")[2].strip() for line in lines)
            found.append((name, orjson.loads(data) if data else None))
    return found


async def first_chunk_with(chunks: AsyncIterator[str], part: str) -> str:
    async with asyncio.timeout(PATIENCE):
        return await anext(chunk async for chunk in chunks if part in chunk)


async def test_a_subscription_is_a_stream_of_next_events_and_one_complete(server: Live) -> None:
    async with server.stream("subscription { ticks(to: 3) }") as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        text = (await response.aread()).decode()
    told = events(text)
    assert [name for name, _ in told] == ["next", "next", "next", "complete"]
    assert [data["data"]["ticks"] for _, data in told[:3]] == [0, 1, 2]
    assert text.endswith("\n\nevent: complete\ndata:\n\n")


@pytest.mark.parametrize("query", ["{ hello }", "mutation { waits }"])
async def test_single_answers_are_one_next_and_complete(server: Live, query: str) -> None:
    server.toy.gate.set()
    async with server.stream(query) as response:
        assert response.headers["cache-control"] == "no-store"
        told = events((await response.aread()).decode())
    assert [name for name, _ in told] == ["next", "complete"]
    assert told[0][1]["data"] is not None


async def test_a_refusal_after_the_headers_is_a_next_event(server: Live) -> None:
    told = events(await server.text("subscription ($to: Int!) { ticks(to: $to) }"))
    assert [name for name, _ in told] == ["next", "complete"]
    assert told[0][1]["errors"][0]["extensions"] == {
        "code": "VALIDATION_FAILED",
        "traceId": "ab" * 16,
    }


async def test_faults_of_a_source_are_masked(server: Live) -> None:
    text = await server.text("subscription { breaks }")
    assert [name for name, _ in events(text)] == ["next", "next", "complete"]
    assert "INTERNAL" in text
    assert "secret" not in text


async def test_comments_keep_a_silent_stream_alive() -> None:
    async with (
        live(keep_alive_seconds=0.02) as server,
        server.stream("subscription { silent }") as response,
    ):
        chunks = response.aiter_text()
        await first_chunk_with(chunks, "event: next")
        assert [await anext(chunks) for _ in range(3)] == [":\n\n"] * 3


async def test_an_endless_source_does_not_keep_the_loop_to_itself(server: Live) -> None:
    async with server.stream("subscription { endless }"):
        assert await largest_step(lambda: server.toy.produced) == 1
    await eventually(lambda: server.at_rest)


async def test_a_source_that_has_nothing_is_complete_at_once(server: Live) -> None:
    assert [name for name, _ in events(await server.text("subscription { ticks(to: 0) }"))] == [
        "complete"
    ]


async def test_a_client_that_leaves_closes_the_source(server: Live) -> None:
    async with server.stream("subscription { silent }") as response:
        await first_chunk_with(response.aiter_text(), "event: next")
        assert server.drain.connections == 1
    await eventually(lambda: server.at_rest)
    assert server.toy.opened == 1


async def test_a_stream_ends_with_its_token_and_without_complete(server: Live) -> None:
    text = await server.text("subscription { silent }", "short")
    assert [name for name, _ in events(text)] == ["next"]
    await eventually(lambda: server.at_rest)


async def test_nothing_is_told_after_the_token_has_ended(server: Live) -> None:
    assert events(await server.text("subscription { endless }", "ended")) == []


async def test_a_drain_ends_streams_without_complete(server: Live) -> None:
    async with server.stream("subscription { silent }") as response:
        chunks = response.aiter_text()
        await first_chunk_with(chunks, "event: next")
        assert await server.drain.finish(PATIENCE)
        assert "complete" not in "".join([chunk async for chunk in chunks])
    assert server.at_rest


async def test_a_drain_lets_single_answers_finish(server: Live) -> None:
    asking = asyncio.create_task(server.text("mutation { waits }"))
    await eventually(lambda: server.toy.waiting == 1)
    server.drain.begin()
    server.toy.gate.set()
    assert [name for name, _ in events(await asking)] == ["next", "complete"]


# Clients that do not read


@asynccontextmanager
async def unread(server: Live, query: str) -> AsyncIterator[socket.socket]:
    """A request whose answer nobody takes; the connection is cut in the end."""
    body = orjson.dumps({"query": query})
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    plug.connect(("127.0.0.1", server.port))
    head = (
        "POST / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer good\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    plug.send(head.encode() + body)
    try:
        yield plug
    finally:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plug.close()


async def test_a_client_that_does_not_read_holds_back_its_source_only(server: Live) -> None:
    async with unread(server, "subscription { endless(characters: 10000) }"):
        produced = await settled(lambda: server.toy.produced)
        assert 0 < produced * 10_000 < 8_000_000  # what kernels and transports buffer
        assert "hello world" in await server.text("{ hello }")
    await eventually(lambda: server.at_rest)


async def test_a_client_that_takes_nothing_is_given_up() -> None:
    unfinished = ["ASGI callable returned without completing response."]
    async with live(logged=unfinished, stall_seconds=0.3) as server:
        async with unread(server, "subscription { endless(characters: 10000) }"):
            await eventually(lambda: server.toy.opened == 1)
            await eventually(lambda: server.at_rest)
        await eventually(lambda: server.at_rest)
