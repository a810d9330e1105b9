"""The composition root: the parts of a process, put together and taken apart in order."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from api.auth import Principal
from api.command_errors import ERRORS
from api.context import Context
from api.reacting import react_to_events
from domain.evolutions import UPCASTERS
from domain.registry import AGGREGATES, GATEWAYS, JOINT_DECISIONS, PROCESSES
from domain.variants import VARIANTS
from infra.audit import prepare_audit
from infra.branches import Branches, Domain, Parts
from infra.changes import Changes, DocumentSource, EventSource
from infra.codec import EventCodec
from infra.commands import CommandHandler
from infra.embedded import embedded_mongod
from infra.gateways import Call
from infra.hot_documents import HotDocuments
from infra.image_checking import keep_image
from infra.log import Log
from infra.memory_image import MemoryImage
from infra.mongo import Mongo, open_mongo
from infra.past import Pasts
from infra.preview import Previewer
from infra.projector import Projector, keep_projecting
from infra.reads import Reads
from infra.rebuild import begin_read_models, keep_rebuilding
from infra.sampler import Sampler
from infra.settings import SettingInvalid, Settings
from infra.tail import wake_on_growth
from readmodels.notifications import NOTIFICATIONS
from readmodels.order_details import ORDER_DETAILS
from readmodels.registry import PROJECTIONS

log = logging.getLogger("tidings")

EVENT_TYPES: Final = tuple(event for decider in AGGREGATES for event in decider.events)
CODEC: Final = EventCodec(EVENT_TYPES, UPCASTERS)


BY_NAME: Final = {projection.name: projection for projection in PROJECTIONS}


@dataclass(frozen=True)
class Runtime:
    """What one process has open. `lost` is done when MongoDB has been given up."""

    settings: Settings
    mongo: Mongo
    log: Log
    handler: CommandHandler
    reads: Reads
    pasts: Pasts
    branches: Branches
    changes: Changes
    previewer: Previewer
    lost: asyncio.Future[None]

    def context(self, principal: Principal, trace_id: str) -> Context:
        """What one operation gets."""
        return Context(
            principal,
            trace_id,
            reads=self.reads,
            pasts=self.pasts,
            branches=self.branches,
            handler=self.handler,
            changes=self.changes,
            log=self.log,
            previewer=self.previewer,
            at_least_seconds=self.settings.at_least_seconds,
        )


@asynccontextmanager
async def open_log(settings: Settings) -> AsyncIterator[tuple[Log, asyncio.Future[None]]]:
    """The log, on the user's MongoDB or on the embedded one."""
    async with AsyncExitStack() as stack:
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        uri = settings.mongodb_uri
        if uri is None:
            mongod = await stack.enter_async_context(embedded_mongod(settings.home))
            uri, lost = mongod.uri, mongod.lost
        mongo = await stack.enter_async_context(open_mongo(uri, settings.database))
        events = Log(mongo, CODEC)
        await events.prepare()
        yield events, lost


@asynccontextmanager
async def open_runtime(
    settings: Settings, *, project: bool = True, react: Mapping[str, Call] | None = None
) -> AsyncIterator[Runtime]:
    """Everything that the API needs; the projector and the relay, unless another process runs them;
    and reactions with these calls of gateways, unless another process reacts (None)."""
    async with open_log(settings) as (events, lost), _background() as start:
        await begin_read_models(events, PROJECTIONS)
        await prepare_audit(events)
        reads = _reads(events, settings, start)
        if project:
            start("projector", project_events(events, settings.sampler_share, reads))
        changes = _changes(events, reads)
        handler = CommandHandler(events, AGGREGATES, JOINT_DECISIONS, ERRORS)
        pasts = Pasts(events, reads, settings.past)
        start("past", pasts.run())
        start("changes", changes.run())
        start("commands", handler.run())
        start("rebuilds", keep_rebuilding(events, PROJECTIONS, settings.keep_generations))
        if react is not None:
            start("reactions", react_to_events(events, handler, react))
        if project and settings.kafka:
            from api.relaying import relay_events  # noqa: PLC0415 starts faster without Kafka

            start("relay", relay_events(events, settings.kafka))
        previewer = Previewer(
            log=events,
            reads=reads,
            deciders=AGGREGATES,
            joints=JOINT_DECISIONS,
            processes=PROCESSES,
            gateways=GATEWAYS,
            projections=PROJECTIONS,
        )
        yield Runtime(
            settings,
            events.mongo,
            events,
            handler,
            reads,
            pasts,
            _branches(events, pasts, start),
            changes,
            previewer,
            lost,
        )


def branch_parts(events: Log, pasts: Pasts) -> Parts:
    """What branches are made of."""
    domain = Domain(AGGREGATES, JOINT_DECISIONS, PROCESSES, GATEWAYS)
    return Parts(events, PROJECTIONS, domain, VARIANTS, pasts.freshly_at)


def _branches(events: Log, pasts: Pasts, start: Callable[..., None]) -> Branches:
    branches = Branches(branch_parts(events, pasts))
    start("branches", branches.run())
    return branches


async def project_events(events: Log, sampler_share: float, reads: Reads | None = None) -> None:
    """Keep all read models up to date, and compare them with the log all the time with this share
    of one core (0: do not), until cancelled. `reads` of this process are told of the progress."""
    wake = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wake_on_growth(events, wake))
        projector = (
            Projector(events, PROJECTIONS, told=reads.told)
            if reads
            else Projector(events, PROJECTIONS)
        )
        tasks.create_task(keep_projecting(projector, wake))
        if sampler_share:
            tasks.create_task(Sampler(events, PROJECTIONS).run(sampler_share))


def _reads(events: Log, settings: Settings, start: Callable[..., None]) -> Reads:
    """What queries read from, with some read models in memory as well; started."""
    in_memory, preference = settings.memory_image, settings.read_preference
    for name in in_memory:
        if name not in BY_NAME:
            raise SettingInvalid(f"There is no read model {name}: {', '.join(BY_NAME)}.")
    most = settings.documents_in_memory
    hot = HotDocuments(events, most) if most else None
    if not in_memory:
        reads = Reads(events.mongo, preference=preference, hot=hot)
    else:
        image = MemoryImage(events, [BY_NAME[name] for name in in_memory])
        reads = Reads(events.mongo, image, preference, hot)
        start("memory image", keep_image(image, reads))
    start("reads", reads.follow())
    return reads


def _changes(events: Log, reads: Reads) -> Changes:
    return Changes(
        events,
        reads,
        (
            EventSource(events),
            DocumentSource(reads, ORDER_DETAILS, _order_topics, _order_where, latest_wins=True),
            DocumentSource(
                reads,
                NOTIFICATIONS,
                _notification_topics,
                _notification_where,
                latest_wins=False,
            ),
        ),
    )


def _order_topics(order: Any) -> tuple[str, str]:
    return (order.order_id, order.customer_id)


def _order_where(topic: str) -> dict[str, Any]:
    if topic.startswith("order-"):
        return {"_id": {"$eq": topic}}
    return {"customer_id": {"$eq": topic}} if topic.startswith("customer-") else {}


def _notification_topics(notification: Any) -> tuple[str]:
    return (notification.customer_id,)


def _notification_where(topic: str) -> dict[str, Any]:
    return {"customer_id": {"$eq": topic}} if topic.startswith("customer-") else {}


@asynccontextmanager
async def _background() -> AsyncIterator[Any]:
    """Starts tasks that live as long as the block; the last one started is stopped first."""
    tasks: list[asyncio.Task[None]] = []

    def start(name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_told)
        tasks.append(task)

    try:
        yield start
    finally:
        for task in reversed(tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _told(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.critical("%s has stopped: %s", task.get_name(), error, exc_info=error)
