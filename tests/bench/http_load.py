"""A load generator that costs little: keep-alive connections, raw streams, bodies ready made."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import orjson

_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


def post(body: Any, token: str | None = None, path: str = "/graphql") -> bytes:
    """A whole request; bytes are sent as they are."""
    encoded = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(encoded)}",
        *([f"Authorization: Bearer {token}"] if token else []),
    ]
    return "\r\n".join((*lines, "", "")).encode() + encoded


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


class Connection:
    """One connection with one request under way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, request: bytes) -> bytes:
        """The body of the answer; anything but 200 raises."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length is not None, head
        body = await self._reader.readexactly(int(length[1]))
        assert head.startswith(b"HTTP/1.1 200 "), (head, body)
        return body

    def close(self) -> None:
        self._writer.close()


async def connected(port: int) -> Connection:
    return Connection(*await asyncio.open_connection("127.0.0.1", port))


async def ask(port: int, request: bytes) -> Any:
    """One answer, decoded."""
    with closing(await connected(port)) as connection:
        return orjson.loads(await connection.ask(request))


@dataclass(frozen=True, kw_only=True)
class Load:
    """Requests of one kind for one server; every answer must contain `marks` and no errors."""

    port: int
    connections: int
    requests: Iterator[bytes]
    marks: bytes
    seconds: float = 1.5

    async def rate(self) -> float:
        """Answers per second."""
        started = time.perf_counter()
        until = started + self.seconds
        connections = [await connected(self.port) for _ in range(self.connections)]
        counts = await asyncio.gather(*(self._again(one, until) for one in connections))
        return sum(counts) / (time.perf_counter() - started)

    async def _again(self, connection: Connection, until: float) -> int:
        done = 0
        with closing(connection):
            while time.perf_counter() < until:
                body = await connection.ask(next(self.requests))
                assert self.marks in body, body
                done += 1
        return done


def varied(template: bytes, mark: bytes, value: Callable[[], bytes]) -> Iterator[bytes]:
    """The request with `mark` replaced by values of the same length, for ever."""
    before, after = template.split(mark)
    while True:
        yield b"%b%b%b" % (before, value(), after)
