"""An event as the log keeps it: the fact, its place, and where it came from."""

from datetime import datetime
from typing import Any, Final

from domain.decider import message

PARTITION: Final = 0
"""The one log partition there is; it is part of every position that leaves the house."""


def position_text(position: int) -> str:
    """`0:1042` for position 1042."""
    return f"{PARTITION}:{position}"


@message
class Meta:
    """Who and what caused an event. Ids are opaque strings; `causation_id` is that of the event or
    command that caused it. Where a process did, `cause` and `cause_at` say what it reacted to."""

    event_id: str
    command_id: str
    command: str
    correlation_id: str
    causation_id: str
    actor: str
    recorded_at: datetime
    cause: str | None = None
    cause_at: datetime | None = None
    reason: str | None = None
    trace: str | None = None


@message
class Recorded:
    """An event with its position in the log, and its version in its stream (both from 1)."""

    event: Any
    position: int
    stream: str
    version: int
    meta: Meta
