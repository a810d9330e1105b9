"""Lanes: what is on its way to Kafka, one lane for each partition.

1. A lane sends one batch at a time and the next only when that is acknowledged: a partition never
   holds an event without those before it, whatever is lost, sent again or left undone.
2. All below `acknowledged` has arrived.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from infra import metrics
from infra.kafka import EVENTS, Producer, Record

MOST_UNDER_WAY: Final = 10_000
"""Records; then nothing more is read until some have arrived."""


class Outgoing(NamedTuple):
    """A record, where it goes, and the position of the event it tells of."""

    topic: str
    partition: int
    position: int
    record: Record


class Lane:
    """What waits for one partition, or is under way to it, in order."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.last = 0
        """The position up to which everything for this partition has been put into the lane."""
        self.waiting: deque[tuple[int, Record]] = deque()


class Lanes:
    """All lanes, from a position on. `check` is called around each batch, and raises where none
    may be sent."""

    def __init__(self, position: int, check: Callable[[], None]) -> None:
        self.position = position
        """Up to which everything has been put into lanes."""
        self.last_arrival = time.monotonic()
        self._check = check
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._under_way = 0
        self._begun = False
        self._arrivals = 0
        self._arrived = asyncio.Event()

    def open(
        self, producer: Producer, partitions: Mapping[str, int], tasks: asyncio.TaskGroup
    ) -> None:
        """Begin to send, in these tasks, to the partitions of each topic."""
        self._producer, self._tasks = producer, tasks
        self._lanes = {
            (topic, partition): Lane(topic, partition)
            for topic, count in partitions.items()
            for partition in range(count)
        }

    @property
    def acknowledged(self) -> int:
        """The position up to which everything has arrived."""
        pending = [lane.waiting[0][0] for lane in self._lanes.values() if lane.waiting]
        return min(pending) - 1 if pending else self.position

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return self._under_way > 0

    @property
    def well(self) -> bool:
        """Whether the log could be read, and what was read arrives."""
        return self._begun and (self._arrivals > 0 or not self.busy)

    def put(self, outgoing: Iterable[Outgoing], position: int) -> None:
        """Send these, which are all there are up to `position`."""
        for each in outgoing:
            lane = self._lanes[each.topic, each.partition]
            lane.last = each.position
            self._append(lane, each.position, each.record)
        self.position = position
        self._begun = True

    def mark(self, marker: Callable[[int, int], Record]) -> None:
        """Tell the partitions of events that have not heard of it how far everything is in them."""
        for lane in self._lanes.values():
            if lane.topic == EVENTS and lane.last < self.position:
                lane.last = self.position
                self._append(lane, self.position + 1, marker(lane.partition, self.position))

    async def room(self) -> None:
        """Wait until more may be put."""
        while self._under_way >= MOST_UNDER_WAY:
            self._arrived.clear()
            await self._arrived.wait()

    def _append(self, lane: Lane, position: int, record: Record) -> None:
        lane.waiting.append((position, record))
        self._under_way += 1
        if len(lane.waiting) == 1:
            self._tasks.create_task(self._send(lane))

    async def _send(self, lane: Lane) -> None:
        """Send until the lane is empty."""
        while lane.waiting:
            self._check()
            records = (record for _, record in lane.waiting)
            count = await self._producer.publish(lane.topic, lane.partition, records)
            self._check()  # what arrived too late has not arrived: it is sent again
            for _ in range(count):
                lane.waiting.popleft()
            self._under_way -= count
            self._arrivals += count
            self.last_arrival = time.monotonic()
            self._arrived.set()
            metrics.PUBLISHED.labels(lane.topic).inc(count)
