"""Reading a branch: its own documents over those that its real history has made.

1. A key that differs is read from the branch, every other one from the base.
2. A pipeline runs on the base, which may be read as of a moment before the branch was worked out:
   so the branch's own documents are handed over within the pipeline.
3. Where that would be too many, the branch has all documents of the read model.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.branching import storing
from infra.branching.record import Computed, Counts
from infra.codec import from_stored
from infra.documents import Documents, Row
from infra.folding import Projection
from infra.mongo import Document, Mongo


@dataclass(frozen=True)
class BranchDocuments:
    """The documents of a branch (`infra.documents.Documents`)."""

    mongo: Mongo
    computed: Computed
    base: Documents

    @property
    def position(self) -> int:
        """Up to which its history is real."""
        return self.base.position

    def _is_whole(self, projection: Projection) -> bool:
        return self.computed.documents.get(projection.name, Counts()).whole

    async def get(self, projection: Projection, keys: Sequence[str]) -> dict[str, Row[Any]]:
        among = {"_id": {"$in": list(keys)}}
        own = {row.key: row for row in await self._own(projection, among)}
        if self._is_whole(projection):
            return own
        differing = {*own, *await self._differing(projection, among)}
        rest = [key for key in keys if key not in differing]
        return {**await self.base.get(projection, rest), **own} if rest else own

    async def find(
        self,
        projection: Projection,
        where: Mapping[str, Any],
        order: Iterable[tuple[str, int]],
        limit: int,
    ) -> list[Row[Any]]:
        order = list(order)
        if self._is_whole(projection):
            return await self._own(projection, where, order, limit)
        others = _both(where, await self._others(projection))
        own, real = await asyncio.gather(
            self._own(projection, where, order, limit),
            self.base.find(projection, others, order, limit),
        )
        return in_order([*own, *real], order)[: limit or None]

    async def count(self, projection: Projection, where: Mapping[str, Any], most: int) -> int:
        own = len(await self._documents(projection, where, limit=most))
        if own >= most or self._is_whole(projection):
            return own
        others = _both(where, await self._others(projection))
        return min(own + await self.base.count(projection, others, most), most)

    async def aggregate(
        self, projection: Projection, pipeline: Sequence[Mapping[str, Any]]
    ) -> list[Document]:
        if self._is_whole(projection):
            return await self._aggregate(projection, pipeline)
        first, rest = (
            (pipeline[0]["$match"], pipeline[1:])
            if pipeline and "$match" in pipeline[0]
            else ({}, pipeline)
        )
        own = await self._documents(projection, first)
        others = _both(first, await self._others(projection))
        own_too = {"$unionWith": {"pipeline": [{"$documents": {"$literal": own}}]}}
        return await self.base.aggregate(projection, [{"$match": others}, own_too, *rest])

    # -- what is the branch's own

    async def _others(self, projection: Projection) -> Document:
        """The documents that do not differ."""
        return {"_id": {"$nin": await self._differing(projection, {})}}

    async def _differing(self, projection: Projection, where: Mapping[str, Any]) -> list[str]:
        collection = storing.was(self.computed.token, projection.name)
        rows = await self.mongo.run(lambda db: list(db[collection].find(where, {"_id": 1})))
        return [row["_id"] for row in rows]

    async def _own(
        self,
        projection: Projection,
        where: Mapping[str, Any],
        order: Sequence[tuple[str, int]] = (),
        limit: int = 0,
    ) -> list[Row[Any]]:
        documents = await self._documents(projection, where, order, limit)
        return [Row(document, from_stored(projection.view, document)) for document in documents]

    async def _documents(
        self,
        projection: Projection,
        where: Mapping[str, Any],
        order: Sequence[tuple[str, int]] = (),
        limit: int = 0,
    ) -> list[Document]:
        collection, sort = storing.own(self.computed.token, projection.name), list(order) or None
        return await self.mongo.run(
            lambda db: list(db[collection].find(where, sort=sort, limit=limit))
        )

    async def _aggregate(
        self, projection: Projection, pipeline: Sequence[Mapping[str, Any]]
    ) -> list[Document]:
        collection = storing.own(self.computed.token, projection.name)
        return await self.mongo.run(lambda db: list(db[collection].aggregate(list(pipeline))))


def _both(where: Mapping[str, Any], others: Document) -> Document:
    return {"$and": [where, others]} if where else others


def in_order(rows: Sequence[Row[Any]], order: Sequence[tuple[str, int]]) -> list[Row[Any]]:
    """The rows as MongoDB would sort them: values of one type, what is missing before them."""
    found = list(rows)
    for name, direction in reversed(order):
        found.sort(key=lambda row: _place(row.document, name), reverse=direction < 0)
    return found


def _place(document: Document, name: str) -> tuple[bool, Any]:
    value: Any = document
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return (value is not None, value if value is not None else 0)
