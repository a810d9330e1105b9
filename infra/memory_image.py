"""A memory image: all documents of some read models in memory, folded from the log at start.

1. It is moved to the position of each snapshot just before that becomes the newest one
   (`infra.reads`): who asks for keys at the newest snapshot is answered from memory, and that is
   exactly what the documents are at that position.
2. Whoever asks for another position, or asks while the image is being filled, is behind or has
   failed, is answered from the documents as if there were no image.
3. It answers for a generation of documents only once it was compared with them
   (`infra.image_checking`), and never for a key that differed or that could not be folded.
4. Reading, decoding and folding are done in a worker thread, a step at a time; what has changed is
   taken over in one go, between two turns of the event loop.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from pymongo.errors import PyMongoError

from infra import metrics
from infra.codec import Unreadable
from infra.documents import Row
from infra.folding import Changed, Folder, Parked, Projection, document_of
from infra.log import EVENTS, Log
from infra.mongo import SyncDatabase, Unavailable

log = logging.getLogger("tidings.image")

STEP: Final = 2_000
"""Positions of the log that are folded at once: some hundredth of a second of the event loop is
lost to other threads meanwhile, and a step that came too late is soon done again."""

PATIENCE: Final = 0.2
"""Seconds that a snapshot waits for the image. Later it becomes the newest without it, and is read
from the documents."""

CANNOT: Final = (PyMongoError, Unavailable, Unreadable)
"""What may keep the image from coming along: it stays where it is, and is tried again."""


@dataclass
class Held:
    """The documents of one read model: views with the position of their last event.

    `generation` is the one they were compared with, 0 before. `failed` are keys with the position
    they could not be folded at, `different` those that were not as the documents.
    """

    projection: Projection
    rows: Changed = field(default_factory=dict)
    generation: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    different: frozenset[str] = frozenset()

    def answers_for(self, keys: Iterable[str]) -> bool:
        """Whether all these keys are known for sure."""
        return not any(key in self.failed or key in self.different for key in keys)

    def found(self, keys: Iterable[str]) -> dict[str, Row[Any]]:
        """The rows under these keys."""
        rows = ((key, *self.rows.get(key, (None, 0))) for key in keys)
        return {
            key: Row(document_of(key, view, position), view)
            for key, view, position in rows
            if view is not None
        }


Step: TypeAlias = list[tuple[Held, Changed, list[Parked]]]
"""What one step makes of each read model."""


class MemoryImage:
    """The image of one process."""

    def __init__(self, events: Log, projections: Sequence[Projection]) -> None:
        self.position = 0
        self.following = False
        """Whether snapshots wait for it: once it has been filled."""
        self.held = {projection.name: Held(projection) for projection in projections}
        self._log = events
        self._moving = asyncio.Lock()
        kinds = {kind for projection in projections for kind in projection.events}
        self._listened = {"$in": events.codec.stored_names(kinds)}

    def get(
        self, projection: str, generation: int, keys: Sequence[str], position: int
    ) -> dict[str, Row[Any]] | None:
        """What there is under these keys at a position; None: ask the documents."""
        held = self.held.get(projection)
        if held is None:
            return None
        here = (position, generation) == (self.position, held.generation)
        if not here or not held.answers_for(keys):
            metrics.IMAGE_READS.labels(projection, "documents").inc()
            return None
        metrics.IMAGE_READS.labels(projection, "memory").inc()
        return held.found(keys)

    async def come_along(self, position: int) -> None:
        """Be where the snapshot is that is about to become the newest, if that is quick."""
        if not self.following:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self.advance(position)
        except (TimeoutError, *CANNOT) as error:
            log.info("the memory image is behind position %s: %r", position, error)

    async def advance(self, position: int) -> None:
        """Fold the log up to a position; what cannot be read is raised."""
        async with self._moving:
            while self.position < position:
                upto = min(position, self.position + STEP)
                step = await self._log.mongo.run(partial(self._step, self.position, upto))
                for held, changed, failed in step:
                    held.rows.update(changed)
                    held.failed.update((parked.key, parked.position) for parked in failed)
                self.position = upto

    def _step(self, after: int, upto: int, db: SyncDatabase) -> Step:
        place = {"_id": {"$gt": after, "$lte": upto}, "type": self._listened}
        events = self._log.all_decoded(db[EVENTS].find(place, sort=[("_id", 1)]))
        done: Step = []
        for held in self.held.values():
            folder = Folder(held.projection, "")
            folder.parked = held.failed
            touched = folder.touched(events)
            folder.hold({key: held.rows.get(key, (None, 0)) for key in touched})
            done.append((held, *folder.fold(touched)))
        return done
