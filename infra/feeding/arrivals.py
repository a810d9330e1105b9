"""What arrives on one partition, and how much of it may be folded: pure.

1. A partition tells its events in the order of their positions. What it tells again, since the
   relay sends at least once, is passed over by its position.
2. Once a later event, or a marker, has arrived, all before it has: the partition has come to a goal
   when it holds something beyond it, or ends there.
3. A place is a position with the offset to go on from, and is kept with the documents.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

import msgspec

from domain.decider import message
from domain.recorded import Recorded
from infra.cloud_events import MARKER
from infra.codec import EventCodec

POSITION: Final = "ce_position"
TYPE: Final = "ce_type"


@message
class Place:
    """How far the documents of one partition's keys have come: `position` of the log, and `offset`
    of the first record that is not in them."""

    offset: int
    position: int


@message
class Arrival:
    """A record: an event as what it is read as today, or a marker, which has none."""

    offset: int
    position: int
    events: tuple[Recorded, ...] = ()


@message
class Portion:
    """Arrivals to be folded together: how many they are, their events, and the place after them."""

    count: int
    events: list[Recorded]
    after: Place


def arrival(record: Any, codec: EventCodec) -> Arrival:
    """What a record of the driver tells; raises `infra.codec.Unreadable`."""
    headers: Mapping[str, bytes] = dict(record.headers)
    position = int(headers[POSITION])
    if headers[TYPE] == MARKER.encode():
        return Arrival(offset=record.offset, position=position)
    stored = msgspec.json.decode(record.value)
    events = codec.recorded({**stored, "_id": position})
    return Arrival(offset=record.offset, position=position, events=events)


class Partition:
    """What has arrived and is not folded yet."""

    def __init__(self, number: int, place: Place) -> None:
        self.number = number
        self.place = place
        self._waiting: deque[Arrival] = deque()
        self._expected = place.offset

    @property
    def waiting(self) -> int:
        """How many records."""
        return len(self._waiting)

    def take_in(self, arrivals: Iterable[Arrival]) -> None:
        """Records as they were fetched; those that were fetched before are passed over."""
        for each in arrivals:
            if each.offset >= self._expected:
                self._waiting.append(each)
                self._expected = each.offset + 1

    def portion(self, goal: int, most: int) -> Portion:
        """The next records up to the goal, at most so many; they stay until they are `done`."""
        count, offset, position = 0, self.place.offset, self.place.position
        events: list[Recorded] = []
        for each in islice(self._waiting, most):
            if each.position > goal:
                position = max(position, goal)
                break
            count, offset = count + 1, each.offset + 1
            if each.position > position:
                position = each.position
                events += each.events
        return Portion(count=count, events=events, after=Place(offset=offset, position=position))

    def done(self, portion: Portion) -> None:
        """Forget what has been folded and written."""
        for _ in range(portion.count):
            self._waiting.popleft()
        self.place = portion.after
