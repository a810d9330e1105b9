"""For operators: generations of read models, and the jobs that build them.

1. Whatever is asked for here is done in the background, by this process or another one.
2. Asking again for what is under way answers with that.
3. What cannot be done is data, as with commands; nothing of this is a command of the domain.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import Final

import strawberry

from api.context import Info
from api.rebuilds import Generation, Rebuild
from api.rights import OPERATOR
from infra import generations, jobs
from infra.generations import GenerationRefused, Refusal
from infra.rebuild import start_rebuild, start_rollback
from readmodels.projection import Projection
from readmodels.registry import PROJECTIONS

BY_NAME: Final = {projection.name: projection for projection in PROJECTIONS}
LOOK_SECONDS: Final = 0.25

strawberry.enum(Refusal, name="OperationErrorCode", description="Why it cannot be done.")


@strawberry.type
class OperationError:
    code: Refusal
    message: str


@strawberry.type
class RebuildPayload:
    errors: list[OperationError]
    rebuild: Rebuild | None


@strawberry.type
class RemoveGenerationPayload:
    errors: list[OperationError]
    removed: list[int]


@strawberry.input
class RebuildReadModelInput:
    projection: str
    hold: bool = strawberry.field(
        default=False, description="Build and compare; `resumeRebuild` makes it live."
    )


@strawberry.input
class RebuildInput:
    """Names the read model whose job is meant: it has one under way at most."""

    projection: str


@strawberry.input
class GenerationInput:
    """`generation`: the latest old one when rolling back, all old ones when removing, unless
    told."""

    projection: str
    generation: int | None = None


# -- the fields


def _named(name: str) -> Projection[object]:
    if name not in BY_NAME:
        raise GenerationRefused(Refusal.UNKNOWN_READ_MODEL, f"There is no read model {name}.")
    return BY_NAME[name]


def _error(refused: GenerationRefused) -> OperationError:
    return OperationError(code=refused.refusal, message=str(refused))


async def _answered(work: Awaitable[jobs.Job]) -> RebuildPayload:
    try:
        return RebuildPayload(errors=[], rebuild=Rebuild.of(await work))
    except GenerationRefused as refused:
        return RebuildPayload(errors=[_error(refused)], rebuild=None)


async def _rebuild(info: Info, input: RebuildReadModelInput) -> jobs.Job:
    projection, by = _named(input.projection), info.context.principal.subject
    return await start_rebuild(info.context.log, projection, by, hold=input.hold)


async def _rollback(info: Info, input: GenerationInput) -> jobs.Job:
    projection, by = _named(input.projection), info.context.principal.subject
    return await start_rollback(info.context.log, projection, by, input.generation)


async def _cancelled(info: Info, projection: str) -> jobs.Job:
    mongo = info.context.log.mongo
    job = await jobs.cancel(mongo, _named(projection).name)
    await generations.remove_nameless(mongo, projection)
    return job


@strawberry.type
class GenerationsQuery:
    @strawberry.field(
        metadata=OPERATOR,
        description="Of one read model or of all: the live one, then those kept, the latest first.",
    )
    async def generations(self, info: Info, projection: str | None = None) -> list[Generation]:
        names = list(BY_NAME) if projection is None else [projection]
        found = await generations.generations(info.context.log, names)
        return [Generation.of(one) for one in found]

    @strawberry.field(metadata=OPERATOR, description="The latest 100, the last one first.")
    async def rebuilds(self, info: Info, projection: str | None = None) -> list[Rebuild]:
        found = await jobs.jobs(info.context.log.mongo, projection)
        return [Rebuild.of(job) for job in found]


@strawberry.type
class GenerationsMutation:
    @strawberry.mutation(metadata=OPERATOR, description="Build it anew while the old one serves.")
    async def rebuild_read_model(self, info: Info, input: RebuildReadModelInput) -> RebuildPayload:
        return await _answered(_rebuild(info, input))

    @strawberry.mutation(metadata=OPERATOR, description="Stop for now; nothing is lost.")
    async def pause_rebuild(self, info: Info, input: RebuildInput) -> RebuildPayload:
        return await _answered(jobs.pause(info.context.log.mongo, input.projection))

    @strawberry.mutation(metadata=OPERATOR, description="Go on with what was paused or held.")
    async def resume_rebuild(self, info: Info, input: RebuildInput) -> RebuildPayload:
        return await _answered(jobs.resume(info.context.log.mongo, input.projection))

    @strawberry.mutation(metadata=OPERATOR, description="Give up; what is live stays.")
    async def cancel_rebuild(self, info: Info, input: RebuildInput) -> RebuildPayload:
        return await _answered(_cancelled(info, input.projection))

    @strawberry.mutation(
        metadata=OPERATOR, description="Bring an old generation up to date and make it live."
    )
    async def rollback_generation(self, info: Info, input: GenerationInput) -> RebuildPayload:
        return await _answered(_rollback(info, input))

    @strawberry.mutation(metadata=OPERATOR, description="Remove what is kept of old generations.")
    async def remove_generation(
        self, info: Info, input: GenerationInput
    ) -> RemoveGenerationPayload:
        try:
            projection = _named(input.projection)
            gone = await generations.remove(
                info.context.log.mongo, projection.name, input.generation
            )
        except GenerationRefused as refused:
            return RemoveGenerationPayload(errors=[_error(refused)], removed=[])
        return RemoveGenerationPayload(errors=[], removed=gone)


@strawberry.type
class GenerationsSubscription:
    @strawberry.subscription(
        metadata=OPERATOR,
        description="The latest job of a read model, now and whenever it has come further.",
    )
    async def rebuild_progress(self, info: Info, projection: str) -> AsyncGenerator[Rebuild, None]:
        before = None
        while True:
            latest = await jobs.jobs(info.context.log.mongo, projection, most=1)
            if latest and latest[0] != before:
                before = latest[0]
                yield Rebuild.of(before)
            await asyncio.sleep(LOOK_SECONDS)
