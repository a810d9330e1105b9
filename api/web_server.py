"""uvicorn, as this program runs it."""

import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class WebServer(uvicorn.Server):
    """Leaves the signals to the program: uvicorn would cut sockets without a drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class DroppableProtocol(HttpToolsProtocol):
    """Lets an application close a connection without an answer: `scope["extensions"]["drop"]`."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"drop": {"now": self.transport.close}}


def url_of(listener: socket.socket) -> str:
    """Where a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
