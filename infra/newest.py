"""The newest moment to read at, where read models belong to two groups: pure, but for the clock.

1. Some read models are fed over Kafka (see `infra.feeding.group`). They come along in rounds; when
   one ends, they and what the main group was at its goal are of one position: a common snapshot.
2. The common snapshot is what is read at, for as long as it moves. When it has stood still for
   `PATIENCE` while the main group went on, the main group is read without them. Those that are fed
   over Kafka are asked in vain then, and nothing else suffers.
3. What is read at never goes back: a common snapshot counts again when it has come that far.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from bson.timestamp import Timestamp

from domain.decider import message
from infra.feeding.group import GROUP, Moment, Rounds
from infra.mongo import Document

PATIENCE: Final = 1.0
"""Seconds: less than a request waits for its position."""


@message
class Snapshot:
    """A moment of all read models: their position, when it was, and what is live; how often
    documents had been mended, where that is known. `fed` names those that had come to the position
    at another time, `fed_at`, over Kafka."""

    position: int
    at: Timestamp
    generations: dict[str, int]
    repairs: int | None = None
    fed: frozenset[str] = frozenset()
    fed_at: Timestamp | None = None

    def time_of(self, projection: str) -> Timestamp:
        """When its documents were of the position."""
        return self.fed_at if self.fed_at and projection in self.fed else self.at


def snapshot_of(found: Document, at: Timestamp) -> Snapshot:
    """The main group, from its checkpoint."""
    return Snapshot(
        position=found["position"],
        at=at,
        generations=found["generations"],
        repairs=found.get("repairs", 0),
    )


def common_at_rest(rounds: Rounds, main: Snapshot) -> Snapshot | None:
    """The common snapshot, from what both groups were at one moment; None where documents that are
    fed over Kafka may be beyond it."""
    if not rounds.generations or not rounds.rests:
        return None
    if rounds.reached.position == main.position:
        reached = Moment(position=main.position, at=main.at, generations=main.generations)
        return _common(reached, main.repairs, rounds.generations, main.at)
    return _common(rounds.reached, None, rounds.generations, main.at)


def _common(
    reached: Moment, repairs: int | None, fed: dict[str, int], fed_at: Timestamp
) -> Snapshot | None:
    """None where it is not known when the main group was at the position."""
    if reached.at is None:
        return None
    return Snapshot(
        position=reached.position,
        at=reached.at,
        generations={**reached.generations, **fed},
        repairs=repairs,
        fed=frozenset(fed),
        fed_at=fed_at,
    )


class Newest:
    """What is known of both groups; `chosen` is what to read at."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.main: Snapshot | None = None
        self.fed: dict[str, int] = {}
        """The generations of what is fed over Kafka."""
        self._mended: Timestamp | None = None
        """Since then the main group has been mended as often as now."""
        self._common: Snapshot | None = None
        self._stands_since: float | None = None
        self.chosen: Snapshot | None = None

    def begin(self, main: Snapshot, fed: dict[str, int], common: Snapshot | None) -> None:
        """What was found at one moment. A common snapshot is of those that were fed then."""
        if self.main is not None and main.at < self.main.at:
            return
        if fed != self.fed:
            self.fed, self._common = fed, None
        if common is not None:
            self._common, self._stands_since = common, None
        self._take(main)
        self.choose(anew=True)

    def heard(self, change: Mapping[str, Any]) -> Snapshot | None:
        """What a change of a checkpoint tells, where it is of a position, or of documents that were
        mended."""
        fields, at = change["updateDescription"]["updatedFields"], change["clusterTime"]
        if change["documentKey"]["_id"] == GROUP:
            reached = fields.get("reached")
            return self._reached(Moment(**reached), at) if reached and self.fed else None
        if self.main is None or not fields.keys() & {"position", "repairs"}:
            return None
        position = fields.get("position", self.main.position)
        repairs = fields.get("repairs", self.main.repairs)
        return Snapshot(
            position=position, at=at, generations=self.main.generations, repairs=repairs
        )

    def _reached(self, reached: Moment, at: Timestamp) -> Snapshot | None:
        """All that the main group has gone through before this was told is known here."""
        known = self.main and self._mended and reached.at and reached.at >= self._mended
        return _common(reached, self.main.repairs if self.main and known else None, self.fed, at)

    def main_moved(self, main: Snapshot) -> None:
        """The main group has gone on."""
        if self.main is None or main.at >= self.main.at:
            self._take(main)
            self.choose()

    def _take(self, main: Snapshot) -> None:
        if self.main is None or main.repairs != self.main.repairs:
            self._mended = main.at
        self.main = main

    def round_ended(self, common: Snapshot) -> None:
        """What is fed over Kafka has come along."""
        if common.fed == self.fed.keys():
            self._common, self._stands_since = common, None
            self.choose()

    def choose(self, *, anew: bool = False) -> None:
        """See 2. and 3. What is chosen anew is not as it was chosen before."""
        if self.main is None:
            return
        wanted = self._common if self._common and not self._stands_still() else self.main
        if self.chosen is not None and wanted.position < self.chosen.position:
            wanted = self.main if anew else self.chosen
        self.chosen = wanted

    def _stands_still(self) -> bool:
        """Whether the common snapshot has not moved for too long."""
        assert self.main is not None, "there is nothing to choose from before"
        assert self._common is not None, "there is nothing to wait for before"
        if self._common.position >= self.main.position:
            self._stands_since = None
            return False
        if self._stands_since is None:
            self._stands_since = self._clock()
        return self._clock() - self._stands_since >= PATIENCE
