"""A websocket client that costs little: no extensions, text frames, one at a time."""

import asyncio
import base64
import os
import struct
from contextlib import suppress
from typing import Any, Final

import orjson

_TEXT: Final = 0x81
_LENGTH_IN_TWO_BYTES: Final = 126


class Socket:
    """Speaks graphql-transport-ws."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, message: Any) -> None:
        """Masked with zeros, which leaves the text as it is."""
        text = orjson.dumps(message)
        self._writer.write(struct.pack("!BBH", _TEXT, 0x80 | 126, len(text)) + bytes(4) + text)

    async def text(self) -> bytes:
        """The next message, not decoded."""
        first, length = await self._reader.readexactly(2)
        if length == _LENGTH_IN_TWO_BYTES:
            (length,) = struct.unpack("!H", await self._reader.readexactly(2))
        text = await self._reader.readexactly(length)
        assert first == _TEXT, (first, text)
        return text

    @property
    def transport(self) -> asyncio.WriteTransport:
        """For who reads by other means from now on."""
        return self._writer.transport

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


async def opened(port: int) -> Socket:
    """A socket that has said nothing yet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (
        "GET /graphql HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: graphql-transport-ws",
    )
    writer.write("\r\n".join((*lines, "", "")).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    return Socket(reader, writer)


async def subscribed(port: int, token: str, query: str, variables: dict[str, Any]) -> Socket:
    """A socket with one subscription."""
    socket = await opened(port)
    socket.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}})
    acknowledged = await socket.text()
    assert b"connection_ack" in acknowledged, acknowledged
    payload = {"query": query, "variables": variables}
    socket.send({"id": "1", "type": "subscribe", "payload": payload})
    return socket
