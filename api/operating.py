"""What operators do from the command line."""

import asyncio
import signal
from collections.abc import Sequence

from rich.console import Console
from rich.status import Status

from api.runtime import open_log, project_events
from infra.parked import NoLongerParked, StillFailing, parked_keys, retry, skip
from infra.rebuild import prepare_read_models
from infra.rebuild import rebuild as rebuild_one
from infra.settings import SettingInvalid, Settings
from infra.verify import Verification
from readmodels.registry import PROJECTIONS

BY_NAME = {projection.name: projection for projection in PROJECTIONS}
console = Console()


async def project(settings: Settings) -> None:
    """Project until SIGTERM or Ctrl-C."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with open_log(settings) as (events, _):
        await prepare_read_models(events, PROJECTIONS)
        running = asyncio.create_task(project_events(events))
        await stopping.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def verify(settings: Settings) -> bool:
    """Whether everything is as it must be; what is not is printed."""
    async with open_log(settings) as (events, _):
        await prepare_read_models(events, PROJECTIONS)
        verification = Verification(events, PROJECTIONS)
        problems = await verification.run()
    for problem in problems[:100]:
        console.print(f"[red]✗[/] {problem.where}: {problem.what}", highlight=False)
    console.print(
        f"{verification.events} events, {verification.documents} documents, "
        f"{len(problems)} problems"
    )
    return not problems


async def rebuild(settings: Settings, names: Sequence[str]) -> None:
    """Rebuild read models one after the other."""
    for name in names:
        if name not in BY_NAME:
            raise SettingInvalid(f"There is no read model {name}: {', '.join(BY_NAME)}.")
    async with open_log(settings) as (events, _):
        await prepare_read_models(events, PROJECTIONS)
        for name in names or BY_NAME:
            with console.status(name) as status:

                def told(position: int, name: str = name, status: Status = status) -> None:
                    status.update(f"{name} at position {position}")

                generation = await rebuild_one(events, BY_NAME[name], progress=told)
            console.print(f"{name}: generation {generation} is live")


async def parked(settings: Settings, action: str, projection: str | None, key: str | None) -> None:
    """List what waits, or retry or skip those of a projection and key."""
    if action not in ("list", "retry", "skip"):
        raise SettingInvalid(f"There is no action {action}: list, retry or skip.")
    async with open_log(settings) as (events, _):
        for waiting in await parked_keys(events):
            if projection not in (None, waiting.projection) or key not in (None, waiting.key):
                continue
            outcome = f"waits at position {waiting.position}: {waiting.error}"
            if action != "list":
                act = retry if action == "retry" else skip
                try:
                    await act(events, BY_NAME[waiting.projection], waiting)
                    outcome = "goes on"
                except StillFailing as failing:
                    outcome = f"still fails {failing}"
                except NoLongerParked:
                    outcome = "goes on already"
            console.print(f"{waiting.projection}/{waiting.key} {outcome}", highlight=False)
