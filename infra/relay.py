"""The relay: from the log to Kafka, every event at least once, in the order of its partition.

1. At most one relay publishes: the one that holds the lease. Another takes over some seconds after
   it has died, or at once when it has ended well.
2. It goes on from its checkpoint, which is moved to where everything has been acknowledged, in the
   same write that renews the lease and names its token. What was under way is sent again, and has
   the same id again.
3. Partitions that get no events are told by markers how far everything in them is.
4. What goes wrong is said once and tried again, for ever. Nothing waits for Kafka but the relay.
5. One that slept while another took over may have sent something old after something new. It sends
   everybody back to where it was, so that what is newest comes last again in the compacted topics.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from pymongo.errors import PyMongoError

from domain.decider import Decider
from infra import metrics
from infra.kafka import KafkaError, KafkaUnavailable, Producer, Topic, open_producer
from infra.leases import Lease, LeaseLost
from infra.log import Log
from infra.mongo import Unavailable
from infra.relaying.composing import Composer, Published
from infra.relaying.health import MAIN, RELAYS
from infra.relaying.lanes import Lanes
from infra.relaying.records import marker_record, source_of
from infra.settings import KafkaSettings

log = logging.getLogger("tidings.relay")

BATCH: Final = 1_000
"""Events that are read at once."""
LOOK_AGAIN: Final = 1.0
"""Seconds after which the log is read without having been told to."""
TICK: Final = 0.25
"""Seconds between moves of the checkpoint."""
RENEWED_AFTER: Final = 1.0
MARKED_AFTER: Final = 0.05
PROBED_AFTER: Final = 2.0
"""Seconds without an acknowledgement after which a broker is asked whether it is there."""
STALLED_AFTER: Final = 15.0
"""Seconds after which what is under way is begun again over new connections."""
STANDBY: Final = 1.0
PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before something is tried again: the last one for ever."""
AWAY: Final = (KafkaError, KafkaUnavailable, Unavailable, PyMongoError)
PASSING: Final = (*AWAY, LeaseLost)
"""Trouble that is over at some time; anything else is told with where it comes from."""


class Relay:
    """Publishes one log. `published` and `deciders` are as the `Composer` wants them."""

    def __init__(
        self,
        events: Log,
        kafka: KafkaSettings,
        topics: Sequence[Topic],
        published: Published,
        deciders: Iterable[Decider[Any, Any, Any]],
    ) -> None:
        self._log = events
        self._kafka = kafka
        self._topics = topics
        self._published = published
        self._deciders = tuple(deciders)
        self._marker = partial(marker_record, source=source_of(events))
        self._lease = Lease(events.mongo, RELAYS, MAIN)
        self._late: int | None = None
        """From where on something may have been sent too late."""
        self._trouble: str | None = None
        self._failures = 0

    async def run(self, wake: asyncio.Event) -> None:
        """Publish for ever; `wake` is set when the log has grown."""
        while True:
            try:
                await self._lead(wake)
            except Exception as error:  # noqa: BLE001 whatever it is, it is tried again
                await self._pause(_first(error))

    async def _lead(self, wake: asyncio.Event) -> None:
        """Publish while we hold the lease; while another process has it, wait a little."""
        if self._late is not None:
            await self._lease.revoke(position={"$min": ["$position", self._late]})
            self._late = None
        row = await self._lease.acquire()
        if row is None:
            await asyncio.sleep(STANDBY)
            return
        lanes = Lanes(row.get("position", 0), self._check)
        try:
            await self._publish(lanes, wake)
        except BaseException as error:
            await self._let_go(lanes, error)
            raise

    async def _publish(self, lanes: Lanes, wake: asyncio.Event) -> None:
        async with (
            open_producer(self._kafka, self._topics) as producer,
            asyncio.TaskGroup() as tasks,
        ):
            partitions = {t.name: await producer.partitions(t.name) for t in self._topics}
            lanes.open(producer, partitions, tasks)
            composer = Composer(self._log, self._published, self._deciders, partitions)
            tasks.create_task(_read(composer, lanes, wake))
            tasks.create_task(_probe(producer, lanes))
            tasks.create_task(self._mark(lanes))
            tasks.create_task(self._keep(lanes))

    async def _mark(self, lanes: Lanes) -> None:
        """Mark partitions soon: whoever waits for a position waits for this."""
        while True:
            await asyncio.sleep(MARKED_AFTER)
            lanes.mark(self._marker)

    async def _keep(self, lanes: Lanes) -> None:
        """Move the checkpoint and renew the lease, each in time."""
        kept, kept_at = -1, 0.0
        while True:
            now = time.monotonic()
            reached = lanes.acknowledged
            if reached != kept or now - kept_at >= RENEWED_AFTER:
                over = {"trouble": None} if lanes.well else {}
                await self._lease.write(position=reached, **over)
                if over and self._trouble is not None:
                    log.info("the relay publishes again, from position %d on", reached + 1)
                if over:
                    self._trouble, self._failures = None, 0
                await self._measure(reached)
                kept, kept_at = reached, now
            await asyncio.sleep(TICK)

    async def _measure(self, position: int) -> None:
        metrics.RELAYED_POSITION.set(position)
        metrics.RELAY_LAG.set((await self._log.head()).position - position)

    async def _pause(self, error: Exception) -> None:
        """Say once what is wrong, and wait a little."""
        told = _told(error)
        if told != self._trouble:
            self._trouble = told
            unknown = None if isinstance(error, PASSING) else error
            log.warning("the relay waits, trying again: %s", told, exc_info=unknown)
        await asyncio.sleep(PAUSES[min(self._failures, len(PAUSES) - 1)])
        self._failures += 1

    def _check(self) -> None:
        if self._lease.lapsed:
            raise LeaseLost("the lease could not be renewed in time")

    async def _let_go(self, lanes: Lanes, error: BaseException) -> None:
        """Leave the lease to others, from where everything was acknowledged; see 5. Where MongoDB
        is away, it lapses by itself."""
        if self._lease.lapsed and lanes.busy:
            self._late = lanes.acknowledged
            return
        with suppress(LeaseLost, *AWAY):
            trouble = _told(_first(error)) if isinstance(error, Exception) else None
            await self._lease.release(position=lanes.acknowledged, trouble=trouble)
            await self._measure(lanes.acknowledged)


async def _read(composer: Composer, lanes: Lanes, wake: asyncio.Event) -> None:
    """Put into lanes what the log has, as it comes."""
    while True:
        wake.clear()
        position, outgoing = await composer.read(lanes.position, BATCH)
        lanes.put(outgoing, position)
        if outgoing:
            await lanes.room()
            continue
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN):
                await wake.wait()


async def _probe(producer: Producer, lanes: Lanes) -> None:
    """Find out that no broker is there, whether or not there is something to be sent."""
    while True:
        await asyncio.sleep(PROBED_AFTER)
        silent = time.monotonic() - lanes.last_arrival
        if silent >= PROBED_AFTER:
            await producer.probe()
        if lanes.busy and silent >= STALLED_AFTER:
            raise KafkaUnavailable("Kafka acknowledges nothing.")


def _first(error: Exception) -> Exception:
    """What went wrong first, where several things did."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
