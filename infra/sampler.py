"""The sampler: all the time some documents are folded again from the log and compared.

1. Two go on side by side: through the documents of those read models that can name the streams of
   a key, from a random one once around; and along the log, for a share of the keys of all others,
   the next share each time. Along the log documents that are missing show, too.
2. Each step is measured, and rested from for so long that all steps take the share of one core
   that was set; the one that has used less goes next.
3. What differs is looked at a second time before it counts. Then it is logged, counted, kept for
   operators with the event that should have set the field, and repaired.

So a document that was changed by hand is found, and made anew, within

    2 / share x max(2 x D x d, S x N x e)  seconds

for D documents of read models that can name streams, of which one takes d seconds to check, and N
events of which one takes e seconds to fold into the others. S is the number of shares of the
largest of the others: its documents divided by `KEYS`, and one more. (Once around begins at another
place each time: hence 2 x D. Along the log no end comes while events come faster than share / 2e a
second: where they do for long, set a larger share.)
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from domain.recorded import Recorded
from infra import metrics
from infra.codec import now
from infra.differences import Difference, explained, shortened
from infra.folding import Folder, Projection, left_out_in
from infra.found import Found, keep_found, prepare_found
from infra.generations import checkpoint_of
from infra.log import EVENTS, Log
from infra.looking import Range, Walk, live_collection, look_by_key
from infra.mongo import Document, SyncDatabase
from infra.projector import Checkpoint
from infra.repair import repair

log = logging.getLogger("tidings.sampler")

KEYS: Final = 2_000
"""Of each read model that are folded along the log at once."""
AT_ONCE: Final = 20
"""Keys in a step through the documents."""
EVENTS_AT_ONCE: Final = 200
"""Events in a step along the log."""
SECOND_LOOK: Final = 0.2
"""Seconds until what differs is looked at again."""
MOST_REPAIRED: Final = 100
"""Documents that are explained and repaired together."""
LEAST_REST: Final = 0.01
TRY_AGAIN: Final = 1.0


class Sampler:
    """Checks the documents of these read models; `run` does so for ever."""

    def __init__(self, events: Log, projections: Sequence[Projection]) -> None:
        self._log, self._mongo = events, events.mongo
        self._by_key = [each for each in projections if each.streams is not None]
        self._along = [each for each in projections if each.streams is None]
        self._after: dict[str, str] = {}

    async def run(self, share: float) -> None:
        """Check for ever, with this share of one core."""
        await prepare_found(self._mongo)
        ways = (self.through_documents, self.along_log)
        steps = [way() for way in ways]
        spent = [0.0, 0.0]
        while True:
            turn = spent.index(min(spent))
            began = time.perf_counter()
            try:
                if await anext(steps[turn], None) is None:
                    steps[turn] = ways[turn]()
            except Exception:
                log.exception("checking documents failed; trying again")
                steps[turn] = ways[turn]()
                await asyncio.sleep(TRY_AGAIN)
            seconds = time.perf_counter() - began
            spent[turn] += seconds
            await asyncio.sleep(max(LEAST_REST, seconds * (1 / share - 1)))

    # -- through the documents

    async def through_documents(self) -> AsyncIterator[int]:
        """Once around, in steps; gives the documents of each."""
        for projection in random.sample(self._by_key, len(self._by_key)):
            async for keys in self._around(projection):
                await self._check(projection, keys)
                yield len(keys)

    async def _around(self, projection: Projection) -> AsyncIterator[list[str]]:
        """All keys, from a random one on to the end, and from the beginning up to it."""
        start = await self._mongo.run(partial(_random_key, projection))
        for part in (Range(after=start), Range(upto=start)):
            rest = part
            while keys := await self._mongo.run(partial(_keys, projection, rest)):
                yield keys
                rest = replace(part, after=keys[-1])

    async def _check(self, projection: Projection, keys: Sequence[str]) -> None:
        """Look at the documents of these keys, twice where they differ."""
        found = await self._mongo.run(partial(look_by_key, self._log, projection, keys))
        metrics.CHECKED.labels(projection.name).inc(len(keys))
        if found:
            await asyncio.sleep(SECOND_LOOK)
            again = [each.key for each in found]
            found = await self._mongo.run(partial(look_by_key, self._log, projection, again))
            await self._mend(projection, found)

    # -- along the log

    async def along_log(self) -> AsyncIterator[int]:
        """From the first event to where the documents are, in steps; gives their positions."""
        at = await self._mongo.run(checkpoint_of)
        walks = [await self._mongo.run(partial(self._walk, each, at)) for each in self._along]
        position = 0
        while position < at.position:
            upto = min(position + EVENTS_AT_ONCE, at.position)
            absent = await self._mongo.run(partial(self._step, walks, at, position, upto))
            for projection, keys in absent:
                await self._check(projection, keys)
            position = upto
            yield position
            if position == at.position:  # goes on with what has been projected meanwhile
                at = await self._mongo.run(checkpoint_of)
        await self._compare(walks, position)

    def _walk(self, projection: Projection, at: Checkpoint, db: SyncDatabase) -> Walk:
        keys = self._next_share(projection, at, db)
        return Walk(projection, keys, left_out_in(db, projection))

    def _next_share(self, projection: Projection, at: Checkpoint, db: SyncDatabase) -> Range:
        """The keys after those of the last time."""
        collection = live_collection(at, projection)
        if collection is None:
            return Range()
        name = projection.name
        after = self._after.get(name)
        if after is None:
            many = db[collection].estimated_document_count() > KEYS
            after = _random_key(projection, db) if many else ""
        beyond = db[collection].find(Range(after=after).where, {"_id": 1}, sort=[("_id", 1)])
        last = next(iter(beyond.skip(KEYS - 1).limit(1)), None)
        self._after[name] = last["_id"] if last else ""
        return Range(after=after, upto=last["_id"] if last else None)

    def _step(
        self, walks: Sequence[Walk], at: Checkpoint, after: int, upto: int, db: SyncDatabase
    ) -> list[tuple[Projection, list[str]]]:
        """Take some events; the keys that they touch and that have no document, of read models
        whose documents are gone through elsewhere."""
        place = {"_id": {"$gt": after, "$lte": upto}}
        events = self._log.all_decoded(db[EVENTS].find(place, sort=[("_id", 1)]))
        for walk in walks:
            walk.take(events)
        absent = ((each, _absent(each, events, at, db)) for each in self._by_key)
        return [(projection, keys) for projection, keys in absent if keys]

    async def _compare(self, walks: Sequence[Walk], position: int) -> None:
        """Look at the documents, twice where they differ."""
        position, found = await self._mongo.run(partial(self._look, walks, position))
        if found:
            await asyncio.sleep(SECOND_LOOK)
            suspects = {(each.projection, each.key) for each in found}
            _, found = await self._mongo.run(partial(self._look, walks, position))
            for walk in walks:
                name = walk.projection.name
                own = [each for each in found if each.projection == name]
                await self._mend(walk.projection, [e for e in own if (name, e.key) in suspects])

    def _look(
        self, walks: Sequence[Walk], after: int, db: SyncDatabase
    ) -> tuple[int, list[Difference]]:
        with db.client.start_session(snapshot=True) as session:
            at = checkpoint_of(db, session)
            events = self._log.read_within(db, session, after, at.position)
            for walk in walks:
                walk.take(events)
            return at.position, [each for walk in walks for each in walk.look(at, db, session)]

    # -- mending

    async def _mend(self, projection: Projection, found: Sequence[Difference]) -> None:
        """Log, count, keep and repair what differs."""
        for start in range(0, len(found), MOST_REPAIRED):
            some = await explained(self._log, projection, found[start : start + MOST_REPAIRED])
            repaired = await repair(self._log, projection, [each.key for each in some])
            metrics.DIFFERING.labels(projection.name).inc(len(some))
            metrics.REPAIRED.labels(projection.name).inc(len(repaired))
            for each in some:
                outcome = "repaired" if each.key in repaired else "cannot be repaired"
                log.error("%s/%s %s; %s", each.projection, each.key, _names(each), outcome)
            at = now()
            kept = [
                Found(at=at, difference=shortened(each), repaired=each.key in repaired)
                for each in some
            ]
            await keep_found(self._mongo, kept)


def _names(found: Difference) -> str:
    """What differs, without values, which may be personal."""
    fields = (f"{each.name} ({each.told_setter})" for each in found.fields)
    return f"{found.what}: {', '.join(fields)}"


def _random_key(projection: Projection, db: SyncDatabase) -> str:
    """The key of one of the documents; the least of all where there are none."""
    collection = live_collection(checkpoint_of(db), projection)
    if collection is None:
        return ""
    sample: list[Document] = [{"$sample": {"size": 1}}, {"$project": {"_id": 1}}]
    found = next(iter(db[collection].aggregate(sample)), None)
    return str(found["_id"]) if found else ""


def _keys(projection: Projection, keys: Range, db: SyncDatabase) -> list[str]:
    """The first keys of a range."""
    collection = live_collection(checkpoint_of(db), projection)
    if collection is None:
        return []
    found = db[collection].find(keys.where, {"_id": 1}, sort=[("_id", 1)], limit=AT_ONCE)
    return [document["_id"] for document in found]


def _absent(
    projection: Projection, events: Iterable[Recorded], at: Checkpoint, db: SyncDatabase
) -> list[str]:
    """The keys that events touch and that have no document."""
    collection = live_collection(at, projection)
    if collection is None:
        return []
    keys = Folder(projection, "").touched(events).keys()
    found = db[collection].find({"_id": {"$in": list(keys)}}, {"_id": 1})
    return sorted(keys - {document["_id"] for document in found})
