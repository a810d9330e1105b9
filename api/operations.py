"""For operators: the events themselves, and documents that wait for somebody to look at them."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import strawberry

from api.context import Info
from api.rights import OPERATOR
from api.scalars import Position
from api.subscriptions import Gap, follow
from domain.recorded import Recorded
from infra.changes import EventSource
from infra.codec import to_stored
from infra.parked import parked_keys


@strawberry.type
class RecordedEvent:
    """An event as the log keeps it. `gap` is set where events cannot be told."""

    position: Position
    stream: strawberry.ID | None
    version: int
    type: str
    data: strawberry.scalars.JSON
    event_id: str
    command_id: str
    command: str
    correlation_id: str
    causation_id: str
    actor: str
    recorded_at: datetime | None
    gap: Gap | None = None

    @classmethod
    def of(cls, recorded: Recorded) -> "RecordedEvent":
        meta = recorded.meta
        return cls(
            position=Position(recorded.position),
            stream=strawberry.ID(recorded.stream),
            version=recorded.version,
            type=type(recorded.event).__name__,
            data=plain(to_stored(recorded.event)),
            event_id=meta.event_id,
            command_id=meta.command_id,
            command=meta.command,
            correlation_id=meta.correlation_id,
            causation_id=meta.causation_id,
            actor=meta.actor,
            recorded_at=meta.recorded_at,
        )

    @classmethod
    def missing(cls, gap: Gap) -> "RecordedEvent":
        return cls(
            position=gap.to,
            stream=None,
            version=0,
            type="",
            data=strawberry.scalars.JSON({}),
            event_id="",
            command_id="",
            command="",
            correlation_id="",
            causation_id="",
            actor="",
            recorded_at=None,
            gap=gap,
        )


def plain(value: Any) -> Any:
    """The stored form with times as text."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value


@strawberry.type
class ParkedKey:
    """A document that waits because an event could not be folded into it."""

    projection: str
    key: str
    position: Position
    error: str


@strawberry.type
class OperationsQuery:
    @strawberry.field(
        metadata=OPERATOR,
        description="Documents that wait, the oldest first (see `tidings parked`).",
    )
    async def parked_keys(self, info: Info) -> list[ParkedKey]:
        return [
            ParkedKey(
                projection=parked.projection,
                key=parked.key,
                position=Position(parked.position),
                error=parked.error,
            )
            for parked in await parked_keys(info.context.log)
        ]


@strawberry.type
class OperationsSubscription:
    @strawberry.subscription(
        metadata=OPERATOR, description="The log from a position on, as it grows; resumable."
    )
    async def events(
        self,
        info: Info,
        after: Position | None = None,
        types: list[str] | None = None,
        stream: strawberry.ID | None = None,
    ) -> AsyncGenerator[RecordedEvent, None]:
        async for change in follow(info, EventSource.kind, stream, after):
            if isinstance(change, Gap):
                yield RecordedEvent.missing(change)
            elif types is None or type(change.value.event).__name__ in types:
                yield RecordedEvent.of(change.value)
