"""Jobs that fill a generation: their records, and the lease of whoever carries one out.

1. A read model has one job under way at most (`active`).
2. Who carries it out holds a lease, renewed with every sign of life. When that lapses the job is
   anyone's, and goes on at `position`, up to which everything has been written.
3. To pause, resume or cancel is to change the record, from any process; the holder notices.
4. A job is carried out by a release that has the projection's version.
"""

import os
import socket
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import uuid4

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.decider import message
from infra.codec import from_stored, now, to_stored
from infra.comparing import Comparison
from infra.generations import REBUILDS, Generation, GenerationRefused, Refusal
from infra.mongo import Document, Mongo, Session, SyncDatabase

LEASE_SECONDS: Final = 5.0

Kind: TypeAlias = Literal["rebuild", "rollback"]
State: TypeAlias = Literal["running", "paused", "ready", "done", "cancelled", "failed"]


@message
class Job:
    """A rebuild, or the way back to an old generation.

    It goes from `running` (or `paused`) by way of `ready`, if it was told to `hold`, to `done`.
    """

    id: str
    kind: Kind
    projection: str
    generation: int
    version: int
    by: str
    hold: bool
    started: datetime
    state: State = "running"
    position: int = 0
    read: int = 0
    goal: int = 0
    per_second: float = 0.0
    owner: str | None = None
    error: str | None = None
    comparison: Comparison | None = None

    @property
    def target(self) -> Generation:
        """What it fills."""
        return Generation(
            projection=self.projection,
            generation=self.generation,
            version=self.version,
            position=self.position,
        )

    @property
    def seconds_left(self) -> float | None:
        """As far as can be told."""
        return (self.goal - self.read) / self.per_second if self.per_second else None

    @property
    def told(self) -> str:
        """How far it has come, in words."""
        left = self.seconds_left
        if self.state != "running":
            return f"{self.state} at {self.share:.0%}"
        return f"{self.share:.0%}" if left is None else f"{self.share:.0%}, about {left:.0f} s left"

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1."""
        return (
            1.0 if self.state == "done" else min(self.read / self.goal, 1.0) if self.goal else 0.0
        )


class Stopped(Exception):
    """The job was paused or cancelled, or has another holder."""


async def prepare_jobs(mongo: Mongo) -> None:
    """Create the collection and what keeps rule 1; harmless when it is there."""
    await mongo.prepare({REBUILDS: {}})
    await mongo.run(
        lambda db: db[REBUILDS].create_index(
            [("projection", 1)], unique=True, partialFilterExpression={"active": True}
        )
    )


async def add_job(mongo: Mongo, kind: Kind, target: Generation, by: str, *, hold: bool) -> Job:
    """A new job; raises `GenerationRefused` while the read model has another one."""
    job = Job(
        id=uuid4().hex,
        kind=kind,
        projection=target.projection,
        generation=target.generation,
        version=target.version,
        by=by,
        hold=hold,
        started=now(),
        position=target.position,
        read=target.position,
    )
    row = {**to_stored(job), "_id": job.id, "active": True}
    try:
        await mongo.run(lambda db: db[REBUILDS].insert_one(row))
    except DuplicateKeyError:
        raise GenerationRefused(
            Refusal.ALREADY_UNDER_WAY, f"{job.projection} has a job under way already."
        ) from None
    return job


async def find_job(mongo: Mongo, id: str) -> Job:
    """The job as it is now."""
    row = await mongo.run(lambda db: db[REBUILDS].find_one({"_id": id}))
    return from_stored(Job, row)


async def active_job(mongo: Mongo, projection: str) -> Job | None:
    """The job under way for this read model, if any."""
    where = {"projection": projection, "active": True}
    row = await mongo.run(lambda db: db[REBUILDS].find_one(where))
    return None if row is None else from_stored(Job, row)


async def active_jobs(mongo: Mongo) -> list[Job]:
    """All that run, the oldest first: an order in which none waits for ever."""
    where = {"active": True, "state": "running"}
    rows = await mongo.run(lambda db: list(db[REBUILDS].find(where, sort=[("started", 1)])))
    return [from_stored(Job, row) for row in rows]


async def jobs(mongo: Mongo, projection: str | None = None, most: int = 100) -> list[Job]:
    """The latest jobs, of one read model or of all, the last one first."""
    where = {} if projection is None else {"projection": projection}
    rows = await mongo.run(
        lambda db: list(db[REBUILDS].find(where, sort=[("started", -1)], limit=most))
    )
    return [from_stored(Job, row) for row in rows]


# -- by operators


async def _change(mongo: Mongo, projection: str, states: list[State], values: Document) -> Job:
    where = {"projection": projection, "active": True, "state": {"$in": states}}
    row = await mongo.run(
        lambda db: db[REBUILDS].find_one_and_update(
            where, values, return_document=ReturnDocument.AFTER
        )
    )
    if row is None:
        raise GenerationRefused(
            Refusal.NOT_UNDER_WAY, f"{projection} has no job that is {' or '.join(states)}."
        )
    return from_stored(Job, row)


async def pause(mongo: Mongo, projection: str) -> Job:
    """Stop for now; raises `GenerationRefused` where nothing runs."""
    return await _change(mongo, projection, ["running"], {"$set": {"state": "paused"}})


async def resume(mongo: Mongo, projection: str) -> Job:
    """Go on with what was paused, or go live with what was held; raises `GenerationRefused`."""
    values = {"$set": {"state": "running", "hold": False}}
    return await _change(mongo, projection, ["paused", "ready"], values)


async def cancel(mongo: Mongo, projection: str, why: str | None = None) -> Job:
    """Give up for good; raises `GenerationRefused` where nothing is under way."""
    values = {"$set": {"state": "cancelled", "error": why}, "$unset": {"active": ""}}
    return await _change(mongo, projection, ["running", "paused", "ready"], values)


# -- by whoever carries it out


class Lease:
    """The hold on one job. All but `claim` are for worker threads."""

    def __init__(self, id: str) -> None:
        self.id = id
        self._owner = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"

    async def claim(self, mongo: Mongo) -> Job | None:
        """The job, if it is to run and nobody carries it out."""
        lapsed = {"$lt": ["$beat", {"$subtract": ["$$NOW", int(LEASE_SECONDS * 1000)]}]}
        free = {"$or": [{"owner": None}, {"$expr": lapsed}]}
        where = {"_id": self.id, "state": "running", **free}
        taken = {"owner": {"$literal": self._owner}, "beat": "$$NOW"}
        row = await mongo.run(
            lambda db: db[REBUILDS].find_one_and_update(
                where, [{"$set": taken}], return_document=ReturnDocument.AFTER
            )
        )
        return None if row is None else from_stored(Job, row)

    def renew(self, db: SyncDatabase, **values: Any) -> State:
        """Show life, set these fields, and learn whether it has been paused.

        Raises `Stopped` when it is no longer ours.
        """
        fields = {name: {"$literal": value} for name, value in values.items()}
        row = db[REBUILDS].find_one_and_update(
            {"_id": self.id, "owner": self._owner, "active": True},
            [{"$set": {**fields, "beat": "$$NOW"}}],
            return_document=ReturnDocument.AFTER,
        )
        if row is None:
            raise Stopped
        return from_stored(Job, row).state

    def end(
        self, db: SyncDatabase, state: State, session: Session | None = None, **values: Any
    ) -> None:
        """Let go of a running job, done or failed or ready; raises `Stopped` if it is not ours,
        or does not run any more."""
        let_go: Document = {"$set": {**values, "state": state, "owner": None}}
        if state != "ready":
            let_go["$unset"] = {"active": ""}
        where = {"_id": self.id, "owner": self._owner, "state": "running"}
        if not db[REBUILDS].update_one(where, let_go, session=session).matched_count:
            raise Stopped

    def let_go(self, db: SyncDatabase) -> None:
        """Somebody else may go on with it at once."""
        where = {"_id": self.id, "owner": self._owner}
        db[REBUILDS].update_one(where, {"$set": {"owner": None}})
