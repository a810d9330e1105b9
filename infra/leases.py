"""Leases: at most one process does a piece of work, and one that was overtaken writes no more.

1. Lease and progress are one document. Each new holder gets a higher token, and whatever a holder
   writes names its token: of one that was overtaken, it changes nothing and raises `LeaseLost`.
2. A lease lasts `seconds` by MongoDB's clock, so processes whose clocks differ agree on its end.
3. A holder knows by its own clock when its lease may have lapsed, and then stops what it does
   elsewhere. One that slept through that end may have done a little more: see `revoke`.
"""

import time
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from pymongo import ReturnDocument

from infra.mongo import Document, Mongo, SyncDatabase

SECONDS: Final = 6.0
_FREE: Final = {"token": 0, "holder": "", "until": datetime.fromtimestamp(0, UTC)}


class LeaseLost(Exception):
    """Another process has the lease, or may have it."""


class Lease:
    """The claim of one process to the work `name`."""

    def __init__(self, mongo: Mongo, collection: str, name: str, seconds: float = SECONDS) -> None:
        self._mongo = mongo
        self._collection = collection
        self._name = name
        self._seconds = seconds
        self._holder = uuid4().hex
        self._token = 0
        self._good_until = 0.0

    @property
    def lapsed(self) -> bool:
        """Whether it may have ended, by our clock."""
        return time.monotonic() >= self._good_until

    async def acquire(self) -> Document | None:
        """Take the lease: the document with what the last holder wrote, or None while another
        process has it."""
        asked = time.monotonic()
        free = {"$or": [{"$expr": {"$lte": ["$until", "$$NOW"]}}, {"holder": self._holder}]}
        taken = {"token": {"$add": ["$token", 1]}, "holder": self._holder, "until": self._until}

        def take(db: SyncDatabase) -> Document | None:
            rows = db[self._collection]
            rows.update_one({"_id": self._name}, {"$setOnInsert": _FREE}, upsert=True)
            return rows.find_one_and_update(
                {"_id": self._name, **free},
                [{"$set": taken}],
                return_document=ReturnDocument.AFTER,
            )

        found = await self._mongo.run(take)
        if found is not None:
            self._token, self._good_until = found["token"], asked + self._seconds
        return found

    async def write(self, **fields: Any) -> None:
        """Write progress, which renews the lease; raises `LeaseLost`."""
        asked = time.monotonic()
        await self._set(fields, self._until)
        self._good_until = asked + self._seconds

    async def release(self, **fields: Any) -> None:
        """Write progress, and let another process begin at once; raises `LeaseLost`."""
        await self._set(fields, "$$NOW")
        self._good_until = 0.0

    async def revoke(self, **fields: Any) -> None:
        """Take the lease from whoever has it and write these expressions, so that the next holder
        begins from there: for what was done beyond the end of the own lease."""
        ended = {"token": {"$add": ["$token", 1]}, "until": "$$NOW"}
        await self._mongo.run(
            lambda db: db[self._collection].update_one(
                {"_id": self._name}, [{"$set": {**fields, **ended}}]
            )
        )

    async def _set(self, fields: Document, until: Any) -> None:
        values = {name: {"$literal": value} for name, value in fields.items()}
        matched = await self._mongo.run(
            lambda db: (
                db[self._collection]
                .update_one(
                    {"_id": self._name, "token": self._token},
                    [{"$set": {**values, "until": until}}],
                )
                .matched_count
            )
        )
        if not matched:
            raise LeaseLost(f"another process has taken over {self._name}")

    @property
    def _until(self) -> Document:
        return {"$add": ["$$NOW", int(self._seconds * 1_000)]}
