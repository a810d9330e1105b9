"""States of aggregates, as the deciders need them: looked up, loaded, folded, remembered.

Recently used states stay in memory. They are as of a position that the log confirms or refutes at
the next append (`Behind`), so a stale one is never decided on.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from domain.decider import Decider, message
from domain.recorded import Recorded
from infra.log import Log

MOST_REMEMBERED: Final = 50_000
"""States kept in memory; the least recently used goes first."""


@message
class Versioned:
    """The state of a stream after its event number `version` (0: nothing has happened)."""

    state: Any
    version: int


class Aggregates:
    """The remembered states, by stream."""

    def __init__(
        self, log: Log, deciders: Iterable[Decider[Any, Any, Any]], most: int = MOST_REMEMBERED
    ) -> None:
        self._log = log
        self._deciders = {decider.category: decider for decider in deciders}
        self._kept: OrderedDict[str, Versioned] = OrderedDict()
        self._most = most

    def decider(self, stream: str) -> Decider[Any, Any, Any]:
        """The decider for a stream, by the category its name begins with."""
        return self._deciders[stream.partition("-")[0]]

    def evolved(self, stream: str, before: Versioned, events: Sequence[Any]) -> Versioned:
        """The state after more events."""
        state = self.decider(stream).fold(events, before.state)
        return Versioned(state=state, version=before.version + len(events))

    def before(self, stream: str) -> Versioned:
        """The state of a stream before its first event."""
        return self._folded(stream, ())

    def get(self, stream: str) -> Versioned | None:
        """The remembered state, if there is one."""
        found = self._kept.get(stream)
        if found is not None:
            self._kept.move_to_end(stream)
        return found

    async def load(self, streams: Sequence[str]) -> dict[str, Versioned]:
        """The states of these streams from the log, in one call; remembered from now on."""
        loaded = {
            stream: self._folded(stream, [recorded.event for recorded in events])
            for stream, events in (await self._log.streams(streams)).items()
        }
        self.keep(loaded)
        return loaded

    def _folded(self, stream: str, events: Sequence[Any]) -> Versioned:
        """The state from nothing. What names no kind of aggregate (an id that a client made up)
        has no state and no events."""
        decider = self._deciders.get(stream.partition("-")[0])
        if decider is None:
            return Versioned(state=None, version=0)
        return Versioned(state=decider.fold(events), version=len(events))

    def keep(self, states: dict[str, Versioned]) -> None:
        """Remember what has been committed."""
        for stream, state in states.items():
            self._kept[stream] = state
            self._kept.move_to_end(stream)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def follow(self, events: Iterable[Recorded]) -> None:
        """Bring remembered states up to date with events that others have appended."""
        for recorded in events:
            known = self._kept.get(recorded.stream)
            if known is None or recorded.version <= known.version:
                continue
            if recorded.version == known.version + 1:
                self._kept[recorded.stream] = self.evolved(recorded.stream, known, [recorded.event])
            else:
                del self._kept[recorded.stream]

    def forget(self) -> None:
        """Remember nothing."""
        self._kept.clear()
