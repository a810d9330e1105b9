"""Asking the past: lists as of moments that nobody has asked for, and again; single documents.

The log is that of `scanning`. The first list of a read model has nothing near it to begin with.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from infra.folding import Projection
from infra.log import Log
from infra.past import Pasts
from infra.projector import Projector
from infra.reads import Reads
from infra.rebuild import prepare_read_models, rebuild
from infra.settings import PastLimits
from readmodels.order_list import ORDER_LIST
from readmodels.registry import PROJECTIONS
from readmodels.sales import SALES_BY_DAY
from readmodels.stock_levels import STOCK_LEVELS
from tests.bench.figures import Figure, percentile
from tests.bench.place import Place
from tests.bench.samples import SKUS
from tests.bench.scanning import fill

MOMENTS: Final = 20
SINGLE: Final = 500
PAGE: Final = 20
LISTS: Final[tuple[Projection, ...]] = (ORDER_LIST, STOCK_LEVELS, SALES_BY_DAY)


async def remembering(place: Place) -> list[Figure]:
    """Lists as of new moments against a rebuild, lists as of known ones, and single documents."""
    async with place.log() as log:
        await prepare_read_models(log, PROJECTIONS)
        await fill(log)
        await Projector(log, PROJECTIONS).run_to_end()
        head = (await log.head()).position
        moments = [random.randint(1, head - 1) for _ in range(MOMENTS)]
        async with asked(log) as pasts:
            lists = [figure for p in LISTS for figure in await of_lists(log, pasts, p, moments)]
            return [*lists, await of_single(pasts, head)]


@asynccontextmanager
async def asked(log: Log) -> AsyncIterator[Pasts]:
    reads = Reads(log.mongo)
    pasts = Pasts(log, reads, PastLimits(generations=100, wait_seconds=60.0))
    running = [asyncio.create_task(work) for work in (reads.follow(), pasts.run())]
    try:
        yield pasts
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def of_lists(
    log: Log, pasts: Pasts, projection: Projection, moments: Sequence[int]
) -> list[Figure]:
    """A page as of each moment, twice."""

    async def page(position: int) -> None:
        past = await pasts.at(position)
        await past.find(projection, {}, (("_id", 1),), PAGE)

    whole = min([await seconds(rebuild(log, projection)) for _ in range(3)])
    new = [await seconds(page(position)) for position in moments]
    known = [await seconds(page(position)) for position in moments]
    name = projection.name
    return [
        Figure(
            what=f"{name} as of {MOMENTS} new moments, each",
            value=sum(new) / len(new) / whole,
            unit="x a rebuild",
            most=0.6,
        ),
        Figure(what=f"{name}, the worst of these", value=max(new) / whole, unit="x a rebuild"),
        Figure(
            what=f"{name} as of a known moment, p99",
            value=percentile(known, 0.99) * 1_000,
            unit="ms",
            most=30,
        ),
    ]


async def of_single(pasts: Pasts, head: int) -> Figure:
    """The stock of one product at any time."""

    async def one() -> None:
        past = await pasts.at(random.randint(1, head - 1))
        await past.get(STOCK_LEVELS, [random.choice(SKUS)])

    times = [await seconds(one()) for _ in range(SINGLE)]
    return Figure(
        what="one stock level as of any moment, p99",
        value=percentile(times, 0.99) * 1_000,
        unit="ms",
        most=20,
    )


async def seconds(work: Awaitable[Any]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started
