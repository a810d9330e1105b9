"""Given what has happened, when a command comes, then what happens: decisions as sentences.

    given(ORDER, PLACED).when(CANCEL).then(CANCELLED)
    given(ORDER).when(CANCEL).then_refused(OrderUnknown)
    given_streams(RESERVE_ORDER, {"order-1": [PLACED]}).when(RESERVE).then(("stock_item-A", KEPT))

A refusal is told by its class, or by an instance when its facts matter.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any, Generic, TypeAlias, TypeVar

from domain.decider import Decider, DomainError, DomainErrors, Joint, States
from domain.registry import AGGREGATES

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")

Refusal: TypeAlias = DomainError | type[DomainError]

Past: TypeAlias = Mapping[str, Iterable[Any]]
"""What has happened, by stream."""

DECIDERS = {decider.category: decider for decider in AGGREGATES}


@dataclass(frozen=True)
class Outcome(Generic[E]):
    decide: Callable[[], list[E]]

    def then(self, *events: E) -> None:
        assert self.decide() == list(events)

    def then_nothing(self) -> None:
        self.then()

    def then_refused(self, *refusals: Refusal) -> None:
        """All broken rules, in the order in which they are told."""
        try:
            happened = self.decide()
        except (DomainError, DomainErrors) as refusal:
            pairs = zip_longest(refusal.errors, refusals)
            told = [type(e) if isinstance(wanted, type) else e for e, wanted in pairs]
            assert told == list(refusals)
        else:
            raise AssertionError(f"not refused, but {happened}")


@dataclass(frozen=True)
class Given(Generic[C, E]):
    decide: Callable[[C], list[E]]

    def when(self, command: C) -> Outcome[E]:
        return Outcome(partial(self.decide, command))


def given(decider: Decider[C, S, E], *events: E) -> Given[C, E]:
    state = decider.fold(events)
    return Given(lambda command: decider.decide(command, state))


def given_streams(joint: Joint[C], past: Past) -> Given[C, tuple[str, Any]]:
    """The same for a joint decision, whose outcome is (stream, event) pairs."""

    def state(stream: str) -> Any:
        return DECIDERS[stream.partition("-")[0]].fold(past.get(stream, ()))

    return Given(partial(decided, joint, state))


def decided(joint: Joint[C], state: Callable[[str], Any], command: C) -> list[tuple[str, Any]]:
    """What a joint decision comes to when it sees the streams it asks for, and no others."""
    known: dict[str, Any] = {}
    while new := set(joint.streams(command, States(known))) - known.keys():
        known |= {stream: state(stream) for stream in new}
    changes = joint.decide(command, States(known))
    assert changes.keys() <= known.keys(), "it may change only what it asked for"
    return [(stream, event) for stream, events in changes.items() for event in events]
