"""A group of commands decided in memory, one after the other, on top of one head of the log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, Protocol

from domain.decider import Decider, DomainError, DomainErrors, Joint, States
from domain.recorded import Meta
from infra.answers import Accepted, Answer, Rejected, Request, VersionConflict
from infra.codec import now
from infra.log import Head, NewEvent
from infra.snapshots import Versioned


class Aggregates(Protocol):
    """Where states come from: the log (`infra.aggregates`), or a branch of it."""

    def get(self, stream: str) -> Versioned | None: ...
    def before(self, stream: str) -> Versioned: ...
    def evolved(self, stream: str, before: Versioned, events: Sequence[Any]) -> Versioned: ...
    async def load(self, streams: Sequence[str]) -> dict[str, Versioned]: ...


@dataclass
class Group:
    """What a group of commands comes to: answers in their order, events in log order, and the
    states that have `changed` with them."""

    head: Head
    known: dict[str, Versioned] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Versioned] = field(default_factory=dict)
    events: list[NewEvent] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def position(self) -> int:
        """Of the last event so far."""
        return self.head.position + len(self.events)

    def put(self, known: dict[str, Versioned]) -> None:
        self.known.update(known)
        self.states.update((stream, found.state) for stream, found in known.items())

    def next(self) -> "Group":
        """An empty group on top of this one, as if it were committed."""
        following = Group(Head(position=self.position, hash=b""))
        following.put(self.changed)
        return following


class Decisions:
    """The deciders and joint decisions, by the commands they decide."""

    def __init__(
        self,
        aggregates: Aggregates,
        deciders: Sequence[Decider[Any, Any, Any]],
        joints: Iterable[Joint[Any]],
    ) -> None:
        self._aggregates = aggregates
        self._single = {command: d for d in deciders for command in d.commands}
        self._joint = {joint.command: joint for joint in joints}

    @property
    def commands(self) -> frozenset[type]:
        """All that can be decided."""
        return frozenset((*self._single, *self._joint))

    async def decide(
        self, requests: Sequence[Request], head: Head, *, trusting: bool = False
    ) -> Group:
        """Answer all requests; what they need is loaded in as few calls as can be.

        With `trusting`, a stream that is named after the very command is taken as new without a
        look: only a repeat could have begun it, and the append finds repeats.
        """
        group = Group(head)
        await self.add(requests, group, trusting=trusting)
        return group

    async def add(
        self, requests: Sequence[Request], group: Group, *, trusting: bool = False
    ) -> None:
        """Answer more requests, on the result of those before."""
        if trusting:
            group.put(self._new(requests, group))
        await self._load(requests, group)
        for request in requests:
            streams = self._streams(request, group)
            if any(stream not in group.known for stream in streams):
                await self._load([request], group)  # an order placed in this group names more
            group.answers.append(self._answer(request, streams[0], group))

    def _new(self, requests: Sequence[Request], group: Group) -> dict[str, Versioned]:
        """The streams that are named after their commands, as they are before they begin."""
        own = ((self._streams(request, group)[0], request.command_id) for request in requests)
        return {
            stream: self._aggregates.get(stream) or self._aggregates.before(stream)
            for stream, command_id in own
            if stream not in group.known and stream.endswith(f"-{command_id}")
        }

    async def _load(self, requests: Sequence[Request], group: Group) -> None:
        while missing := self._missing(requests, group):
            group.put(await self._aggregates.load(list(missing)))

    def _missing(self, requests: Sequence[Request], group: Group) -> dict[str, None]:
        """The streams that neither the group nor the memory knows; what the memory knows is put."""
        missing: dict[str, None] = {}
        for request in requests:
            while new := [s for s in self._streams(request, group) if s not in group.known]:
                found = {s: known for s in new if (known := self._aggregates.get(s))}
                group.put(found)
                if len(found) < len(new):
                    missing.update((s, None) for s in new if s not in found)
                    break  # once they are loaded, it is asked again
        return missing

    def _streams(self, request: Request, group: Group) -> tuple[str, ...]:
        """The streams of a command so far; the first one is its own."""
        command = request.command
        joint = self._joint.get(type(command))
        if joint is None:
            return (self._single[type(command)].stream_of(command),)
        return tuple(joint.streams(command, States(group.states)))

    def _answer(self, request: Request, own: str, group: Group) -> Answer:
        try:
            changes = self._changes(request, own, group)
        except (DomainError, DomainErrors) as refusal:
            return Rejected(
                command_id=request.command_id, errors=refusal.errors, position=group.position
            )
        self._add(request, changes, group)
        return Accepted(
            command_id=request.command_id,
            stream=own,
            version=group.known[own].version,
            position=group.position,
        )

    def _changes(self, request: Request, own: str, group: Group) -> dict[str, list[Any]]:
        command = request.command
        joint = self._joint.get(type(command))
        if joint is not None:
            changes = joint.decide(command, States(group.states))
        else:
            decider = self._single[type(command)]
            changes = {own: decider.decide(command, States(group.states).of(decider, own))}
        # After the rules: whoever may not know of a stream must not learn its version.
        actual = group.known[own].version
        if request.expected_version is not None and request.expected_version != actual:
            raise VersionConflict(stream=own, expected=request.expected_version, actual=actual)
        return changes

    def _add(self, request: Request, changes: dict[str, list[Any]], group: Group) -> None:
        at, index = now(), count()
        for stream, events in changes.items():
            if not events:
                continue
            before = group.known[stream]
            group.events += [
                NewEvent(
                    event=event,
                    stream=stream,
                    version=version,
                    meta=_meta(request, next(index), at),
                )
                for version, event in enumerate(events, start=before.version + 1)
            ]
            evolved = {stream: self._aggregates.evolved(stream, before, events)}
            group.put(evolved)
            group.changed.update(evolved)


def _meta(request: Request, index: int, at: datetime) -> Meta:
    """Where the command's event number `index` (from 0) came from."""
    return Meta(
        event_id=f"{request.command_id}:{index}",
        command_id=request.command_id,
        command=type(request.command).__name__,
        correlation_id=request.correlation_id or request.command_id,
        causation_id=request.causation_id or request.command_id,
        actor=request.actor,
        recorded_at=at,
        cause=request.cause,
        cause_at=request.cause_at,
        reason=request.reason,
        trace=request.trace,
    )
