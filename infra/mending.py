"""How an operator moves on with what reactions have parked: a story, or a row of the outbox.

1. Retrying a story tells it again from the fact it failed at; skipping leaves that fact out.
2. A story is mended in one transaction with the follower's checkpoint, so that a running reactor
   notices; the work that comes of it is found by the running outbox.
3. Retrying a row lets it be carried out again; skipping deletes it. Later rows of its story go on.
"""

from typing import Any, Final

from infra.codec import from_stored
from infra.deadlines import DEADLINES
from infra.folding import PARKED
from infra.following import Deadline, Fact, Follower, Reaction, passed, react
from infra.log import Log
from infra.mongo import Session, SyncDatabase
from infra.parked import StillFailing
from infra.projector import Overtaken
from infra.records import ParkedKey
from infra.stories import OUTBOX, Place, facts_of, load_states, place_of, write_reaction

OF_OUTBOX: Final = "outbox/"
"""What the projection of a parked row begins with; the follower's name comes after."""


async def mend_row(log: Log, parked: ParkedKey, *, skip: bool) -> None:
    """Retry the parked row of a story, or skip it."""
    follower = parked.projection.removeprefix(OF_OUTBOX)
    row = {"follower": follower, "story": parked.key, "parked": True}

    def write(db: SyncDatabase, session: Session) -> None:
        if skip:
            db[OUTBOX].delete_one(row, session=session)
        else:
            again = {"$set": {"parked": False, "not_before": None}}
            db[OUTBOX].update_one(row, again, session=session)
        db[PARKED].delete_one({"_id": parked.id}, session=session)

    await log.mongo.transaction(write)


async def mend_story(log: Log, follower: Follower, parked: ParkedKey, *, skip: bool) -> None:
    """Retry a parked story, or skip what it failed at; raises `StillFailing`."""
    while True:
        place = await log.mongo.run(lambda db: place_of(db, follower.name))
        facts = await _waiting(log, follower, parked, place, skip=skip)
        before = await _state(log, follower, parked)
        reaction = react(follower, {parked.key: before}, facts, place.revision + 1)
        if failed := reaction.parked.get(parked.key):
            raise StillFailing(f"at position {failed.position}: {failed.error}")
        if parked.deadline is not None:
            dropped = f"{follower.name}/{parked.key}/{parked.deadline}"
            reaction.deadlines = {dropped: None, **reaction.deadlines}
        try:
            await log.mongo.transaction(_written(follower, parked, place, reaction))
        except Overtaken:
            continue
        return


def _written(follower: Follower, parked: ParkedKey, place: Place, reaction: Reaction) -> Any:
    after = Place(position=place.position, revision=place.revision + 1)

    def write(db: SyncDatabase, session: Session) -> None:
        write_reaction(db, session, follower, (place, after), reaction)
        db[PARKED].delete_one({"_id": parked.id}, session=session)

    return write


async def _waiting(
    log: Log, follower: Follower, parked: ParkedKey, place: Place, *, skip: bool
) -> list[Fact]:
    """What the story has not been told, from the fact it failed at or from the one after."""
    if parked.deadline is None:
        after = parked.position if skip else parked.position - 1
        return await facts_of(log, follower, parked.key, after, place.position)
    later = await facts_of(log, follower, parked.key, parked.position - 1, place.position)
    if skip:
        return later
    name = f"{follower.name}/{parked.key}/{parked.deadline}"
    stored = await log.mongo.run(lambda db: db[DEADLINES].find_one({"_id": name}))
    if stored is None:
        return later
    return [passed(from_stored(Deadline, stored), parked.position), *later]


async def _state(log: Log, follower: Follower, parked: ParkedKey) -> Any:
    """What the story was before it failed; folded from the log where what is stored is unreadable
    (then with all that operators have skipped before)."""
    found = await log.mongo.run(lambda db: load_states(db, follower, [parked.key]))
    state, _ = found[parked.key]
    if isinstance(state, Exception):
        state = follower.initial
        for fact in await facts_of(log, follower, parked.key, 0, parked.position - 1):
            state = follower.evolve(state, fact.event)
    return state
