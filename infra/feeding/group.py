"""The group of read models that are fed over Kafka: what is kept of it in MongoDB.

1. A read model belongs to the main group, whose projector reads the log, or to this one. Here many
   processes share its partitions, so only what is owned by one stream can be fed: all events of a
   key then come over one partition, in order.
2. The group advances in rounds. A round's goal is a position at which the main group has stood. Its
   documents are folded up to there and not beyond, until those of every partition of every read
   model have come to it. Then the round is over: at that moment all of them are of this position,
   and together with what the main group was at it, so is everything.
3. Places are moved in the transaction that writes documents, from exactly what was read, so that a
   process that has lost its partitions without knowing spoils nothing.
4. A read model is taken over live, and goes back when a new generation of it has been built from
   the log. Where keys of it wait, they are mended in the main group first.
"""

from collections.abc import Iterable
from typing import Any, Final

from bson.timestamp import Timestamp

from domain.decider import message
from infra.codec import from_stored
from infra.feeding.arrivals import Place
from infra.folding import PARKED, Projection
from infra.mongo import Document, Mongo, Session, SyncDatabase, Unavailable
from infra.projector import CHECKPOINTS, MAIN, Checkpoint, Overtaken

GROUP: Final = "kafka"
FEEDS: Final = "feeds"
"""The place of each partition of each read model."""


class NotOwned(Exception):
    """The read model cannot be fed over partitions; the text says why."""


@message
class Moment:
    """The main group at a position: when that was, and what was live. The time is not known where
    a read model has just been taken over."""

    position: int
    at: Timestamp | None
    generations: dict[str, int]


@message
class Rounds:
    """What is live in the group, the moment it has come to, and the one it is on its way to."""

    generations: dict[str, int]
    versions: dict[str, int]
    reached: Moment
    goal: Moment
    round: int

    @property
    def rests(self) -> bool:
        """Whether nothing is on its way."""
        return self.reached.position == self.goal.position


def check_owned(projections: Iterable[Projection]) -> None:
    """Raises `NotOwned` for a read model with documents that several streams touch."""
    for projection in projections:
        # how many streams a key has is a matter of its form: any key tells
        if projection.streams is None or len(projection.streams("any")) != 1:
            raise NotOwned(
                f"{projection.name} cannot be fed over Kafka: a document of it is touched by "
                "events of several streams, which come over several partitions."
            )


# -- reading


def read_rounds(db: SyncDatabase, session: Session | None = None) -> Rounds | None:
    """None where nothing has ever been fed over Kafka."""
    return rounds_of(db[CHECKPOINTS].find_one({"_id": GROUP}, session=session))


def rounds_of(found: Document | None) -> Rounds | None:
    """The same from the document."""
    if found is None:
        return None
    return Rounds(
        generations=found["generations"],
        versions=found["versions"],
        reached=Moment(**found["reached"]),
        goal=Moment(**found["goal"]),
        round=found["round"],
    )


def checkpoint_fed(db: SyncDatabase) -> Checkpoint:
    """What is live in the group, and the position that all of it has come to."""
    rounds = read_rounds(db)
    return _checkpoint(rounds) if rounds else Checkpoint(position=0, generations={}, versions={})


def _checkpoint(rounds: Rounds) -> Checkpoint:
    return Checkpoint(
        position=rounds.reached.position,
        generations=rounds.generations,
        versions=rounds.versions,
    )


def checkpoints_now(db: SyncDatabase) -> tuple[dict[str, Document], Timestamp]:
    """The checkpoints of both groups as they are at one moment, and when that is; raises
    `Unavailable` before there are any."""
    wanted = {"find": CHECKPOINTS, "filter": {"_id": {"$in": [MAIN, GROUP]}}}
    cursor = db.command({**wanted, "readConcern": {"level": "snapshot"}})["cursor"]
    found = {row["_id"]: row for row in cursor["firstBatch"]}
    if MAIN not in found:
        raise Unavailable("no projector has run on this database yet")
    return found, cursor["atClusterTime"]


def places(db: SyncDatabase, projection: str, session: Session | None = None) -> dict[int, Place]:
    """How far each partition has come."""
    rows = db[FEEDS].find({"projection": projection}, session=session)
    return {row["partition"]: Place(offset=row["offset"], position=row["position"]) for row in rows}


# -- moving on


@message
class Owner:
    """Who moves places: of which read model and generation, and by which name."""

    projection: str
    generation: int
    by: str


def move(
    db: SyncDatabase, session: Session, owner: Owner, number: int, places: tuple[Place, Place]
) -> None:
    """Move a partition from one place to another; raises `Overtaken` where it is not there."""
    before, after = places
    was = {"generation": owner.generation, "offset": before.offset, "position": before.position}
    moved = db[FEEDS].update_one(
        {"_id": f"{owner.projection}/{number}", **was},
        {"$set": {"offset": after.offset, "position": after.position, "by": owner.by}},
        session=session,
    )
    if not moved.matched_count:
        raise Overtaken


def advance(db: SyncDatabase) -> None:
    """End the round where everything has come to its goal, and begin the next one to where the main
    group is now. Harmless at any time, by any process."""
    rounds = read_rounds(db)
    if rounds is None or not rounds.generations:
        return
    behind = {
        "projection": {"$in": list(rounds.generations)},
        "position": {"$lt": rounds.goal.position},
    }
    if db[FEEDS].find_one(behind) is not None:
        return
    found, at = checkpoints_now(db)
    main = found[MAIN]
    now: Document = {
        "position": main["position"],
        "at": at,
        "generations": main["generations"],
    }
    goal = rounds.goal
    if rounds.rests and rounds.reached.at and now["position"] == goal.position:
        return
    reached = {"position": goal.position, "at": goal.at, "generations": goal.generations}
    db[CHECKPOINTS].update_one(
        {"_id": GROUP, "round": rounds.round},
        {"$set": {"reached": reached, "goal": now, "round": rounds.round + 1}},
    )


# -- who is of the group


async def prepare_group(mongo: Mongo) -> None:
    """Have what the group needs; harmless when it is there."""
    await mongo.prepare({CHECKPOINTS: {}, FEEDS: {}})
    nowhere: Document = {"position": 0, "at": None, "generations": {}}
    empty: Document = {
        "generations": {},
        "versions": {},
        "reached": nowhere,
        "goal": nowhere,
        "round": 0,
    }
    await mongo.run(
        lambda db: db[CHECKPOINTS].update_one({"_id": GROUP}, {"$setOnInsert": empty}, upsert=True)
    )


def take_over(
    db: SyncDatabase, session: Session, projection: Projection, partitions: Iterable[int]
) -> bool:
    """Take a live read model from the main group, as it is; False where it is not ready."""
    name, version = projection.name, projection.version
    if db[PARKED].find_one({"projection": name}, session=session) is not None:
        return False
    found = db[CHECKPOINTS].find_one_and_update(
        {"_id": MAIN, f"versions.{name}": version},
        {"$unset": {f"generations.{name}": "", f"versions.{name}": ""}},
        session=session,
    )
    if found is None:
        return False
    main = from_stored(Checkpoint, found)
    generation = main.generations[name]
    goal: Document = {"position": main.position, "at": None, "generations": {}}
    own = {f"generations.{name}": generation, f"versions.{name}": version, "goal": goal}
    db[CHECKPOINTS].update_one({"_id": GROUP}, {"$set": own, "$inc": {"round": 1}}, session=session)
    for number in partitions:
        db[FEEDS].update_one(
            {"_id": f"{name}/{number}"},
            {
                "$set": {
                    "projection": name,
                    "partition": number,
                    "generation": generation,
                    "position": main.position,
                },
                "$setOnInsert": {"offset": 0},
            },
            upsert=True,
            session=session,
        )
    return True


def taken_from_group(db: SyncDatabase, session: Session, name: str) -> Checkpoint | None:
    """Take a read model out of the group, to be folded by nobody; where it stood, None where it
    was not in it."""
    found = db[CHECKPOINTS].find_one_and_update(
        {"_id": GROUP, f"generations.{name}": {"$exists": True}},
        {"$unset": {f"generations.{name}": "", f"versions.{name}": ""}, "$inc": {"round": 1}},
        session=session,
    )
    rounds = rounds_of(found)
    if rounds is None:
        return None
    let_go: dict[str, Any] = {"$set": {"generation": None}}
    db[FEEDS].update_many({"projection": name}, let_go, session=session)
    return _checkpoint(rounds)
