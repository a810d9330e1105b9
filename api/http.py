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
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.answers import OpenContext
from api.auth import Authenticator, Principal
from api.errors import ApiError, ErrorCode, answer_errors, is_unavailable
from api.execution import Answer, Executor, Prepared
from api.media import JSON, Accepted, accepted, is_json
from infra.settings import Limits

OnSse: TypeAlias = Callable[[Request, Prepared, Mapping[str, Any], Principal], Awaitable[Response]]

_BY_GRAPHQL: Final = {
    ErrorCode.SYNTAX_ERROR,
    ErrorCode.VALIDATION_FAILED,
    ErrorCode.LIMIT_EXCEEDED,
    ErrorCode.FORBIDDEN,
}
"""What GraphQL refuses about an operation, as against what HTTP refuses about a request."""

_RETRY_SECONDS: Final = 1

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True)
class Asked:
    """The body of a request."""

    query: str
    operation_name: str | None
    variables: dict[str, Any]


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
        request = Request(scope, receive)
        trace_id = trace_id_of(request.headers.get("traceparent", ""))
        accepts = accepted(request.headers.get("accept", "*/*"))
        try:
            response = await self._respond(request, accepts, trace_id)
        except ClientDisconnect:
            return
        except ApiError as error:
            response = self._refusal(error, error.status, accepts, trace_id)
        except Exception as error:  # noqa: BLE001  the outermost layer: masked and logged
            response = self._refusal(error, 500, accepts, trace_id)
        await response(scope, receive, send)

    async def _respond(self, request: Request, accepts: Accepted, trace_id: str) -> Response:
        check_headers(request, accepts)
        self._check_load()
        principal = await self._authenticator.principal(bearer_token(request))
        asked = parse_body(await self._read(request))
        self._check_load()
        self._running += 1
        try:
            return await self._run(request, asked, principal, accepts, trace_id)
        except ApiError as error:
            is_fine = accepts.json == JSON and error.code in _BY_GRAPHQL
            return self._refusal(error, 200 if is_fine else error.status, accepts, trace_id)
        finally:
            self._running -= 1

    async def _run(
        self,
        request: Request,
        asked: Asked,
        principal: Principal,
        accepts: Accepted,
        trace_id: str,
    ) -> Response:
        prepared = self._executor.prepare(asked.query, asked.operation_name)
        streams = accepts.stream and (prepared.kind == "subscription" or accepts.json is None)
        if prepared.kind == "subscription" and not streams:
            raise _bad_request("A subscription over HTTP needs `Accept: text/event-stream`.")
        self._executor.check(prepared, asked.variables, principal)
        if streams:
            return await self._on_sse(request, prepared, asked.variables, principal)
        async with self._open_context(principal, trace_id) as context:
            answer = await self._executor.execute(prepared, asked.variables, context)
        if not is_unavailable(answer.get("errors", ())):
            return _response(answer, 200, accepts)
        response = _response(answer, 503, accepts)
        response.headers["Retry-After"] = str(_RETRY_SECONDS)
        return response

    async def _read(self, request: Request) -> bytes:
        most = self._limits.body_bytes
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > most:
                        raise ApiError(
                            ErrorCode.LIMIT_EXCEEDED, f"The body exceeds {most} bytes.", status=413
                        )
        except TimeoutError:
            raise _bad_request("The body did not come in time.", 408) from None
        return bytes(body)

    def _check_load(self) -> None:
        if self._running >= self._limits.running:
            raise ApiError(ErrorCode.OVERLOADED, "Too much to do.", retry_after=_RETRY_SECONDS)

    def _refusal(self, error: Exception, status: int, accepts: Accepted, trace_id: str) -> Response:
        answer = {"errors": answer_errors([error], trace_id, self._limits.errors)}
        response = _response(answer, status, accepts)
        if status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        if status == 405:
            response.headers["Allow"] = "POST"
        if isinstance(error, ApiError) and error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        return response


def check_headers(request: Request, accepts: Accepted) -> None:
    """Raises `ApiError` BAD_REQUEST."""
    if request.method != "POST":
        raise _bad_request("Send a POST.", 405)
    if "content-encoding" in request.headers:
        raise _bad_request("Compressed bodies are not accepted.", 415)
    if not is_json(request.headers.get("content-type", "")):
        raise _bad_request("Send `Content-Type: application/json`.", 415)
    if accepts.json is None and not accepts.stream:
        raise _bad_request("Accept `application/graphql-response+json`.", 406)


def bearer_token(request: Request) -> str | None:
    """None where there is none, or more than one."""
    sent = request.headers.getlist("authorization")
    scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    return token.strip() or None if scheme.lower() == "bearer" else None


def trace_id_of(traceparent: str) -> str:
    """The caller's trace (W3C Trace Context), or a new one."""
    match = _TRACEPARENT.fullmatch(traceparent)
    return match[1] if match else secrets.token_hex(16)


def parse_body(body: bytes) -> Asked:
    """Raises `ApiError` BAD_REQUEST."""
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _bad_request("The body is not JSON.") from None
    if not isinstance(sent, dict):
        raise _bad_request("The body is not one JSON object.")
    query = sent.get("query")
    name = sent.get("operationName")
    variables = sent.get("variables")
    if not isinstance(query, str):
        raise _bad_request("`query` must be a string.")
    if not isinstance(name, str | None):
        raise _bad_request("`operationName` must be a string or null.")
    if not isinstance(variables, dict | None):
        raise _bad_request("`variables` must be an object or null.")
    if not isinstance(sent.get("extensions"), dict | None):
        raise _bad_request("`extensions` must be an object or null.")
    return Asked(query, name or None, variables or {})


def _response(answer: Answer, status: int, accepts: Accepted) -> Response:
    return Response(
        orjson.dumps(answer),
        status,
        {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        media_type=accepts.json or JSON,
    )


def _bad_request(message: str, status: int = 400) -> ApiError:
    return ApiError(ErrorCode.BAD_REQUEST, message, status=status)
