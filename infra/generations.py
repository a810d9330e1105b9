"""Generations: the collections that hold a read model's documents, and which of them is live.

1. The checkpoint names the live generation of each read model: one write there is the switch.
2. The one that was live before is kept as it was, with its position, so that it can come back.
   `KEEP` of them are kept for each read model; an operator removes others.
3. A key that waits in a generation waits with it: `parked_aside` has those of generations that are
   not live.
4. A read model without a live generation is folded by nobody, and asked in vain, until it is built.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Final

from pymongo import ReturnDocument

from domain.decider import message
from infra.codec import from_stored, now, to_stored
from infra.feeding.group import checkpoint_fed, taken_from_group
from infra.folding import PARKED, Parked, Projection, collection_of, prepare_collection
from infra.log import Log
from infra.mongo import Document, Mongo, Session, SyncDatabase
from infra.projector import CHECKPOINTS, MAIN, Checkpoint

GENERATIONS: Final = "generations"
PARKED_ASIDE: Final = "parked_aside"
REBUILDS: Final = "rebuilds"
KEEP: Final = 2
"""Old generations of a read model, unless a setting says otherwise."""


@message
class Generation:
    """The documents of a read model, of the position it has come to. `retired` is None while it
    is live."""

    projection: str
    generation: int
    version: int
    position: int
    retired: datetime | None = None

    @property
    def id(self) -> str:
        return id_of(self.projection, self.generation)


class Refusal(Enum):
    """Why an operator's wish cannot be fulfilled."""

    UNKNOWN_READ_MODEL = "UNKNOWN_READ_MODEL"
    ALREADY_UNDER_WAY = "ALREADY_UNDER_WAY"
    NOT_UNDER_WAY = "NOT_UNDER_WAY"
    NO_SUCH_GENERATION = "NO_SUCH_GENERATION"
    GENERATION_IN_USE = "GENERATION_IN_USE"
    OTHER_VERSION = "OTHER_VERSION"


class GenerationRefused(Exception):
    """What was asked for cannot be done; the text says why."""

    def __init__(self, refusal: Refusal, text: str) -> None:
        super().__init__(text)
        self.refusal = refusal


def id_of(projection: str, generation: int) -> str:
    return f"{projection}/{generation}"


# -- what there is


def checkpoint_of(db: SyncDatabase, session: Session | None = None) -> Checkpoint:
    """The checkpoint as it is now."""
    return from_stored(Checkpoint, db[CHECKPOINTS].find_one({"_id": MAIN}, session=session))


def kept(db: SyncDatabase, projection: str) -> list[Generation]:
    """The old generations of a read model, the one that was live last first."""
    rows = db[GENERATIONS].find({"projection": projection}, sort=[("retired", -1)])
    return [from_stored(Generation, row) for row in rows]


async def generations(log: Log, names: Iterable[str]) -> list[Generation]:
    """Of each named read model the live generation, then the old ones, the newest first."""

    def read(db: SyncDatabase) -> list[Generation]:
        groups, found = (checkpoint_of(db), checkpoint_fed(db)), []
        for name in names:
            found += [live_one(at, name) for at in groups if name in at.generations]
            found += kept(db, name)
        return found

    return await log.mongo.run(read)


def live_one(at: Checkpoint, projection: str) -> Generation:
    """The live generation of a read model that has one."""
    return Generation(
        projection=projection,
        generation=at.generations[projection],
        version=at.versions[projection],
        position=at.position,
    )


# -- going live


async def new_generation(mongo: Mongo, projection: str) -> int:
    """A number that no other generation has or had."""
    last = {"$max": [f"$numbers.{projection}", f"$generations.{projection}", 0]}
    counted = await mongo.run(
        lambda db: db[CHECKPOINTS].find_one_and_update(
            {"_id": MAIN},
            [{"$set": {f"numbers.{projection}": {"$add": [last, 1]}}}],
            return_document=ReturnDocument.AFTER,
        )
    )
    assert counted is not None, "the checkpoint has been prepared"
    return int(counted["numbers"][projection])


async def make_empty_live(mongo: Mongo, projections: Iterable[Projection]) -> None:
    """Read models that never were are live at once while nothing has been folded: none has any
    document. Harmless when two do it."""
    at = await mongo.run(checkpoint_of)
    if at.position:
        return
    for projection in projections:
        if projection.name in at.generations:
            continue
        await prepare_collection(mongo, projection, 1)
        name = projection.name
        first = {
            f"generations.{name}": 1,
            f"versions.{name}": projection.version,
            f"numbers.{name}": 1,
        }
        never = {"_id": MAIN, "position": 0, f"numbers.{name}": {"$exists": False}}
        await mongo.run(partial(_set, where=never, values=first))


def _set(db: SyncDatabase, where: Document, values: Document) -> None:
    db[CHECKPOINTS].update_one(where, {"$set": values})


def go_live(db: SyncDatabase, session: Session, new: Generation) -> int:
    """Make a generation the live one and keep the one that was; answers with the position that its
    documents must come to before the transaction ends: until then the checkpoint stays there."""
    name = new.projection
    values = {f"generations.{name}": new.generation, f"versions.{name}": new.version}
    before = db[CHECKPOINTS].find_one_and_update({"_id": MAIN}, {"$set": values}, session=session)
    at = from_stored(Checkpoint, before)
    _put_aside(db, session, taken_from_group(db, session, name) or at, name)
    db[GENERATIONS].delete_one({"_id": new.id}, session=session)
    for row in db[PARKED_ASIDE].find(_of(new), session=session):
        again = {k: v for k, v in row.items() if k != "generation"}
        db[PARKED].insert_one({**again, "_id": f"{name}/{row['key']}"}, session=session)
    db[PARKED_ASIDE].delete_many(_of(new), session=session)
    return at.position


async def retire(mongo: Mongo, names: Sequence[str]) -> None:
    """Take read models out of the live group, in one write; their generations are kept."""

    def write(db: SyncDatabase, session: Session) -> None:
        fields = [f"{field}.{name}" for field in ("generations", "versions") for name in names]
        before = db[CHECKPOINTS].find_one_and_update(
            {"_id": MAIN}, {"$unset": dict.fromkeys(fields, "")}, session=session
        )
        at = from_stored(Checkpoint, before)
        for name in names:
            _put_aside(db, session, taken_from_group(db, session, name) or at, name)

    if names:
        await mongo.transaction(write)


def _put_aside(db: SyncDatabase, session: Session, at: Checkpoint, name: str) -> None:
    """Keep what is live, with the keys that wait in it."""
    if name in at.generations:
        old = live_one(at, name)
        row = {"_id": old.id, **to_stored(old), "retired": now()}
        db[GENERATIONS].insert_one(row, session=session)
        for waiting in list(db[PARKED].find({"projection": name}, session=session)):
            db[PARKED_ASIDE].insert_one(_aside(old, waiting), session=session)
    db[PARKED].delete_many({"projection": name}, session=session)


# -- keys that wait in a generation that is not live


def _of(generation: Generation) -> Document:
    return {"projection": generation.projection, "generation": generation.generation}


def _aside(generation: Generation, row: Document) -> Document:
    return {**row, "_id": f"{generation.id}/{row['key']}", "generation": generation.generation}


def put_parked_aside(db: SyncDatabase, generation: Generation, parked: Iterable[Parked]) -> None:
    """Remember keys that wait in this generation; harmless when they are there."""
    for one in parked:
        row = _aside(generation, {"at": now(), **to_stored(one)})
        db[PARKED_ASIDE].replace_one({"_id": row["_id"]}, row, upsert=True)


def parked_in(db: SyncDatabase, generation: Generation) -> dict[str, int]:
    """Where keys wait in a generation that is not live."""
    return {row["key"]: row["position"] for row in db[PARKED_ASIDE].find(_of(generation))}


# -- removing


async def remove(mongo: Mongo, projection: str, generation: int | None) -> list[int]:
    """Remove an old generation, or all of them; answers with those removed.

    Raises `GenerationRefused` for one that is live, under way, or not there.
    """

    def doomed(db: SyncDatabase) -> list[Generation]:
        if checkpoint_of(db).generations.get(projection) == generation is not None:
            raise GenerationRefused(
                Refusal.GENERATION_IN_USE, f"Generation {generation} of {projection} is live."
            )
        found = [one for one in kept(db, projection) if generation in (None, one.generation)]
        if generation is not None and not found:
            raise GenerationRefused(
                Refusal.NO_SUCH_GENERATION, f"{projection} has no old generation {generation}."
            )
        if busy := [one for one in found if _is_under_way(db, one)]:
            raise GenerationRefused(Refusal.GENERATION_IN_USE, f"{busy[0].id} is being filled.")
        return found

    gone = await mongo.run(doomed)
    await mongo.run(lambda db: _remove(db, gone))
    return [one.generation for one in gone]


async def prune(mongo: Mongo, projection: str, keep: int) -> None:
    """Remove the old generations beyond `keep`, and what nobody names."""

    def work(db: SyncDatabase) -> None:
        _remove(
            db, [one for one in kept(db, projection)[max(keep, 0) :] if not _is_under_way(db, one)]
        )

    await mongo.run(work)
    await remove_nameless(mongo, projection)


async def remove_nameless(mongo: Mongo, projection: str) -> None:
    """Remove what was being filled by a job that has ended otherwise."""

    def work(db: SyncDatabase) -> None:
        there = _collections(db, projection)
        for number in there - _named(db, projection):
            nameless = {"projection": projection, "generation": number}
            db[PARKED_ASIDE].delete_many(nameless)
            db[collection_of(projection, number)].drop()

    await mongo.run(work)


def _collections(db: SyncDatabase, projection: str) -> set[int]:
    prefix = collection_of(projection, 0).removesuffix("0")
    names = db.list_collection_names(filter={"name": {"$regex": f"^{re.escape(prefix)}[0-9]+$"}})
    return {int(name.removeprefix(prefix)) for name in names}


def _named(db: SyncDatabase, projection: str) -> set[int]:
    """Generations that are filled, live or kept: asked for in the order in which one becomes the
    next, so that none is missed."""
    filled = db[REBUILDS].find({"projection": projection, "active": True})
    named = {row["generation"] for row in filled}
    for at in (checkpoint_of(db), checkpoint_fed(db)):
        named |= {live for name, live in at.generations.items() if name == projection}
    return named | {one.generation for one in kept(db, projection)}


def _is_under_way(db: SyncDatabase, one: Generation) -> bool:
    return db[REBUILDS].find_one({**_of(one), "active": True}) is not None


def _remove(db: SyncDatabase, gone: Iterable[Generation]) -> None:
    for one in gone:
        db[GENERATIONS].delete_one({"_id": one.id})
        db[PARKED_ASIDE].delete_many(_of(one))
        db[collection_of(one.projection, one.generation)].drop()
