"""The projector: from events to documents, in batches, each batch once.

1. A batch is read once, the documents it touches are loaded once, folded, and written once; the
   checkpoint moves in the same transaction. A crash repeats a batch that left nothing behind.
2. All read models of the group share one checkpoint, so a snapshot read sees them at one position.
3. The checkpoint names the position and the live generation of each read model. It is moved from
   exactly what was read, so a second projector, or a switch of generations, is noticed.
4. What is live is folded by the release that made it, or by none: a projector stops where another
   release has made a read model live. One that is not live yet is left alone by all.
5. A key whose fold fails, or gives what cannot be stored, is parked: its document stays as it was
   and waits, the rest goes on.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Final, TypeAlias

from bson.timestamp import Timestamp

from domain.decider import message
from domain.recorded import Recorded
from infra import metrics
from infra.batches import fold_and_write, remember
from infra.codec import from_stored, now, to_stored
from infra.folding import (
    PARKED,
    Folder,
    Projection,
    collection_of,
)
from infra.log import Log
from infra.mongo import Session, SyncDatabase

log = logging.getLogger("tidings.projector")

CHECKPOINTS: Final = "checkpoints"
MAIN: Final = "main"
"""The group of all read models: one checkpoint."""

BATCH: Final = 3_000
"""Events at most: the more at once, the fewer writes a document that many of them touch costs."""
CROWD: Final = 64
"""Events in a batch that tell of more commands at once than are waited for one by one."""
REST: Final = 4.0
"""Rest between the batches of a crowd, in times of what the last one took: projecting has a fifth
of the time then, and documents that all of them touch are written less often."""
MOST_REST: Final = 0.25
"""Seconds."""


@message
class Checkpoint:
    """How far a group of read models has come; the live generation of each, and the version of
    the projection that it was made by; how often an operator has mended single documents. A read
    model that is not named has no live generation: it is being built."""

    position: int
    generations: dict[str, int]
    versions: dict[str, int]
    repairs: int = 0


Told: TypeAlias = Callable[[Checkpoint, Timestamp], None]
"""Is called with each new checkpoint, and with when it was committed, in MongoDB's time."""


class Overtaken(Exception):
    """Another projector moved the checkpoint, or a generation was switched."""


class Superseded(Exception):
    """A read model has been rebuilt by another release: folding with this one would spoil it."""


class Projector:
    """Advances all read models of one group; `run` or `run_once`."""

    def __init__(
        self,
        log: Log,
        projections: Sequence[Projection],
        name: str = MAIN,
        told: Told = lambda _checkpoint, _at: None,
    ) -> None:
        self._log = log
        self._told = told
        self._mongo = log.mongo
        self._projections = projections
        self._name = name
        self._checkpoint: Checkpoint | None = None
        self._folders: list[Folder] = []

    async def run_once(self, most: int = BATCH) -> int:
        """Project the next batch; answers with the number of events, 0 when there were none."""
        if self._checkpoint is None:
            await self._begin()
        assert self._checkpoint is not None, "it has begun"
        events = await self._log.read(self._checkpoint.position, limit=most)
        if not events:
            return 0
        try:
            await self._project(self._checkpoint, events)
        except Overtaken:
            self._checkpoint = None
        return len(events)

    def forget(self) -> None:
        """Trust nothing in memory: begin again at the stored checkpoint."""
        self._checkpoint = None

    async def run_to_end(self) -> None:
        """Project until there is nothing left."""
        while await self.run_once():
            pass

    async def _begin(self) -> None:
        found, parked = await self._mongo.run(
            lambda db: (
                db[CHECKPOINTS].find_one({"_id": self._name}),
                list(db[PARKED].find()),
            )
        )
        checkpoint = from_stored(Checkpoint, found)
        own = {projection.name: projection for projection in self._projections}
        for name, live in checkpoint.versions.items():
            if name not in own:
                raise Superseded(f"{name} is live, and unknown to this release")
            if live != own[name].version:
                raise Superseded(f"{name}: {live} is live, not {own[name].version}")
        self._checkpoint = checkpoint
        self._folders = [
            Folder(own[name], collection_of(name, generation))
            for name, generation in checkpoint.generations.items()
        ]
        for folder in self._folders:
            folder.parked = {
                row["key"]: row["position"]
                for row in parked
                if row["projection"] == folder.projection.name
            }

    async def _project(self, before: Checkpoint, events: list[Recorded]) -> None:
        after = replace(before, position=events[-1].position)
        folders, move = self._folders, partial(self._advance, before, after)
        folded, at = await self._mongo.run(
            lambda db: fold_and_write(db, [(f, f.touched(events)) for f in folders], move)
        )
        self._checkpoint = after
        self._told(after, at)
        metrics.PROJECTED.inc(len(events))
        metrics.PROJECTED_POSITION.set(after.position)
        remember(folded)

    def _advance(
        self, before: Checkpoint, after: Checkpoint, db: SyncDatabase, session: Session
    ) -> None:
        moved = db[CHECKPOINTS].update_one(
            {"_id": self._name, **to_stored(before)},
            {"$set": {"position": after.position, "at": now()}},
            session=session,
        )
        if not moved.matched_count:
            raise Overtaken


async def keep_projecting(projector: Projector, wake: asyncio.Event, seconds: float = 1.0) -> None:
    """Project for ever: at once after a wake-up, and every `seconds` to be sure.

    What goes wrong is logged and tried again: a batch that failed has left nothing behind.
    """
    while True:
        wake.clear()
        try:
            await _catch_up(projector)
        except Exception:
            log.exception("projecting failed; trying again")
            projector.forget()
            await asyncio.sleep(seconds)
        try:
            async with asyncio.timeout(seconds):
                await wake.wait()
        except TimeoutError:
            continue


async def _catch_up(projector: Projector) -> None:
    """Project until nothing is left. A batch costs the same calls whatever its size: where many
    come at once the next one is given time to grow, unless it is full anyway."""
    began = monotonic()
    while events := await projector.run_once():
        if CROWD <= events < BATCH:
            await asyncio.sleep(min(MOST_REST, REST * (monotonic() - began)))
        began = monotonic()
