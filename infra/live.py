"""The live documents at one snapshot, for whoever need not know that there is a past as well."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.documents import Row
from infra.folding import Projection
from infra.mongo import Document
from infra.newest import Snapshot
from infra.reads import Reads


@dataclass(frozen=True)
class Live:
    """The live documents, all at one snapshot (`infra.documents.Documents`)."""

    reads: Reads
    snapshot: Snapshot

    @property
    def position(self) -> int:
        return self.snapshot.position

    async def get(self, projection: Projection, keys: Sequence[str]) -> dict[str, Row[Any]]:
        return await self.reads.get(projection, keys, self.snapshot)

    async def find(
        self,
        projection: Projection,
        where: Mapping[str, Any],
        order: Iterable[tuple[str, int]],
        limit: int,
    ) -> list[Row[Any]]:
        return await self.reads.find(projection, where, order, limit, self.snapshot)

    async def count(self, projection: Projection, where: Mapping[str, Any], most: int) -> int:
        return await self.reads.count(projection, where, self.snapshot, most)

    async def aggregate(
        self, projection: Projection, pipeline: Sequence[Mapping[str, Any]]
    ) -> list[Document]:
        return await self.reads.aggregate(projection, pipeline, self.snapshot)
