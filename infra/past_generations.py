"""The generations of the past of one process: found, or built, and read.

1. Whoever asks for the same one waits for the same build. It goes on when nobody waits any more.
2. A wait is bounded; then `PastNotReady` says how far it has come, and it can be asked for again.
3. A read is known to have seen all documents: see the rules of `past_records`.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from pymongo.errors import OperationFailure, PyMongoError

from infra import past_records
from infra.batches import UNSTORABLE
from infra.folding import Projection
from infra.log import Log
from infra.mongo import Document, SyncDatabase, Unavailable
from infra.past_building import Build
from infra.past_records import GivenUp, Past
from infra.past_sources import SourceGone
from infra.settings import PastLimits

log = logging.getLogger("tidings.past")

BUILDS: Final = 2
"""Under way at once: they share the processor with those who ask for the present."""

ATTEMPTS: Final = 3
SWEEP_SECONDS: Final = 30.0

Key: TypeAlias = tuple[str, int, int]
Read: TypeAlias = Callable[[SyncDatabase, str], list[Document]]
"""What is read from a collection."""


class PastNotReady(Exception):
    """It is being put together: ask again. `share` of the work is done, from 0 to 1."""

    def __init__(self, position: int, share: float) -> None:
        self.position, self.share = position, share
        super().__init__(f"What was then is being put together, {share:.0%} is done. Ask again.")


class PastGenerations:
    """Those that this process knows; `keep_sweeping` must be running."""

    def __init__(self, events: Log, limits: PastLimits) -> None:
        self._log, self._limits = events, limits
        self._known: dict[Key, Past] = {}
        self._used: set[str] = set()
        self._tasks: dict[Key, asyncio.Task[Past]] = {}
        self._builds: dict[Key, Build] = {}
        self._turns = asyncio.Semaphore(BUILDS)

    def has(self, projection: Projection, position: int) -> bool:
        """Whether it need not be built."""
        return _key(projection, position) in self._known

    async def read(self, projection: Projection, position: int, read: Read) -> list[Document]:
        """What is found in the documents as of a position; raises `PastNotReady`."""
        for _ in range(ATTEMPTS):
            past = await self._ready(projection, position)
            self._used.add(past.collection)
            found = await self._log.mongo.run(partial(_read_whole, past=past, read=read))
            if found is not None:
                return found
            self._known.pop(_key(projection, position), None)
        raise PastNotReady(position, 0.0)

    async def _ready(self, projection: Projection, position: int) -> Past:
        key = _key(projection, position)
        if past := self._known.get(key):
            return past
        if key not in self._tasks:
            task = asyncio.create_task(self._obtained(projection, position))
            task.add_done_callback(partial(self._ended, key))
            self._tasks[key] = task
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                return await asyncio.shield(self._tasks[key])
        except TimeoutError:
            build = self._builds.get(key)
            raise PastNotReady(position, build.done if build else 0.0) from None

    def _ended(self, key: Key, task: asyncio.Task[Past]) -> None:
        del self._tasks[key]
        self._builds.pop(key, None)
        if not task.cancelled() and (error := task.exception()):
            log.warning("the past of %s at %d could not be built: %s", key[0], key[2], error)

    async def _obtained(self, projection: Projection, position: int) -> Past:
        """Found in the database, or built."""
        run = self._log.mongo.run
        there = await run(
            partial(past_records.ready_ones, projection=projection, position=position)
        )
        if there:
            past = there[0]
        else:
            async with self._turns:
                past = await self._built(projection, position)
            await self.sweep()
        self._known[_key(projection, position)] = past
        return past

    async def _built(self, projection: Projection, position: int) -> Past:
        tried = False
        for _ in range(ATTEMPTS):
            build = Build(self._log, projection, position, tried=tried)
            self._builds[_key(projection, position)] = build
            try:
                return await build.run()
            except UNSTORABLE:
                tried = True
            except (SourceGone, GivenUp):
                continue
        raise PastNotReady(position, 0.0)

    async def sweep(self) -> None:
        """Remove what is too old or too much."""
        used, self._used = self._used, set()

        def work(db: SyncDatabase) -> set[str]:
            past_records.touch(db, used)
            return past_records.sweep(db, self._limits)

        left = await self._log.mongo.run(work)
        self._known = {key: past for key, past in self._known.items() if past.collection in left}

    async def keep_sweeping(self) -> None:
        """Sweep for ever; what is being built ends with it."""
        try:
            while True:
                await asyncio.sleep(min(SWEEP_SECONDS, self._limits.seconds / 4))
                try:
                    await self.sweep()
                except (PyMongoError, Unavailable) as error:
                    log.warning("the past could not be swept: %s", error)
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _key(projection: Projection, position: int) -> Key:
    return (projection.name, projection.version, position)


def _read_whole(db: SyncDatabase, past: Past, read: Read) -> list[Document] | None:
    """What is found there; None where the generation has been removed."""
    try:
        found = read(db, past.collection)
    except OperationFailure:
        if past_records.is_there(db, past):
            raise
        return None
    return found if past_records.is_there(db, past) else None
