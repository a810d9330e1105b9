"""How far each follower is, and the states of its stories, as they are stored."""

from typing import Any, Final

import msgspec
from pymongo import ReplaceOne

from domain.decider import message
from infra.codec import from_stored, now, to_stored
from infra.deadlines import DEADLINES, index_deadlines, write_deadlines
from infra.folding import PARKED, parked_document
from infra.following import Fact, Follower, Reaction, Row, fact_of
from infra.log import Log
from infra.mongo import Document, Mongo, Session, SyncDatabase
from infra.projector import CHECKPOINTS, Overtaken

OUTBOX: Final = "outbox"


@message
class Place:
    """The checkpoint of a follower: all events up to `position` are told, in `revision` steps."""

    position: int = 0
    revision: int = 0


def stories_of(follower: Follower) -> str:
    """The collection of its stories' states."""
    return "stories_" + follower.name.partition("/")[2]


async def prepare_follower(mongo: Mongo, follower: Follower) -> None:
    """Create collections, indexes and the checkpoint; harmless when they exist."""
    names = (CHECKPOINTS, PARKED, OUTBOX, DEADLINES, stories_of(follower))
    await mongo.prepare({name: {} for name in names})

    def rest(db: SyncDatabase) -> None:
        db[OUTBOX].create_index([("follower", 1), ("batch", 1), ("place", 1)])
        index_deadlines(db)
        db[CHECKPOINTS].update_one(
            {"_id": follower.name}, {"$setOnInsert": to_stored(Place())}, upsert=True
        )

    await mongo.run(rest)


def place_of(db: SyncDatabase, follower: str) -> Place:
    """How far it is; it has been prepared."""
    return from_stored(Place, db[CHECKPOINTS].find_one({"_id": follower}))


def load_states(
    db: SyncDatabase, follower: Follower, stories: list[str]
) -> dict[str, tuple[Any, int]]:
    """The states of these stories, each with the position up to which it is told (0 before it has
    begun); for one that cannot be read, the error that says why."""
    states: dict[str, tuple[Any, int]] = dict.fromkeys(stories, (follower.initial, 0))
    if follower.initial is None:
        return states
    for stored in db[stories_of(follower)].find({"_id": {"$in": stories}}):
        try:
            state = from_stored(type(follower.initial), stored["state"])
        except msgspec.ValidationError as error:
            state = error
        states[stored["_id"]] = state, stored["position"]
    return states


async def facts_of(log: Log, follower: Follower, story: str, after: int, upto: int) -> list[Fact]:
    """All that happened to one story between two positions."""
    types = log.codec.stored_names(follower.events)
    return [
        fact
        async for events in log.scan(after, upto, type={"$in": types})
        for recorded in events
        if (fact := fact_of(follower, recorded)) is not None and fact.story == story
    ]


def write_reaction(
    db: SyncDatabase,
    session: Session,
    follower: Follower,
    places: tuple[Place, Place],
    reaction: Reaction,
) -> None:
    """Write what was decided between two places, the checkpoint first; raises `Overtaken`."""
    before, after = places
    moved = db[CHECKPOINTS].update_one(
        {"_id": follower.name, **to_stored(before)},
        {"$set": {**to_stored(after), "at": now()}},
        session=session,
    )
    if not moved.matched_count:
        raise Overtaken
    if reaction.states and follower.initial is not None:
        db[stories_of(follower)].bulk_write(
            [_state_written(story, *told) for story, told in reaction.states.items()],
            ordered=False,
            session=session,
        )
    if reaction.rows:
        db[OUTBOX].insert_many([row_document(row) for row in reaction.rows], session=session)
    write_deadlines(db, reaction.deadlines, session)
    if reaction.parked:
        parked = [parked_document(parked) for parked in reaction.parked.values()]
        db[PARKED].insert_many(parked, session=session)


def _state_written(story: str, state: Any, position: int) -> ReplaceOne[Document]:
    document = {"_id": story, "position": position, "state": to_stored(state)}
    return ReplaceOne({"_id": story}, document, upsert=True)


def row_document(row: Row) -> Document:
    """The row as it is stored."""
    document: Document = to_stored(row)
    document["_id"] = document.pop("id")
    return document


def row_of(document: Document) -> Row:
    """The stored row as a value."""
    return from_stored(Row, {**document, "id": document["_id"]})
