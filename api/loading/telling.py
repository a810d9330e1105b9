"""Telling the stories of a source to a sender, with a bar for each stage.

1. At most `in_flight` stories are under way at once; each sends one command at a time.
2. Who is away is tried again, with growing pauses: a server may be restarted meanwhile. Only who
   was never there is given up soon. All of it may be stopped and begun anew at any time.
3. A refused command ends its story, and is counted and told; the other stories go on.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from api.commands import Input
from api.loading.senders import Away, Outcome, Sender
from api.loading.stories import Source, Stage, Story
from infra.mongo import Unavailable

PATIENCE: Final = 120.0
FIRST_PATIENCE: Final = 5.0
"""Seconds to wait for an answer: of somebody who has answered before, and of anybody at all."""

LONGEST_PAUSE: Final = 2.0


@dataclass
class Told:
    """What came of it so far."""

    seconds: float = 0
    commands: int = 0
    repeats: int = 0
    refusals: list[str] = field(default_factory=list)


def bars(console: Console) -> Progress:
    """One bar for each stage, with what is left."""
    return Progress(
        TextColumn("{task.description:<14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


async def tell(source: Source, sender: Sender, progress: Progress) -> Told:
    """Send all commands; raises `Unavailable` when nobody answers for long."""
    told, began = Told(), time.monotonic()
    for stage in source.stages:
        await _tell_stage(stage, sender, progress, told)
    told.seconds = time.monotonic() - began
    return told


async def _tell_stage(stage: Stage, sender: Sender, progress: Progress, told: Told) -> None:
    bar = progress.add_task(stage.name, total=stage.total)
    stories = iter(stage.stories)

    async def tell_some() -> None:
        for story in stories:  # shared: each story is taken by one of us
            await _tell_story(story, sender, told)
            progress.advance(bar)

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(sender.in_flight):
                tasks.create_task(tell_some())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _tell_story(story: Story, sender: Sender, told: Told) -> None:
    for command in story:
        outcome = await _sent(command, sender, told)
        told.commands += 1
        told.repeats += outcome.replayed
        if outcome.refusal is not None:
            what = type(command).__name__.removesuffix("Input")
            told.refusals.append(f"{what} {command.command_id}: {outcome.refusal}")
            return


async def _sent(command: Input, sender: Sender, told: Told) -> Outcome:
    began = time.monotonic()
    for pause in _pauses():
        try:
            return await sender.send(command)
        except Away as away:
            if time.monotonic() > began + (PATIENCE if told.commands else FIRST_PATIENCE):
                raise Unavailable(str(away)) from away
            await asyncio.sleep(max(pause, away.seconds))
    raise AssertionError("pauses do not end")


def _pauses() -> Iterator[float]:
    """Growing, and never quite the same: who was cut off together should not come together."""
    pause = 0.05
    while True:
        yield pause * random.uniform(0.5, 1)  # noqa: S311 fairness, not secrecy
        pause = min(2 * pause, LONGEST_PAUSE)
