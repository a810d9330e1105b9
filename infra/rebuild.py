"""Rebuilding read models: jobs that build a generation from the log while the live one serves, or
bring an old one up to date; then it goes live in one write.

1. A job is carried out by one process at a time, and goes on in another one when that is gone.
2. A server does not wait for read models that are new, or changed: they are out of the live group
   until their jobs are done. `prepare_read_models` does wait, and leaves what is live as it is.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from infra.batches import UNSTORABLE
from infra.codec import to_stored
from infra.feeding.group import checkpoint_fed
from infra.folding import PARKED, SKIPPED, Projection
from infra.generations import (
    GENERATIONS,
    KEEP,
    PARKED_ASIDE,
    Generation,
    GenerationRefused,
    Refusal,
    checkpoint_of,
    kept,
    make_empty_live,
    new_generation,
    prune,
    retire,
)
from infra.jobs import (
    Job,
    Lease,
    Stopped,
    active_job,
    active_jobs,
    add_job,
    cancel,
    find_job,
    prepare_jobs,
)
from infra.log import Log
from infra.mongo import once_available
from infra.projector import CHECKPOINTS, MAIN, Checkpoint
from infra.rebuilding import Run, Told
from infra.shadow import RebuildFailed

logger = logging.getLogger("tidings.rebuild")

POLL_SECONDS: Final = 0.2
AT_ONCE: Final = 2
"""Jobs that one process carries out side by side on its own account."""


async def checkpoint(log: Log) -> Checkpoint:
    """The checkpoint as it is now."""
    return await log.mongo.run(checkpoint_of)


# -- jobs, one at a time


async def attempt(
    log: Log, projection: Projection, id: str, keep: int = KEEP, told: Told = lambda _: None
) -> None:
    """Carry the job out if it waits for somebody to do so."""
    lease = Lease(id)
    job = await lease.claim(log.mongo)
    if job is None:
        return
    try:
        await _carry_out(log, projection, job, lease, told)
    except Stopped:
        await log.mongo.run(lease.let_go)
    except asyncio.CancelledError:  # somebody else may go on at once
        await asyncio.shield(log.mongo.run(lease.let_go))
        raise
    except RebuildFailed as failed:
        why = str(failed)
        await log.mongo.run(lambda db: lease.end(db, "failed", error=why))
    await prune(log.mongo, projection.name, keep)


async def _carry_out(log: Log, projection: Projection, job: Job, lease: Lease, told: Told) -> None:
    try:
        await Run(log, projection, job, lease, told).run()
    except UNSTORABLE:  # one of the documents is to blame: go on from what is written, and find it
        written = await find_job(log.mongo, job.id)
        await Run(log, projection, written, lease, told).run(careful=True)


async def finish(
    log: Log, projection: Projection, job: Job, keep: int = KEEP, told: Told = lambda _: None
) -> Job:
    """The job when it does not run any more: carried out here, or elsewhere while we look on."""
    while job.state == "running":
        await attempt(log, projection, job.id, keep, told)
        job = await find_job(log.mongo, job.id)
        told(job)
        if job.state == "running":
            await asyncio.sleep(POLL_SECONDS)
    return job


async def start_rebuild(log: Log, projection: Projection, by: str, *, hold: bool = False) -> Job:
    """A new job to build the read model anew, or the one that is under way."""
    while True:
        job = await active_job(log.mongo, projection.name)
        if job is not None and job.version == projection.version:
            return job
        try:
            if job is not None:
                await cancel(log.mongo, projection.name, "Another release is to build it.")
            number = await new_generation(log.mongo, projection.name)
            new = Generation(
                projection=projection.name,
                generation=number,
                version=projection.version,
                position=0,
            )
            return await add_job(log.mongo, "rebuild", new, by, hold=hold)
        except GenerationRefused:  # another process was faster
            continue


async def start_rollback(
    log: Log, projection: Projection, by: str, generation: int | None = None
) -> Job:
    """A job that brings back an old generation, the latest unless told; raises
    `GenerationRefused`."""
    name = projection.name
    old = await log.mongo.run(lambda db: kept(db, name))
    found = [one for one in old if generation in (None, one.generation)]
    if not found:
        which = "an old generation" if generation is None else f"an old generation {generation}"
        raise GenerationRefused(Refusal.NO_SUCH_GENERATION, f"{name} does not have {which}.")
    target = found[0]
    if target.version != projection.version:
        raise GenerationRefused(
            Refusal.OTHER_VERSION,
            f"Generation {target.generation} of {name} was made by version {target.version} of the "
            f"projection, and this release has version {projection.version}: only the release that "
            "made it can bring it up to date.",
        )
    return await add_job(log.mongo, "rollback", target, by, hold=False)


async def rebuild(log: Log, projection: Projection, told: Told = lambda _: None) -> int:
    """Build the read model anew and make it live; answers with its generation.

    Raises `RebuildFailed`.
    """
    job = await finish(log, projection, await start_rebuild(log, projection, "rebuild"), told=told)
    if job.state != "done":
        raise RebuildFailed(f"{projection.name} is {job.state}. {job.error or ''}".strip())
    return job.generation


# -- when a process starts


async def prepare_rebuilds(log: Log, projections: Sequence[Projection]) -> list[Projection]:
    """Have all that rebuilds need; answers with the read models that are new, or whose version has
    changed."""
    await log.mongo.prepare(
        {CHECKPOINTS: {}, PARKED: {}, PARKED_ASIDE: {}, SKIPPED: {}, GENERATIONS: {}}
    )
    await prepare_jobs(log.mongo)
    empty = to_stored(Checkpoint(position=0, generations={}, versions={}))
    await log.mongo.run(
        lambda db: db[CHECKPOINTS].update_one({"_id": MAIN}, {"$setOnInsert": empty}, upsert=True)
    )
    await make_empty_live(log.mongo, projections)
    versions = await _versions(log)
    return [one for one in projections if versions.get(one.name) != one.version]


async def _versions(log: Log) -> dict[str, int]:
    """Of all read models that somebody keeps up to date."""
    return await log.mongo.run(lambda db: checkpoint_of(db).versions | checkpoint_fed(db).versions)


async def prepare_read_models(log: Log, projections: Sequence[Projection]) -> None:
    """Have a live generation of each read model, made by the projection's present version.

    Harmless when nothing is new.
    """
    for projection in await prepare_rebuilds(log, projections):
        await rebuild(log, projection)


async def begin_read_models(log: Log, projections: Sequence[Projection]) -> None:
    """The same without waiting: what is not live as it must be is taken out of the live group and
    gets a job, which `keep_rebuilding` carries out."""
    missing = await prepare_rebuilds(log, projections)
    own = {projection.name: projection.version for projection in projections}
    live = await _versions(log)
    await retire(log.mongo, [name for name in live if own.get(name) != live[name]])
    for projection in missing:
        await start_rebuild(log, projection, "start")


async def keep_rebuilding(
    log: Log, projections: Sequence[Projection], keep: int = KEEP, seconds: float = 0.5
) -> None:
    """Carry out, for ever, the jobs for these projections that nobody else carries out."""
    own = {projection.name: projection for projection in projections}
    under_way: dict[str, asyncio.Task[None]] = {}
    try:
        while True:
            under_way = {job: task for job, task in under_way.items() if not task.done()}
            for job in await once_available(lambda: active_jobs(log.mongo)):
                fits = job.projection in own and own[job.projection].version == job.version
                if fits and job.id not in under_way and len(under_way) < AT_ONCE:
                    work = _attempt_quietly(log, own[job.projection], job.id, keep)
                    under_way[job.id] = asyncio.create_task(work)
            await asyncio.sleep(seconds)
    finally:
        for task in under_way.values():
            task.cancel()
        await asyncio.gather(*under_way.values(), return_exceptions=True)


async def _attempt_quietly(log: Log, projection: Projection, id: str, keep: int) -> None:
    """What goes wrong is logged; the lease lapses, and it is tried again."""
    try:
        await attempt(log, projection, id, keep)
    except Exception:
        logger.exception("rebuilding %s failed; trying again", projection.name)
