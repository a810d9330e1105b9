"""States of aggregates, as the deciders need them: looked up, loaded, folded, remembered.

1. Recently used states stay in memory. They are as of a position that the log confirms or refutes
   at the next append (`Behind`), so a stale one is never decided on.
2. What is not in memory is folded from its newest usable snapshot on (see `snapshots`).
3. When folding was long, or a remembered stream has grown by much, its state is handed to `save`.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from domain.decider import Decider
from domain.recorded import Recorded
from infra.log import Log
from infra.snapshots import FOLDED, GROWN, Versioned, decider_of, load_states

MOST_REMEMBERED: Final = 50_000
"""States kept in memory; the least recently used goes first."""

NOTHING: Final = Versioned(state=None, version=0)
"""Of what names no kind of aggregate."""


class Aggregates:
    """The remembered states, by stream."""

    def __init__(
        self,
        log: Log,
        deciders: Iterable[Decider[Any, Any, Any]],
        save: Callable[[str, Versioned], None] | None = None,
        most: int = MOST_REMEMBERED,
    ) -> None:
        self._log = log
        self._deciders = {decider.category: decider for decider in deciders}
        self._initial = {
            category: Versioned(state=decider.initial, version=0)
            for category, decider in self._deciders.items()
        }
        self._kept: OrderedDict[str, Versioned] = OrderedDict()
        self._save = save
        self._most = most

    def before(self, stream: str) -> Versioned:
        """The state of a stream before its first event."""
        return self._initial.get(stream.partition("-")[0], NOTHING)

    def evolved(self, stream: str, before: Versioned, events: Sequence[Any]) -> Versioned:
        """The state after new events, each of a version of its own."""
        return self._at(before.version + len(events), stream, before, events)

    def _at(self, version: int, stream: str, before: Versioned, events: Iterable[Any]) -> Versioned:
        decider = decider_of(stream, self._deciders)
        assert decider is not None, "something has happened to it"
        state = decider.fold(events, before.state)
        return Versioned(state=state, version=version, snapshot=before.snapshot)

    def get(self, stream: str) -> Versioned | None:
        """The remembered state, if there is one."""
        found = self._kept.get(stream)
        if found is not None:
            self._kept.move_to_end(stream)
        return found

    async def load(self, streams: Sequence[str]) -> dict[str, Versioned]:
        """The states of these streams from the log, in one hop; remembered from now on."""
        found = await self._log.mongo.run(
            lambda db: load_states(db, self._log, self._deciders, streams)
        )
        loaded = {s: self._saved(s, state, FOLDED) for s, state in found.items()}
        self.keep(loaded)
        return loaded

    def keep(self, states: dict[str, Versioned]) -> None:
        """Remember what has been committed."""
        for stream, state in states.items():
            self._kept[stream] = self._saved(stream, state, GROWN)
            self._kept.move_to_end(stream)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def _saved(self, stream: str, state: Versioned, growth: int) -> Versioned:
        """The same; where it has grown so much since its snapshot, a new one is on its way."""
        if self._save is None or state.version - state.snapshot < growth:
            return state
        self._save(stream, state)
        return replace(state, snapshot=state.version)

    def follow(self, events: Iterable[Recorded]) -> None:
        """Bring remembered states up to date with events that others have appended; those of one
        position were stored as one."""
        for _, group in groupby(events, attrgetter("position")):
            together = list(group)
            stream, version = together[0].stream, together[0].version
            known = self._kept.get(stream)
            if known is None or version <= known.version:
                continue
            if version == known.version + 1:
                own = [recorded.event for recorded in together]
                self._kept[stream] = self._at(version, stream, known, own)
            else:
                del self._kept[stream]

    def forget(self) -> None:
        """Remember nothing."""
        self._kept.clear()
