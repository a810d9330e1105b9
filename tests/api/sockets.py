"""A websocket endpoint over the toy schema, and what a client says and hears."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from api.drain import Drain
from api.sharing import Sharing
from api.websocket import SocketEndpoint
from infra.settings import Limits
from tests.api.live import (
    PATIENCE,
    Toy,
    ToyAuthenticator,
    eventually,
    served,
    toy_context,
    toy_executor,
)

LIMITS = Limits(message_bytes=4_096, subscriptions=3)


@dataclass
class Live:
    port: int
    toy: Toy
    drain: Drain

    @property
    def at_rest(self) -> bool:
        return self.toy.at_rest and self.drain.connections == 0

    def connect(self, **options: Any) -> AbstractAsyncContextManager[ClientConnection]:
        settings = {"subprotocols": ["graphql-transport-ws"], "compression": None, "proxy": None}
        return connect(f"ws://127.0.0.1:{self.port}/", **{**settings, **options})

    @asynccontextmanager
    async def signed_in(
        self, token: str = "good", **options: Any
    ) -> AsyncIterator[ClientConnection]:
        async with self.connect(**options) as client:
            await say(client, type="connection_init", payload={"authorization": f"Bearer {token}"})
            assert await heard(client) == {"type": "connection_ack"}
            yield client


@asynccontextmanager
async def live(
    limits: Limits = LIMITS,
    max_size: int = LIMITS.message_bytes,
    logged: Sequence[str] = (),
    **options: Any,
) -> AsyncIterator[Live]:
    toy, drain = Toy(), Drain()
    executor = toy_executor(limits)
    endpoint = SocketEndpoint(
        authenticator=ToyAuthenticator(),
        executor=executor,
        open_context=toy_context(toy),
        sharing=Sharing(executor, toy_context(toy)),
        limits=limits,
        drain=drain,
        allowed_origins=("https://shop.example",),
        **options,
    )
    app = Starlette(routes=[WebSocketRoute("/", endpoint.serve)])
    async with served(app, message_bytes=max_size, logged=logged) as port:
        yield Live(port, toy, drain)
    await eventually(lambda: toy.at_rest and drain.connections == 0)
    assert not [task for task in asyncio.all_tasks() if "_Connection" in str(task.get_coro())]


async def say(client: ClientConnection, **message: Any) -> None:
    await client.send(orjson.dumps(message).decode())


async def heard(client: ClientConnection) -> Any:
    async with asyncio.timeout(PATIENCE):
        return orjson.loads(await client.recv())


async def subscribe(client: ClientConnection, id: str, query: str, **payload: Any) -> None:
    await say(client, type="subscribe", id=id, payload={"query": query, **payload})


async def close_code(client: ClientConnection) -> int | None:
    """Reads what is left and returns how the server ended it."""
    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionClosedError):
            async for _ in client:
                pass
    return client.close_code


def cut(client: ClientConnection) -> None:
    """As a cable does: no close frame, and the kernel answers with a reset."""
    plug = client.transport.get_extra_info("socket")
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()
