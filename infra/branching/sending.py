"""Hypothetical commands: decided for real, on the states that a branch has.

What processes ask for in answer to the events is decided as well, several reactions deep. The doors
to the outside are closed: what is asked there waits for ever. Deadlines do not pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domain.decider import Decider, Joint
from domain.process import Gateway, Process
from infra.answers import Request
from infra.branching.states import BranchStates
from infra.deciding import Decisions, Group
from infra.log import Head
from infra.preview import Preview, Run


@dataclass(frozen=True)
class Domain:
    """What decides and what reacts."""

    deciders: Sequence[Decider[Any, Any, Any]]
    joints: Sequence[Joint[Any]]
    processes: Sequence[Process[Any]]
    gateways: Sequence[Gateway]

    @property
    def by_category(self) -> dict[str, Decider[Any, Any, Any]]:
        return {decider.category: decider for decider in self.deciders}


async def follow_up(
    domain: Domain, states: BranchStates, request: Request, numbers: int
) -> Preview:
    """What comes of the command in these states. The branch has had `numbers` events of its own."""
    stories = _Stories(states)
    group = Group(Head(position=states.difference.upto + numbers, hash=b""))
    decisions = Decisions(states, domain.deciders, domain.joints)
    run = Run(decisions, group, domain.processes, domain.gateways, stories.state)
    await run.follow(request)
    return run.preview


@dataclass(frozen=True)
class _Stories:
    """What processes remember of their stories, after a position of the branch."""

    states: BranchStates

    async def state(self, process: Process[Any], story: str) -> Any:
        if self.states.is_new(story):  # it is named after a stream that has just begun
            return process.initial
        log, difference, after = self.states.log, self.states.difference, self.states.after
        names = log.codec.stored_names(process.events)
        state, reached = process.initial, -1
        async for batch in log.scan(0, after, type={"$in": names}):
            last = batch[-1].position
            own = difference.between(reached, last)
            state = _told(process, story, state, difference.history(batch, own))
            reached = last
        own = difference.between(reached, after)
        return _told(process, story, state, difference.history((), own))


def _told(process: Process[Any], story: str, state: Any, events: Sequence[Any]) -> Any:
    for recorded in events:
        event = recorded.event
        if isinstance(event, process.events) and process.story_of(event) == story:
            state = process.evolve(state, event)
    return state
