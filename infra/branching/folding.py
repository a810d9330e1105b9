"""Folding a branch: the documents that its changes touch, as they are and as they would be.

1. Only keys that a differing event touches are folded, in both histories; what comes out the same
   is not kept. All else of the branch is as it was, so it is read from there.
2. Keys that name their streams are folded from these alone. The others of all read models share one
   scan of the log, of the types that they listen to.
3. Where nothing of real history differs, as events of the branch's own come after all of it, the
   documents of then are the beginning, and nothing is read again.
4. An event that cannot be folded leaves its document as it was, as in the live read models. Keys
   that wait there wait in both histories, and what operators have skipped is left out of both,
   unless the branch has another event instead.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, Final, TypeAlias

from domain.recorded import Recorded
from infra.branching.difference import Difference
from infra.branching.differing import touched
from infra.documents import Documents
from infra.folding import Changed, LeftOut, Projection, Touched, left_out_in
from infra.log import Log
from infra.mongo import SyncDatabase

KEYS_AT_ONCE: Final = 1_000

Progress: TypeAlias = Callable[[int], None]

Outcome: TypeAlias = dict[str, tuple[Changed, Changed]]
"""By read model: documents in real history, and in the branch."""


class _Fold:
    """Documents of chosen keys in one history."""

    def __init__(self, projection: Projection, left_out: LeftOut) -> None:
        self.changed: Changed = {}
        self._evolve = projection.evolve
        self._left_out = left_out
        self._failed: set[str] = set()

    def begin(self, documents: Changed) -> None:
        """Take these as the documents so far: a key that waits has come to where it does."""
        self.changed.update(documents)
        self._failed.update(self._left_out.parked)

    def add(self, found: Touched) -> None:
        for key, events in found.items():
            if key not in self._failed:
                try:
                    self._fold(key, events)
                except Exception:  # noqa: BLE001 a fold may fail in any way: leave the document
                    self._failed.add(key)

    def _fold(self, key: str, events: Iterable[Recorded]) -> None:
        """An event that was split is folded whole or not at all."""
        skipped = self._left_out.skipped.get(key, ())
        for position, parts in groupby(events, attrgetter("position")):
            if position == self._left_out.parked.get(key):
                self._failed.add(key)
                return
            if position in skipped:
                continue
            view, _ = self.changed.get(key, (None, 0))
            for recorded in parts:
                view = self._evolve(view, recorded, key)
            self.changed[key] = view, position


class _Both:
    """The same keys in both histories."""

    def __init__(
        self, projection: Projection, keys: set[str], left_out: LeftOut, difference: Difference
    ) -> None:
        self.projection, self._keys = projection, keys
        real = _without(left_out, lambda position: position > difference.upto)
        branch = _without(real, lambda position: position in difference.instead)
        self._real, self._branch = _Fold(projection, real), _Fold(projection, branch)

    def add(self, real: Sequence[Recorded], branch: Sequence[Recorded]) -> None:
        found = self._touched(real)
        self._real.add(found)
        self._branch.add(found if branch is real else self._touched(branch))

    def _touched(self, events: Iterable[Recorded]) -> Touched:
        kinds, keys = self.projection.events, self.projection.keys
        found: Touched = defaultdict(list)
        for recorded in events:
            if isinstance(recorded.event, kinds):
                for key in keys(recorded):
                    if key in self._keys:
                        found[key].append(recorded)
        return found

    def begin(self, documents: Changed) -> None:
        """Take these as the documents so far."""
        self._real.begin(documents)
        self._branch.begin(documents)

    @property
    def outcome(self) -> tuple[Changed, Changed]:
        return self._real.changed, self._branch.changed


def _without(left_out: LeftOut, gone: Callable[[int], bool]) -> LeftOut:
    """What is left out of a history in which these positions have no such event."""
    return LeftOut(
        parked={key: at for key, at in left_out.parked.items() if not gone(at)},
        skipped={
            key: {position for position in positions if not gone(position)}
            for key, positions in left_out.skipped.items()
        },
    )


class Folding:
    """One branch being folded."""

    def __init__(
        self,
        log: Log,
        projections: Sequence[Projection],
        difference: Difference,
        progress: Progress = lambda _: None,
    ) -> None:
        self._log, self._difference, self._progress = log, difference, progress
        self._projections = projections
        self._left_out: dict[str, LeftOut] = {}

    async def keys(self) -> dict[str, set[str]]:
        """By read model: the keys that an event touches which differs, in either history."""
        difference = self._difference
        events = [recorded for real in difference.real.values() for recorded in real]
        for position in difference.instead:
            events += difference.at(position)
        events += [difference.recorded(one) for one in difference.own]
        later = difference.renumbered
        for stream, real in (await self._log.streams(later, difference.upto)).items():
            events += [recorded for recorded in real if recorded.position > later[stream]]
        return {p.name: touched(events, p.events, p.keys) for p in self._projections}

    async def run(self, keys: Mapping[str, set[str]], base: Documents | None) -> Outcome:
        """Fold these keys; from `base`, the documents as of the end of real history, if given."""
        await self._log.mongo.run(self._find_left_out)
        chosen = [p for p in self._projections if keys[p.name]]
        if base is not None:
            return {p.name: await self._on_top(p, keys[p.name], base) for p in chosen}
        outcome = {
            p.name: await self._by_streams(p, p.streams, sorted(keys[p.name]))
            for p in chosen
            if p.streams is not None
        }
        rest = [self._both(p, keys[p.name]) for p in chosen if p.streams is None]
        await self._scan(rest)
        return outcome | {both.projection.name: both.outcome for both in rest}

    def _find_left_out(self, db: SyncDatabase) -> None:
        self._left_out = {p.name: left_out_in(db, p) for p in self._projections}

    def _both(self, projection: Projection, keys: set[str]) -> _Both:
        return _Both(projection, keys, self._left_out[projection.name], self._difference)

    async def _on_top(self, projection: Projection, keys: set[str], base: Documents) -> Any:
        both = self._both(projection, keys)
        for some in _parts(sorted(keys)):
            rows = await base.get(projection, some)
            both.begin({key: (row.view, row.position) for key, row in rows.items()})
        both.add((), self._difference.history(()))
        return both.outcome

    async def _by_streams(
        self, projection: Projection, streams_of: Callable[[str], tuple[str, ...]], keys: list[str]
    ) -> tuple[Changed, Changed]:
        real: Changed = {}
        branch: Changed = {}
        for some in _parts(keys):
            both = self._both(projection, set(some))
            streams = {stream for key in some for stream in streams_of(key)}
            await self._fold_streams(both, streams)
            real.update(both.outcome[0])
            branch.update(both.outcome[1])
        return real, branch

    async def _fold_streams(self, both: _Both, streams: set[str]) -> None:
        found = await self._log.streams(streams, self._difference.upto)
        events = sorted((r for own in found.values() for r in own), key=lambda r: r.position)
        own = [one for one in self._difference.own if one.stream in streams]
        both.add(events, self._difference.history(events, own))

    async def _scan(self, rest: Sequence[_Both]) -> None:
        kinds = {kind for both in rest for kind in both.projection.events}
        if not kinds:
            return
        difference, reached = self._difference, -1
        where = {"type": {"$in": self._log.codec.stored_names(kinds)}}
        async for batch in self._log.scan(0, difference.upto, **where):
            last = batch[-1].position
            await self._add(rest, batch, difference.between(reached, last))
            self._progress(len(batch))
            reached = last
        await self._add(rest, (), difference.between(reached, difference.upto))

    async def _add(
        self, rest: Sequence[_Both], real: Sequence[Recorded], own: Sequence[Any]
    ) -> None:
        """In a worker thread, so that the event loop is not held up."""
        branch = self._difference.history(real, own)

        def add(_: object) -> None:
            for both in rest:
                both.add(real, branch)

        await self._log.mongo.run(add)


def _parts(keys: Sequence[str]) -> Iterable[list[str]]:
    rest = iter(keys)
    while some := list(islice(rest, KEYS_AT_ONCE)):
        yield some
