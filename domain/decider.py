"""What a decider is: two pure functions over values (Jérémie Chassaing's Decider pattern).

1. `decide(command, state)` answers with events; an empty list means "nothing to do".
2. `evolve(state, event)` is total: what has happened is never refused.
3. A broken rule is a `DomainError` with a stable code; several at once are `DomainErrors`.
4. No I/O, no clock, no randomness: times and ids come with the command.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Generic, TypeVar, cast, dataclass_transform

T = TypeVar("T")
C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def message(cls: type[T]) -> type[T]:
    """Make a class an immutable value: command, event, state or part of one."""
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


class DomainError(Exception):
    """A broken rule, with its facts as fields. `path` names the input at fault."""

    text: ClassVar[str] = ""
    path: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """Stable name of the rule: the class name in upper snake case."""
        return code_of(type(self))

    @property
    def facts(self) -> dict[str, Any]:
        """The fields that say what was wrong."""
        return {f.name: getattr(self, f.name) for f in fields(cast(Any, self)) if f.name != "path"}

    @property
    def errors(self) -> tuple["DomainError", ...]:
        """The same shape as `DomainErrors`, so that a caller needs one branch."""
        return (self,)

    def __str__(self) -> str:
        return self.text.format(**self.facts)


class DomainErrors(Exception):
    """Several broken rules of one command."""

    def __init__(self, errors: Iterable[DomainError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(map(str, self.errors)))


@dataclass_transform(kw_only_default=True)
def domain_error(cls: type[T]) -> type[T]:
    """Make a `DomainError` subclass a comparable value with keyword fields."""
    return dataclass(kw_only=True, unsafe_hash=True, repr=True)(cls)


def code_of(error: type[DomainError]) -> str:
    """`InsufficientStock` → `INSUFFICIENT_STOCK`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", error.__name__).upper()


def refuse_if_any(errors: Iterable[DomainError]) -> None:
    """Raise what there is: nothing, the one error, or all of them together."""
    found = tuple(errors)
    if len(found) == 1:
        raise found[0]
    if found:
        raise DomainErrors(found)


@dataclass(frozen=True)
class Decider(Generic[C, S, E]):
    """One kind of aggregate. `stream_of` names the stream that a command is for."""

    category: str
    stream_of: Callable[[C], str]
    initial: S
    decide: Callable[[C, S], list[E]]
    evolve: Callable[[S, E], S]
    commands: tuple[type, ...]
    events: tuple[type, ...]
    errors: tuple[type[DomainError], ...]
    gives: Mapping[type, tuple[type, ...]] = field(default_factory=dict)
    """Which events each command may give: the declared flow."""
    state_version: int = 1
    """A new number where the same events give another state of the same shape (a changed `evolve`,
    or upcaster): snapshots of an older number are not used. A changed shape needs no new number."""
    command_for: Callable[[E], C | None] | None = None
    """The command that an event answers to, where its facts do not tell (see `redeciding`)."""

    def fold(self, events: Iterable[E], state: S | None = None) -> S:
        """The state after `events`, starting from `state` or from nothing."""
        state = self.initial if state is None else state
        for event in events:
            state = self.evolve(state, event)
        return state


class States:
    """The states that a joint decision asked for, by stream name."""

    def __init__(self, states: Mapping[str, Any]) -> None:
        self._states = states

    def of(self, decider: Decider[Any, S, Any], stream: str) -> S:
        """The state of `stream`; the initial one where nothing of this kind has happened."""
        state = self._states.get(stream)
        return state if isinstance(state, type(decider.initial)) else decider.initial


@dataclass(frozen=True)
class Joint(Generic[C]):
    """A command that reads or writes several streams, all or nothing.

    `streams(command, states)` names the streams it needs; it is asked again with what has been
    loaded until it names nothing new. `decide` answers with events per stream. The handler commits
    only if none of these streams has moved meanwhile, so the decision is as of its own position.
    """

    command: type[C]
    streams: Callable[[C, States], Iterable[str]]
    decide: Callable[[C, States], dict[str, list[Any]]]
    errors: tuple[type[DomainError], ...] = ()
    gives: tuple[type, ...] = ()
    """Which events the command may give: the declared flow."""
