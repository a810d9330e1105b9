"""What operators are told of generations of read models, and of the jobs that build them."""

from datetime import datetime
from enum import Enum

import strawberry

from api.scalars import Position
from infra import comparing, generations, jobs


@strawberry.enum
class JobKind(Enum):
    REBUILD = "rebuild"
    ROLLBACK = "rollback"


@strawberry.enum(description="READY is built, compared, and held until it is told to go live.")
class JobState(Enum):
    RUNNING = "running"
    PAUSED = "paused"
    READY = "ready"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@strawberry.enum
class RebuildDifferenceKind(Enum):
    DIFFERS = "differs"
    MISSING = "missing"
    EXTRA = "extra"


@strawberry.type(description="What a field was and would be, as JSON.")
class RebuildFieldDifference:
    field: str
    before: str | None
    after: str | None


@strawberry.type(description="A document that is not the same in the new generation.")
class RebuildDifference:
    key: str
    kind: RebuildDifferenceKind
    fields: list[RebuildFieldDifference]
    parts_at: Position | None = strawberry.field(
        description="The first event after which the new code no longer says what the old did."
    )


@strawberry.type(description="The new generation against the old one, both of one position.")
class RebuildComparison:
    against: int
    position: Position
    documents: int
    differing: int
    missing: int
    extra: int
    examples: list[RebuildDifference]
    parts_at: Position | None = strawberry.field(description="The earliest of the examples.")

    @classmethod
    def of(cls, found: comparing.Comparison) -> "RebuildComparison":
        return cls(
            against=found.against,
            position=Position(found.position),
            documents=found.documents,
            differing=found.differing,
            missing=found.missing,
            extra=found.extra,
            examples=[_difference(one) for one in found.examples],
            parts_at=_position(found.parts_at),
        )


def _difference(one: comparing.Difference) -> RebuildDifference:
    fields = [
        RebuildFieldDifference(field=field.field, before=field.before, after=field.after)
        for field in one.fields
    ]
    return RebuildDifference(
        key=one.key,
        kind=RebuildDifferenceKind(one.kind),
        fields=fields,
        parts_at=_position(one.parts_at),
    )


def _position(position: int | None) -> Position | None:
    return None if position is None else Position(position)


@strawberry.type(description="A rebuild of a read model, or the way back to an old generation.")
class Rebuild:
    kind: JobKind
    projection: str
    generation: int
    version: int
    state: JobState
    started_at: datetime
    started_by: str
    position: Position = strawberry.field(description="All up to here is written.")
    goal: Position
    events_per_second: float
    seconds_left: float | None
    error: str | None
    comparison: RebuildComparison | None

    @classmethod
    def of(cls, job: jobs.Job) -> "Rebuild":
        return cls(
            kind=JobKind(job.kind),
            projection=job.projection,
            generation=job.generation,
            version=job.version,
            state=JobState(job.state),
            started_at=job.started,
            started_by=job.by,
            position=Position(job.position),
            goal=Position(job.goal),
            events_per_second=job.per_second,
            seconds_left=job.seconds_left,
            error=job.error,
            comparison=RebuildComparison.of(job.comparison) if job.comparison else None,
        )


@strawberry.type(description="The documents of a read model, once built.")
class Generation:
    projection: str
    generation: int
    version: int
    position: Position
    live: bool
    retired_at: datetime | None

    @classmethod
    def of(cls, one: generations.Generation) -> "Generation":
        return cls(
            projection=one.projection,
            generation=one.generation,
            version=one.version,
            position=Position(one.position),
            live=one.retired is None,
            retired_at=one.retired,
        )
