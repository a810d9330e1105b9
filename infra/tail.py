"""A wake-up when the log grows, whoever appended.

The change stream only wakes: what is new is read from the log by position, so an event that the
stream misses costs time, never data.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from pymongo.errors import PyMongoError

from infra.log import COUNTERS, Log, NewEvent


async def wake_on_growth(log: Log, *wakes: asyncio.Event) -> None:
    """Set `wakes` with each append, by this process or another, until cancelled."""
    for wake in wakes:
        wake_on_append(log, wake)
    await wake_on_others(log, *wakes)


def wake_on_append(log: Log, wake: asyncio.Event, kinds: tuple[type, ...] = (object,)) -> None:
    """Set `wake` with each append of such events by this process."""

    def appended(events: Sequence[NewEvent]) -> None:
        if any(isinstance(new.event, kinds) for new in events):
            wake.set()

    log.listen(appended)


async def wake_on_others(log: Log, *wakes: asyncio.Event) -> None:
    """Set `wakes` with each append by another process, until cancelled."""

    def wake_all() -> None:
        for wake in wakes:
            wake.set()

    own = {"$regex": f"^{log.id}:"}
    by_others = [{"$match": {"updateDescription.updatedFields.by": {"$not": own}}}]
    while True:
        with suppress(PyMongoError):
            async with log.mongo.watch(COUNTERS, by_others) as changes:
                wake_all()
                async for _ in changes:
                    wake_all()
        await asyncio.sleep(0.2)
