"""A thousand websockets in one process, at the cost of half a microsecond a message.

Each socket is opened as any client would; then its bytes go to a protocol that finds the messages
by their lengths and decodes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

from tests.bench.place import pieces
from tests.bench.sockets import Socket

OPENED_AT_ONCE: Final = 50
SETTLING_SECONDS: Final = 1.0
"""A subscription is not acknowledged: it has begun by then."""
PATIENCE: Final = 60.0

Opening: TypeAlias = Callable[[], Awaitable[Socket]]
Taking: TypeAlias = Callable[[bytes], None]

TEXT, PING, PONG = 0x81, 0x89, 0x8A
LENGTH_IN_TWO_BYTES: Final = 126


class Crowd:
    """Counts the messages that come at all of its sockets; `taking` is called with each."""

    def __init__(self, taking: Taking | None = None) -> None:
        self.messages = 0
        self.newest = b""
        self._taking = taking
        self._wanted = 0
        self._reached = asyncio.Event()

    def take(self, message: bytes) -> None:
        self.messages += 1
        self.newest = message
        if self._taking:
            self._taking(message)
        if self.messages == self._wanted:
            self._reached.set()

    async def reaches(self, messages: int) -> None:
        """Waits until so many have come; raises where they do not, or more do."""
        self._wanted = messages
        if self.messages < messages:
            self._reached.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._reached.wait()
        assert self.messages == messages, f"{self.messages} messages instead of {messages}"


class _Messages(asyncio.Protocol):
    """The messages of one socket; pings are answered."""

    def __init__(self, transport: asyncio.WriteTransport, crowd: Crowd) -> None:
        self._transport, self._take = transport, crowd.take
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        data, at = self._rest + data, 0
        while len(data) - at >= 2:
            kind, length, begins = data[at], data[at + 1], at + 2
            if length == LENGTH_IN_TWO_BYTES:
                length, begins = int.from_bytes(data[begins : begins + 2]), begins + 2
            ends = begins + length
            if len(data) < ends:
                break
            self._told(kind, data[begins:ends])
            at = ends
        self._rest = data[at:]

    def _told(self, kind: int, content: bytes) -> None:
        if kind == PING:  # masked with zeros
            self._transport.write(bytes((PONG, 0x80 | len(content))) + bytes(4) + content)
        else:
            assert kind == TEXT, (kind, content)
            self._take(content)


@asynccontextmanager
async def crowded(
    openings: Iterable[Opening], taking: Taking | None = None
) -> AsyncIterator[Crowd]:
    """So many sockets, which listen by now."""
    crowd, sockets = Crowd(taking), list[Socket]()
    try:
        for some in pieces(iter(openings), OPENED_AT_ONCE):
            opened = await asyncio.gather(*(each() for each in some))
            sockets += opened  # which are closed when nobody refers to them
            for socket in opened:
                socket.transport.set_protocol(_Messages(socket.transport, crowd))
        await asyncio.sleep(SETTLING_SECONDS)
        yield crowd
    finally:
        for socket in sockets:
            socket.transport.close()
