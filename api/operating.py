"""What operators do from the command line."""

import asyncio
import signal
from collections.abc import Collection, Coroutine
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from api.command_errors import ERRORS
from api.loading.telling import bars
from api.moving import told, whereabouts
from api.paying import open_payments
from api.reacting import FOLLOWERS, react_to_events
from api.runtime import open_log, project_events
from domain.registry import AGGREGATES, JOINT_DECISIONS, LAWS
from infra.commands import CommandHandler
from infra.differences import shortened
from infra.feeding.group import checkpoint_fed
from infra.log import Log
from infra.mending import OF_OUTBOX, mend_row, mend_story
from infra.parked import NoLongerParked, StillFailing, parked_keys, retry, skip
from infra.reads import BeingBuilt
from infra.rebuild import begin_read_models, keep_rebuilding, prepare_read_models
from infra.records import ParkedKey
from infra.settings import SettingInvalid, Settings
from infra.snapshot_checking import wrong_snapshots
from infra.verify import Problem, Verification
from readmodels.registry import PROJECTIONS

BY_NAME = {projection.name: projection for projection in PROJECTIONS}
console = Console()

MOST_TOLD: Final = 100
"""Problems that are told one by one."""


async def project(settings: Settings) -> None:
    """Project until SIGTERM or Ctrl-C."""
    async with open_log(settings) as (events, _):
        await begin_read_models(events, PROJECTIONS)
        rebuilding = keep_rebuilding(events, PROJECTIONS, settings.keep_generations)
        await until_signal(project_events(events, settings.sampler_share), rebuilding)


async def react(settings: Settings) -> None:
    """React until SIGTERM or Ctrl-C."""
    async with (
        open_payments(settings, None, calls=True) as payments,
        open_log(settings) as (events, _),
    ):
        handler = CommandHandler(events, AGGREGATES, JOINT_DECISIONS, ERRORS)
        await until_signal(react_to_events(events, handler, payments.calls), handler.run())


async def relay(settings: Settings) -> None:
    """Publish until SIGTERM or Ctrl-C; raises `SettingInvalid` when there is no Kafka to begin."""
    from api.relaying import TOPICS, relay_events  # noqa: PLC0415 the others start faster without
    from infra.kafka import KafkaUnavailable, create_topics  # noqa: PLC0415 same

    if settings.kafka is None:
        raise SettingInvalid("KAFKA_BOOTSTRAP_SERVERS is not set: there is nowhere to publish.")
    try:
        await create_topics(settings.kafka, TOPICS)
    except KafkaUnavailable as error:
        raise SettingInvalid(str(error)) from error
    async with open_log(settings) as (events, _):
        await until_signal(relay_events(events, settings.kafka))


async def until_signal(*works: Coroutine[Any, Any, None]) -> None:
    """Run until a signal or until one of them fails; the first is stopped first."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    tasks = [asyncio.ensure_future(work) for work in works]
    stopped = asyncio.ensure_future(stopping.wait())
    done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (stopped, *tasks):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    for task in done:
        task.result()


async def verify(settings: Settings) -> bool:
    """Whether everything is as it must be; what is not is printed."""
    async with open_log(settings) as (events, _):
        await prepare_read_models(events, PROJECTIONS)
        verification = Verification(events, PROJECTIONS, LAWS)
        with bars(console) as progress:
            problems = await verification.run(told(progress, "events"))
        problems += await _wrong_snapshots(events)
        fed, wrong = await _wrong_fed(events)
        problems += wrong
    for problem in problems[:MOST_TOLD]:
        console.print(
            f"[red]✗[/] {escape(problem.where)}: {escape(problem.what)}",
            highlight=False,
            soft_wrap=True,
        )
    if building := [name for name in verification.building if name not in fed]:
        console.print(f"Not compared, being built: {', '.join(building)}.")
    console.print(
        f"{verification.events} events, {verification.documents} documents as of position "
        f"{verification.compared_at}, {len(problems)} problems\n{whereabouts(verification.end)}",
        highlight=False,
        soft_wrap=True,
    )
    return not problems


async def _wrong_snapshots(events: Log) -> list[Problem]:
    return [
        Problem(what="the snapshot is not what its events make", where=f"{stream}@{version}")
        for stream, version in await wrong_snapshots(events, AGGREGATES)
    ]


async def _wrong_fed(events: Log) -> tuple[Collection[str], list[Problem]]:
    """The read models that are fed over Kafka, and what is wrong with their documents."""
    fed = (await events.mongo.run(checkpoint_fed)).generations
    if not fed:
        return (), []
    from infra.feeding.checking import wrong_fed  # noqa: PLC0415 verify starts faster without Kafka

    found = map(shortened, await wrong_fed(events, PROJECTIONS))
    return fed, [Problem(what=str(each), where=f"{each.projection}/{each.key}") for each in found]


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
                try:
                    await _mend(events, waiting, skip_it=action == "skip")
                    outcome = "goes on"
                except StillFailing as failing:
                    outcome = f"still fails {failing}"
                except NoLongerParked:
                    outcome = "goes on already"
                except BeingBuilt as building:
                    outcome = f"cannot go on now: {building}"
            console.print(f"{waiting.projection}/{waiting.key} {outcome}", highlight=False)


async def _mend(events: Log, waiting: ParkedKey, *, skip_it: bool) -> None:
    """Retry or skip, whatever it is that waits; raises `StillFailing` or `BeingBuilt`."""
    name = waiting.projection
    if name.startswith(OF_OUTBOX):
        await mend_row(events, waiting, skip=skip_it)
    elif name in FOLLOWERS:
        await mend_story(events, FOLLOWERS[name], waiting, skip=skip_it)
    else:
        await (skip if skip_it else retry)(events, BY_NAME[name], waiting)
