"""What resolvers get as `info.context`: who asks, and one snapshot to read from.

1. All root fields of a query are answered at one position, the newest that any of them asked for:
   they start in the same turn of the event loop, and the snapshot is chosen after that turn.
   One that asks for the past, or for a branch, reads from that, with all that is below it.
2. Documents asked for by key in one turn are one call per read model, however many ask (those of
   other requests at the same position included, see `infra.together`).
3. A mutation's payload reads at or after the position of its own receipt.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, Self, TypeAlias, TypeVar, cast

import strawberry

from api.auth import Principal, Role
from api.errors import ApiError, ErrorCode
from domain.recorded import position_text
from infra.answers import Answer, Request
from infra.branches import Branches
from infra.changes import Changes
from infra.commands import CommandHandler
from infra.documents import Documents, Row
from infra.live import Live
from infra.log import Log
from infra.mongo import Document
from infra.newest import Snapshot
from infra.past import Pasts
from infra.preview import Previewer
from infra.reads import ReadModelBehind, Reads
from readmodels.page import Select
from readmodels.projection import Projection

V = TypeVar("V")

_SEEN: Final[ContextVar[Documents | None]] = ContextVar("seen", default=None)
"""What the root field that is being resolved reads from, unless from the live documents: root
fields are resolved side by side, each in a task of its own, with all that is below it."""


def not_readable_yet(behind: ReadModelBehind) -> ApiError:
    """What a client is told whose position the read models have not reached in time."""
    return ApiError(
        ErrorCode.READ_MODEL_BEHIND,
        f"Position {position_text(behind.wanted)} is not readable yet: the read models are at "
        f"{position_text(behind.reached)}. Ask again.",
    )


class Context:
    """One operation's view of the system."""

    def __init__(
        self,
        principal: Principal,
        trace_id: str,
        *,
        reads: Reads,
        pasts: Pasts,
        branches: Branches,
        handler: CommandHandler,
        changes: Changes,
        log: Log,
        previewer: Previewer,
        at_least_seconds: float,
    ) -> None:
        self.principal, self.trace_id = principal, trace_id
        self.previewer = previewer
        self.changes, self.log = changes, log
        self.pasts, self.branches = pasts, branches
        self._reads, self._handler = reads, handler
        self._seconds = at_least_seconds
        self._wanted = 0
        self._snapshot: Snapshot | None = None
        self._position: int | None = None

    async def __aenter__(self) -> Self:
        """A context is open for as long as its operation runs; this one holds nothing."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    # -- who asks

    def is_staff(self) -> bool:
        """Staff and operators see and do what concerns any customer."""
        return not self.principal.roles.isdisjoint({Role.STAFF, Role.OPERATOR})

    def require_own(self, customer_id: str | None) -> None:
        """Let staff pass, and a customer where it is their own; the same refusal for what is
        somebody else's and for what does not exist."""
        if not self.is_staff() and (
            customer_id is None or customer_id != self.principal.customer_id
        ):
            raise ApiError(ErrorCode.FORBIDDEN, "This is not yours, or does not exist.")

    def require_staff(self) -> None:
        if not self.is_staff():
            raise ApiError(ErrorCode.FORBIDDEN, "This is for staff.")

    # -- reading

    def see(self, documents: Documents | None) -> None:
        """Read from these, in this root field and below it; None: from the live ones."""
        _SEEN.set(documents)
        if documents is not None:
            self._position = max(self._position or 0, documents.position)

    async def documents(self) -> Documents:
        """What the root field reads from."""
        return _SEEN.get() or Live(self._reads, await self.at())

    async def at(self, at_least: int | None = None) -> Snapshot:
        """The operation's snapshot, at or after `at_least`."""
        self._wanted = max(self._wanted, at_least or 0)
        if not self._is_chosen():
            await asyncio.sleep(0)  # by the next turn all root fields have asked
        if not self._is_chosen():
            snapshot = await self._newest()
            if not self._is_chosen():  # another root field may have been faster
                self._snapshot, self._position = snapshot, snapshot.position
        assert self._snapshot is not None, "it has been chosen"
        return self._snapshot

    def _is_chosen(self) -> bool:
        return self._snapshot is not None and self._snapshot.position >= self._wanted

    async def _newest(self) -> Snapshot:
        try:
            return await self._reads.snapshot(self._wanted, self._seconds)
        except ReadModelBehind as behind:
            raise not_readable_yet(behind) from behind

    def renew(self, position: int) -> None:
        """Begin anew for the next message of a subscription."""
        self._snapshot, self._wanted, self._position = None, position, position

    async def load(self, projection: Projection[V], key: str) -> V | None:
        """The document with this key, or None."""
        [view] = await self.load_many(projection, (key,))
        return view

    async def load_many(self, projection: Projection[V], keys: Sequence[str]) -> list[V | None]:
        rows = await (await self.documents()).get(projection, keys)
        return [cast(V, rows[key].view) if key in rows else None for key in keys]

    async def select(self, projection: Projection[V], query: Select) -> list[Row[V]]:
        """The documents of one page and one more, if there is one."""
        documents = await self.documents()
        return await documents.find(projection, query.filter, query.sort, query.limit)

    async def every(self, projection: Projection[V]) -> list[V]:
        """All documents, for read models that never have many."""
        rows = await (await self.documents()).find(projection, {}, (("_id", 1),), 0)
        return [cast(V, row.view) for row in rows]

    async def count(self, projection: Projection[Any], query: Mapping[str, Any], most: int) -> int:
        return await (await self.documents()).count(projection, query, most)

    async def aggregate(
        self, projection: Projection[Any], pipeline: Sequence[Mapping[str, Any]]
    ) -> list[Document]:
        return await (await self.documents()).aggregate(projection, pipeline)

    # -- writing

    async def send(self, request: Request) -> Answer:
        """The answer to a command."""
        answer = await self._handler.handle(request)
        self._position = max(self._position or 0, answer.position)
        return answer

    def extensions(self) -> dict[str, Any]:
        """What every answer says: the position it was answered at. One that has read nothing is
        as good as one at the newest."""
        position = self._reads.position if self._position is None else self._position
        return {"position": position_text(position)}


Info: TypeAlias = strawberry.Info[Context, None]

OpenContext: TypeAlias = Callable[[Principal, str], Any]
