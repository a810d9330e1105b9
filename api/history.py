"""The history of any aggregate: each version with what changed, who changed it, and why."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, cast

import strawberry

from api.connections import Connection, Edge, PageInfo
from api.context import Info
from api.diff import Change, diff
from api.errors import ApiError, ErrorCode
from api.operations import plain
from api.orders import own_order
from api.payments import own_payment
from api.rights import EVERYONE
from api.scalars import Position
from api.shipping import own_shipment
from domain.registry import AGGREGATES
from infra import history as infra_history
from infra.codec import to_stored
from readmodels.page import MOST_ITEMS

DECIDERS: Final = {decider.category: decider for decider in AGGREGATES}


@strawberry.type
class FieldOfState:
    """A part of the state that changed. `path` goes into values: `lines.0.quantity`; null stands
    for what is not there."""

    path: str
    before: strawberry.scalars.JSON | None
    after: strawberry.scalars.JSON | None


@strawberry.type
class AggregateVersion:
    """What one event made of an aggregate: of the state that its rules decide on.

    `events` are several where an event of old is read as more than one today.
    """

    version: int
    position: Position
    events: list[str]
    at: datetime
    actor: str
    reason: str | None
    command: str
    changes: list[FieldOfState]


def changes_of(version: infra_history.Version) -> Iterable[Change]:
    """What the version changed."""
    return diff(plain(to_stored(version.before)), plain(to_stored(version.after)))


def reason_of(version: infra_history.Version) -> str | None:
    """Why: told by the event, or by whoever sent the command."""
    told = (getattr(recorded.event, "reason", None) for recorded in version.events)
    return next(filter(None, told), version.events[0].meta.reason)


def _version(version: infra_history.Version) -> AggregateVersion:
    first = version.events[0]
    return AggregateVersion(
        version=version.number,
        position=Position(first.position),
        events=[type(recorded.event).__name__ for recorded in version.events],
        at=first.event.at,
        actor=first.meta.actor,
        reason=reason_of(version),
        command=first.meta.command,
        changes=[
            FieldOfState(path=one.path, before=one.before, after=one.after)
            for one in changes_of(version)
        ],
    )


async def _require_own(info: Info, id: str) -> None:
    """Let customers pass for what is theirs; the same refusal for all else."""
    if info.context.is_staff():
        return
    match id.partition("-")[0]:
        case "order":
            await own_order(info, id)
        case "payment":
            await own_payment(info, id)
        case "shipment":
            await own_shipment(info, id)
        case "customer":
            info.context.require_own(id)
        case _:
            info.context.require_own(None)


def _after(cursor: str | None) -> int:
    """The version that a cursor stands for."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise ApiError(ErrorCode.BAD_REQUEST, "The cursor is not one of this list.")
    return int(cursor)


def _connection(found: infra_history.History) -> Any:
    nodes = [_version(version) for version in found.versions]
    cursors = [str(node.version) for node in nodes]

    async def count() -> int:
        return found.last

    page_info = PageInfo(
        has_next_page=bool(nodes) and nodes[-1].version < found.last,
        has_previous_page=bool(nodes) and nodes[0].version > 1,
        start_cursor=cursors[0] if cursors else None,
        end_cursor=cursors[-1] if cursors else None,
    )
    edges = [Edge(node=n, cursor=c) for n, c in zip(nodes, cursors, strict=True)]
    return Connection(nodes=nodes, edges=edges, page_info=page_info, count=count)


@strawberry.type
class HistoryQuery:
    @strawberry.field(
        metadata=EVERYONE,
        description="The versions of an order, payment, shipment, customer, product, stock item or "
        "ledger entry, the first one first; for customers, of what is theirs.",
    )
    async def history(
        self, info: Info, id: strawberry.ID, first: int = 20, after: str | None = None
    ) -> Connection[AggregateVersion]:
        decider = DECIDERS.get(id.partition("-")[0])
        if not 1 <= first <= MOST_ITEMS:
            message = f"A page has 1 to {MOST_ITEMS} items, not {first}."
            raise ApiError(ErrorCode.BAD_REQUEST, message)
        await _require_own(info, id)
        if decider is None:
            raise ApiError(ErrorCode.BAD_REQUEST, "There is no history of such a thing.")
        found = await infra_history.history(info.context.log, decider, id, _after(after), first)
        return cast("Connection[AggregateVersion]", _connection(found))
