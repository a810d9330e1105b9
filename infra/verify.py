"""Proof: the log is whole, and the documents are what the log makes of them.

1. Positions are 1, 2, 3 …; versions are 1, 2, 3 … in every stream; the hash chain holds, and ends
   where the counter says.
2. Every event can be decoded.
3. Every read model is folded again from the log and compared document by document.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from domain.decider import message
from domain.recorded import Recorded
from infra.chain import GENESIS, holds
from infra.codec import Unreadable
from infra.folding import PARKED, Folder, Projection, collection_of, document_of
from infra.log import EVENTS, SCAN_BATCH, Head, Log
from infra.mongo import CODEC, Document, SyncDatabase
from infra.rebuild import checkpoint


@message
class Problem:
    """Something that is not as it must be, at a position or in a document."""

    what: str
    where: str


class Verification:
    """One pass over the log and the documents. Memory: all views of all read models."""

    def __init__(self, log: Log, projections: Sequence[Projection]) -> None:
        self._log = log
        self.problems: list[Problem] = []
        self.events = 0
        self.documents = 0
        self._versions: Counter[str] = Counter()
        self._folders = [Folder(projection, "") for projection in projections]
        self._folded: dict[str, dict[str, tuple[Any, int]]] = {p.name: {} for p in projections}

    def _report(self, what: str, where: object) -> None:
        self.problems.append(Problem(what=what, where=str(where)))

    async def run(self) -> list[Problem]:
        """Check everything up to the checkpoint, and the rest of the log beyond it."""
        reached = (await checkpoint(self._log)).position
        parked = await self._parked()
        end = Head(position=0, hash=GENESIS)
        async for batch in self._raw():
            good = []
            for raw in batch:
                end, recorded = self._check(raw, end)
                if recorded is not None and recorded.position <= reached:
                    good.append(recorded)
            self._fold(good)
        await self._check_head(end)
        at = await checkpoint(self._log)
        if at.position != reached:
            self._report("the projector moved meanwhile: stop it, or run again", at.position)
            return self.problems
        for folder in self._folders:
            name = folder.projection.name
            await self._compare(name, at.generations[name], parked)
        return self.problems

    async def _parked(self) -> set[tuple[str, str]]:
        rows = await self._log.mongo.run(lambda db: list(db[PARKED].find()))
        for row in rows:
            self._report(f"parked: {row['error']}", f"{row['projection']}/{row['key']}")
        return {(row["projection"], row["key"]) for row in rows}

    async def _raw(self) -> AsyncIterator[list[RawBSONDocument]]:
        after = -1
        options = CODEC.with_options(document_class=RawBSONDocument)

        def read(db: SyncDatabase) -> list[RawBSONDocument]:
            events = db.get_collection(EVENTS, codec_options=options)
            found: Any = events.find({"_id": {"$gt": after}}, sort=[("_id", 1)], limit=SCAN_BATCH)
            return list(found)

        while batch := await self._log.mongo.run(read):
            yield batch
            after = batch[-1]["_id"]

    def _check(self, raw: RawBSONDocument, before: Head) -> tuple[Head, Recorded | None]:
        stored: Document = bson.decode(raw.raw, CODEC)
        position = stored["_id"]
        self.events += 1
        if position != before.position + 1:
            self._report(f"positions are missing after {before.position}", position)
        stream, version = stored.get("stream", ""), stored.get("version", 0)
        self._versions[stream] += 1
        if version != self._versions[stream]:
            expected = self._versions[stream]
            self._report(f"{stream} has version {version}, not {expected}", position)
            self._versions[stream] = version if isinstance(version, int) else expected
        digest = holds(before.hash, bytes(raw.raw))
        if digest is None:
            self._report("the hash chain is broken: changed, or its predecessor is", position)
            digest = bytes(stored.get("hash", GENESIS))
        head = Head(position=position, hash=digest)
        try:
            return head, self._log.decoded(stored)
        except (Unreadable, KeyError) as error:
            self._report(f"cannot be decoded: {error}", position)
            return head, None

    async def _check_head(self, end: Head) -> None:
        head = await self._log.head()
        if head.position < end.position or (
            head.position == end.position and head.hash != end.hash
        ):
            self._report("the counter does not end where the log does", end.position)
        elif head.position > end.position and not await self._log.stored(end.position, limit=1):
            self._report(f"the log is cut: the counter is at {head.position}", end.position)
        stray = {"_id": {"$not": {"$type": "number"}}}  # no reader sees it, but a decider would
        for event in await self._log.mongo.run(lambda db: list(db[EVENTS].find(stray))):
            self._report("an event without a position", event["_id"])

    def _fold(self, events: Sequence[Recorded]) -> None:
        for folder in self._folders:
            touched = folder.touched(events)
            folder.expect_new(touched)
            changed, failed = folder.fold(touched)
            folder.hold(changed)
            self._folded[folder.projection.name].update(changed)
            for parked in failed:
                self._report(f"cannot be folded: {parked.error}", f"{parked.key}@{parked.position}")

    async def _compare(self, name: str, generation: int, parked: set[tuple[str, str]]) -> None:
        collection = collection_of(name, generation)
        expected = {
            key: _as_read(document_of(key, view, position))
            for key, (view, position) in self._folded.pop(name).items()
            if view is not None and (name, key) not in parked
        }
        stored = await self._log.mongo.run(lambda db: list(db[collection].find()))
        for document in stored:
            self.documents += 1
            key = document["_id"]
            if (name, key) in parked:
                continue
            wanted = expected.pop(key, None)
            if wanted is None:
                self._report("a document that the log does not explain", f"{name}/{key}")
            elif wanted != document:
                fields = ", ".join(_differing(wanted, document))
                self._report(
                    f"differs in {fields}; last event at {wanted['position']}", f"{name}/{key}"
                )
        for key in expected:
            self._report("a document is missing", f"{name}/{key}")


def _as_read(document: Document) -> Document:
    """The document as the store gives it back: tuples are lists then, for instance."""
    return bson.decode(bson.encode(document), CODEC)


def _differing(wanted: Document, found: Document) -> Iterable[str]:
    return sorted(f for f in wanted.keys() | found.keys() if wanted.get(f) != found.get(f))


async def verify(log: Log, projections: Sequence[Projection]) -> Verification:
    """Check everything; what was found is in `problems`."""
    verification = Verification(log, projections)
    await verification.run()
    return verification
