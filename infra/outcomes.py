"""What can come of a piece of work, and when it is tried again."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, TypeAlias

from infra.codec import now
from infra.folding import Parked
from infra.following import Row

REFUSALS: Final = 5
"""After so many refusals a row is parked."""

FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 60.0


@dataclass(frozen=True)
class Done:
    """The answer is durable."""


@dataclass(frozen=True)
class Refused:
    """It was answered with a refusal, or could not be understood."""

    error: str


@dataclass(frozen=True)
class Later:
    """Nobody has answered; it may have happened all the same."""

    error: str


Outcome: TypeAlias = Done | Refused | Later
Carry: TypeAlias = Callable[[Row], Awaitable[Outcome]]


def parked_row(row: Row) -> Parked:
    """How operators see a row that is parked."""
    return Parked(
        projection=f"outbox/{row.follower}",
        key=row.story,
        position=row.cause.position,
        error=f"{row.kind}: {row.error}",
    )


def put_off(row: Row, outcome: Refused | Later) -> Row:
    """The row after a refusal or without an answer: later, each time more so, or parked."""
    if isinstance(outcome, Later):
        row = replace(row, delays=row.delays + 1, error=outcome.error)
        return replace(row, not_before=now() + _delay(row.delays))
    row = replace(row, attempts=row.attempts + 1, delays=0, error=outcome.error)
    parked = row.attempts % REFUSALS == 0
    return replace(row, parked=parked, not_before=now() + _delay(row.attempts % REFUSALS))


def _delay(times: int) -> timedelta:
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(times - 1, 20))
    return timedelta(seconds=longest * (0.5 + random.random() / 2))  # noqa: S311 fairness, not secrecy
