"""GraphQL over server-sent events, in its "distinct connections" mode.

1. One request is one operation. Each answer is a `next` event; `complete` is said only when the
   operation itself is over. A stream that ends without it asks to be taken up again.
2. What goes wrong after the headers is one more `next` with `errors`, masked like everywhere.
3. A few answers wait at most (`FEW`), whatever the source has. A client that takes nothing for
   `stall_seconds` is given up.
4. The source is closed whatever ends the stream: its own end, the client, a drain or the token.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.answers import OpenContext, answer_in
from api.auth import Principal
from api.drain import Drain, wait_until
from api.errors import answer_errors
from api.execution import Answer, Executor, Prepared
from api.media import EVENT_STREAM
from api.posted import trace_id_of
from api.sharing import Sharing, Subscription
from infra.settings import Limits

COMPLETE = b"event: complete\ndata:\n\n"

KEEP_ALIVE = b":\n\n"
"""A comment: proxies close what is silent, and a dead client shows only when it is written to."""

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


FEW: Final = 16
"""Answers between the source and the socket: what comes at once is no reason to go on alone."""


def next_event(payload: bytes) -> bytes:
    return b"event: next\ndata: " + payload + b"\n\n"


def single_response(answer: Answer) -> Response:
    """For what is known as a whole: the answer of a query or mutation, or a refusal's errors."""
    event = next_event(orjson.dumps(answer))
    return Response(event + COMPLETE, headers=_HEADERS, media_type=EVENT_STREAM)


@dataclass(frozen=True, kw_only=True)
class SseEndpoint:
    """`respond` is what the HTTP view calls for a checked operation that accepts event streams."""

    executor: Executor
    open_context: OpenContext
    sharing: Sharing
    limits: Limits
    drain: Drain
    keep_alive_seconds: float = 12.0
    stall_seconds: float = 30.0

    async def respond(
        self,
        request: Request,
        prepared: Prepared,
        variables: Mapping[str, Any],
        principal: Principal,
    ) -> Response:
        trace_id = trace_id_of(request.headers.get("traceparent", ""))
        if prepared.kind != "subscription":
            opening = self.open_context(principal, trace_id)
            try:
                answer = await answer_in(opening, self.executor, prepared, variables)
            except Exception as error:  # noqa: BLE001 - told to the client, masked and logged
                answer = self._told(error, trace_id)
            return single_response(answer)
        return EventStream(
            self._payloads(Subscription(prepared, variables, principal, trace_id)),
            drain=self.drain,
            expires_at=principal.expires_at,
            keep_alive_seconds=self.keep_alive_seconds,
            stall_seconds=self.stall_seconds,
        )

    async def _payloads(self, asked: Subscription) -> AsyncGenerator[bytes, None]:
        waiting: asyncio.Queue[bytes | None] = asyncio.Queue(FEW)

        async def tell() -> None:
            try:
                await self.sharing.tell(asked, _Subscriber(waiting))
            except Exception as error:  # noqa: BLE001 - told to the client, masked and logged
                await waiting.put(orjson.dumps(self._told(error, asked.trace_id)))
            await waiting.put(None)

        telling = asyncio.create_task(tell())
        try:
            while (payload := await waiting.get()) is not None:
                yield payload
        finally:
            telling.cancel()
            await asyncio.wait({telling})

    def _told(self, error: Exception, trace_id: str) -> Answer:
        return {"errors": answer_errors([error], trace_id, self.limits.errors)}


@dataclass(frozen=True)
class _Subscriber:
    """What a stream has still to send."""

    waiting: asyncio.Queue[bytes | None]

    def take(self, payload: bytes) -> bool:
        if self.waiting.full():
            return False
        self.waiting.put_nowait(payload)
        return True

    async def send(self, payload: bytes) -> None:
        await self.waiting.put(payload)


class EventStream(Response):
    """Sends `payloads` until they, the client, the token or the process end; closes them always."""

    media_type = EVENT_STREAM

    def __init__(
        self,
        payloads: AsyncGenerator[bytes, None],
        *,
        drain: Drain,
        expires_at: float,
        keep_alive_seconds: float,
        stall_seconds: float,
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._payloads = payloads
        self._drain = drain
        self._expires_at = expires_at
        self._keep_alive_seconds = keep_alive_seconds
        self._stall_seconds = stall_seconds
        self._writing = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        with self._drain.held():
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            try:
                await _first_of(
                    partial(self._send_events, send),
                    partial(self._keep_alive, send),
                    partial(_until_disconnected, receive),
                    partial(wait_until, self._expires_at),
                    self._drain.wait,
                )
                await self._write(send, b"", more=False)
            except* TimeoutError:
                pass  # the client takes nothing: its connection is dropped unfinished

    async def _send_events(self, send: Send) -> None:
        async with aclosing(self._payloads) as payloads:
            async for payload in payloads:
                if time.time() >= self._expires_at:
                    return
                await self._write(send, next_event(payload))
                # A source that always has more must not keep the loop to itself.
                await asyncio.sleep(0)
        await self._write(send, COMPLETE)

    async def _keep_alive(self, send: Send) -> None:
        while True:
            await self._write(send, KEEP_ALIVE)
            await asyncio.sleep(self._keep_alive_seconds)

    async def _write(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with self._writing, asyncio.timeout(self._stall_seconds):
            await send({"type": "http.response.body", "body": body, "more_body": more})


class _Ended(Exception):
    """One of several that run side by side is done."""


async def _first_of(*works: Callable[[], Awaitable[None]]) -> None:
    """Until one is done; the others are cancelled and waited for. An error of any is raised."""

    async def end_with(work: Callable[[], Awaitable[None]]) -> None:
        await work()
        raise _Ended

    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(end_with(work))
    except* _Ended:
        pass


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
