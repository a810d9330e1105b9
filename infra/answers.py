"""Commands as they arrive, their answers, and how an answer is recorded.

An answer is recorded with the command's id and its input, so that a repeat gets the first answer
and another input under the same id is refused.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypeAlias

from domain.decider import DomainError, domain_error, message
from infra.codec import ErrorCodec, fingerprint
from infra.mongo import Document


@domain_error
class CommandIdReused(DomainError):
    text = "The command id {command_id} has been used for another command."
    command_id: str
    path: tuple[str, ...] = ("commandId",)


@domain_error
class VersionConflict(DomainError):
    text = "{stream} is at version {actual}, not {expected}."
    stream: str
    expected: int
    actual: int
    path: tuple[str, ...] = ("expectedVersion",)


ERRORS: Final = (CommandIdReused, VersionConflict)


@message
class Request:
    """A command with what surrounds it.

    `input_id` tells a repeat from another input; without it the command itself does, times
    included.
    """

    command: Any
    command_id: str
    actor: str
    input_id: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    cause: str | None = None
    cause_at: datetime | None = None
    reason: str | None = None
    trace: str | None = None
    expected_version: int | None = None

    def identity(self) -> str:
        """Equal for repeats only: the same input of another actor is another command."""
        kind = type(self.command).__name__
        return f"{self.actor}:{kind}:{self.input_id or fingerprint(self.command)}"


@message
class Accepted:
    """The command's events are durable. `position` is that of the last one, or where the log
    ended when there was nothing to do."""

    command_id: str
    stream: str
    version: int
    position: int
    replayed: bool = False


@message
class Rejected:
    """Rules refused the command; it changed nothing."""

    command_id: str
    errors: tuple[DomainError, ...]
    position: int
    replayed: bool = False


Answer: TypeAlias = Accepted | Rejected


def repeated(answer: Answer, *, same: bool) -> Answer:
    """What a second command under an answered id is told: the first answer, or that it differs."""
    if same:
        return replace(answer, replayed=True)
    reused = CommandIdReused(command_id=answer.command_id)
    return Rejected(command_id=answer.command_id, errors=(reused,), position=answer.position)


class AnswerCodec:
    """Answers as they are recorded beside the events."""

    def __init__(self, errors: Iterable[type[DomainError]]) -> None:
        self._errors = ErrorCodec((*errors, *ERRORS))

    def record(self, identity: str, answer: Answer) -> Document:
        facts: Document
        if isinstance(answer, Accepted):
            facts = {"stream": answer.stream, "version": answer.version}
        else:
            facts = {"errors": [self._errors.encode(error) for error in answer.errors]}
        return {
            "_id": answer.command_id,
            "identity": identity,
            "position": answer.position,
            **facts,
        }

    def recorded(self, record: Document) -> Answer:
        if "errors" in record:
            return Rejected(
                command_id=record["_id"],
                errors=tuple(self._errors.decode(error) for error in record["errors"]),
                position=record["position"],
            )
        return Accepted(
            command_id=record["_id"],
            stream=record["stream"],
            version=record["version"],
            position=record["position"],
        )
