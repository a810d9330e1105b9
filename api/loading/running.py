"""`tidings load`: a source told from beginning to end, and the read models brought along.

1. Through the handler nothing is projected while loading: that would take its time. At the end the
   read models catch up, by the projector of another process where one runs, else by our own.
2. Through a server that is the server's business; what it acknowledged it will show.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from api.auth import Role, dev_token, is_loopback
from api.loading.senders import ACTOR, OverHttp, ToHandler
from api.loading.stories import Source
from api.loading.telling import Told, bars, tell
from api.runtime import open_runtime
from infra.log import Log
from infra.projector import Projector
from infra.rebuild import checkpoint
from infra.settings import SettingInvalid, Settings
from readmodels.registry import PROJECTIONS

MOST_REFUSALS_TOLD: Final = 10
TOKEN_SECONDS: Final = 12 * 3600
SECONDS_TO_SEE_ANOTHER: Final = 2.0
"""How long the projector of another process may take over a batch before ours steps in."""
POLL_SECONDS: Final = 0.05


async def load(settings: Settings, source: Source, via: str | None, token: str | None) -> bool:
    """Whether everything was accepted; what was not is printed."""
    console = Console()
    if via is not None:
        told = await _through_server(settings, source, via, token, console)
    else:
        told = await _through_handler(settings, source, console)
    for refusal in told.refusals[:MOST_REFUSALS_TOLD]:
        console.print(f"[red]✗[/] {escape(refusal)}", highlight=False, soft_wrap=True)
    console.print(_summary(source, told), highlight=False, soft_wrap=True)
    return not told.refusals


def _summary(source: Source, told: Told) -> str:
    outcome = f"{source.name} loaded: {source.contents}."
    if told.refusals:
        outcome = (
            f"{source.name} loaded in part: {len(told.refusals):,} commands were refused, and "
            "those that would have followed from them were not sent."
        )
    return (
        f"{outcome}\n"
        f"{told.commands:,} commands ({told.repeats:,} of them repeats) in {told.seconds:.1f} s, "
        f"{told.commands / told.seconds:,.0f} commands/s."
    )


async def _through_server(
    settings: Settings, source: Source, via: str, token: str | None, console: Console
) -> Told:
    sender = OverHttp(via, token or _token(settings, via))
    try:
        with bars(console) as progress:
            return await tell(source, sender, progress)
    finally:
        sender.close()


def _token(settings: Settings, via: str) -> str:
    """A development token, which is for this machine only."""
    host = urlsplit(via).hostname
    if host is not None and not is_loopback(host):
        raise SettingInvalid(f"--via {via}: a server elsewhere wants a --token for staff.")
    return dev_token(settings, ACTOR, (Role.STAFF,), None, TOKEN_SECONDS)


async def _through_handler(settings: Settings, source: Source, console: Console) -> Told:
    async with open_runtime(settings, project=False) as runtime:
        with bars(console) as progress:
            told = await tell(source, ToHandler(runtime.handler), progress)
            await _caught_up(runtime.log, progress)
        return told


async def _caught_up(log: Log, progress: Progress) -> None:
    """Return when the read models are where the log is now."""
    end = (await log.head()).position
    bar = progress.add_task("read models", total=end)
    reached = 0
    async for reached in _moved_by_others(log, end):
        progress.update(bar, completed=reached)
    projector = Projector(log, PROJECTIONS)
    while reached < end:
        await projector.run_once()
        reached = (await checkpoint(log)).position
        progress.update(bar, completed=reached)


async def _moved_by_others(log: Log, end: int) -> AsyncIterator[int]:
    """Where the read models are, for as long as another process moves them towards `end`."""
    reached, moved = -1, time.monotonic()
    while reached < end and time.monotonic() < moved + SECONDS_TO_SEE_ANOTHER:
        now = (await checkpoint(log)).position
        if now > reached:
            reached, moved = now, time.monotonic()
            yield reached
        else:
            await asyncio.sleep(POLL_SECONDS)
