"""What ends a long connection from the server's side: a restart, or the end of its token.

1. A drain is final: a process that has begun to drain takes no new work.
2. Whoever holds a long connection says so with `held`, so that a restart can wait for the last one.
3. Draining comes before the web server's own shutdown, which cuts sockets at once.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST_NAP = 3_600.0
"""The wall clock may be set while we sleep, and event loops do not like timers of years."""


class Drain:
    """One per process; belongs to one event loop."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._held = 0

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    @property
    def connections(self) -> int:
        return self._held

    def begin(self) -> None:
        self._begun.set()

    async def wait(self) -> None:
        """Returns when the drain begins."""
        await self._begun.wait()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Around the life of one long connection."""
        self._held += 1
        self._nobody.clear()
        try:
            yield
        finally:
            self._held -= 1
            if self._held == 0:
                self._nobody.set()

    async def finish(self, seconds: float) -> bool:
        """Begins, and waits for the last connection; false when some are left after `seconds`."""
        self.begin()
        try:
            async with asyncio.timeout(seconds):
                await self._nobody.wait()
        except TimeoutError:
            return False
        return True


async def wait_until(unix_seconds: float) -> None:
    while (left := unix_seconds - time.time()) > 0:  # noqa: ASYNC110 - the clock sets no event
        await asyncio.sleep(min(left, _LONGEST_NAP))
