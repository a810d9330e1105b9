"""Building a generation of the past: the documents of one read model as of a position.

1. It begins with a copy of what has not changed near it (see `past_sources`), and goes forward or
   back from there.
2. A key whose fold fails, or gives what cannot be stored, stays as it was: so do live documents.
   What operators have skipped is left out, as it is there.
3. Work is done in worker threads. What goes wrong leaves nothing behind; a build that is killed
   leaves its record, so that it is removed.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from operator import attrgetter
from typing import Final

from pymongo import IndexModel
from pymongo.errors import PyMongoError

from domain.recorded import Recorded
from infra import past_records
from infra.folding import Changed, Folder, Projection, Touched, left_out_in
from infra.log import Log
from infra.mongo import Document, SyncDatabase, Unavailable
from infra.past_records import Past
from infra.past_sources import NOTHING, Source, copied

FLUSH: Final = 50_000
"""Changed documents kept in memory before they are written."""

KEYS_AT_ONCE: Final = 500
"""Documents folded again from one read of their streams."""


class Build:
    """One generation that is being built; used once. With `tried`, documents that cannot be stored
    are looked for, which takes longer."""

    def __init__(
        self, log: Log, projection: Projection, position: int, *, tried: bool = False
    ) -> None:
        self.past = past_records.new(projection, position)
        self.done = 0.0
        self._log, self._projection, self._tried = log, projection, tried
        self._folder = Folder(projection, self.past.collection)
        self._changed: Changed = {}
        self._empty = False

    async def run(self) -> Past:
        """The generation, complete. Raises `SourceGone` where it has to be begun anew."""
        run = self._log.mongo.run
        await run(partial(past_records.begin, past=self.past))
        try:
            source = await run(self._begin)
            if source.position <= self.past.position:
                await self._forward(source)
            else:
                await self._back(source)
            return await run(self._finish)
        except Exception:
            with suppress(PyMongoError, Unavailable):
                await run(partial(past_records.remove, collection=self.past.collection))
            raise

    def _begin(self, db: SyncDatabase) -> Source:
        self._prepare(db)
        source = copied(db, self._projection, self.past)
        self._empty = source is NOTHING
        left_out = left_out_in(db, self._projection)
        parked = {**left_out.parked, **source.parked}.items()
        self._folder.skipped = left_out.skipped
        self._folder.parked = {key: at for key, at in parked if at <= self.past.position}
        return source

    def _prepare(self, db: SyncDatabase) -> None:
        """The empty collection with its indexes, which a copy keeps. On documents MongoDB would
        take a tenth of a second to build any."""
        db.create_collection(self.past.collection)
        if indexes := [IndexModel(list(fields)) for fields in self._projection.indexes]:
            db[self.past.collection].create_indexes(indexes)

    def _finish(self, db: SyncDatabase) -> Past:
        return past_records.finish(db, self.past, self._folder.parked)

    @property
    def _listened(self) -> Document:
        return {"type": {"$in": self._log.codec.stored_names(self._projection.events)}}

    # -- forward: fold the events between

    async def _forward(self, source: Source) -> None:
        run, start, end = self._log.mongo.run, source.position, self.past.position
        async for events in self._log.scan(start, end, **self._listened):
            await run(partial(self._fold, events=events))
            self.done = (events[-1].position - start) / (end - start)
        await run(self._flush)

    def _fold(self, db: SyncDatabase, events: Sequence[Recorded]) -> None:
        touched = self._folder.touched(events)
        if not self._empty:
            self._folder.load(db, touched)
        self._take(touched)
        if len(self._changed) >= FLUSH:
            self._flush(db)

    def _flush(self, db: SyncDatabase) -> None:
        self._empty = self._empty and not self._changed
        self._folder.write(db, self._changed, None)
        self._folder.keep(self._changed)
        self._changed = {}

    def _take(self, touched: Touched) -> None:
        """Fold, and remember what is to be written."""
        self._folder.expect_new(touched)
        changed, failed = self._folder.fold(touched, tried=self._tried)
        self._folder.parked.update((parked.key, parked.position) for parked in failed)
        self._folder.hold(changed)
        self._changed.update(changed)

    # -- back: fold again what the events between have touched

    async def _back(self, source: Source) -> None:
        run, start, end = self._log.mongo.run, self.past.position, source.position
        keys: set[str] = set()
        born: set[str] = set()
        async for events in self._log.scan(start, end, **self._listened):
            keys.update(await run(partial(self._keys, events=events)))
            born.update(recorded.stream for recorded in events if recorded.version == 1)
            self.done = (events[-1].position - start) / (end - start) / 2
        left = iter(sorted(keys))
        for number in range(0, len(keys), KEYS_AT_ONCE):
            piece = list(islice(left, KEYS_AT_ONCE))
            await run(partial(self._fold_again, keys=piece, born=born))
            self.done = (1 + number / len(keys)) / 2

    def _keys(self, _: SyncDatabase, events: Sequence[Recorded]) -> Iterable[str]:
        return self._folder.touched(events)

    def _fold_again(self, db: SyncDatabase, keys: Sequence[str], born: set[str]) -> None:
        names = streams_of(self._projection, keys) - born
        streams = self._log.streams_in(db, names, upto=self.past.position)
        self._take(touched_in(streams, self._folder, keys))
        self._flush(db)


def streams_of(projection: Projection, keys: Iterable[str]) -> set[str]:
    """The streams that hold all events of these documents."""
    streams = projection.streams
    assert streams is not None, "only where that is known documents are folded one by one"
    return {name for key in keys for name in streams(key)}


def touched_in(
    streams: Mapping[str, Iterable[Recorded]], folder: Folder, keys: Iterable[str]
) -> Touched:
    """The events of the streams that touch these documents, in the order of the log."""
    events = sorted(chain.from_iterable(streams.values()), key=attrgetter("position"))
    touched = folder.touched(events)
    return {key: touched[key] for key in keys if key in touched}
