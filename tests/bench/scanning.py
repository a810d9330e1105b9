"""Reading many events: a scan, the projector, a rebuild.

The log holds orders that were placed, dispatched and delivered, with the movements of their stock.
"""

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Any, Final, TypeAlias

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from domain.checkout import DispatchLines
from domain.order import MarkLinesDelivered, PlaceOrder
from domain.stock_item import ReceiveStock
from infra.codec import now
from infra.folding import Projection
from infra.log import EVENTS, Log
from infra.mongo import SyncDatabase
from infra.projector import Projector
from infra.rebuild import prepare_read_models, rebuild
from readmodels.order_details import ORDER_DETAILS
from readmodels.order_list import ORDER_LIST
from readmodels.registry import PROJECTIONS
from tests.bench.figures import Figure, in_turns, rate
from tests.bench.place import Place, accepted, handler_on
from tests.bench.samples import LINES, SKUS, orders

ORDERS: Final = 10_000
AT_ONCE: Final = 250
ALL_LINES: Final = tuple(range(1, LINES + 1))
OF_ORDERS: Final = {"type": {"$in": [kind.__name__ for kind in ORDER_LIST.events]}}
"""The events of either read model of orders."""
AS_DICTS: Final = "driver's scan of these events as dicts"
RAW: Final[CodecOptions[Any]] = CodecOptions(document_class=RawBSONDocument)

Where: TypeAlias = dict[str, Any]


async def rebuilding(place: Place) -> list[Figure]:
    """The projector from the beginning, a rebuild and a scan, against the driver's own scan."""
    async with place.log() as log:
        await prepare_read_models(log, PROJECTIONS)
        await fill(log)
        projector = Projector(log, PROJECTIONS)
        projected = await rate(lambda: projected_by(projector, log))

        async def rebuilt() -> float:
            return await rate(lambda: rebuilt_from(log))

        async def dicts() -> float:
            return await rate(lambda: scanned_by_driver(log, OF_ORDERS))

        async def raw() -> float:
            return await rate(lambda: scanned_by_driver(log, OF_ORDERS, RAW))

        async def scanned() -> float:
            return await rate(lambda: scanned_by_log(log))

        async def all_dicts() -> float:
            return await rate(lambda: scanned_by_driver(log, {}))

        async def details() -> float:
            return await rate(lambda: rebuilt_from(log, ORDER_DETAILS))

        ours, plain, raw_bytes = await in_turns(rebuilt, dicts, raw)
        of_details, same_events = await in_turns(details, dicts)
        both = await side_by_side(log)
        scan, whole = await in_turns(scanned, all_dicts)
    return [
        *against_scans(ours, plain, raw_bytes),
        Figure(
            what="rebuild of order details",
            value=of_details,
            unit="events/s",
            other=same_events,
            against=AS_DICTS,
            least=0.35,
        ),
        both,
        Figure(
            what="scan of the log, decoded",
            value=scan,
            unit="events/s",
            other=whole,
            against="driver's scan of all events as dicts",
        ),
        Figure(what="projector, all read models", value=projected, unit="events/s"),
    ]


def against_scans(ours: float, plain: float, raw_bytes: float) -> list[Figure]:
    """A rebuild against the driver reading the same events, in either form."""
    return [
        Figure(
            what="rebuild of the order list",
            value=ours,
            unit="events/s",
            other=plain,
            against=AS_DICTS,
            least=0.25,
        ),
        Figure(
            what="rebuild of the order list",
            value=ours,
            unit="events/s",
            other=raw_bytes,
            against="the same as raw BSON",
        ),
    ]


async def fill(log: Log) -> None:
    """Orders with their whole lives, many at a time."""
    async with handler_on(log) as handler:
        for sku in SKUS:
            await accepted(handler, ReceiveStock(sku=sku, quantity=100_000, at=now()))
        new = orders()
        for _ in range(ORDERS // AT_ONCE):
            placed = list(islice(new, AT_ONCE))
            for step in LIFE:
                await asyncio.gather(*(accepted(handler, step(order)) for order in placed))


def dispatched(order: PlaceOrder) -> DispatchLines:
    return DispatchLines(order_id=order.order_id, lines=ALL_LINES, at=now())


def delivered(order: PlaceOrder) -> MarkLinesDelivered:
    return MarkLinesDelivered(order_id=order.order_id, lines=ALL_LINES, at=now())


LIFE: Final[tuple[Callable[[PlaceOrder], Any], ...]] = (lambda order: order, dispatched, delivered)


async def projected_by(projector: Projector, log: Log) -> int:
    await projector.run_to_end()
    return (await log.head()).position


async def rebuilt_from(log: Log, projection: Projection = ORDER_LIST) -> int:
    """The number of events that a read model of orders listens to."""
    await rebuild(log, projection)
    return len(LIFE) * ORDERS


SIDE_BY_SIDE: Final = (ORDER_LIST, ORDER_DETAILS)


async def side_by_side(log: Log) -> Figure:
    """Two rebuilds at once against one after the other."""

    async def together() -> float:
        return await rate(lambda: rebuilt_together(log))

    async def one_by_one() -> float:
        return await rate(lambda: rebuilt_one_by_one(log))

    both, single = await in_turns(together, one_by_one)
    return Figure(
        what="order list and details rebuilt side by side",
        value=both,
        unit="events/s",
        other=single,
        against="one after the other",
    )


async def rebuilt_together(log: Log) -> int:
    """The number of events of the log, once for each read model."""
    await asyncio.gather(*(rebuild(log, each) for each in SIDE_BY_SIDE))
    return len(SIDE_BY_SIDE) * (await log.head()).position


async def rebuilt_one_by_one(log: Log) -> int:
    for each in SIDE_BY_SIDE:
        await rebuild(log, each)
    return len(SIDE_BY_SIDE) * (await log.head()).position


async def scanned_by_log(log: Log) -> int:
    return sum([len(events) async for events in log.scan()])


async def scanned_by_driver(
    log: Log, where: Where, options: CodecOptions[Any] | None = None
) -> int:
    def scan(db: SyncDatabase) -> int:
        events = db[EVENTS].with_options(codec_options=options)
        return sum(1 for _ in events.find(where, sort=[("_id", 1)]))

    return await log.mongo.run(scan)
