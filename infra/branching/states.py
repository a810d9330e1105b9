"""States of aggregates in a branch, for commands that are decided there."""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.decider import Decider
from infra.branching.difference import Difference
from infra.log import Log
from infra.snapshots import Versioned, decider_of


class BranchStates:
    """The states after a position: real events up to there, and the branch's own among them."""

    def __init__(
        self,
        log: Log,
        deciders: Mapping[str, Decider[Any, Any, Any]],
        difference: Difference,
        after: int,
    ) -> None:
        self.log, self.difference, self.after = log, difference, after
        self._deciders = deciders
        self.follows: dict[str, int] = {}
        """How many real events each loaded stream has up to the position."""
        self._known: dict[str, Versioned] = {}

    def is_new(self, stream: str) -> bool:
        """Whether it has been looked at, and nothing had happened to it."""
        found = self._known.get(stream)
        return found is not None and found.version == 0

    def get(self, stream: str) -> Versioned | None:
        return self._known.get(stream)

    def before(self, stream: str) -> Versioned:
        decider = decider_of(stream, self._deciders)
        return Versioned(state=decider.initial if decider else None, version=0)

    def evolved(self, stream: str, before: Versioned, events: Sequence[Any]) -> Versioned:
        decider = decider_of(stream, self._deciders)
        assert decider is not None, "something has happened to it"
        state = decider.fold(events, before.state)
        return Versioned(state=state, version=before.version + len(events))

    async def load(self, streams: Sequence[str]) -> dict[str, Versioned]:
        found = {}
        for stream, real in (await self.log.streams(streams, self.after)).items():
            own = [one for one in self.difference.of_stream(stream) if one.after <= self.after]
            history = self.difference.history(real, own)
            self.follows[stream] = real[-1].version if real else 0
            start = self.before(stream)
            if history:
                state = self.evolved(stream, start, [recorded.event for recorded in history]).state
                start = Versioned(state=state, version=history[-1].version)
            found[stream] = start
        self._known |= found
        return found
