"""What is sent in one piece is HTTP like any other, whatever a client does with its connection."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.types import ASGIApp

from api.answers import OpenContext
from api.auth import Principal, Role, dev_token, open_authenticator
from api.http import cors, graphql_endpoint
from infra.settings import Limits, Settings
from tests.api.live import served
from tests.api.toy import ToyContext, executor, open_context

PATIENCE = 10.0


class Connection:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """The status, the headers and the body of the next one."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            assert len(headers) == len(lines), "no header comes twice"
            length = int(headers.get("content-length", "0"))
            body = await self.reader.readexactly(length)
        return int(first.split()[1]), headers, orjson.loads(body) if body else None

    async def is_closed(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read() == b""


class Site:
    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()

    def post(
        self,
        query: str = "{ hello }",
        *more: str,
        method: str = "POST",
        version: str = "1.1",
        length: int | None = None,
    ) -> bytes:
        body = orjson.dumps({"query": query})
        lines = [
            f"{method} /graphql HTTP/{version}",
            "Host: tidings",
            f"Authorization: Bearer {self.token}",
            "Content-Type: application/json",
            f"Content-Length: {len(body) if length is None else length}",
            *more,
        ]
        return "\r\n".join((*lines, "", "")).encode() + body


@asynccontextmanager
async def site(
    home: Path,
    limits: Limits | None = None,
    origins: Sequence[str] = (),
    context: OpenContext = open_context,
) -> AsyncIterator[Site]:
    limits, settings = limits or Limits(), Settings(home=home)

    async def no_stream(*_: object) -> ASGIApp:
        raise NotImplementedError

    app: ASGIApp = graphql_endpoint(
        executor(limits), open_authenticator(settings), context, limits, on_sse=no_stream
    )
    for each in cors(origins):
        app = each.cls(app, *each.args, **each.kwargs)
    async with served(app) as port:
        yield Site(port, dev_token(settings, "ann", [Role.STAFF], None, 60))


HELLO = {"data": {"hello": "there"}, "extensions": {"position": "0:7", "cost": 0}}


async def test_a_connection_is_used_again_and_says_what_it_always_said(tmp_path: Path) -> None:
    async with site(tmp_path) as there, there.connected() as connection:
        for _ in range(3):
            await connection.send(there.post())
            status, headers, body = await connection.answer()
            assert (status, body) == (200, HELLO)
            assert headers["content-type"] == "application/json"
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["server"] == "uvicorn"
            assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} gmt", headers["date"])


async def test_requests_sent_ahead_are_answered_in_their_order(tmp_path: Path) -> None:
    async with site(tmp_path) as there, there.connected() as connection:
        queries = [f'{{ order(id: "order-{n}") {{ id }} }}' for n in range(50)]
        await connection.send(b"".join(there.post(query) for query in queries))
        for n in range(50):
            _, _, body = await connection.answer()
            assert body["data"] == {"order": {"id": f"order-{n}"}}


async def test_a_body_that_comes_later(tmp_path: Path) -> None:
    async with site(tmp_path) as there, there.connected() as connection:
        request = there.post()
        for part in (request[:20], request[20:-5], request[-5:]):
            await connection.send(part)
            await asyncio.sleep(0.05)
        assert (await connection.answer())[2] == HELLO


async def test_a_body_that_does_not_come_is_not_waited_for_long(tmp_path: Path) -> None:
    limits = Limits(seconds=0.1)
    async with site(tmp_path, limits) as there, there.connected() as connection:
        await connection.send(there.post(length=5_000))
        assert (await connection.answer())[0] == 408


async def test_a_body_that_is_there_at_once_may_be_too_long_all_the_same(tmp_path: Path) -> None:
    limits = Limits(body_bytes=50)
    async with site(tmp_path, limits) as there, there.connected() as connection:
        await connection.send(there.post("{ hello" + " " * 100 + "}"))
        assert (await connection.answer())[0] == 413
        await connection.send(there.post())
        assert (await connection.answer())[2] == HELLO


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(tmp_path: Path) -> None:
    async with site(tmp_path) as there, there.connected() as connection:
        request = there.post("{ hello }", "Expect: 100-continue")
        head, body = request[: -len(b'{"query":"{ hello }"}')], b'{"query":"{ hello }"}'
        await connection.send(head)
        assert (await connection.answer())[0] == 100
        await connection.send(body)
        assert (await connection.answer())[2] == HELLO


@pytest.mark.parametrize(("version", "more"), [("1.0", ()), ("1.1", ("Connection: close",))])
async def test_who_wants_no_more_is_not_kept(
    tmp_path: Path, version: str, more: tuple[str, ...]
) -> None:
    async with site(tmp_path) as there, there.connected() as connection:
        await connection.send(there.post("{ hello }", *more, version=version))
        status, headers, body = await connection.answer()
        assert (status, headers["connection"], body) == (200, "close", HELLO)
        assert await connection.is_closed()


async def test_a_head_is_answered_without_a_body(tmp_path: Path) -> None:
    async with site(tmp_path) as there, there.connected() as connection:
        await connection.send(there.post(method="HEAD"))
        head = await connection.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405 ")
        await connection.send(there.post())
        assert (await connection.answer())[2] == HELLO


async def test_pages_of_other_origins_are_let_in_on_the_answer_itself(tmp_path: Path) -> None:
    async with (
        site(tmp_path, origins=["https://shop.example"]) as there,
        there.connected() as connection,
    ):
        await connection.send(there.post("{ hello }", "Origin: https://shop.example"))
        _, headers, body = await connection.answer()
        assert headers["access-control-allow-origin"] == "https://shop.example"
        assert body == HELLO


async def test_one_who_never_reads_is_answered_no_further_than_buffers_go(tmp_path: Path) -> None:
    answered = 0
    names = " ".join(f"a{n}: id" for n in range(15))
    large = f"{{ orders(first: 100) {{ nodes {{ {names} }} }} }}"  # 20 KB

    @asynccontextmanager
    async def counting(principal: Principal, trace_id: str) -> AsyncIterator[ToyContext]:
        nonlocal answered
        answered += 1
        yield ToyContext(principal, trace_id)

    async with site(tmp_path, Limits(cost_per_minute=10**9), context=counting) as there:
        with socket.create_connection(("127.0.0.1", there.port)) as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            silent.sendall(there.post(large) * 2_000)
            before = -1
            while answered != before:
                before = answered
                await asyncio.sleep(0.5)
            assert 0 < answered < 1_000
            async with there.connected() as other:
                await other.send(there.post())
                assert (await other.answer())[2] == HELLO
