"""What operators do with generations of read models from the command line."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from api.runtime import open_log
from domain.recorded import position_text
from infra.comparing import Comparison
from infra.generations import Generation, GenerationRefused, generations, remove, remove_nameless
from infra.jobs import Job, cancel, jobs, pause, resume
from infra.log import Log
from infra.mongo import Mongo
from infra.rebuild import finish, prepare_rebuilds, start_rebuild, start_rollback
from infra.settings import SettingInvalid, Settings
from readmodels.projection import Projection
from readmodels.registry import PROJECTIONS

BY: Final = "command line"
AT_ONCE: Final = 4
BY_NAME: Final = {projection.name: projection for projection in PROJECTIONS}
STEERING: Final[dict[str, Callable[[Mongo, str], Awaitable[Job]]]] = {
    "pause": pause,
    "cancel": cancel,
}
console = Console()


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Log]:
    """The log; what is refused inside becomes one clear line."""
    async with open_log(settings) as (events, _):
        await prepare_rebuilds(events, PROJECTIONS)
        try:
            yield events
        except GenerationRefused as refused:
            raise SettingInvalid(str(refused)) from refused


def _named(name: str) -> Projection[object]:
    if name not in BY_NAME:
        raise SettingInvalid(f"There is no read model {name}: {', '.join(BY_NAME)}.")
    return BY_NAME[name]


# -- rebuilding


async def rebuild(settings: Settings, names: Sequence[str], *, hold: bool) -> bool:
    """Rebuild read models side by side; whether all have come to a good end."""
    wanted = [_named(name) for name in names or BY_NAME]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(projection: Projection[object]) -> Job:
        async with gate:
            job = await start_rebuild(events, projection, BY, hold=hold)
            if job.state == "paused":
                job = await resume(events.mongo, projection.name)
            return await _finish(events, settings, job, bars)

    async with _opened(settings) as events:
        with _progress() as bars:
            ended = await asyncio.gather(*map(one, wanted))
    for job in ended:
        _tell(job)
    return all(job.state in ("done", "ready") for job in ended)


async def go_on(settings: Settings, names: Sequence[str]) -> bool:
    """Go on with what was paused, and let go live what is ready; whether that went well."""
    async with _opened(settings) as events:
        resumed = [await resume(events.mongo, _named(name).name) for name in names]
        with _progress() as bars:
            ended = await asyncio.gather(*(_finish(events, settings, job, bars) for job in resumed))
    for job in ended:
        _tell(job)
    return all(job.state == "done" for job in ended)


async def steer(settings: Settings, action: str, names: Sequence[str]) -> bool:
    """Pause or cancel rebuilds, in whichever process they run; refused where none does."""
    async with _opened(settings) as events:
        for name in names:
            job = await STEERING[action](events.mongo, _named(name).name)
            if job.state == "cancelled":
                await remove_nameless(events.mongo, name)
            console.print(f"{name}: {job.state} at position {position_text(job.position)}")
    return True


async def rollback(settings: Settings, name: str, generation: int | None) -> bool:
    """Bring an old generation back; whether it is live now."""
    async with _opened(settings) as events:
        job = await start_rollback(events, _named(name), BY, generation)
        with _progress() as bars:
            job = await _finish(events, settings, job, bars)
    _tell(job)
    return job.state == "done"


async def _finish(events: Log, settings: Settings, job: Job, bars: Progress) -> Job:
    bar = bars.add_task(job.projection, total=None, speed="")

    def told(now: Job) -> None:
        left = "" if now.seconds_left is None else f"{now.seconds_left:.0f} s left"
        speed = f"{now.per_second:,.0f} events/s  {left}"
        bars.update(bar, completed=now.read, total=now.goal or None, speed=speed)

    projection = BY_NAME[job.projection]
    return await finish(events, projection, job, settings.keep_generations, told)


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}"),
        TextColumn("{task.fields[speed]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield bars


# -- telling


def _tell(job: Job) -> None:
    """How the job ended, and what has changed."""
    name, number = job.projection, job.generation
    match job.state:
        case "done":
            console.print(f"{name}: generation {number} is live", highlight=False)
        case "ready":
            console.print(
                f"{name}: generation {number} is ready; `tidings rebuild --resume {name}` makes it "
                "live, `--cancel` removes it",
                highlight=False,
            )
        case _:
            why = f": {job.error}" if job.error else ""
            console.print(f"{name}: {job.state}{escape(why)}", highlight=False)
    if job.comparison is not None:
        for line in _compared(job.comparison):
            console.print(f"  {escape(line)}", highlight=False)


def _compared(found: Comparison) -> Iterator[str]:
    against = f"{found.documents:,} documents compared with generation {found.against}"
    if not found.differences:
        yield f"{against}: all are equal"
        return
    yield (
        f"{against}: {found.differing:,} differ, {found.missing:,} are missing, "
        f"{found.extra:,} are new"
    )
    for one in found.examples:
        where = "" if one.parts_at is None else f" from event {position_text(one.parts_at)} on"
        yield f"{one.key} {one.kind}{where}"
        for field in one.fields if one.kind == "differs" else ():
            yield f"  {field.field}: {field.before} → {field.after}"


# -- generations


async def list_generations(settings: Settings, names: Sequence[str]) -> None:
    """What there is of each read model, and what is under way."""
    wanted = [_named(name).name for name in names] or list(BY_NAME)
    async with _opened(settings) as events:
        found = await generations(events, wanted)
        latest = [job for job in await jobs(events.mongo) if job.projection in wanted]
    table = Table("read model", "generation", "version", "position", "state")
    for one in found:
        table.add_row(*_cells(one, "live" if one.retired is None else "kept"))
    for job in latest:
        if job.state in ("running", "paused", "ready"):
            table.add_row(*_cells(job.target, f"{job.kind} {job.told}"))
    console.print(table)


def _cells(one: Generation, state: str) -> tuple[str, ...]:
    position = position_text(one.position)
    return (one.projection, str(one.generation), str(one.version), position, state)


async def remove_generations(settings: Settings, name: str, generation: int | None) -> None:
    """Remove an old generation, or all old ones of a read model."""
    async with _opened(settings) as events:
        gone = await remove(events.mongo, _named(name).name, generation)
    told = ", ".join(map(str, gone)) or "nothing"
    console.print(f"{name}: removed {told}", highlight=False)
