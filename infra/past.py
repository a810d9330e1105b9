"""The past: what queries would have been answered when a position was the newest.

1. The newest position is answered from the live documents.
2. A document asked for by key is folded from its own events, where its key tells their streams.
3. Everything else is answered from a generation of the past (see `past_generations`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from infra import positions
from infra.codec import from_stored
from infra.documents import Documents, Row
from infra.folding import Folder, Projection, as_read, document_of, left_out_in
from infra.live import Live
from infra.log import Log
from infra.mongo import Document, SyncDatabase
from infra.past_building import streams_of, touched_in
from infra.past_generations import PastGenerations, PastNotReady
from infra.positions import PositionUnknown, VersionUnknown
from infra.reads import Reads
from infra.settings import PastLimits
from infra.together import Together

__all__ = ["PastNotReady", "Pasts", "PositionUnknown", "VersionUnknown"]


class Pasts:
    """The past of one process; `run` must be running."""

    def __init__(self, log: Log, reads: Reads, limits: PastLimits) -> None:
        self._log, self._reads = log, reads
        self._generations = PastGenerations(log, limits)
        self._together = Together()

    async def run(self) -> None:
        """Remove generations of the past that are old or too many, until cancelled."""
        await self._generations.keep_sweeping()

    async def at(self, position: int) -> Documents:
        """All documents as of a position of the log.

        Raises `PositionUnknown`, or `infra.reads.ReadModelBehind` where the read models have not
        come to it in time. What is read from them may raise `PastNotReady`.
        """
        if position > self._reads.position:
            head = await self._log.head()
            if position > head.position:
                raise PositionUnknown(position, head.position)
        newest = await self._reads.snapshot(position)
        if newest.position == position:
            return Live(self._reads, newest)
        return _Past(self._log, self._generations, self._together, position)

    async def freshly_at(self, position: int) -> Documents:
        """The same, for what is kept: nothing that was mended before this call is missing."""
        await self._reads.take()
        return await self.at(position)

    async def position_at(self, time: datetime) -> int:
        """The last event recorded at or before `time`; 0 before the first one."""
        return await positions.position_at(self._log, time)

    async def position_of(self, stream: str, version: int) -> int:
        """Where the log has this version of a stream; raises `VersionUnknown`."""
        return await positions.position_of(self._log, stream, version)


@dataclass(frozen=True)
class _Past:
    """The documents as of a position that is not the newest (`infra.documents.Documents`)."""

    log: Log
    generations: PastGenerations
    together: Together
    position: int

    async def get(self, projection: Projection, keys: Sequence[str]) -> dict[str, Row[Any]]:
        """In one call with all who ask for documents of the read model and position meanwhile."""
        place = (projection.name, self.position)
        return await self.together.get(place, keys, partial(self._by_keys, projection))

    async def _by_keys(self, projection: Projection, keys: Sequence[str]) -> dict[str, Row[Any]]:
        if projection.streams is None or self.generations.has(projection, self.position):
            rows = await self.find(projection, {"_id": {"$in": keys}}, (("_id", 1),), 0)
        else:
            fold = partial(self._folded, projection=projection, keys=keys)
            rows = _rows(projection, await self.log.mongo.run(fold))
        return {row.key: row for row in rows}

    def _folded(
        self, db: SyncDatabase, projection: Projection, keys: Sequence[str]
    ) -> list[Document]:
        """From the events of the keys; where one cannot be folded, the document before it."""
        folder = Folder(projection, "")
        folder.leave_out(left_out_in(db, projection))
        names = streams_of(projection, keys)
        streams = self.log.streams_in(db, names, upto=self.position)
        touched = touched_in(streams, folder, keys)
        folder.expect_new(touched)
        changed, _ = folder.fold(touched, tried=True)
        return [
            as_read(document_of(key, view, position))
            for key, (view, position) in changed.items()
            if view is not None
        ]

    async def find(
        self,
        projection: Projection,
        where: Mapping[str, Any],
        order: Iterable[tuple[str, int]],
        limit: int,
    ) -> list[Row[Any]]:
        sort = list(order) or None

        def read(db: SyncDatabase, collection: str) -> list[Document]:
            return list(db[collection].find(where, sort=sort, limit=limit))

        return _rows(projection, await self.generations.read(projection, self.position, read))

    async def count(self, projection: Projection, where: Mapping[str, Any], most: int) -> int:
        rows = await self.aggregate(
            projection, [{"$match": where}, {"$limit": most}, {"$count": "n"}]
        )
        return rows[0]["n"] if rows else 0

    async def aggregate(
        self, projection: Projection, pipeline: Sequence[Mapping[str, Any]]
    ) -> list[Document]:
        def read(db: SyncDatabase, collection: str) -> list[Document]:
            return list(db[collection].aggregate(list(pipeline)))

        return await self.generations.read(projection, self.position, read)


def _rows(projection: Projection, documents: Iterable[Document]) -> list[Row[Any]]:
    return [Row(document, from_stored(projection.view, document)) for document in documents]
