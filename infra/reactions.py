"""A follower at work: its reactor, and the outbox that carries out what it asks for."""

import asyncio
import logging
from contextlib import suppress

from infra.following import Follower
from infra.log import Log
from infra.mongo import Unavailable, once_available
from infra.outbox import Outbox
from infra.outcomes import Carry
from infra.reactor import Reactor
from infra.stories import prepare_follower
from infra.tail import wake_on_append

log = logging.getLogger("tidings.reactor")


async def keep_reacting(reactor: Reactor, wake: asyncio.Event, seconds: float = 1.0) -> None:
    """React for ever: at once after a wake-up, and when a deadline may have passed.

    What goes wrong is logged and tried again: what failed has left nothing behind. Cancelled, it
    writes what came of what was told.
    """
    try:
        while True:
            wake.clear()
            try:
                await reactor.tell_all()
                if not reactor.seconds_to_wait:
                    await reactor.run_to_end()
            except Exception:
                log.exception("reacting failed; trying again")
                reactor.forget()
                await asyncio.sleep(seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, reactor.seconds_to_wait)):
                    await wake.wait()
    finally:
        with suppress(Unavailable):
            await reactor.write()


async def follow(
    log: Log, follower: Follower, carry: Carry, wake: asyncio.Event, at_once: int = 64
) -> None:
    """React and carry out what was asked for, until cancelled. `wake` tells of the appends of other
    processes; those of this one wake by themselves."""
    await once_available(lambda: prepare_follower(log.mongo, follower))
    wake_on_append(log, wake, follower.events)
    outbox = Outbox(log.mongo, follower.name, carry, at_once)
    reactor = Reactor(log, follower, outbox)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(outbox.run())
        tasks.create_task(keep_reacting(reactor, wake))
