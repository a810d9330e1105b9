"""uvicorn, as this program runs it: where it listens, and how a signal ends it."""

import asyncio
import contextlib
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn
from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from api.http import WHOLE
from api.posted import HeaderList

BACKLOG: Final = 2_048


class AddressTaken(Exception):
    """Another program listens there; the text says what to do."""


class WebServer(uvicorn.Server):
    """Leaves the signals to the program: uvicorn would cut sockets without a drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class LeanProtocol(HttpToolsProtocol):
    """Offers applications `api.http.Whole`: a third of what a small request costs otherwise."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        extensions: dict[str, Any] = {WHOLE: _Whole(self.cycle)}
        self.scope["extensions"] = extensions


class _Whole:
    """What uvicorn does in pieces, in one go. Whatever is not plain is left to uvicorn."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def body(self) -> bytes | None:
        return None if self._cycle.more_body else bytes(self._cycle.body)

    def reply(self, send: Send, status: int, headers: HeaderList, body: bytes) -> bool:
        cycle = self._cycle
        if getattr(send, "__self__", None) is not cycle:  # somebody wants to see what is sent
            return False
        if cycle.disconnected or not cycle.keep_alive or cycle.flow.write_paused:
            return False
        parts = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        cycle.transport.write(b"".join((*parts, b"\r\n", body)))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()
        return True


class DroppableProtocol(HttpToolsProtocol):
    """Lets an application close a connection without an answer: `scope["extensions"]["drop"]`."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"drop": {"now": self.transport.close}}


class WritableSockets(WebSocketsSansIOProtocol):
    """Lets an application write to a websocket at once, or know that it would have to wait, where
    `send` is a coroutine: `scope["extensions"]["text"]["write"]`. So one loop can serve many
    sockets, without a task or a timeout for each message."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"]["text"] = {"write": self.write_text}

    def write_text(self, text: bytes) -> bool:
        """False, and nothing is written, when the client has too much to read already or the socket
        is not open. What we send is neither masked nor, as RFC 7692 allows, compressed."""
        if (
            not self.writable.is_set()
            or self.conn.state is not State.OPEN
            or self.disconnected
            or self.transport.is_closing()
        ):
            return False
        self.transport.write(_text_head(len(text)) + text)
        return True


def _text_head(length: int) -> bytes:
    """What comes before a text of so many bytes that is one frame (RFC 6455, 5.2)."""
    if length < 126:
        return bytes((0x81, length))
    if length < 2**16:
        return struct.pack("!BBH", 0x81, 126, length)
    return struct.pack("!BBQ", 0x81, 127, length)


def url_of(listener: socket.socket) -> str:
    """Where a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections at once, and has them wait until we serve; port 0 picks one.
    Raises `OSError`, or `OverflowError` for what is no port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError):
        listener.close()
        raise
    return listener


def bind(host: str, port: int) -> socket.socket:
    """The listening socket; raises `AddressTaken`."""
    try:
        return listening(host, port)
    except OverflowError:
        raise AddressTaken(f"There is no port {port}: 0 to 65535.") from None
    except OSError as error:
        raise AddressTaken(
            f"Cannot listen on {host}:{port} ({error.strerror}): stop the "
            "program that does, or choose another port with --port."
        ) from error


def until_signal(
    server: WebServer, told: Callable[[], None] = lambda: None
) -> asyncio.Future[None]:
    """Done with the first signal; the second one stops the server at once. `told` of both."""
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[None] = loop.create_future()

    def stop() -> None:
        told()
        if stopping.done():
            server.force_exit = server.should_exit = True
        else:
            stopping.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopping
