"""Commands that processes ask for, sent from the outbox to the command handler.

The row's id is the command id. A refusal is remembered under it, so a command that is tried again
after a refusal goes under an id of its own, derived from the first.
"""

from collections.abc import Iterable
from typing import Any

from infra.answers import Answer, Rejected, Request
from infra.codec import EventCodec
from infra.commands import CommandHandler
from infra.following import Row
from infra.outcomes import Carry, Done, Outcome, Refused


def sender(handler: CommandHandler, commands: Iterable[type]) -> Carry:
    """Sends rows that hold commands of these types."""
    codec = EventCodec(commands)

    async def send(row: Row) -> Outcome:
        (command,) = codec.decode(row.kind, row.schema, row.data)
        return outcome(await handler.handle(request(row, command)))

    return send


def command_id_of(row: Row) -> str:
    """The id of the row's command at this attempt."""
    return f"{row.id}-{row.attempts}" if row.attempts else row.id


def request(row: Row, command: Any, input_id: str | None = None) -> Request:
    """The command as the handler gets it for this row."""
    return Request(
        command=command,
        command_id=command_id_of(row),
        actor=row.follower,
        input_id=input_id,
        correlation_id=row.cause.correlation_id,
        causation_id=row.cause.event_id,
        cause=row.cause.kind,
        cause_at=row.cause.at,
        trace=row.cause.trace,
    )


def outcome(answer: Answer) -> Outcome:
    """What an answer means for its row."""
    if isinstance(answer, Rejected):
        return Refused("; ".join(f"{error.code}: {error}" for error in answer.errors))
    return Done()
