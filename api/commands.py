"""From a mutation's input to a command, and from its answer to a payload.

1. `commandId` names the command for ever; ids of new aggregates are derived from it, so that a
   repeat means the same aggregate.
2. Refusals are data; only sign-in, rights and trouble inside are top-level errors.
3. Only staff may say when something happened (imports, late entries); else it is now.
"""

from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

import strawberry

from api.command_errors import CommandError, as_data
from api.context import Info
from api.errors import ApiError, ErrorCode
from api.scalars import Position
from domain.decider import DomainError, DomainErrors
from domain.order_line import MOST_LINES, LineCountOutOfRange
from infra.answers import Accepted, Request
from infra.codec import fingerprint, now


@strawberry.type
class Receipt:
    """Proof that the command is durable. Queries with `atLeast: position` show its effect."""

    command_id: UUID
    aggregate_id: strawberry.ID
    version: int
    position: Position
    replayed: bool


@strawberry.type
class Payload:
    """What every command answers: why it was refused, or a receipt."""

    errors: list[CommandError]
    receipt: Receipt | None


@strawberry.input
class CommandInput:
    """`commandId` makes the command idempotent; `at` (staff only) says when it happened."""

    command_id: UUID
    at: datetime | None = None


P = TypeVar("P", bound=Payload)
T = TypeVar("T")


class Input(Protocol):
    """What `send` needs of a mutation's input. One that edits what was read may also have an
    `expected_version`."""

    command_id: UUID
    at: datetime | None

    def command(self, at: datetime) -> Any:
        """The command; raises `DomainError` for values that cannot be one."""


async def send(info: Info, input: Input, payload: type[P]) -> P:
    """Send the command that the input makes, and answer with its payload."""
    context = info.context
    if input.at is not None and not context.is_staff():
        raise ApiError(ErrorCode.FORBIDDEN, "Only staff may say when it happened.")
    try:
        command = input.command(input.at or now())
    except (DomainError, DomainErrors) as refusal:
        return payload(errors=[as_data(error) for error in refusal.errors], receipt=None)
    answer = await context.send(
        request_of(input, command, context.principal.subject, context.trace_id)
    )
    if isinstance(answer, Accepted):
        return payload(errors=[], receipt=_receipt(input.command_id, answer))
    return payload(errors=[as_data(error) for error in answer.errors], receipt=None)


def request_of(input: Any, command: Any, actor: str, trace: str | None = None) -> Request:
    """The command that the input made, as the handler takes it."""
    return Request(
        command=command,
        command_id=str(input.command_id),
        actor=actor,
        input_id=fingerprint(input),
        trace=trace,
        expected_version=getattr(input, "expected_version", None),
    )


def _receipt(command_id: UUID, answer: Accepted) -> Receipt:
    return Receipt(
        command_id=command_id,
        aggregate_id=strawberry.ID(answer.stream),
        version=answer.version,
        position=Position(answer.position),
        replayed=answer.replayed,
    )


def few_lines(lines: list[T]) -> tuple[T, ...]:
    """No more than an order can have: the rest is neither looked up nor refused line by line."""
    if len(lines) > MOST_LINES:
        raise LineCountOutOfRange(lines=len(lines), most=MOST_LINES)
    return tuple(lines)


def new_id(category: str, command_id: UUID) -> str:
    """The id of the aggregate that this command creates."""
    return f"{category}-{command_id}"
