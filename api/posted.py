"""What a POST brings: its head, which tells who asks, and its body, which tells what for.

Headers are read as they come (ASGI's pairs of bytes, names in lower case): of several with one
name the first counts, but two tokens are none.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from starlette.types import Scope

from api.errors import ApiError, ErrorCode
from api.media import Accepted, accepted, is_json

HeaderList: TypeAlias = Sequence[tuple[bytes, bytes]]

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Head:
    """What a request says before its body."""

    method: str
    headers: Mapping[bytes, bytes]
    """The first of each name."""
    token: str | None
    accepts: Accepted
    trace_id: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The body of a request."""

    query: str
    operation_name: str | None
    variables: dict[str, Any]


def head_of(scope: Scope) -> Head:
    """Reads what is sent, whatever that is; refuses nothing."""
    sent: HeaderList = scope["headers"]
    headers = dict(reversed(sent))
    return Head(
        method=scope["method"],
        headers=headers,
        token=bearer_token(sent),
        accepts=accepted(headers.get(b"accept", b"*/*").decode("latin-1")),
        trace_id=trace_id_of(headers.get(b"traceparent", b"").decode("latin-1")),
    )


def check_head(head: Head) -> None:
    """Raises `ApiError` BAD_REQUEST."""
    if head.method != "POST":
        raise bad_request("Send a POST.", 405)
    if b"content-encoding" in head.headers:
        raise bad_request("Compressed bodies are not accepted.", 415)
    if not is_json(head.headers.get(b"content-type", b"").decode("latin-1")):
        raise bad_request("Send `Content-Type: application/json`.", 415)
    if head.accepts.json is None and not head.accepts.stream:
        raise bad_request("Accept `application/graphql-response+json`.", 406)


def bearer_token(headers: HeaderList) -> str | None:
    """None where there is none, or more than one."""
    sent = [value for name, value in headers if name == b"authorization"]
    scheme, _, token = sent[0].decode("latin-1").partition(" ") if len(sent) == 1 else ("", "", "")
    return token.strip() or None if scheme.lower() == "bearer" else None


def trace_id_of(traceparent: str) -> str:
    """The caller's trace (W3C Trace Context), or a new one."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return match[1] if match else new_trace_id()


def new_trace_id() -> str:
    """No secret. The system is not asked for it: that would give up the turn of the interpreter,
    and where threads work it comes back milliseconds later."""
    return f"{random.getrandbits(128):032x}"


def parse_body(body: bytes) -> Asked:
    """Raises `ApiError` BAD_REQUEST."""
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise bad_request("The body is not JSON.") from None
    if not isinstance(sent, dict):
        raise bad_request("The body is not one JSON object.")
    query = sent.get("query")
    name = sent.get("operationName")
    variables = sent.get("variables")
    if not isinstance(query, str):
        raise bad_request("`query` must be a string.")
    if not isinstance(name, str | None):
        raise bad_request("`operationName` must be a string or null.")
    if not isinstance(variables, dict | None):
        raise bad_request("`variables` must be an object or null.")
    if not isinstance(sent.get("extensions"), dict | None):
        raise bad_request("`extensions` must be an object or null.")
    return Asked(query, name or None, variables or {})


def bad_request(message: str, status: int = 400) -> ApiError:
    return ApiError(ErrorCode.BAD_REQUEST, message, status=status)
