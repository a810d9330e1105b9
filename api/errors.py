"""Top-level errors: what a client may learn when a request, not a command, fails.

1. `ErrorCode` is the closed list; every error of an answer has one in `extensions.code`.
2. Only an `ApiError`, and what GraphQL itself says about the request, reaches a client in its own
   words. A store that is away is UNAVAILABLE, for a while. All else is masked as INTERNAL. Both are
   logged with the trace id that the client gets.
3. Masking is the last thing done to an answer: `answer_errors` is the only way out.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import islice
from types import TracebackType
from typing import Any

import structlog
from graphql import GraphQLError, GraphQLSyntaxError
from strawberry.exceptions import StrawberryInputCoercionError

from infra.branches import BranchNotReady
from infra.mongo import Unavailable
from infra.past import PastNotReady
from infra.reads import BeingBuilt

_log = structlog.get_logger("tidings.api")


class ErrorCode(Enum):
    BAD_REQUEST = "BAD_REQUEST"
    SYNTAX_ERROR = "SYNTAX_ERROR"
    VALIDATION_FAILED = "VALIDATION_FAILED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    RATE_LIMITED = "RATE_LIMITED"
    READ_MODEL_BEHIND = "READ_MODEL_BEHIND"
    TIMEOUT = "TIMEOUT"
    OVERLOADED = "OVERLOADED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


REFUSED_STATUS = 400
"""For syntax, validation and coercion; the GraphQL-over-HTTP draft is moving to 422."""

_MOST_CHARACTERS = 500
"""Of a message: GraphQL's own quote what the client sent, however long."""

_STATUS = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.SYNTAX_ERROR: REFUSED_STATUS,
    ErrorCode.VALIDATION_FAILED: REFUSED_STATUS,
    ErrorCode.LIMIT_EXCEEDED: REFUSED_STATUS,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.READ_MODEL_BEHIND: 200,
    ErrorCode.TIMEOUT: 200,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL: 500,
}


class ApiError(Exception):
    """Raise anywhere, resolvers included: `code` and `message` reach the client as they are."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        status: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = _STATUS[code] if status is None else status
        self.retry_after = retry_after
        """Whole seconds after which to try again."""


class Refused(ApiError):
    """An operation that is not started, with everything that is wrong with it (at least one).

    `about_request` says that GraphQL's own errors among these speak of the request only, so that
    they may go out as they are, under that code.
    """

    def __init__(
        self,
        errors: Sequence[GraphQLError | ApiError],
        about_request: ErrorCode | None = None,
    ) -> None:
        first = _cause(errors[0])
        own = first.code if isinstance(first, ApiError) else ErrorCode.INTERNAL
        super().__init__(about_request or own, errors[0].message)
        self.errors = tuple(errors)
        self.about_request = about_request


def answer_errors(
    errors: Sequence[GraphQLError | Exception], trace_id: str, most: int
) -> list[dict[str, Any]]:
    """At most `most` errors as they go out; a `Refused` among them counts as all it holds."""
    return [_answer(error, code, trace_id) for error, code in islice(_flat(errors), most)]


def is_unavailable(told: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of these errors, as they go out, says to try again later."""
    return any(e["extensions"]["code"] == ErrorCode.UNAVAILABLE.value for e in told)


def _flat(
    errors: Sequence[GraphQLError | Exception], code: ErrorCode | None = None
) -> Iterator[tuple[Exception, ErrorCode | None]]:
    for error in errors:
        if isinstance(error, Refused):
            yield from _flat(error.errors, error.about_request)
        else:
            yield error, code


def _answer(error: Exception, code: ErrorCode | None, trace_id: str) -> dict[str, Any]:
    """`code` is set where the error is known to speak of the request only."""
    cause = _cause(error)
    if isinstance(cause, ApiError):
        message, code = cause.message, cause.code
    elif isinstance(cause, Unavailable):
        message, code = "The store does not answer. Try again.", ErrorCode.UNAVAILABLE
        _log.warning("store_unavailable", trace_id=trace_id, why=str(cause))
    elif isinstance(cause, BeingBuilt | PastNotReady | BranchNotReady):
        message, code = str(cause), ErrorCode.READ_MODEL_BEHIND
    elif isinstance(error, GraphQLSyntaxError):
        message, code = error.message, ErrorCode.SYNTAX_ERROR
    elif isinstance(error, GraphQLError) and code is not None:
        message = error.message
    elif isinstance(cause, GraphQLError) and _is_about_arguments(cause):
        message, code = cause.message, ErrorCode.VALIDATION_FAILED
    else:
        message, code = "Something went wrong on our side.", ErrorCode.INTERNAL
        path = error.path if isinstance(error, GraphQLError) else None
        _log.error("request_failed", trace_id=trace_id, path=path, exc_info=cause)
    return {
        "message": message[:_MOST_CHARACTERS],
        **_place(error),
        "extensions": {"code": code.value, "traceId": trace_id},
    }


def _cause(error: Exception) -> Exception:
    """What was raised first, under the layers that say where."""
    while isinstance(error, GraphQLError) and error.original_error is not None:
        error = error.original_error
    return error


def _place(error: Exception) -> dict[str, Any]:
    if not isinstance(error, GraphQLError):
        return {}
    place: dict[str, Any] = {}
    if error.locations:
        place["locations"] = [location.formatted for location in error.locations]
    if error.path is not None:
        place["path"] = error.path
    return place


def _is_about_arguments(error: GraphQLError) -> bool:
    """Whether a field's arguments were refused, which is done only while executing.

    Strawberry has a class for it. All that graphql-core raises has one class, so the place where it
    was raised tells them apart: other errors of the same class quote values of ours.
    """
    if isinstance(error, StrawberryInputCoercionError):
        return True
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals["__name__"] == "graphql.execution.values"
