"""Working a branch out: from its changes to documents and refusals, in the background.

1. One task per branch and process; it goes on until the newest revision is worked out.
2. What was worked out becomes valid in one write, which only a newer revision can replace. So two
   processes at the same branch do no harm, nor does one that is killed: its work is done again.
3. How far it has come is told in the record.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from uuid import uuid4

from domain.variant import Variant
from infra.branching import storing
from infra.branching.difference import Difference
from infra.branching.differing import difference_of
from infra.branching.folding import Folding
from infra.branching.record import BRANCHES, Branch, Computed, Counts, branch_of
from infra.branching.refusing import refused_in
from infra.branching.sending import Domain
from infra.codec import to_stored
from infra.documents import Base
from infra.folding import Projection
from infra.log import Log
from infra.mongo import SyncDatabase, Unavailable
from infra.past import PastNotReady
from infra.reads import BeingBuilt, ReadModelBehind

log = logging.getLogger("tidings.branches")

MOST_APART: Final = 5_000
"""Documents of a read model that may differ before the branch has all of them."""

NOT_YET: Final = (Unavailable, ReadModelBehind, BeingBuilt, PastNotReady)
"""Trouble that passes."""

RETRY_SECONDS: Final = 1.0
TELL_SECONDS: Final = 0.5
"""How often the record says how far it has come."""


@dataclass(frozen=True)
class Parts:
    """What working a branch out needs to know of the system. `base` gives the documents of real
    history as of a position."""

    log: Log
    projections: Sequence[Projection]
    domain: Domain
    variants: Sequence[Variant[Any]]
    base: Base

    @property
    def versions(self) -> dict[str, int]:
        return {projection.name: projection.version for projection in self.projections}


class Worker:
    """Works branches out; `close` stops it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._log = parts.log
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._differences: dict[str, tuple[int, Difference]] = {}
        self._one_by_one = asyncio.Lock()
        self.most_apart = MOST_APART

    def is_done(self, branch: Branch) -> bool:
        """Whether its documents are of its newest revision, and of these read models."""
        computed = branch.computed
        return (
            computed is not None
            and computed.revision == branch.revision
            and computed.versions == self._parts.versions
        )

    def start(self, branch_id: str) -> asyncio.Task[None]:
        """Have it worked out, unless that is under way."""
        task = self._tasks.get(branch_id)
        if task is None or task.done():
            task = asyncio.create_task(self._work(branch_id), name=branch_id)
            self._tasks[branch_id] = task
        return task

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def forget(self, branch_id: str) -> None:
        """It has been removed."""
        self._differences.pop(branch_id, None)
        if task := self._tasks.pop(branch_id, None):
            task.cancel()

    async def difference(self, branch: Branch) -> Difference:
        """Where the history of this revision differs; remembered."""
        revision, found = self._differences.get(branch.id, (0, None))
        if found is None or revision != branch.revision:
            variants = {variant.name: variant for variant in self._parts.variants}
            found = await difference_of(self._log, branch, variants)
            self._differences[branch.id] = branch.revision, found
        return found

    # -- at work

    async def _work(self, branch_id: str) -> None:
        """What is away for a while is waited for; any other trouble is told in the record."""
        while True:
            try:
                branch = await self._found(branch_id)
                if branch is None or self.is_done(branch) or branch.failed:
                    return
                await self._tried(branch)
            except NOT_YET as trouble:
                log.info("%s has to wait: %s", branch_id, trouble)
                await asyncio.sleep(RETRY_SECONDS)

    async def _tried(self, branch: Branch) -> None:
        try:
            async with self._one_by_one:
                await self._compute(branch)
        except NOT_YET:
            raise
        except Exception as error:
            log.exception("%s cannot be worked out", branch.id)
            await self._set(branch, failed=f"{type(error).__name__}: {error}"[:500])

    async def _found(self, branch_id: str) -> Branch | None:
        found = await self._log.mongo.run(lambda db: db[BRANCHES].find_one({"_id": branch_id}))
        return branch_of(found) if found else None

    async def _set(self, branch: Branch, **fields: Any) -> None:
        """Say something of this revision, while it is the newest."""
        where = {"_id": branch.id, "revision": branch.revision}
        await self._log.mongo.run(lambda db: db[BRANCHES].update_one(where, {"$set": fields}))

    async def _compute(self, branch: Branch) -> None:
        token = f"{branch.id}.{branch.revision}-{uuid4().hex[:6]}"
        progress = _Progress()
        telling = asyncio.create_task(self._tell(branch, progress))
        try:
            difference = await self.difference(branch)
            documents = await self._documents(token, difference, progress)
            by_hand = frozenset(one.position for one in branch.replaced)
            refusals = await refused_in(
                self._log, self._parts.domain.by_category, difference, by_hand
            )
            write = partial(storing.write_refusals, token=token, found=refusals)
            refused = await self._log.mongo.run(write)
        except BaseException:
            with suppress(Exception):
                await self._log.mongo.run(partial(storing.remove, prefix=token))
            raise
        finally:
            telling.cancel()
        computed = Computed(
            revision=branch.revision,
            token=token,
            versions=self._parts.versions,
            documents=documents,
            refused=refused,
        )
        await self._log.mongo.run(partial(_publish, branch, computed))

    async def _documents(
        self, token: str, difference: Difference, progress: "_Progress"
    ) -> dict[str, Counts]:
        folding = Folding(self._log, self._parts.projections, difference, progress.add)
        progress.work = difference.upto
        keys = await folding.keys()
        on_top = difference.is_on_top and any(keys.values())
        base = await self._parts.base(difference.upto) if on_top else None
        outcome = await folding.run(keys, base)

        def write(db: SyncDatabase) -> dict[str, Counts]:
            return {
                name: storing.write_documents(db, token, name, both)
                for name, both in outcome.items()
            }

        counts = await self._log.mongo.run(write)
        return {
            name: await self._whole(token, name, one, difference) for name, one in counts.items()
        }

    async def _whole(self, token: str, name: str, counts: Counts, difference: Difference) -> Counts:
        """Where much differs, the branch has all documents of the read model."""
        if counts.all < self.most_apart:
            return counts
        projection = next(one for one in self._parts.projections if one.name == name)
        base = await self._parts.base(difference.upto)
        await storing.complete(self._log.mongo, token, projection, base)
        return replace(counts, whole=True)

    async def _tell(self, branch: Branch, progress: "_Progress") -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            await self._set(branch, done=progress.done, work=progress.work)


@dataclass
class _Progress:
    """Events read so far, of about how many."""

    done: int = 0
    work: int = 0

    def add(self, events: int) -> None:
        self.done += events


def _publish(branch: Branch, computed: Computed, db: SyncDatabase) -> None:
    """Make the documents valid, unless newer ones are, or the branch is gone; drop those that
    nobody reads any more."""
    old = branch.computed.token if branch.computed else None
    where = {"_id": branch.id, "computed": to_stored(branch.computed)}
    now = {"computed": to_stored(computed), "before": old, "failed": None}
    if not db[BRANCHES].update_one(where, {"$set": now}).matched_count:
        storing.remove(db, computed.token)
    elif branch.before:
        storing.remove(db, branch.before)
