"""What follows the log and asks for work: a process, or a door to the outside world.

Pure: facts in, a `Reaction` out. `reactor` reads and writes around it.

1. What is asked for has an id derived from the fact that asked for it: asked again, it is the same.
2. A story whose reaction fails is parked: that fact and all later ones of the story wait.
3. What a story is told of one position (the parts of an event that was split) is told whole or not
   at all, so that it can be told again from there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid5

from domain.decider import message
from domain.process import DeadlinePassed, DropDeadline, Gateway, Process, SetDeadline
from domain.recorded import Recorded
from infra.codec import schema_of, to_stored
from infra.folding import Parked

_IDS: Final = UUID("6f0d5ed2-6b9c-4f0e-9e5f-0c1e5bb6a5d1")


@dataclass(frozen=True)
class Follower:
    """Something with a place in the log and a state per story; no state where `initial` is None."""

    name: str
    events: tuple[type, ...]
    story_of: Callable[[Recorded], str | None]
    initial: Any
    evolve: Callable[[Any, Any], Any]
    react: Callable[[Any, Any], Iterable[Any]]


def process_follower(process: Process[Any]) -> Follower:
    """Follows for a process: asks for commands and deadlines."""
    return Follower(
        f"process/{process.name}",
        process.events,
        lambda recorded: process.story_of(recorded.event),
        process.initial,
        process.evolve,
        process.react,
    )


def gateway_follower(gateway: Gateway) -> Follower:
    """Follows for a gateway: asks for each request to be carried out, per stream in order."""
    return Follower(
        f"gateway/{gateway.name}",
        gateway.requests,
        lambda recorded: recorded.stream,
        None,
        lambda state, _: state,
        lambda _, event: [event],
    )


@message
class Cause:
    """The event that something goes back to; `kind` and `at` say what was reacted to, and when
    that happened: the event, or a deadline that the event had set."""

    event_id: str
    kind: str
    at: datetime
    correlation_id: str
    position: int
    trace: str | None = None


@message
class Fact:
    """What a story is told. `key` is unique: ids are derived from it. The `first` one is that which
    begins the stream after which the story is named: nothing can have been told before."""

    story: str
    event: Any
    key: str
    cause: Cause
    first: bool = False

    @property
    def upto(self) -> int:
        """The position up to which the story is told with it: a deadline comes before an event."""
        return self.cause.position - isinstance(self.event, DeadlinePassed)


@message
class Row:
    """A piece of work in the outbox. Rows of a story are carried out in the order of `batch` (the
    revision of the checkpoint that they came with) and `place`.

    `attempts` counts refusals, `delays` the times that it was put off since the last refusal.
    """

    id: str
    follower: str
    story: str
    batch: int
    place: int
    kind: str
    data: dict[str, Any]
    cause: Cause
    schema: int = 1
    attempts: int = 0
    delays: int = 0
    not_before: datetime | None = None
    parked: bool = False
    error: str = ""


@message
class Deadline:
    """When a story is to be told that time has passed."""

    follower: str
    story: str
    name: str
    at: datetime
    cause: Cause

    @property
    def id(self) -> str:
        return f"{self.follower}/{self.story}/{self.name}"


States: TypeAlias = Mapping[str, Any]


@dataclass
class Reaction:
    """What a batch of facts comes to: the states that have changed, and what is asked for. A
    deadline of None is to be dropped."""

    states: dict[str, tuple[Any, int]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    deadlines: dict[str, Deadline | None] = field(default_factory=dict)
    parked: dict[str, Parked] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How much there is to write, about."""
        return len(self.states) + len(self.rows)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.states or self.rows or self.deadlines or self.parked)


def fact_of(follower: Follower, recorded: Recorded) -> Fact | None:
    """The event as a story is told it, if it belongs to one. What it was split from may have had
    parts that nobody listens to."""
    if not isinstance(recorded.event, follower.events):
        return None
    story = follower.story_of(recorded)
    if story is None:
        return None
    meta = recorded.meta
    cause = Cause(
        event_id=meta.event_id,
        kind=type(recorded.event).__name__,
        at=meta.recorded_at,
        correlation_id=meta.correlation_id,
        position=recorded.position,
        trace=meta.trace,
    )
    first = recorded.version == 1 and recorded.stream == story
    return Fact(story=story, event=recorded.event, key=meta.event_id, cause=cause, first=first)


def passed(deadline: Deadline, position: int) -> Fact:
    """The deadline as its story is told of it, before the event at `position`."""
    before = deadline.cause
    cause = Cause(
        event_id=before.event_id,
        kind=f"deadline {deadline.name}",
        at=deadline.at,
        correlation_id=before.correlation_id,
        position=position,
        trace=before.trace,
    )
    told = DeadlinePassed(name=deadline.name, story=deadline.story, at=deadline.at)
    key = f"{before.event_id}/{deadline.name}"
    return Fact(story=deadline.story, event=told, key=key, cause=cause)


def react(
    follower: Follower,
    states: States,
    facts: Iterable[Fact],
    batch: int,
    onto: Reaction | None = None,
) -> Reaction:
    """Tell the stories what has happened; `states` holds those told before, `onto` what has come of
    the batch so far."""
    reaction = Reaction() if onto is None else onto
    for (_, story), told in groupby(sorted(facts, key=_place), key=_place):
        if story not in reaction.parked:
            _tell(follower, states, list(told), batch, reaction)
    return reaction


def _place(fact: Fact) -> tuple[int, str]:
    return fact.cause.position, fact.story


def _tell(
    follower: Follower, states: States, facts: list[Fact], batch: int, reaction: Reaction
) -> None:
    """Tell one story what happened at one position: all of it, or, where that fails, nothing."""
    story, position = facts[0].story, facts[0].cause.position
    before = reaction.states.get(story, (states.get(story, follower.initial), 0))[0]
    state, asked = before, Reaction()
    for fact in facts:
        try:
            if isinstance(state, Exception):  # what is stored of it cannot be read
                raise state  # noqa: TRY301 it parks the story like any other failure
            state = follower.evolve(state, fact.event)
            actions = list(follower.react(state, fact.event))
            _ask(follower, fact, actions, batch, asked)
        except Exception as error:  # noqa: BLE001 a reaction may fail in any way: park the story
            reaction.parked[story] = Parked(
                projection=follower.name,
                key=story,
                position=position,
                error=f"{type(error).__name__}: {error}",
                deadline=fact.event.name if isinstance(fact.event, DeadlinePassed) else None,
            )
            return
    if state is not before or asked or any(isinstance(f.event, DeadlinePassed) for f in facts):
        reaction.states[story] = (state, facts[0].upto)
    reaction.deadlines |= asked.deadlines
    first = len(reaction.rows)
    reaction.rows += [replace(row, place=first + row.place) for row in asked.rows]


def _ask(
    follower: Follower, fact: Fact, actions: list[Any], batch: int, reaction: Reaction
) -> None:
    """Add what a fact asks for."""
    for index, action in enumerate(actions):
        match action:
            case SetDeadline():
                deadline = Deadline(
                    follower=follower.name,
                    story=fact.story,
                    name=action.name,
                    at=action.at,
                    cause=fact.cause,
                )
                reaction.deadlines[deadline.id] = deadline
            case DropDeadline():
                reaction.deadlines[f"{follower.name}/{fact.story}/{action.name}"] = None
            case _:
                reaction.rows.append(
                    Row(
                        id=str(uuid5(_IDS, f"{follower.name}/{fact.key}/{index}")),
                        follower=follower.name,
                        story=fact.story,
                        batch=batch,
                        place=len(reaction.rows),
                        kind=type(action).__name__,
                        schema=schema_of(type(action)),
                        data=to_stored(action),
                        cause=fact.cause,
                    )
                )
