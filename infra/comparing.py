"""Comparing a new generation with the one it is to replace, document by document.

1. Both are of the same position: what differs is due to the code, or was not what the log says.
2. Both are read in the order of their keys, so that memory does not grow with them.
3. Old code is not there any more. For a document that differs the new code is run over its events:
   the two part ways at the first event after which it never again says what the old document says;
   where it never did, at the first event of all.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final, Literal, TypeAlias

import bson
import msgspec
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from domain.decider import message
from domain.recorded import Recorded
from infra.codec import to_stored
from infra.folding import GONE, Projection, skipped_in
from infra.log import Log
from infra.mongo import CODEC, Document, Session, SyncDatabase

EXAMPLES: Final = 5
MOST_CHARACTERS: Final = 200
"""Of a value that is shown."""
PAGE: Final = 1_000
ABSENT: Final = object()

Pair: TypeAlias = tuple[Document | None, Document | None]
"""An old document and the new one with the same key."""


@message
class FieldDifference:
    """What a field was and would be, as JSON; None where there is no such field."""

    field: str
    before: str | None
    after: str | None


@message
class Difference:
    """A document that differs, is missing from the new generation, or is there only."""

    key: str
    kind: Literal["differs", "missing", "extra"]
    fields: tuple[FieldDifference, ...]
    parts_at: int | None = None


@message
class Comparison:
    """Of two generations of a read model at one position; `parts_at` is the first event among the
    examples at which they part ways."""

    against: int
    position: int
    documents: int = 0
    differing: int = 0
    missing: int = 0
    extra: int = 0
    examples: tuple[Difference, ...] = ()
    parts_at: int | None = None

    @property
    def differences(self) -> int:
        return self.differing + self.missing + self.extra


# -- which documents differ


def compare(
    db: SyncDatabase, old: str, new: str, session: Session | None, blank: Comparison
) -> tuple[Comparison, dict[str, Pair]]:
    """`blank` filled in for two collections, and some of what differs; the old collection is read
    as `session` sees it."""
    counts: Counter[str] = Counter()
    samples: dict[str, Pair] = {}
    for before, after in _side_by_side(_in_order(db, old, session), _in_order(db, new, None)):
        counts["documents"] += 1
        if before is not None and after is not None and before.raw == after.raw:
            continue
        pair = _plain(before), _plain(after)
        if differing(*pair):
            counts[_kind(*pair)] += 1
            if len(samples) < EXAMPLES:
                samples[str((pair[0] or pair[1] or {})["_id"])] = pair
    examples = tuple(_difference(key, pair) for key, pair in samples.items())
    compared = replace(
        blank,
        documents=counts["documents"],
        differing=counts["differs"],
        missing=counts["missing"],
        extra=counts["extra"],
        examples=examples,
    )
    return compared, samples


def _in_order(db: SyncDatabase, name: str, session: Session | None) -> Iterator[RawBSONDocument]:
    options: CodecOptions[Any] = CODEC.with_options(document_class=RawBSONDocument)
    there = {GONE: {"$exists": False}}
    found: Any = db.get_collection(name, codec_options=options).find(
        there, sort=[("_id", 1)], session=session, batch_size=PAGE
    )
    return iter(found)


def _side_by_side(
    old: Iterator[RawBSONDocument], new: Iterator[RawBSONDocument]
) -> Iterator[tuple[RawBSONDocument | None, RawBSONDocument | None]]:
    """Documents with the same key together; one that has no partner stands beside None."""
    before, after = next(old, None), next(new, None)
    while before is not None or after is not None:
        if before is not None and after is not None and before.raw == after.raw:  # no need to look
            yield before, after
            before, after = next(old, None), next(new, None)
        elif after is None or (before is not None and before["_id"] < after["_id"]):
            yield before, None
            before = next(old, None)
        elif before is None or after["_id"] < before["_id"]:
            yield None, after
            after = next(new, None)
        else:
            yield before, after
            before, after = next(old, None), next(new, None)


def _plain(document: RawBSONDocument | None) -> Document | None:
    return None if document is None else bson.decode(document.raw, CODEC)


def differing(old: Document | None, new: Document | None) -> list[str]:
    """The fields in which they differ. The position is not one of them: it tells who wrote last,
    and a new release may listen to other events."""
    old, new = old or {}, new or {}
    fields = (old.keys() | new.keys()) - {"position"}
    return sorted(f for f in fields if f not in old or f not in new or old[f] != new[f])


def _kind(old: Document | None, new: Document | None) -> Literal["differs", "missing", "extra"]:
    if new is None:
        return "missing"
    return "extra" if old is None else "differs"


def _difference(key: str, pair: Pair) -> Difference:
    old, new = pair
    fields = tuple(
        FieldDifference(field=field, before=_shown(old, field), after=_shown(new, field))
        for field in differing(old, new)
        if field != "_id"
    )
    return Difference(key=key, kind=_kind(old, new), fields=fields)


def _shown(document: Document | None, field: str) -> str | None:
    if document is None or field not in document:
        return None
    return msgspec.json.encode(document[field]).decode()[:MOST_CHARACTERS]


# -- where they part ways


async def explained(
    log: Log, projection: Projection, comparison: Comparison, samples: Mapping[str, Pair]
) -> Comparison:
    """The comparison with the events at which the examples part ways: their streams are read, or,
    where the keys do not tell, the log is."""
    own = await _events_of(log, projection, comparison.position, samples)
    parted = {key: parting(projection, key, own[key], pair) for key, pair in samples.items()}
    return replace(
        comparison,
        examples=tuple(replace(one, parts_at=parted[one.key]) for one in comparison.examples),
        parts_at=min((at for at in parted.values() if at is not None), default=None),
    )


async def _events_of(
    log: Log, projection: Projection, upto: int, keys: Collection[str]
) -> dict[str, list[Recorded]]:
    """The events that touch these keys, in order, without those that operators have skipped."""
    found: dict[str, list[Recorded]] = {key: [] for key in keys}
    if not keys:
        return found
    skipped = await log.mongo.run(lambda db: skipped_in(db, projection))
    if projection.streams is not None:
        streams = {name for key in keys for name in projection.streams(key)}
        own = [one for events in (await log.streams(streams)).values() for one in events]
        early = [one for one in own if one.position <= upto]
        _sort_in(projection, found, skipped, sorted(early, key=attrgetter("position")))
        return found
    listened = {"type": {"$in": log.codec.stored_names(projection.events)}}
    async for events in log.scan(0, upto, **listened):
        _sort_in(projection, found, skipped, events)
    return found


def _sort_in(
    projection: Projection,
    found: dict[str, list[Recorded]],
    skipped: Mapping[str, Collection[int]],
    events: Iterable[Recorded],
) -> None:
    for recorded in events:
        if isinstance(recorded.event, projection.events):
            for key in projection.keys(recorded):
                if key in found and recorded.position not in skipped.get(key, ()):
                    found[key].append(recorded)


def parting(projection: Projection, key: str, events: Iterable[Recorded], pair: Pair) -> int | None:
    """The position after which the fold never again says what the old document says in the fields
    in which they differ; None where no event touches the key."""
    old, new = pair
    fields = differing(old, new)
    view, at = None, None
    for recorded in events:
        try:
            view = projection.evolve(view, recorded, key)
        except Exception:  # noqa: BLE001 a fold may fail in any way: there its document waits
            return at or recorded.position
        at = None if _says_the_same(view, old, fields) else at or recorded.position
    return at


def _says_the_same(view: Any, old: Document | None, fields: Iterable[str]) -> bool:
    if view is None or old is None:
        return view is old
    now: Document = bson.decode(bson.encode(to_stored(view)), CODEC)
    return all(
        field == "_id" or now.get(field, ABSENT) == old.get(field, ABSENT) for field in fields
    )
