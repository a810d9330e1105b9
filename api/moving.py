"""`tidings export` and `tidings import`: the log as a file, and where that has come to."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from api.loading.telling import bars
from api.runtime import open_log
from domain.personal import PERSONAL
from infra.log import Head
from infra.moving.exporting import export_log
from infra.moving.frames import End, MoveRefused
from infra.moving.importing import import_log
from infra.moving.redaction import redaction_of
from infra.settings import Settings

console = Console()


async def export(settings: Settings, file: Path, after: int, *, redacted: bool) -> None:
    """Write the file, or go on with it."""
    async with open_log(settings) as (events, _):
        redaction = await redaction_of(events, PERSONAL) if redacted else None
        with bars(console) as progress:
            try:
                end = await export_log(events, file, after, redaction, told(progress, "events"))
            except OSError as error:
                raise MoveRefused(f"{file} cannot be written: {error.strerror}.") from error
    _tell(f"{file}: {_contents(end)}.", whereabouts(_head(end)))
    if redacted:
        _tell("Personal data is left out: the hashes are those of what is left.")


async def import_file(settings: Settings, file: Path) -> None:
    """Read the file, or go on with it."""
    async with open_log(settings) as (events, _):
        with bars(console) as progress:
            try:
                done = await import_log(events, file, told(progress, "events"))
            except OSError as error:
                raise MoveRefused(f"{file} cannot be read: {error.strerror}.") from error
    _tell(
        f"{file}: {_contents(done.end)}, of the database {done.header.database}; "
        f"{done.new:,} events are new here.",
        whereabouts(_head(done.end)),
    )
    if done.header.redacted:
        _tell("Personal data was left out of it: nothing will react to this log.")


def told(progress: Progress, what: str) -> Callable[[int, int], None]:
    """Shows how much of something is done."""
    bar = progress.add_task(what, total=None)
    return lambda done, of_all: progress.update(bar, completed=done, total=of_all)


def whereabouts(head: Head) -> str:
    """Where a log ends, so that two can be compared by eye."""
    return f"The log ends at position {head.position}, hash {head.hash.hex()}."


def _head(end: End) -> Head:
    return Head(position=end.position, hash=bytes.fromhex(end.hash))


def _contents(end: End) -> str:
    return f"{end.events:,} events and {end.commands:,} answered commands"


def _tell(*lines: str) -> None:
    console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)
