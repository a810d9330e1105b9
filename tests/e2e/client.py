"""Clients as front ends have them: documents in, answers out, over HTTP, SSE and websockets.

1. A client is one user: a token and nothing else that the server would remember.
2. `send` asks for everything that a command can answer, the facts of every refusal included.
"""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import orjson
from graphql import GraphQLInterfaceType
from websockets.asyncio.client import ClientConnection, connect

from api.auth import Role, dev_token
from api.schema import SCHEMA
from infra.settings import Settings

PATIENCE: Final = 20.0
STAFF: Final = (Role.STAFF,)
OPERATOR: Final = (Role.OPERATOR,)
OVERLOADED: Final = 503


def _facts() -> str:
    """Inline fragments for all that implements `CommandError`."""
    schema = SCHEMA._schema
    interface = schema.get_type("CommandError")
    assert isinstance(interface, GraphQLInterfaceType)
    own = {
        kind.name: [name for name in kind.fields if name not in interface.fields]
        for kind in schema.get_implementations(interface).objects
    }
    return " ".join(
        f"... on {kind} {{ {' '.join(names)} }}" for kind, names in own.items() if names
    )


ERRORS: Final = f"errors {{ __typename code message path {_facts()} }}"
RECEIPT: Final = "receipt { commandId aggregateId version position replayed }"


@dataclass(frozen=True)
class Answer:
    """What HTTP brought back."""

    status: int
    headers: httpx.Headers
    body: Any

    @property
    def data(self) -> Any:
        """The data of an answer without errors."""
        assert "errors" not in self.body, self.body["errors"]
        return self.body["data"]

    @property
    def codes(self) -> list[str]:
        """The code of every top-level error."""
        return [error["extensions"]["code"] for error in self.body.get("errors", ())]

    @property
    def position(self) -> str:
        return str(self.body["extensions"]["position"])


@dataclass(frozen=True)
class Client:
    """One user of the API."""

    url: str
    home: Path
    http: httpx.AsyncClient
    token: str = ""

    # -- who

    def signed_in(
        self,
        roles: Sequence[Role],
        customer_id: str | None = None,
        seconds: float = 3_600,
        subject: str = "",
    ) -> "Client":
        """The same server for somebody else."""
        settings = Settings(home=self.home)
        subject = subject or f"user-{uuid4()}"
        return self.with_token(dev_token(settings, subject, roles, customer_id, seconds))

    def customer(self, customer_id: str, seconds: float = 3_600) -> "Client":
        return self.signed_in((Role.CUSTOMER,), customer_id, seconds)

    def with_token(self, token: str) -> "Client":
        return replace(self, token=token)

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    # -- HTTP

    async def post(self, content: bytes, **headers: str) -> Answer:
        """Any bytes, as a request."""
        sent = {"Content-Type": "application/json", **self.authorization, **headers}
        response = await self.http.post(self.url, content=content, headers=sent)
        return Answer(response.status_code, response.headers, orjson.loads(response.content))

    async def answer(self, document: str, **variables: Any) -> Answer:
        """Whatever the server says to an operation."""
        return await self.post(orjson.dumps({"query": document, "variables": variables}))

    async def run(self, document: str, **variables: Any) -> Any:
        """The data of an operation without errors."""
        return (await self.answer(document, **variables)).data

    async def send(
        self, mutation: str, selection: str = "", command_id: UUID | None = None, **input: Any
    ) -> Any:
        """The payload of a command; a new one unless a `command_id` says otherwise."""
        answer = await self.send_raw(mutation, selection, command_id, **input)
        return answer.data[mutation]

    async def send_raw(
        self, mutation: str, selection: str = "", command_id: UUID | None = None, **input: Any
    ) -> Answer:
        sent = {"commandId": str(command_id or uuid4()), **input}
        return await self.answer(command(mutation, selection), input=sent)

    async def done(self, mutation: str, selection: str = "", **input: Any) -> Any:
        """The payload of a command that must be accepted."""
        payload = await self.send(mutation, selection, **input)
        assert payload["errors"] == [], payload["errors"]
        return payload

    # -- streams

    @asynccontextmanager
    async def stream(self, document: str, **variables: Any) -> AsyncIterator[AsyncIterator[Any]]:
        """The answers of a subscription over server-sent events."""
        body = {"query": document, "variables": variables}
        headers = {"Accept": "text/event-stream", **self.authorization}
        async with self.http.stream("POST", self.url, json=body, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            yield _next_events(response)

    @asynccontextmanager
    async def socket(self, **options: Any) -> AsyncIterator["Socket"]:
        """A websocket that is signed in."""
        url = self.url.replace("http", "ws", 1)
        settings: dict[str, Any] = {"subprotocols": ["graphql-transport-ws"], "proxy": None}
        async with connect(url, **{**settings, "compression": None, **options}) as connection:
            opened = Socket(connection)
            await opened.say(type="connection_init", payload=self.authorization)
            assert await opened.heard() == {"type": "connection_ack"}
            yield opened


def code_of(errors: Sequence[Any]) -> str:
    """The code of a single error."""
    (error,) = errors
    return str(error["extensions"]["code"])


def command(mutation: str, selection: str = "") -> str:
    """The document of one command."""
    kind = f"{mutation[0].upper()}{mutation[1:]}Input!"
    fields = f"{ERRORS} {RECEIPT} {selection}"
    return f"mutation ($input: {kind}) {{ {mutation}(input: $input) {{ {fields} }} }}"


async def _next_events(response: httpx.Response) -> AsyncIterator[Any]:
    name = ""
    async for line in response.aiter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data" and name == "next":
            yield orjson.loads(value)


@dataclass(frozen=True)
class Socket:
    """One graphql-transport-ws connection."""

    connection: ClientConnection

    async def say(self, **message: Any) -> None:
        await self.connection.send(orjson.dumps(message).decode())

    async def heard(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            return orjson.loads(await self.connection.recv())

    async def subscribe(
        self, document: str, id: str = "1", variables: Mapping[str, Any] | None = None
    ) -> None:
        payload = {"query": document, "variables": dict(variables or {})}
        await self.say(type="subscribe", id=id, payload=payload)

    async def next(self, id: str = "1") -> Any:
        """The data of the next answer."""
        message = await self.heard()
        assert (message["type"], message["id"]) == ("next", id), message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    async def refused(self, id: str = "1") -> str:
        """The code of the error that an operation is refused with, before it starts or after."""
        message = await self.heard()
        assert (message["type"], message["id"]) in (("error", id), ("next", id)), message
        if message["type"] == "error":
            return code_of(message["payload"])
        assert (await self.heard()) == {"type": "complete", "id": id}
        assert message["payload"]["data"] is None
        return code_of(message["payload"]["errors"])

    async def close_code(self) -> int | None:
        """How the server ended it, after all that was still to be read."""
        async with asyncio.timeout(PATIENCE):
            await self.connection.wait_closed()
        return self.connection.close_code

    def cut(self) -> None:
        """As a cable does: no close frame, and the kernel answers with a reset."""
        plug = self.connection.transport.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.transport.abort()


@asynccontextmanager
async def anonymous(url: str, home: Path) -> AsyncIterator[Client]:
    """A client without a token, to be signed in."""
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=PATIENCE) as http:
        yield Client(url, home, http)


@asynccontextmanager
async def crowd(client: Client, size: int) -> AsyncIterator[list[Client]]:
    """The same user in `size` browsers, each with connections of its own."""
    async with AsyncExitStack() as stack:
        alone = [
            await stack.enter_async_context(anonymous(client.url, client.home)) for _ in range(size)
        ]
        yield [one.with_token(client.token) for one in alone]


async def eventually(holds: Any, seconds: float = PATIENCE) -> Any:
    """What an async function answers, once that is true."""
    give_up = time.monotonic() + seconds
    while not (found := await holds()):
        assert time.monotonic() < give_up, "it did not happen in time"
        await asyncio.sleep(0.02)
    return found
