"""Whether a decider would still have allowed what has happened, had other things happened before.

1. An event answers to a command: the one that alone gives it (`gives`), with the event's own facts,
   or what the decider's `command_for` says. An event of which neither tells is taken as it is.
2. What is refused counts as not having happened for what comes after it: the pieces that an order
   could not get are there for the next one.
"""

from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any

from domain.decider import Decider, DomainError, DomainErrors, message
from domain.recorded import Recorded


@message
class Refusal:
    """An event that makes no sense any more, and why."""

    recorded: Recorded
    errors: tuple[DomainError, ...]


def command_for(decider: Decider[Any, Any, Any], event: Any) -> Any:
    """The command that this event answers to; None where that cannot be told."""
    told = decider.command_for(event) if decider.command_for else None
    if told is not None:
        return told
    givers = [command for command, events in decider.gives.items() if type(event) in events]
    return _with_facts_of(event, givers[0]) if len(givers) == 1 else None


def _with_facts_of(event: Any, command: Any) -> Any:
    """The command with fields of the same names; None where the event lacks one."""
    facts = {f.name: getattr(event, f.name) for f in fields(command) if hasattr(event, f.name)}
    needed = {f.name for f in fields(command) if f.default is MISSING}
    return command(**facts) if needed <= facts.keys() else None


def refusals(
    decider: Decider[Any, Any, Any], history: Iterable[tuple[Recorded, bool]]
) -> list[Refusal]:
    """The events of a stream that the decider would have refused, of those that it is asked about
    (the second value says so)."""
    found, state = [], decider.initial
    for recorded, asked in history:
        errors = _errors(decider, state, recorded.event) if asked else ()
        if errors:
            found.append(Refusal(recorded=recorded, errors=errors))
        else:
            state = decider.evolve(state, recorded.event)
    return found


def _errors(decider: Decider[Any, Any, Any], state: Any, event: Any) -> tuple[DomainError, ...]:
    command = command_for(decider, event)
    if command is None:
        return ()
    try:
        decider.decide(command, state)
    except (DomainError, DomainErrors) as refusal:
        return refusal.errors
    return ()
