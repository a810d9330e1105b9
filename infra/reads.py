"""Reading documents, all of one request at one position.

1. A snapshot is a checkpoint with the cluster time it was committed at. Whatever is read "at" it is
   exactly what that position made of the log, over all collections, without a transaction. What is
   fed over Kafka was of that position at another time (see `infra.newest`).
2. One change stream per process follows the checkpoint, so that a request knows its snapshot
   without asking: a query costs one call per level of its selection.
3. `at_least` waits, bounded, until the snapshot is there; then it fails with `ReadModelBehind`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from bson.timestamp import Timestamp
from pymongo.errors import PyMongoError

from infra.documents import Row
from infra.feeding.group import GROUP, checkpoints_now, rounds_of
from infra.folding import Projection, collection_of
from infra.hot_documents import HotDocuments
from infra.jobs import Job, active_job
from infra.memory_image import MemoryImage
from infra.mongo import Document, Mongo, Unavailable
from infra.newest import Newest, Snapshot, common_at_rest, snapshot_of
from infra.projector import CHECKPOINTS, MAIN, Checkpoint
from infra.stored import Moment, Stored

LOOK_AGAIN: Final = 0.2
SECONDS_OF_USE: Final = 60.0
"""MongoDB keeps 300 s of history: a snapshot older than this is taken anew before it is used."""


class ReadModelBehind(Exception):
    """The read models did not reach the position in time."""

    def __init__(self, wanted: int, reached: int) -> None:
        self.wanted, self.reached = wanted, reached
        super().__init__(f"position {wanted} was asked for, {reached} is reached")


class BeingBuilt(Exception):
    """The read model has no live generation yet; the text says how far it has come."""

    def __init__(self, projection: str, job: Job | None) -> None:
        how = "" if job is None else f": {job.told}"
        super().__init__(f"The read model {projection} is being built anew{how}. Ask again.")


class FedBehind(BeingBuilt):
    """The read model is fed over Kafka, and does not come along."""

    def __init__(self, projection: str) -> None:
        Exception.__init__(
            self, f"The read model {projection} is fed over Kafka and lags behind. Ask again."
        )


class Reads:
    """Documents of all read models; `follow` must be running. `preference` says which members of
    the replica set they are read from: a secondary answers once it has come to the snapshot."""

    def __init__(
        self,
        mongo: Mongo,
        image: MemoryImage | None = None,
        preference: str = "primary",
        hot: HotDocuments | None = None,
    ) -> None:
        self._mongo = mongo
        self._stored = Stored(mongo, preference)
        self._image, self._hot = image, hot
        self._newest = Newest()
        self._taken = 0.0
        self._moved = asyncio.Event()
        self._listeners: list[Callable[[Snapshot], None]] = []

    def listen(self, listener: Callable[[Snapshot], None]) -> None:
        """Call `listener` with each newer snapshot."""
        self._listeners.append(listener)

    @property
    def _latest(self) -> Snapshot | None:
        return self._newest.chosen

    @property
    def position(self) -> int:
        """Of the newest snapshot known here; 0 before the first."""
        return self._latest.position if self._latest else 0

    def told(self, checkpoint: Checkpoint, at: Timestamp) -> None:
        """Hear of a checkpoint from the projector itself, where it is of the same process: sooner
        than by the change stream. Where an image has to come along first, that is waited for."""
        if self._image is None and self._latest is not None and checkpoint.generations:
            generations = checkpoint.generations
            main = Snapshot(
                position=checkpoint.position,
                at=at,
                generations=generations,
                repairs=checkpoint.repairs,
            )
            self._learn(lambda: self._newest.main_moved(main))

    async def snapshot(self, at_least: int = 0, seconds: float = 2.0) -> Snapshot:
        """The newest snapshot, at or after a position; raises `ReadModelBehind`."""
        self._learn(self._newest.choose)
        latest = self._latest
        # by the wall clock: a monotonic one stands still while a laptop sleeps
        if latest is None or abs(time.time() - self._taken) > SECONDS_OF_USE:
            latest = await self.take()
        if latest.position >= at_least:
            return latest
        try:
            async with asyncio.timeout(seconds):
                while (latest := self._latest or latest).position < at_least:
                    with suppress(TimeoutError):  # where one group stands still, nothing tells
                        async with asyncio.timeout(LOOK_AGAIN):
                            await self._moved.wait()
                    self._learn(self._newest.choose)
        except TimeoutError:
            raise ReadModelBehind(at_least, self.position) from None
        return latest

    async def get(
        self, projection: Projection, keys: Sequence[str], at: Snapshot
    ) -> dict[str, Row[Any]]:
        """The documents with these keys: from memory, or in one call with all who ask meanwhile."""
        if self._image is not None and (generation := at.generations.get(projection.name)):
            known = self._image.get(projection.name, generation, keys, at.position)
            if known is not None:
                return known
        table = self._hot and self._hot.table(projection, at)
        if not table:
            return await self._stored.get(await self._moment(projection, at), keys)
        found, missing = table.rows(keys, at.position)
        if missing:
            seen = partial(table.keep_rows, as_of=at.position)
            found |= await self._stored.get(await self._moment(projection, at), missing, seen)
        return found

    async def find(
        self,
        projection: Projection,
        where: Mapping[str, Any],
        order: Iterable[tuple[str, int]],
        limit: int,
        at: Snapshot,
    ) -> list[Row[Any]]:
        """Documents that match, in order, at most `limit` of them (0: all). Where documents are
        kept in memory, only their keys are looked up: most of them are there."""
        options = {"filter": where, "sort": dict(order), "limit": limit}
        asked = f"find {options!r}"
        if not self._hot or not self._hot.table(projection, at):
            moment = await self._moment(projection, at)
            return await self._stored.once(
                moment, asked, lambda: self._stored.find(moment, **options)
            )
        keys = await self._answer(
            projection, at, asked, lambda moment: self._stored.keys(moment, **options)
        )
        rows = await self.get(projection, keys, at)
        return [rows[key] for key in keys]

    async def find_stored(
        self,
        projection: Projection,
        where: Mapping[str, Any],
        order: Iterable[tuple[str, int]],
        limit: int,
        at: Snapshot,
    ) -> list[Row[Any]]:
        """The same, but never from memory: for whoever checks it."""
        moment = await self._moment(projection, at)
        return await self._stored.find(moment, filter=where, sort=dict(order), limit=limit)

    async def count(
        self, projection: Projection, where: Mapping[str, Any], at: Snapshot, most: int
    ) -> int:
        """How many documents match, counted up to `most`."""
        pipeline: list[Mapping[str, Any]] = [{"$match": where}, {"$limit": most}, {"$count": "n"}]
        rows = await self.aggregate(projection, pipeline, at)
        return rows[0]["n"] if rows else 0

    async def aggregate(
        self, projection: Projection, pipeline: Sequence[Mapping[str, Any]], at: Snapshot
    ) -> list[Document]:
        """What a pipeline makes of the documents, and of nothing else."""
        return await self._answer(
            projection,
            at,
            f"aggregate {pipeline!r}",
            lambda moment: self._stored.aggregate(moment, pipeline),
        )

    async def _answer(
        self,
        projection: Projection,
        at: Snapshot,
        asked: str,
        ask: Callable[[Moment], Awaitable[list[Any]]],
    ) -> list[Any]:
        """From memory, or in one call with all who ask the same meanwhile."""
        table = self._hot and self._hot.table(projection, at)
        if table and (known := table.answer(asked, at.position)) is not None:
            return list(known)
        moment = await self._moment(projection, at)

        async def fetch() -> list[Any]:
            answer = await ask(moment)
            if table:
                table.keep_answer(asked, answer, at.position)
            return answer

        return await self._stored.once(moment, asked, fetch)

    async def _moment(self, projection: Projection, at: Snapshot) -> Moment:
        """Where the documents are; raises `BeingBuilt`."""
        name = projection.name
        if name not in at.generations:
            if name in self._newest.fed:
                raise FedBehind(name)
            raise BeingBuilt(name, await active_job(self._mongo, name))
        return Moment(projection, collection_of(name, at.generations[name]), at.time_of(name))

    # -- following the checkpoints

    async def follow(self) -> None:
        """Keep the snapshot the newest one, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_following())
            if self._hot is not None:
                tasks.create_task(self._hot.run())

    async def _keep_following(self) -> None:
        while True:
            try:
                await self._follow()
            except (PyMongoError, Unavailable):
                await asyncio.sleep(0.2)

    async def _follow(self) -> None:
        only = [{"$match": {"documentKey._id": {"$in": [MAIN, GROUP]}}}]
        async with self._mongo.watch(CHECKPOINTS, only, max_await_time_ms=500) as changes:
            await self._begin_anew()
            async for change in changes:
                update = change.get("updateDescription")
                if self._latest is None or not update:  # it is another checkpoint
                    await self._begin_anew()
                    continue
                changed = (*update.get("updatedFields", {}), *update.get("removedFields", ()))
                if any(name.startswith("generations") for name in changed):
                    await self.take()
                elif heard := self._newest.heard(change):
                    await self._hear(heard)

    async def _begin_anew(self) -> None:
        """What may have happened meanwhile is not known: even that the history is another one."""
        if self._hot is not None:
            self._hot.forget()
        await self.take()

    async def _hear(self, heard: Snapshot) -> None:
        if self._image is not None and (heard.fed or not self._newest.fed):
            await self._image.come_along(heard.position)
        tell = self._newest.round_ended if heard.fed else self._newest.main_moved
        self._learn(lambda: tell(heard))

    async def take(self) -> Snapshot:
        """Read the checkpoints as they are now: what was committed before is in the snapshot."""
        found, at = await self._mongo.run(checkpoints_now)
        main, rounds = snapshot_of(found[MAIN], at), rounds_of(found.get(GROUP))
        common = common_at_rest(rounds, main) if rounds else None
        if self._image is not None:
            await self._image.come_along((common or main).position)
        self._learn(lambda: self._newest.begin(main, rounds.generations if rounds else {}, common))
        assert self._latest is not None, "it has been chosen"
        return self._latest

    def _learn(self, tell: Callable[[], None]) -> None:
        """Let the newest snapshot be chosen, and tell of it where it has another position."""
        before = self._latest
        tell()
        latest = self._latest
        if latest is None or latest is before:
            return
        self._taken = time.time()
        if self._hot is not None:
            self._hot.follow(latest)
        if before is None or latest.position > before.position:
            self._moved.set()
            self._moved.clear()
            for listener in self._listeners:
                listener(latest)
