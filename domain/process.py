"""What a process manager is: from events, and a state of its own, to commands and deadlines.

1. A process follows stories; `story_of(event)` says to which one an event belongs, if any.
2. `evolve(state, event)` is folded first, then the event's steps are asked: `react(state, event)`.
3. A story that has not begun is not reacted to.
4. A step names the commands it may send and the deadlines it may set: the declared flow.
5. Pure, like a decider. What it asks for is idempotent: the same event asks for the same again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar

from domain.decider import message

S = TypeVar("S")


@message
class SetDeadline:
    """Tell the process at `at`, unless it is dropped before. One per name and story."""

    name: str
    at: datetime


@message
class DropDeadline:
    """What was waited for has come."""

    name: str


@message
class DeadlinePassed:
    """What the process is told when a deadline was not dropped. Not in the log: what follows is."""

    name: str
    story: str
    at: datetime


Action: TypeAlias = Any
"""A command of some aggregate, `SetDeadline` or `DropDeadline`."""


@dataclass(frozen=True)
class Step(Generic[S]):
    """What happens next after `on`. `deadline` narrows a step on `DeadlinePassed` to one name."""

    on: type
    react: Callable[[S, Any], Iterable[Action]]
    sends: tuple[type, ...] = ()
    sets: tuple[str, ...] = ()
    deadline: str | None = None


@dataclass(frozen=True)
class Process(Generic[S]):
    """A flow over several aggregates, as a table of steps."""

    name: str
    story_of: Callable[[Any], str | None]
    initial: S
    evolve: Callable[[S, Any], S]
    steps: tuple[Step[S], ...]
    events: tuple[type, ...]
    """All that it follows: what it reacts to, and what it only remembers."""
    begun: Callable[[S], bool] = lambda _: True

    def react(self, state: S, event: Any) -> list[Action]:
        """What the process asks for after this event, given its state with the event folded in."""
        if not self.begun(state):
            return []
        return [
            action
            for step in self.steps
            if isinstance(event, step.on) and step.deadline in (None, getattr(event, "name", None))
            for action in step.react(state, event)
        ]


@dataclass(frozen=True)
class Gateway:
    """A door to the outside world: a request (an event) is carried out there, and the answer comes
    back as a command, which records it. Behind a closed door nothing is asked."""

    name: str
    answers: Mapping[type, tuple[type, ...]]
    """Each request (an event) with the commands that may come back."""

    @property
    def requests(self) -> tuple[type, ...]:
        """The events that are carried out outside."""
        return tuple(self.answers)
