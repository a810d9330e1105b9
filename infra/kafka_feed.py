"""A projector fed over Kafka: its process has a share of the partitions, others have the rest.

1. Each read model has a consumer group of its own. Whoever is given partitions goes on where their
   documents are, by the places kept with them; the group's own offsets are not used.
2. When partitions are given anew, what is in memory is forgotten: others may have gone on since.
3. A process that has lost a partition without knowing finds its place moved, and begins again.
4. No more is fetched of a partition while enough of it waits: a slow projector holds nobody up.
5. What goes wrong is logged and tried again: a batch that failed has left nothing behind.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any, Final
from uuid import uuid4

from pymongo.errors import PyMongoError

from infra import metrics
from infra.batches import fold_and_write, remember
from infra.codec import EventCodec
from infra.feeding.arrivals import Partition, Portion, arrival
from infra.feeding.group import (
    NotOwned,
    Owner,
    advance,
    check_owned,
    move,
    places,
    prepare_group,
    read_rounds,
    take_over,
)
from infra.folding import PARKED, Folder, Projection, Touched, collection_of
from infra.kafka import (
    EVENTS,
    KafkaError,
    KafkaUnavailable,
    open_consumer,
    partitions_of,
    seek,
    subscribe,
)
from infra.mongo import Mongo, Session, SyncDatabase, Unavailable
from infra.projector import Overtaken
from infra.settings import KafkaSettings

log = logging.getLogger("tidings.feed")

BATCH: Final = 3_000
"""Events at most, of all partitions together."""
ENOUGH: Final = 3_000
"""Records of a partition that wait."""
FETCH_BYTES: Final = 1_000_000
FETCH_WAIT: Final = 50
"""Milliseconds that one fetch may hold up the next one, for other partitions."""
HEARTBEAT: Final = 500
"""Milliseconds after which a process knows at the latest that partitions are given anew."""
SESSION: Final = 6_000
"""Milliseconds after which one that does not answer has lost its partitions."""
SOON: Final = 0.01
"""Seconds until it is looked whether the round has ended, while events of the next one wait."""
LATER: Final = 0.2
TRY_AGAIN: Final = 1.0
AWAY: Final = (KafkaError, KafkaUnavailable, Unavailable, PyMongoError)
"""Trouble that passes."""


class Feed:
    """What this process has of one read model's partitions; `run`, or `run_once`."""

    def __init__(
        self,
        mongo: Mongo,
        codec: EventCodec,
        projection: Projection,
        kafka: KafkaSettings,
        consumer: Any,
    ) -> None:
        self._mongo, self._codec, self._projection = mongo, codec, projection
        self._topic, self._consumer = kafka.topic(EVENTS), consumer
        self._partitions: dict[int, Partition] = {}
        self._folder = Folder(projection, "")
        self._owner = Owner(projection=projection.name, generation=0, by=uuid4().hex)
        self._given_anew = True
        self._moved = False
        subscribe(consumer, self._topic, self.begin_again)

    def begin_again(self) -> None:
        """Trust nothing in memory: partitions have been given anew."""
        self._given_anew = True

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.run_once()

    async def run_once(self) -> None:
        """Fetch what there is, waiting a little where there is nothing, and fold what may be."""
        try:
            if self._given_anew:
                self._given_anew = False
                await self._begin()
            else:
                await self._go_on()
        except Overtaken:
            self.begin_again()
        except KafkaError:  # the driver does not like to be asked for partitions that it has lost
            if not self._given_anew:
                raise

    # -- beginning

    async def _begin(self) -> None:
        """Go on where the documents of the partitions are that this process has."""
        if not await self._is_in_group():
            self.begin_again()
            await asyncio.sleep(LATER)
            return
        mine = partitions_of(self._consumer, self._topic)
        await self._mongo.run(lambda db: self._load(db, mine))
        for number, each in self._partitions.items():
            seek(self._consumer, self._topic, number, each.place.offset)

    async def _is_in_group(self) -> bool:
        name = self._projection.name
        rounds = await self._mongo.run(read_rounds)
        if rounds and rounds.versions.get(name) == self._projection.version:
            return True
        all_of_them = self._consumer.partitions_for_topic(self._topic)
        if not all_of_them:
            return False
        taken = await self._mongo.transaction(
            lambda db, session: take_over(db, session, self._projection, all_of_them)
        )
        if taken:
            log.info("%s is fed over Kafka from now on", name)
        return taken

    def _load(self, db: SyncDatabase, mine: Sequence[int]) -> None:
        name, rounds = self._projection.name, read_rounds(db)
        if rounds is None or name not in rounds.generations:
            raise Overtaken
        known = places(db, name)
        if unknown := set(mine) - known.keys():
            raise NotOwned(
                f"{name}: the topic has more partitions than before ({unknown}), and keys are in "
                "others now. Build it anew."
            )
        self._owner = replace(self._owner, generation=rounds.generations[name])
        self._partitions = {number: Partition(number, known[number]) for number in mine}
        from_where = min((known[number].position for number in mine), default=inf)
        collection = collection_of(name, self._owner.generation)
        self._folder = Folder(self._projection, collection, from_where)
        waiting = db[PARKED].find({"projection": name})
        self._folder.parked = {row["key"]: row["position"] for row in waiting}

    # -- going on

    async def _go_on(self) -> None:
        fetched = await self._fetch()
        if not self._given_anew:  # else some of this may be of partitions that others have now
            self._moved = await self._mongo.run(lambda db: self._step(db, fetched))

    async def _fetch(self) -> dict[int, list[Any]]:
        """Records by partition, of those of which not enough is waiting."""
        mine = self._partitions
        wanted = {number for number, each in mine.items() if each.waiting < ENOUGH}
        beyond = any(each.waiting for each in mine.values())
        seconds = 0.0 if self._moved else SOON if beyond else LATER
        if not wanted:
            await asyncio.sleep(seconds)
            return {}
        chosen = [tp for tp in self._consumer.assignment() if tp.partition in wanted]
        fetched = await self._consumer.getmany(
            *chosen, timeout_ms=int(seconds * 1_000), max_records=BATCH
        )
        return {tp.partition: records for tp, records in fetched.items()}

    def _step(self, db: SyncDatabase, fetched: dict[int, list[Any]]) -> bool:
        """Take in what was fetched, fold what is within the round, and write; whether anything has
        moved. All in one worker thread."""
        for number, records in fetched.items():
            self._partitions[number].take_in(arrival(record, self._codec) for record in records)
        rounds = read_rounds(db)
        live = rounds.generations.get(self._projection.name) if rounds else None
        if rounds is None or live != self._owner.generation:
            raise Overtaken
        goal, mine = rounds.goal.position, self._partitions.values()
        most = BATCH // max(len(mine), 1)
        portions = [(each, each.portion(goal, most)) for each in mine]
        moving = [(each, portion) for each, portion in portions if portion.after != each.place]
        if moving:
            self._write(db, moving)
        if all(each.place.position >= goal for each in mine):
            advance(db)
        return bool(moving)

    def _write(self, db: SyncDatabase, moving: Sequence[tuple[Partition, Portion]]) -> None:
        events = [recorded for _, portion in moving for recorded in portion.events]
        touched = self._folder.touched(events)
        self._check(touched)
        folded, _ = fold_and_write(db, [(self._folder, touched)], partial(self._move, moving))
        remember(folded)
        for each, portion in moving:
            each.done(portion)
        metrics.PROJECTED.inc(len(events))

    def _check(self, touched: Touched) -> None:
        """Whether each key is touched by events of its own stream only; raises `NotOwned`."""
        streams = self._projection.streams
        assert streams is not None, "it has been checked"
        for key, events in touched.items():
            if any((recorded.stream,) != streams(key) for recorded in events):
                raise NotOwned(f"{self._projection.name}/{key} is touched by other streams, too.")

    def _move(
        self, moving: Sequence[tuple[Partition, Portion]], db: SyncDatabase, session: Session
    ) -> None:
        for each, portion in moving:
            move(db, session, self._owner, each.number, (each.place, portion.after))


async def feed_over_kafka(
    mongo: Mongo, codec: EventCodec, projections: Sequence[Projection], kafka: KafkaSettings
) -> None:
    """Feed these read models over Kafka, side by side with other processes that do, until
    cancelled. `codec` reads events from JSON. Raises `NotOwned`."""
    check_owned(projections)
    await prepare_group(mongo)
    async with asyncio.TaskGroup() as tasks:
        for projection in projections:
            tasks.create_task(_keep_feeding(mongo, codec, projection, kafka))


async def _keep_feeding(
    mongo: Mongo, codec: EventCodec, projection: Projection, kafka: KafkaSettings
) -> None:
    group = kafka.topic(f"tidings.projector.{projection.name}")
    told: str | None = None
    while True:
        try:
            async with open_consumer(
                kafka,
                group=group,
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_wait_ms=FETCH_WAIT,
                heartbeat_interval_ms=HEARTBEAT,
                session_timeout_ms=SESSION,
            ) as consumer:
                feed = Feed(mongo, codec, projection, kafka, consumer)
                while True:
                    await feed.run_once()
                    told = None
        except Exception as error:
            if str(error) != told:
                told = str(error)
                trace = None if isinstance(error, AWAY) else error
                log.warning("%s waits: %s Trying again.", projection.name, told, exc_info=trace)
            await asyncio.sleep(TRY_AGAIN)
