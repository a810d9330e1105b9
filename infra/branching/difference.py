"""Where the history of a branch differs from the real one. Pure.

1. A place in history is a position, and a number: 0 for the real event there, above that for the
   events of the branch's own that come after it.
2. Real events keep their positions. An event of the branch's own gets one after all real ones, so
   that no two share one, wherever in history its place is.
3. Versions are counted anew in a stream that something was put into or taken out of.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, TypeAlias

from domain.decider import message
from domain.recorded import Meta, Recorded

Place: TypeAlias = tuple[int, int]


@message
class Own:
    """An event of the branch's own, number `number` of them. It comes after the position `after`,
    up to which its stream has `follows` real events."""

    number: int
    after: int
    follows: int
    stream: str
    event: Any
    meta: Meta

    @property
    def place(self) -> Place:
        return self.after, self.number


class Difference:
    """`real` is what real history has at the positions where the branch has something else, and
    `instead` the events that it has there; none where one was dropped."""

    def __init__(
        self,
        upto: int,
        own: Iterable[Own] = (),
        real: Mapping[int, Sequence[Recorded]] | None = None,
        instead: Mapping[int, Sequence[Any]] | None = None,
    ) -> None:
        self.upto = upto
        self.own = sorted(own, key=lambda one: one.place)
        self.real = real or {}
        self.instead = instead or {}
        self._shifts = self._shifted()

    def _shifted(self) -> dict[str, tuple[list[Place], list[int]]]:
        """By stream: the places after which versions are others, and by how much."""
        steps: dict[str, list[tuple[Place, int]]] = defaultdict(list)
        for one in self.own:
            steps[one.stream].append((one.place, 1))
        for position, instead in self.instead.items():
            if not instead:
                steps[self.real[position][0].stream].append(((position, 0), -1))
        found = {}
        for stream, own in steps.items():
            places, by = zip(*sorted(own), strict=True)
            found[stream] = (list(places), [0, *accumulate(by)])
        return found

    @property
    def is_on_top(self) -> bool:
        """Whether nothing of real history differs: what is the branch's own comes after it."""
        return not self.instead and all(one.after >= self.upto for one in self.own)

    @property
    def renumbered(self) -> dict[str, int]:
        """The streams in which versions are others, each with the position after which."""
        return {stream: places[0][0] for stream, (places, _) in self._shifts.items()}

    @property
    def streams(self) -> dict[str, int]:
        """All streams that differ, each with the first position at or after which it does."""
        found = self.renumbered
        for position, real in self.real.items():
            stream = real[0].stream
            found[stream] = min(found.get(stream, position), position)
        return found

    # -- the history of the branch

    def history(
        self, real: Sequence[Recorded], own: Sequence[Own] | None = None
    ) -> Sequence[Recorded]:
        """What the branch has of these real events, with these of its own in their places."""
        own = self.own if own is None else own
        if not own and not any(self._is_other(recorded) for recorded in real):
            return real
        placed = [((r.position, 0), r) for r in self._instead_of(real)]
        placed += [(one.place, self.recorded(one)) for one in own]
        return [recorded for _, recorded in sorted(placed, key=lambda one: one[0])]

    def between(self, after: int, upto: int) -> list[Own]:
        """The events of its own that come after a position above `after`, up to `upto`."""
        return [one for one in self.own if after < one.after <= upto]

    def of_stream(self, stream: str) -> list[Own]:
        return [one for one in self.own if one.stream == stream]

    def recorded(self, one: Own) -> Recorded:
        """The branch's own event, in its position and version."""
        return Recorded(
            event=one.event,
            position=self.upto + one.number,
            stream=one.stream,
            version=one.follows + 1 + self._shift(one.stream, one.place),
            meta=one.meta,
        )

    def _is_other(self, recorded: Recorded) -> bool:
        return recorded.position in self.instead or recorded.stream in self._shifts

    def _instead_of(self, real: Iterable[Recorded]) -> Iterable[Recorded]:
        told = None
        for recorded in real:
            position = recorded.position
            if position not in self.instead:
                yield self._renumbered(recorded)
            elif position != told:  # one that was stored as one may be read as several
                yield from (self._renumbered(one) for one in self.at(position))
            told = position

    def at(self, position: int) -> list[Recorded]:
        """What stands at a position where the branch differs, in its real version."""
        last = self.real[position][-1]
        known = dict(enumerate(self.real[position]))
        return [
            replace(known.get(part, last), event=event)
            for part, event in enumerate(self.instead[position])
        ]

    def _renumbered(self, recorded: Recorded) -> Recorded:
        by = self._shift(recorded.stream, (recorded.position, 0))
        return replace(recorded, version=recorded.version + by) if by else recorded

    def _shift(self, stream: str, place: Place) -> int:
        if stream not in self._shifts:
            return 0
        places, by = self._shifts[stream]
        return by[bisect_left(places, place)]
