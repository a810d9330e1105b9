"""GraphQL over websockets: the graphql-transport-ws protocol on Starlette's `WebSocket`.

1. A page of another origin is refused before the socket is accepted.
2. Only `connection_init`, with a good token and in time, opens the way to operations. The socket
   ends when its token does, and no answer leaves after that.
3. One operation is one task. Whatever ends it, its generator is closed: the end of the source, the
   client's `complete`, an error, or the loss of the socket. Identical subscriptions share one (see
   `api.sharing`).
4. An answer is written at once where the client keeps up. A slow one is waited for: it holds back
   its own sources, and nothing is queued. One that takes nothing for `stall_seconds` is given up.
5. A broken message costs the socket; a broken operation costs only itself.
6. On a drain single answers are finished and subscriptions stop without `complete`; 1012 makes the
   client take them up again at the next process. So does a socket that comes too late.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from api import socket_messages
from api.answers import OpenContext, answer_in
from api.auth import Authenticator, Principal
from api.drain import Drain, wait_until
from api.errors import ApiError, ErrorCode, answer_errors
from api.execution import Executor
from api.handshake import bearer_token, is_origin_allowed
from api.posted import new_trace_id
from api.sharing import Sharing, Subscription
from api.socket_messages import (
    SUBPROTOCOL,
    Complete,
    ConnectionInit,
    Message,
    MessageInvalid,
    Ping,
    Pong,
    Subscribe,
)
from infra.settings import Limits

CLOSE_SECONDS = 2.0
"""How long a close frame may wait for a client that does not read."""


@dataclass(frozen=True, kw_only=True)
class SocketEndpoint:
    """`WebSocketRoute("/graphql", SocketEndpoint(...).serve)`."""

    authenticator: Authenticator
    executor: Executor
    open_context: OpenContext
    sharing: Sharing
    limits: Limits
    drain: Drain
    allowed_origins: Collection[str] = ()
    stall_seconds: float = 30.0

    async def serve(self, websocket: WebSocket) -> None:
        if not is_origin_allowed(websocket, self.allowed_origins):
            await websocket.close()  # before accepting, this is a 403
        elif SUBPROTOCOL not in websocket.scope["subprotocols"]:
            await websocket.accept()
            await websocket.close(4406, "Subprotocol not acceptable")
        else:
            with self.drain.held():
                await websocket.accept(SUBPROTOCOL)
                await _Connection(self, websocket).run()


class _Hangup(Exception):
    """Our side ends the socket."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Gone(Exception):
    """There is nobody at the other end any more."""


class _Connection:
    """One accepted socket. Its tasks live in one group: the first that raises ends them all."""

    def __init__(self, endpoint: SocketEndpoint, websocket: WebSocket) -> None:
        self._endpoint = endpoint
        self._websocket = websocket
        self._tasks = asyncio.TaskGroup()
        self._init_received = asyncio.Event()
        self._principal: Principal | None = None
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._finishing: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self.write_text: Callable[[bytes], bool] = websocket.scope["extensions"]["text"]["write"]

    async def run(self) -> None:
        try:
            async with self._tasks:
                self._tasks.create_task(self._end_without_init())
                self._tasks.create_task(self._end_on_drain())
                await self._read()
        except* _Gone:
            pass
        except* _Hangup as ends:
            first = _first(ends)
            await self._close(first.code, first.reason)
        except* Exception:
            await self._close(1011, "Internal error")
            raise  # the web server logs it

    # What ends the socket from our side

    async def _end_without_init(self) -> None:
        try:
            async with asyncio.timeout(self._endpoint.limits.init_seconds):
                await self._init_received.wait()
        except TimeoutError:
            raise _Hangup(4408, "Connection initialisation timeout") from None

    async def _end_with_token(self, principal: Principal) -> NoReturn:
        await wait_until(principal.expires_at)
        raise _Hangup(4403, "Forbidden")

    async def _end_on_drain(self) -> NoReturn:
        await self._endpoint.drain.wait()
        if self._finishing:
            await asyncio.wait(self._finishing)
        raise _Hangup(1012, "Service restart")

    # What the client says

    async def _read(self) -> NoReturn:
        while True:
            await self._obey(await self._message())

    async def _message(self) -> Message:
        frame = await self._websocket.receive()
        if frame["type"] == "websocket.disconnect":
            raise _Gone
        text = frame.get("text")
        if text is None:
            raise _Hangup(4400, "Messages are text")
        if len(text.encode()) > self._endpoint.limits.message_bytes:
            raise _Hangup(1009, "Message too big")
        try:
            return socket_messages.parse(text)
        except MessageInvalid as fault:
            raise _Hangup(4400, str(fault)) from None

    async def _obey(self, message: Message) -> None:
        match message:
            case ConnectionInit(payload=payload):
                await self._init(payload)
            case Ping(payload=payload):
                await self._send(socket_messages.pong(payload))
            case Pong():
                pass
            case Subscribe():
                await self._begin(message)
            case Complete(id=id):
                await self._cancel(id)

    async def _init(self, payload: dict[str, Any]) -> None:
        if self._init_received.is_set():
            raise _Hangup(4429, "Too many initialisation requests")
        self._init_received.set()
        try:
            self._principal = await self._endpoint.authenticator.principal(
                bearer_token(payload, self._websocket)
            )
        except ApiError as refusal:
            if refusal.status >= 500:
                raise _Hangup(1013, "Try again later") from refusal
            raise _Hangup(4403, "Forbidden") from None
        self._tasks.create_task(self._end_with_token(self._principal))
        await self._send(socket_messages.CONNECTION_ACK)

    async def _begin(self, asked: Subscribe) -> None:
        if self._principal is None:
            raise _Hangup(4401, "Unauthorized")
        if asked.id in self._operations:
            raise _Hangup(4409, "Subscriber for this id already exists")
        if self._endpoint.drain.begun:
            return  # the client asks again where it reconnects
        most = self._endpoint.limits.subscriptions
        if len(self._operations) >= most:
            full = ApiError(ErrorCode.LIMIT_EXCEEDED, f"At most {most} operations a socket.")
            await self._refuse(asked.id, full, new_trace_id())
            return
        operation = self._operate(asked, self._principal)
        self._operations[asked.id] = self._tasks.create_task(operation)

    async def _cancel(self, id: str) -> None:
        """Waits until all is closed: quick repeats cannot pile up what is still closing."""
        operation = self._operations.pop(id, None)
        if operation is not None:
            operation.cancel()
            await asyncio.wait({operation})

    # What is answered

    async def _operate(self, asked: Subscribe, principal: Principal) -> None:
        trace_id = new_trace_id()
        try:
            await self._answer(asked, principal, trace_id)
            await self._send(socket_messages.complete(asked.id))
        except (_Gone, _Hangup):
            raise
        except Exception as error:  # noqa: BLE001 - told to the client, masked and logged
            await self._refuse(asked.id, error, trace_id)
        finally:
            self._operations.pop(asked.id, None)

    async def _answer(self, asked: Subscribe, principal: Principal, trace_id: str) -> None:
        executor = self._endpoint.executor
        prepared = executor.prepare(asked.query, asked.operation_name)
        if prepared.kind != "subscription":
            self._finish_before_drain()
        executor.check(prepared, asked.variables, principal)
        subscriber = _Subscriber(self, asked.id, principal)
        if prepared.kind == "subscription":
            subscription = Subscription(prepared, asked.variables, principal, trace_id)
            await self._endpoint.sharing.tell(subscription, subscriber)
        else:
            opening = self._endpoint.open_context(principal, trace_id)
            answer = await answer_in(opening, executor, prepared, asked.variables)
            await subscriber.send(orjson.dumps(answer))

    def _finish_before_drain(self) -> None:
        this = asyncio.current_task()
        assert this is not None
        self._finishing.add(this)
        this.add_done_callback(self._finishing.discard)

    async def _refuse(self, id: str, error: Exception, trace_id: str) -> None:
        told = answer_errors([error], trace_id, self._endpoint.limits.errors)
        await self._send(socket_messages.errors(id, told))

    async def _send(self, message: dict[str, Any]) -> None:
        await self.send_text(orjson.dumps(message))

    async def send_text(self, text: bytes) -> None:
        """Raises `_Gone` when the client does not take it."""
        async with self._writing:
            try:
                async with asyncio.timeout(self._endpoint.stall_seconds):
                    await self._websocket.send({"type": "websocket.send", "text": text.decode()})
            # RuntimeError is what Starlette and uvicorn say once the socket is closing.
            except (WebSocketDisconnect, RuntimeError, TimeoutError):
                raise _Gone from None

    async def _close(self, code: int, reason: str) -> None:
        with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._websocket.close(code, reason)


class _Subscriber:
    """The client's end of one operation."""

    def __init__(self, connection: _Connection, id: str, principal: Principal) -> None:
        self._connection, self._write = connection, connection.write_text
        self._head = socket_messages.next_head(id)
        self._expires_at = principal.expires_at

    def take(self, payload: bytes) -> bool:
        return time.time() < self._expires_at and self._write(
            self._head + payload + socket_messages.NEXT_TAIL
        )

    async def send(self, payload: bytes) -> None:
        if time.time() >= self._expires_at:
            raise _Hangup(4403, "Forbidden")
        await self._connection.send_text(self._head + payload + socket_messages.NEXT_TAIL)


def _first(ends: ExceptionGroup[_Hangup]) -> _Hangup:
    """Groups may hold groups; the socket's tasks raise none, so the first leaf is the cause."""
    end = ends.exceptions[0]
    return _first(end) if isinstance(end, ExceptionGroup) else end
