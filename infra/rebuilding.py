"""One job in the hands of this process: fill the generation, compare it, let it go live.

1. The switch is a transaction that first takes hold of the checkpoint, then folds the few events
   that the shadow lacks: a request sees the old generation or the new one, both of the same
   position, and a busy projector cannot put the switch off.
2. Both generations are compared as of one position. Where nothing is live, the shadow goes live
   before it is said at which events the two part ways.
3. While it works it shows life, and notices what operators want of it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias

from infra.codec import to_stored
from infra.comparing import Comparison, Pair, compare, explained
from infra.folding import Projection, collection_of, prepare_collection
from infra.generations import GENERATIONS, REBUILDS, checkpoint_of, go_live, kept
from infra.jobs import Job, Lease, Stopped
from infra.log import Log
from infra.mongo import Document, Session, SyncDatabase
from infra.shadow import RebuildFailed, Shadow

FEW: Final = 5_000
"""Events that a rebuild may lack when it stops chasing the projector and takes hold of it."""
BEAT_SECONDS: Final = 0.5

Told: TypeAlias = Callable[[Job], None]


class Run:
    """A job in the hands of this process."""

    def __init__(
        self,
        log: Log,
        projection: Projection,
        job: Job,
        lease: Lease,
        told: Told,
    ) -> None:
        self._log, self._mongo, self._projection = log, log.mongo, projection
        self.job, self._lease, self._told = job, lease, told
        self._shadow = Shadow(log, projection, job.target, lease)
        self._began, self._from = time.monotonic(), job.position
        self._unexplained: tuple[Comparison, dict[str, Pair]] | None = None

    async def run(self, *, careful: bool = False) -> None:
        """To the end; raises `RebuildFailed` or `Stopped`."""
        self._shadow.careful = careful
        await prepare_collection(self._mongo, self._projection, self.job.generation)
        await self._mongo.run(self._shadow.open)
        beating = asyncio.create_task(self._beat())
        try:
            if self.job.comparison is None:
                await self._compare()
            if self.job.hold:
                await self._mongo.run(lambda db: self._lease.end(db, "ready"))
                return
            await self._catch_up()
            await self._mongo.transaction(self._switch)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
        await self._explain_late()

    async def _beat(self) -> None:
        """Show life and progress; notice what operators want."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            read = self._shadow.read
            rate = (read - self._from) / (time.monotonic() - self._began)
            self.job = replace(self.job, read=read, per_second=rate)
            self._told(self.job)
            values: Document = {"read": read, "per_second": rate, "goal": self.job.goal}
            try:
                state = await self._mongo.run(partial(self._lease.renew, **values))
            except Stopped:
                state = "cancelled"
            self._shadow.stopping = state != "running"

    async def _fill(self, upto: int) -> None:
        self.job = replace(self.job, goal=upto)
        await self._shadow.fill(upto)

    async def _catch_up(self) -> None:
        """Come near to the projector, which goes on meanwhile."""
        while True:
            upto = (await self._mongo.run(checkpoint_of)).position
            few = upto - self._shadow.read <= FEW
            await self._fill(upto)
            if few:
                return

    # -- comparing

    async def _compare(self) -> None:
        """With what is live, or else with what was live last."""
        if self._projection.name in (await self._mongo.run(checkpoint_of)).generations:
            await self._catch_up()
            with self._mongo.sync.client.start_session(snapshot=True) as session:
                at = await self._mongo.run(lambda db: checkpoint_of(db, session))
                live = at.generations.get(self._projection.name)
                if live is None:  # another release has retired it: begin the comparison again
                    raise Stopped
                found, samples = await self._compared(live, at.position, session)
            found = await explained(self._log, self._projection, found, samples)
        else:
            old = await self._mongo.run(lambda db: kept(db, self._projection.name))
            was = next((one for one in old if one.generation != self.job.generation), None)
            if was is None or was.position < self._shadow.read:
                return
            found, samples = await self._compared(was.generation, was.position, None)
            self._unexplained = found, samples
        await self._keep(found)

    async def _compared(
        self, generation: int, position: int, session: Session | None
    ) -> tuple[Comparison, dict[str, Pair]]:
        await self._fill(position)
        old = collection_of(self._projection.name, generation)
        blank = Comparison(against=generation, position=position)
        return await self._mongo.run(
            lambda db: compare(db, old, self._shadow.collection, session, blank)
        )

    async def _keep(self, found: Comparison) -> None:
        self.job = replace(self.job, comparison=found)
        stored = to_stored(found)
        await self._mongo.run(
            lambda db: db[REBUILDS].update_one(
                {"_id": self.job.id}, {"$set": {"comparison": stored}}
            )
        )

    async def _explain_late(self) -> None:
        """Where nothing was live, to answer again came first."""
        if self._unexplained is not None:
            await self._keep(await explained(self._log, self._projection, *self._unexplained))

    # -- going live

    def _switch(self, db: SyncDatabase, session: Session) -> None:
        target = self.job.target
        if self.job.kind == "rollback" and not db[GENERATIONS].find_one(
            {"_id": target.id}, session=session
        ):
            raise RebuildFailed(f"Generation {target.generation} was removed meanwhile.")
        upto = go_live(db, session, target)
        self._shadow.complete(db, session, upto)
        self._lease.end(db, "done", session, position=upto, read=upto, goal=upto)
