"""A group of commands decided in memory, one after the other, on top of one head of the log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
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
    changed: dict[str, Versioned] = field(default_factory=dict)
    events: list[NewEvent] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._state: dict[str, Any] = {}
        self.states = States(self._state)
        """What the group knows, as joint decisions see it."""

    @property
    def position(self) -> int:
        """Of the last event so far."""
        return self.head.position + len(self.events)

    def put(self, stream: str, known: Versioned) -> None:
        self.known[stream] = known
        self._state[stream] = known.state


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
        places = await self._loaded(requests, group, trusting=trusting)
        at = now()
        for request, streams in zip(requests, places, strict=True):
            if group.changed.keys().isdisjoint(streams):
                own = streams[0]
            else:  # what has changed in this group may name more: an order that was placed in it
                own = (await self._loaded([request], group))[0][0]
            group.answers.append(self._answer(request, own, group, at))

    async def _loaded(
        self, requests: Sequence[Request], group: Group, *, trusting: bool = False
    ) -> list[tuple[str, ...]]:
        """The streams of each request, once the group knows them all."""
        while True:
            missing: dict[str, None] = {}
            places = [self._streams(r, group, missing, trusting=trusting) for r in requests]
            if not missing:
                return places
            for stream, loaded in (await self._aggregates.load(list(missing))).items():
                group.put(stream, loaded)

    def _streams(
        self,
        request: Request,
        group: Group,
        missing: dict[str, None],
        *,
        trusting: bool,
    ) -> tuple[str, ...]:
        """The streams of a command so far, its own first. Those that neither the group nor the
        memory knows are `missing`: once they are loaded, it is asked again."""
        while True:
            streams = self._named(request.command, group.states)
            new = [stream for stream in streams if stream not in group.known]
            lacking = False
            for stream in new:
                known = self._aggregates.get(stream)
                if known is not None:
                    group.put(stream, known)
                elif trusting and _begins(stream, streams, request):
                    group.put(stream, self._aggregates.before(stream))
                else:
                    missing[stream] = None
                    lacking = True
            if lacking or not new:
                return streams

    def _named(self, command: Any, states: States) -> tuple[str, ...]:
        joint = self._joint.get(type(command))
        if joint is None:
            return (self._single[type(command)].stream_of(command),)
        return tuple(joint.streams(command, states))

    def _answer(self, request: Request, own: str, group: Group, at: datetime) -> Answer:
        try:
            changes = self._changes(request, own, group)
        except (DomainError, DomainErrors) as refusal:
            return Rejected(
                command_id=request.command_id, errors=refusal.errors, position=group.position
            )
        self._add(request, changes, group, at)
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
            changes = joint.decide(command, group.states)
        else:
            decider = self._single[type(command)]
            changes = {own: decider.decide(command, group.states.of(decider, own))}
        # After the rules: whoever may not know of a stream must not learn its version.
        actual = group.known[own].version
        if request.expected_version is not None and request.expected_version != actual:
            raise VersionConflict(stream=own, expected=request.expected_version, actual=actual)
        return changes

    def _add(
        self, request: Request, changes: dict[str, list[Any]], group: Group, at: datetime
    ) -> None:
        index = 0
        for stream, events in changes.items():
            if not events:
                continue
            before = group.known[stream]
            for version, event in enumerate(events, start=before.version + 1):
                meta = _meta(request, index, at)
                index += 1
                new = NewEvent(event=event, stream=stream, version=version, meta=meta)
                group.events.append(new)
            after = self._aggregates.evolved(stream, before, events)
            group.put(stream, after)
            group.changed[stream] = after


def _begins(stream: str, streams: Sequence[str], request: Request) -> bool:
    """Whether the stream is named after its command: then only a repeat could have begun it."""
    return stream is streams[0] and stream.endswith(f"-{request.command_id}")


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
