"""A wake-up when the log grows, whoever appended.

The change stream only wakes: what is new is read from the log by position, so an event that the
stream misses costs time, never data.
"""

import asyncio
from contextlib import suppress

from pymongo.errors import PyMongoError

from infra.log import COUNTERS, Log


async def wake_on_growth(log: Log, wake: asyncio.Event) -> None:
    """Set `wake` with each append, by this process or another, until cancelled."""
    log.listen(wake.set)
    while True:
        with suppress(PyMongoError):
            async with log.mongo.watch(COUNTERS, []) as changes:
                wake.set()
                async for _ in changes:
                    wake.set()
        await asyncio.sleep(0.2)
