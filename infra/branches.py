"""Branches: other pasts. What if an event had not happened, another had, or a rule had been other?

1. A branch is real history up to a fixed end, with changes from a position on. The rest of history
   is folded on top of them.
2. Copy on write: only what differs is stored (`branching.storing`); the rest is read from the
   documents as of the end of its history.
3. Nothing but a branch's own record and collections is ever written: the log, the read models, the
   processes and the outside world never notice.
4. A change is recorded at once and worked out in the background (`branching.working`). Who reads a
   branch waits, bounded, until that is done.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final
from uuid import uuid4

from domain.recorded import Meta, Recorded
from infra.answers import Request
from infra.branching import changing, storing
from infra.branching.changing import BranchRefused, Refusal
from infra.branching.documents import BranchDocuments
from infra.branching.record import BRANCHES, Branch, Computed, branch_of, stored_branch
from infra.branching.sending import Domain, follow_up
from infra.branching.states import BranchStates
from infra.branching.storing import Difference, Refused
from infra.branching.working import Parts, Worker
from infra.codec import now
from infra.documents import Documents
from infra.folding import Projection
from infra.log import EVENTS
from infra.mongo import Document, SyncDatabase
from infra.preview import Preview

__all__ = (
    "Branch",
    "BranchNotReady",
    "BranchRefused",
    "BranchUnknown",
    "Branches",
    "Difference",
    "Domain",
    "Parts",
    "Refusal",
    "Refused",
)

MOST_BRANCHES: Final = 100
QUICK_SECONDS: Final = 1.0

CHANGED: Final = ("injected", "dropped", "replaced", "variants", "numbers", "revision")
PROGRESS: Final = ("done", "work", "failed")
"""The fields that a change touches: what is worked out meanwhile stays."""


class BranchUnknown(BranchRefused):
    """There is no such branch."""

    def __init__(self, branch_id: str) -> None:
        super().__init__(Refusal.UNKNOWN_BRANCH, f"There is no branch {branch_id}.")


class BranchNotReady(Exception):
    """What was changed is not worked out yet. Ask again."""

    def __init__(self, branch: Branch) -> None:
        super().__init__(f"The branch is being worked out ({branch.share:.0%}). Ask again.")


class Branches:
    """All branches of one database; `run` must be running."""

    def __init__(self, parts: Parts, seconds: float = 5.0) -> None:
        self._parts, self._seconds = parts, seconds
        self._log, self._mongo = parts.log, parts.log.mongo
        self._worker = Worker(parts)

    async def run(self) -> None:
        """Go on with what was not finished, until cancelled."""
        try:
            for branch in await self.all():
                if not self._worker.is_done(branch) and not branch.failed:
                    self._worker.start(branch.id)
            await asyncio.Event().wait()
        finally:
            await self._worker.close()

    # -- which there are

    async def all(self) -> list[Branch]:
        """The newest first."""
        found = await self._mongo.run(lambda db: list(db[BRANCHES].find(sort=[("created", -1)])))
        return [branch_of(document) for document in found]

    async def get(self, branch_id: str) -> Branch:
        """Raises `BranchUnknown`."""
        found = await self._mongo.run(lambda db: db[BRANCHES].find_one({"_id": branch_id}))
        if found is None:
            raise BranchUnknown(branch_id)
        return branch_of(found)

    async def create(
        self, name: str, owner: str, at: int | None = None, upto: int | None = None
    ) -> Branch:
        """A branch of history up to `upto` (now) that may differ from `at` (its end) on."""
        head = (await self._log.head()).position
        end = head if upto is None else upto
        begin = end if at is None else at
        if not 0 <= begin <= end <= head:
            text = f"A branch lies between 0 and {head}, and begins before it ends."
            raise BranchRefused(Refusal.OUTSIDE_OF_BRANCH, text)
        if len(await self.all()) >= MOST_BRANCHES:
            text = f"There are {MOST_BRANCHES} branches: remove one first."
            raise BranchRefused(Refusal.TOO_MANY, text)
        branch = Branch(
            id=f"branch-{uuid4().hex[:12]}",
            name=name,
            owner=owner,
            created=now(),
            at=begin,
            upto=end,
        )
        await self._mongo.run(lambda db: db[BRANCHES].insert_one(stored_branch(branch)))
        self._worker.start(branch.id)
        return branch

    async def remove(self, branch_id: str) -> None:
        """Forget the branch and all that is stored of it."""
        await self.get(branch_id)
        self._worker.forget(branch_id)

        def drop(db: SyncDatabase) -> None:
            db[BRANCHES].delete_one({"_id": branch_id})
            storing.remove(db, branch_id)

        await self._mongo.run(drop)

    # -- other history

    async def inject(
        self, branch_id: str, stream: str, event: Any, actor: str, after: int | None = None
    ) -> Branch:
        """Have an event happen after a position (where the branch begins)."""
        self._check_stream(stream, event)
        place = changing.place_in(await self.get(branch_id), after)
        follows = {stream: await self._version(stream, place)}
        new = Recorded(event=event, position=0, stream=stream, version=0, meta=_by_hand(actor))
        return await self._change(
            branch_id, lambda branch: changing.with_events(branch, [new], place, follows)
        )

    async def drop(self, branch_id: str, positions: Sequence[int]) -> Branch:
        """Have the events at these positions not happen."""
        return await self._change(
            branch_id, lambda branch: changing.without_events(branch, positions)
        )

    async def replace(self, branch_id: str, position: int, event: Any) -> Branch:
        """Have another event of the same stream happen at a position."""
        found = await self._mongo.run(lambda db: db[EVENTS].find_one({"_id": position}))
        if found is None:
            text = f"There is no event at position {position}."
            raise BranchRefused(Refusal.OUTSIDE_OF_BRANCH, text)
        self._check_stream(found["stream"], event)
        return await self._change(
            branch_id, lambda branch: changing.with_other_event(branch, position, event)
        )

    async def use(self, branch_id: str, variant: str, rule: Any) -> Branch:
        """Have a rule be another one, from where the branch begins on."""
        return await self._change(
            branch_id, lambda branch: changing.with_variant(branch, variant, rule)
        )

    async def send(
        self, branch_id: str, request: Request, after: int | None = None
    ) -> tuple[Branch, Preview]:
        """Have a command come after a position, with what processes ask for in answer to it."""
        branch = await self.get(branch_id)
        place = changing.place_in(branch, after)
        difference = await self._worker.difference(branch)
        domain = self._parts.domain
        states = BranchStates(self._log, domain.by_category, difference, place)
        sent = await follow_up(domain, states, request, branch.numbers)
        if sent.events:
            branch = await self._change(
                branch_id, lambda now: changing.with_events(now, sent.events, place, states.follows)
            )
        return branch, sent

    def _check_stream(self, stream: str, event: Any) -> None:
        category, _, name = stream.partition("-")
        decider = self._parts.domain.by_category.get(category)
        if decider is None or not name or not isinstance(event, decider.events):
            text = f"{type(event).__name__} is no event of a stream {stream}."
            raise BranchRefused(Refusal.EVENT_INVALID, text)

    async def _version(self, stream: str, upto: int) -> int:
        """Of the last event of the stream up to a position; 0 if there is none."""
        where = {"stream": stream, "_id": {"$lte": upto}}
        found = await self._mongo.run(
            lambda db: db[EVENTS].find_one(where, {"version": 1}, sort=[("version", -1)])
        )
        return int(found["version"]) if found else 0

    async def _change(self, branch_id: str, change: Callable[[Branch], Branch]) -> Branch:
        """Record a change, whoever else changes the branch, and have it worked out."""
        while True:
            branch = await self.get(branch_id)
            changed = change(branch)
            stored = stored_branch(changed)
            fields = {name: stored[name] for name in (*CHANGED, *PROGRESS)}
            if await self._mongo.run(partial(_replace, branch, fields)):
                self._worker.start(branch_id)
                return changed

    # -- reading

    async def ready(self, branch_id: str, seconds: float | None = None) -> tuple[Branch, Computed]:
        """The branch, worked out; raises `BranchNotReady` if it is not so in time."""
        branch = await self.get(branch_id)
        if not self._worker.is_done(branch) and not branch.failed:
            task = self._worker.start(branch_id)
            await asyncio.wait({task}, timeout=self._seconds if seconds is None else seconds)
            branch = await self.get(branch_id)
        if branch.failed:
            text = f"The branch cannot be worked out: {branch.failed}"
            raise BranchRefused(Refusal.CANNOT_BE_WORKED_OUT, text)
        if branch.computed is None or not self._worker.is_done(branch):
            raise BranchNotReady(branch)
        return branch, branch.computed

    def is_ready(self, branch: Branch) -> bool:
        """Whether its newest revision is worked out."""
        return self._worker.is_done(branch)

    async def settled(self, branch_id: str) -> Branch:
        """The branch, worked out if that is quick."""
        branch = await self.get(branch_id)
        if self._worker.is_done(branch) or branch.failed:
            return branch
        await asyncio.wait({self._worker.start(branch_id)}, timeout=QUICK_SECONDS)
        return await self.get(branch_id)

    async def documents(self, branch_id: str) -> Documents:
        """The documents of the branch."""
        branch, computed = await self.ready(branch_id)
        base = await self._parts.base(branch.upto)
        return BranchDocuments(self._mongo, computed, base)

    async def real(self, branch: Branch) -> Documents:
        """The documents of real history, as of where the branch's ends."""
        return await self._parts.base(branch.upto)

    async def differences(
        self, computed: Computed, projection: Projection, after: str | None = None, limit: int = 0
    ) -> list[Difference]:
        """Documents that differ, by key; all of them unless there is a limit."""
        return await self._mongo.run(
            lambda db: storing.read_differences(db, computed.token, projection, after, limit)
        )

    async def refusals(self, computed: Computed, after: int = 0, limit: int = 0) -> list[Refused]:
        """Events that make no sense any more, in the order of history."""
        return await self._mongo.run(
            lambda db: storing.read_refusals(db, computed.token, after, limit)
        )


def _replace(branch: Branch, fields: Document, db: SyncDatabase) -> bool:
    where = {"_id": branch.id, "revision": branch.revision}
    return bool(db[BRANCHES].update_one(where, {"$set": fields}).matched_count)


def _by_hand(actor: str) -> Meta:
    command_id = str(uuid4())
    return Meta(
        event_id=f"{command_id}:0",
        command_id=command_id,
        command="InjectEvent",
        correlation_id=command_id,
        causation_id=command_id,
        actor=actor,
        recorded_at=now(),
    )
