"""What a command would do: its events, what processes would ask for next, and how documents would
look, several reactions deep. Nothing is written, and the doors to the outside are closed.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from uuid import uuid4

from domain.decider import Decider, DomainError, Joint, message
from domain.process import Gateway, Process, SetDeadline
from domain.recorded import Recorded
from infra.aggregates import Aggregates
from infra.answers import Rejected, Request
from infra.deciding import Decisions, Group
from infra.folding import Folder, Projection
from infra.following import process_follower
from infra.log import Log
from infra.mongo import SyncDatabase
from infra.projector import CHECKPOINTS
from infra.reads import Reads
from infra.stories import facts_of, load_states

DEEP: Final = 5
"""Reactions after reactions that are followed."""

MOST_COMMANDS: Final = 100


@message
class WouldDo:
    """A command, `deep` reactions after the first, with what it would give or be refused for."""

    command: str
    by: str
    deep: int
    events: tuple[Recorded, ...]
    errors: tuple[DomainError, ...]


@message
class WouldChange:
    """A document as it is and as it would be; None where there is none."""

    projection: str
    key: str
    before: Any
    after: Any


@dataclass
class Preview:
    """`asked_outside` are the requests that wait at closed doors; `deadlines` those set."""

    commands: list[WouldDo] = field(default_factory=list)
    asked_outside: list[Recorded] = field(default_factory=list)
    deadlines: list[SetDeadline] = field(default_factory=list)
    changes: list[WouldChange] = field(default_factory=list)

    @property
    def events(self) -> list[Recorded]:
        return [event for command in self.commands for event in command.events]


@dataclass(frozen=True)
class Previewer:
    """What a preview needs to know of the system."""

    log: Log
    reads: Reads
    deciders: Sequence[Decider[Any, Any, Any]]
    joints: Sequence[Joint[Any]]
    processes: Sequence[Process[Any]]
    gateways: Sequence[Gateway]
    projections: Sequence[Projection]

    async def preview(self, request: Request) -> Preview:
        """What the request would do if it were sent now; raises `ReadModelBehind` where documents
        do not show yet what has happened already."""
        head = await self.log.head()
        aggregates = Aggregates(self.log, self.deciders)
        decisions = Decisions(aggregates, self.deciders, self.joints)
        state_at = partial(self._state, head.position)
        run = Run(decisions, Group(head), self.processes, self.gateways, state_at)
        await run.follow(request)
        run.preview.changes = await self._changes(run.preview.events, head.position)
        return run.preview

    async def _state(self, position: int, process: Process[Any], story: str) -> Any:
        """What the process knows of the story at a position: it writes that a moment later."""
        follower = process_follower(process)

        def stored(db: SyncDatabase) -> tuple[Any, int]:
            place = db[CHECKPOINTS].find_one({"_id": follower.name})
            state, told = load_states(db, follower, [story])[story]
            return state, max(told, place["position"] if place else position)

        state, told = await self.log.mongo.run(stored)
        for fact in await facts_of(self.log, follower, story, told, position):
            state = follower.evolve(state, fact.event)
        return state

    async def _changes(self, events: Sequence[Recorded], at_least: int) -> list[WouldChange]:
        at = await self.reads.snapshot(at_least)
        found = []
        for projection in self.projections:
            folder = Folder(projection, "")
            touched = folder.touched(events)
            if not touched:
                continue
            rows = await self.reads.get(projection, list(touched), at)
            for key, own in touched.items():
                before = rows[key].view if key in rows else None
                after = before
                for recorded in own:
                    after = projection.evolve(after, recorded, key)
                found.append(
                    WouldChange(projection=projection.name, key=key, before=before, after=after)
                )
        return found


class Run:
    """A command being followed up: the decisions so far, and the states of the stories they touch,
    which begin as `state_of` says."""

    def __init__(
        self,
        decisions: Decisions,
        group: Group,
        processes: Sequence[Process[Any]],
        gateways: Sequence[Gateway],
        state_of: Callable[[Process[Any], str], Awaitable[Any]],
    ) -> None:
        self._decisions, self._group, self._processes = decisions, group, processes
        self._state_of = state_of
        self._stories: dict[tuple[str, str], Any] = {}
        self._doors = tuple(kind for gateway in gateways for kind in gateway.requests)
        self.preview = Preview()

    async def follow(self, request: Request) -> None:
        """Decide, react, decide what was asked for, and so on."""
        waiting = [(request, request.actor, 0)]
        while waiting and len(self.preview.commands) < MOST_COMMANDS:
            asked, by, deep = waiting.pop(0)
            for recorded in await self._decide(asked, by, deep):
                if isinstance(recorded.event, self._doors):
                    self.preview.asked_outside.append(recorded)
                if deep < DEEP:
                    waiting += [
                        (following, process, deep + 1)
                        for process, following in await self._reactions(recorded)
                    ]

    async def _decide(self, request: Request, by: str, deep: int) -> Iterable[Recorded]:
        before = len(self._group.events)
        await self._decisions.add([request], self._group)
        answer = self._group.answers[-1]
        events = tuple(
            Recorded(
                event=new.event,
                position=self._group.head.position + place,
                stream=new.stream,
                version=new.version,
                meta=new.meta,
            )
            for place, new in enumerate(self._group.events[before:], start=before + 1)
        )
        self.preview.commands.append(
            WouldDo(
                command=type(request.command).__name__,
                by=by,
                deep=deep,
                events=events,
                errors=answer.errors if isinstance(answer, Rejected) else (),
            )
        )
        return events

    async def _reactions(self, recorded: Recorded) -> list[tuple[str, Request]]:
        found = []
        for process in self._processes:
            if not isinstance(recorded.event, process.events):
                continue
            story = process.story_of(recorded.event)
            if story is None:
                continue
            state = process.evolve(await self._state(process, story), recorded.event)
            self._stories[process.name, story] = state
            for action in process.react(state, recorded.event):
                if isinstance(action, SetDeadline):
                    self.preview.deadlines.append(action)
                elif type(action) in self._decisions.commands:
                    found.append((process.name, _asked(action, process.name, recorded)))
        return found

    async def _state(self, process: Process[Any], story: str) -> Any:
        known = self._stories.get((process.name, story))
        return await self._state_of(process, story) if known is None else known


def _asked(command: Any, process: str, cause: Recorded) -> Request:
    return Request(
        command=command,
        command_id=str(uuid4()),
        actor=f"process/{process}",
        correlation_id=cause.meta.correlation_id,
        causation_id=cause.meta.event_id,
        cause=type(cause.event).__name__,
        cause_at=cause.meta.recorded_at,
    )
