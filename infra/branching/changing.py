"""Changes of a branch: from its record to the one that is to be kept. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, Final

from domain.recorded import Recorded
from infra.branching.record import Branch, Injected, Replaced, Used
from infra.codec import schema_of, to_stored

MOST_CHANGES: Final = 1_000
"""Of one branch: they are all in its record."""


class Refusal(Enum):
    """Why it cannot be done."""

    UNKNOWN_BRANCH = "unknown_branch"
    OUTSIDE_OF_BRANCH = "outside_of_branch"
    EVENT_INVALID = "event_invalid"
    RULE_INVALID = "rule_invalid"
    TOO_MANY = "too_many"
    CANNOT_BE_WORKED_OUT = "cannot_be_worked_out"


class BranchRefused(Exception):
    """The branch cannot be made, changed or read in that way; the text says why."""

    def __init__(self, code: Refusal, message: str) -> None:
        super().__init__(message)
        self.code = code


def place_in(branch: Branch, after: int | None) -> int:
    """The position that something comes after: where the branch begins, unless one is given."""
    place = branch.at if after is None else after
    if not max(branch.at - 1, 0) <= place <= branch.upto:
        raise BranchRefused(
            Refusal.OUTSIDE_OF_BRANCH,
            f"Position {place} is not in the branch, which is from {branch.at} to {branch.upto}.",
        )
    return place


def with_events(
    branch: Branch, events: Sequence[Recorded], after: int, follows: Mapping[str, int]
) -> Branch:
    """With events of its own after a position, up to which their streams have so many real ones."""
    new = tuple(
        Injected(
            number=number,
            after=after,
            follows=follows[one.stream],
            stream=one.stream,
            meta=one.meta,
            **_stored(one.event),
        )
        for number, one in enumerate(events, start=branch.numbers + 1)
    )
    numbers = branch.numbers + len(new)
    return _changed(branch, injected=(*branch.injected, *new), numbers=numbers)


def without_events(branch: Branch, positions: Sequence[int]) -> Branch:
    """With nothing at these positions."""
    _check(branch, positions)
    replaced = tuple(one for one in branch.replaced if one.position not in positions)
    dropped = tuple(sorted({*branch.dropped, *positions}))
    return _changed(branch, dropped=dropped, replaced=replaced)


def with_other_event(branch: Branch, position: int, event: Any) -> Branch:
    """With another event at a position."""
    _check(branch, (position,))
    dropped = tuple(one for one in branch.dropped if one != position)
    others = tuple(one for one in branch.replaced if one.position != position)
    new = Replaced(position=position, **_stored(event))
    return _changed(branch, dropped=dropped, replaced=(*others, new))


def with_variant(branch: Branch, variant: str, rule: Any) -> Branch:
    used = Used(name=variant, rule=to_stored(rule))
    return _changed(branch, variants=(*branch.variants, used))


def _stored(event: Any) -> dict[str, Any]:
    kind = type(event)
    return {"type": kind.__name__, "schema": schema_of(kind), "data": to_stored(event)}


def _check(branch: Branch, positions: Sequence[int]) -> None:
    for position in positions:
        if not max(branch.at, 1) <= position <= branch.upto:
            raise BranchRefused(
                Refusal.OUTSIDE_OF_BRANCH,
                f"Position {position} cannot be changed: the branch is from {branch.at} to "
                f"{branch.upto}.",
            )


def _changed(branch: Branch, **fields: Any) -> Branch:
    """A new revision, to be worked out from the beginning."""
    changed = replace(branch, revision=branch.revision + 1, done=0, work=0, failed=None, **fields)
    if changed.changes > MOST_CHANGES:
        raise BranchRefused(Refusal.TOO_MANY, f"A branch has at most {MOST_CHANGES} changes.")
    return changed
