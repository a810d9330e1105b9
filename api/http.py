"""GraphQL over HTTP: one POST, one answer.

1. What is no request of ours is refused before it is read, who is not signed in before the body
   is parsed. The body is limited while it is read, whatever its headers say.
2. Every refusal is a JSON answer with typed errors. Nothing that a client sends gives a 5xx; 503
   is for a server that has too much to do, and says when to come again.
3. `application/json` answers 200 to what GraphQL itself refuses, the status of the error
   otherwise; `application/graphql-response+json` answers the status of the error always. An
   answer that lacks something because the store is away is a 503 with either.
4. No batching, no GET, no uploads, no compressed bodies.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

import orjson
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.answers import OpenContext
from api.auth import Authenticator, Principal
from api.errors import ApiError, ErrorCode, answer_errors, is_unavailable
from api.execution import Answer, Executor, Prepared
from api.media import JSON, Accepted
from api.posted import Head, HeaderList, bad_request, check_head, head_of, parse_body
from infra.settings import Limits

OnSse: TypeAlias = Callable[[Request, Prepared, Mapping[str, Any], Principal], Awaitable[ASGIApp]]

WHOLE: Final = "whole"
"""An extension of ASGI: `scope["extensions"]["whole"]` is a `Whole`, where the server offers it."""

_BY_GRAPHQL: Final = {
    ErrorCode.SYNTAX_ERROR,
    ErrorCode.VALIDATION_FAILED,
    ErrorCode.LIMIT_EXCEEDED,
    ErrorCode.FORBIDDEN,
}
"""What GraphQL refuses about an operation, as against what HTTP refuses about a request."""

_RETRY_SECONDS: Final = 1

_ALWAYS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Whole(Protocol):
    """A request and its answer in one piece each: no timer, no second write."""

    def body(self) -> bytes | None:
        """All of it, where that has come already."""
        ...

    def reply(self, send: Send, status: int, headers: HeaderList, body: bytes) -> bool:
        """Do what `send` would with a whole answer to a POST; false, with nothing done, where that
        has to wait, or something stands between."""
        ...


class Reply:
    """A whole answer, as an ASGI application. Starlette's would work its headers out each time."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, answer: Answer, status: int, accepts: Accepted, **more: str) -> None:
        """`more` are further headers, with `_` for `-`."""
        self.body, self.status = orjson.dumps(answer), status
        self.headers = [
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", (accepts.json or JSON).encode()),
            *_ALWAYS,
            *((name.replace("_", "-").encode(), value.encode()) for name, value in more.items()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        status, headers, body = self.status, self.headers, self.body
        whole = _whole(scope)
        if whole and scope["method"] == "POST" and whole.reply(send, status, headers, body):
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _whole(scope: Scope) -> Whole | None:
    found: Whole | None = scope.get("extensions", {}).get(WHOLE)
    return found


def graphql_endpoint(
    executor: Executor,
    authenticator: Authenticator,
    open_context: OpenContext,
    limits: Limits,
    *,
    on_sse: OnSse,
) -> "HttpEndpoint":
    """An ASGI application, for `Route("/graphql", ...)`. `on_sse` gets checked operations only."""
    return HttpEndpoint(executor, authenticator, open_context, limits, on_sse)


def cors(allowed_origins: Sequence[str]) -> list[Middleware]:
    """What lets the pages of other origins in: nothing, unless there are any."""
    if not allowed_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(allowed_origins),
            allow_methods=["POST"],
            allow_headers=["Authorization", "Content-Type", "Traceparent"],
        )
    ]


class HttpEndpoint:
    def __init__(
        self,
        executor: Executor,
        authenticator: Authenticator,
        open_context: OpenContext,
        limits: Limits,
        on_sse: OnSse,
    ) -> None:
        self._executor = executor
        self._authenticator = authenticator
        self._open_context = open_context
        self._limits = limits
        self._on_sse = on_sse
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = head_of(scope)
        try:
            reply = await self._reply(head, scope, receive)
        except ClientDisconnect:
            return
        except ApiError as error:
            reply = self._refusal(error, error.status, head)
        except Exception as error:  # noqa: BLE001  the outermost layer: masked and logged
            reply = self._refusal(error, 500, head)
        await reply(scope, receive, send)

    async def _reply(self, head: Head, scope: Scope, receive: Receive) -> ASGIApp:
        check_head(head)
        self._check_load()
        principal = await self._authenticator.principal(head.token)
        asked = parse_body(await self._body(scope, receive))
        self._check_load()
        self._running += 1
        try:
            prepared = self._executor.prepare(asked.query, asked.operation_name)
            streams = self._streams(prepared, head.accepts)
            self._executor.check(prepared, asked.variables, principal)
            if streams:
                request = Request(scope, receive)
                return await self._on_sse(request, prepared, asked.variables, principal)
            async with self._open_context(principal, head.trace_id) as context:
                answer = await self._executor.execute(prepared, asked.variables, context)
        except ApiError as error:
            is_fine = head.accepts.json == JSON and error.code in _BY_GRAPHQL
            return self._refusal(error, 200 if is_fine else error.status, head)
        finally:
            self._running -= 1
        if is_unavailable(answer.get("errors", ())):
            return Reply(answer, 503, head.accepts, retry_after=str(_RETRY_SECONDS))
        return Reply(answer, 200, head.accepts)

    def _streams(self, prepared: Prepared, accepts: Accepted) -> bool:
        """Whether the answer is an event stream; raises `ApiError` where it would have to be."""
        if prepared.kind != "subscription":
            return accepts.stream and accepts.json is None
        if not accepts.stream:
            raise bad_request("A subscription over HTTP needs `Accept: text/event-stream`.")
        return True

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        whole = _whole(scope)
        body = whole.body() if whole else None
        if body is None:
            try:
                async with asyncio.timeout(self._limits.seconds):
                    return await self._read(receive)
            except TimeoutError:
                raise bad_request("The body did not come in time.", 408) from None
        if len(body) > self._limits.body_bytes:
            raise self._too_long()
        return body

    async def _read(self, receive: Receive) -> bytes:
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > self._limits.body_bytes:
                raise self._too_long()
            more = message.get("more_body", False)
        return bytes(body)

    def _too_long(self) -> ApiError:
        message = f"The body exceeds {self._limits.body_bytes} bytes."
        return ApiError(ErrorCode.LIMIT_EXCEEDED, message, status=413)

    def _check_load(self) -> None:
        if self._running >= self._limits.running:
            raise ApiError(ErrorCode.OVERLOADED, "Too much to do.", retry_after=_RETRY_SECONDS)

    def _refusal(self, error: Exception, status: int, head: Head) -> Reply:
        more = {}
        if status == 401:
            more["www_authenticate"] = "Bearer"
        if status == 405:
            more["allow"] = "POST"
        if isinstance(error, ApiError) and error.retry_after is not None:
            more["retry_after"] = str(error.retry_after)
        errors = answer_errors([error], head.trace_id, self._limits.errors)
        return Reply({"errors": errors}, status, head.accepts, **more)
