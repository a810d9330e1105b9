"""A toy schema behind a real uvicorn on a real socket, for the tests of the two transports.

1. `Toy` counts what is opened, closed and produced, so that tests can see leaks and back-pressure.
2. The server runs on the loop of the test: nothing is waited for longer than `PATIENCE`.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import strawberry
import uvicorn
from starlette.types import ASGIApp

from api.auth import Authenticator, Principal, Role
from api.errors import ApiError, ErrorCode
from api.execution import Executor
from api.web_server import LeanProtocol, WritableSockets
from infra.settings import Limits

PATIENCE = 5.0


class Fault(Exception):
    """Nobody expects it, and its text is nobody's business."""


@dataclass
class Toy:
    """What the resolvers did, and the gate that holds `waits` back."""

    opened: int = 0
    closed: int = 0
    contexts: int = 0
    produced: int = 0
    waiting: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def source(self) -> Iterator[None]:
        self.opened += 1
        try:
            yield
        finally:
            self.closed += 1

    async def wait(self) -> None:
        self.waiting += 1
        await self.gate.wait()

    @property
    def at_rest(self) -> bool:
        return self.opened == self.closed and self.contexts == 0


@dataclass
class ToyContext:
    principal: Principal
    trace_id: str
    toy: Toy

    def extensions(self) -> dict[str, Any]:
        return {}


Info = strawberry.Info[ToyContext, None]


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, info: Info, name: str = "world") -> str:
        return f"hello {name} from {info.context.principal.subject}"

    @strawberry.field
    def fails(self) -> str:
        raise Fault("secret")

    @strawberry.field
    async def waits(self, info: Info) -> str:
        await info.context.toy.wait()
        return "waited"

    @strawberry.field
    def outlasts_the_token(self, info: Info) -> str:
        """Keeps the loop busy, so that no timer is faster than the answer."""
        time.sleep(max(0, info.context.principal.expires_at - time.time()))
        return "secret"


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def waits(self, info: Info) -> str:
        await info.context.toy.wait()
        return "done"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self, info: Info, to: int) -> AsyncGenerator[int, None]:
        with info.context.toy.source():
            for tick in range(to):
                yield tick

    @strawberry.subscription
    async def endless(self, info: Info, characters: int = 1) -> AsyncGenerator[str, None]:
        toy = info.context.toy
        with toy.source():
            while True:
                toy.produced += 1
                yield f"{toy.produced}:" + "x" * characters

    @strawberry.subscription
    async def silent(self, info: Info) -> AsyncGenerator[int, None]:
        with info.context.toy.source():
            yield 0
            await asyncio.Event().wait()

    @strawberry.subscription
    async def breaks(self, info: Info) -> AsyncGenerator[int, None]:
        with info.context.toy.source():
            yield 0
            raise Fault("secret")


def toy_executor(limits: Limits) -> Executor:
    schema = strawberry.Schema(query=Query, mutation=Mutation, subscription=Subscription)
    allowed = {
        "Query": ("hello", "fails", "waits", "outlastsTheToken"),
        "Mutation": ("waits",),
        "Subscription": ("ticks", "endless", "silent", "breaks"),
    }
    everybody = frozenset(Role)
    return Executor(
        schema,
        limits,
        introspection=False,
        allowed={f"{kind}.{name}": everybody for kind, names in allowed.items() for name in names},
    )


def toy_context(toy: Toy) -> Any:
    @asynccontextmanager
    async def open_context(principal: Principal, trace_id: str) -> AsyncIterator[ToyContext]:
        toy.contexts += 1
        try:
            yield ToyContext(principal, trace_id, toy)
        finally:
            toy.contexts -= 1

    return open_context


def principal(*, seconds: float = 3_600) -> Principal:
    return Principal("ann", frozenset({Role.CUSTOMER}), "customer-1", time.time() + seconds)


SHORT = 0.4
"""Seconds that the token "short" is good for."""


class ToyAuthenticator(Authenticator):
    def __init__(self) -> None:
        """Nothing to verify tokens with: there are only a few."""

    async def principal(self, token: str | None) -> Principal:
        match token:
            case "good":
                return principal()
            case "short":
                return principal(seconds=SHORT)
            case "ended":
                return principal(seconds=0)
            case "outage":
                raise ApiError(ErrorCode.UNAVAILABLE, "No keys.")
            case "fault":
                raise Fault("secret")
            case _:
                raise ApiError(ErrorCode.UNAUTHENTICATED, "Sign in.")


@asynccontextmanager
async def served(
    app: ASGIApp, *, message_bytes: int = 128 * 1024, logged: Sequence[str] = ()
) -> AsyncIterator[int]:
    """The port. `logged` is what uvicorn may complain about until the end, and nothing else."""
    config = uvicorn.Config(
        app,
        port=0,
        http=LeanProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws=WritableSockets,
        ws_max_size=message_bytes,
        timeout_graceful_shutdown=1,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    await server.on_tick(0)  # makes the headers that every answer has
    complaints = Complaints()
    logging.getLogger("uvicorn.error").addHandler(complaints)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        await server.shutdown()
        logging.getLogger("uvicorn.error").removeHandler(complaints)
    assert complaints.messages == list(logged)


class Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage().strip())


async def largest_step(count: Callable[[], int], turns: int = 200) -> int:
    """How much `count` rises at most in one turn of the loop."""
    await eventually(lambda: count() > 0)
    steps = []
    for _ in range(turns):
        before = count()
        await asyncio.sleep(0)
        steps.append(count() - before)
    return max(steps)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is watched sets no event
            await asyncio.sleep(0.005)


async def settled(count: Callable[[], int]) -> int:
    """The value of `count` once it has begun to rise and stopped again."""
    await eventually(lambda: count() > 0)
    async with asyncio.timeout(PATIENCE):
        seen = -1
        while seen != count():
            seen = count()
            await asyncio.sleep(0.2)
    return seen
