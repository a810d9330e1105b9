"""Further processes that serve on the port of this one, and an eye on them.

1. They share one listening socket: whoever is free takes the next connection, and what waits
   there while one dies is taken by another. With a socket each (SO_REUSEPORT) it would be reset.
2. They serve, and nothing else: this process projects, reacts, relays, and owns the mongod.
3. One that dies is started again, after a pause that grows while it dies young.
4. What they need to know they read from their standard input. It stays open for as long as we are
   there, however we end: when it closes they drain and go (`api/worker.py`).
5. They have ended before we do; those that are too slow are killed.
"""

import asyncio
import contextlib
import logging
import os
import pickle
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from infra.settings import Settings

log = logging.getLogger("tidings.workers")

YOUNG_SECONDS: Final = 10.0
LONGEST_PAUSE: Final = 5.0

METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where it is set, the processes count together, in files there."""


@contextmanager
def counting_together(processes: int) -> Iterator[None]:
    """Has several processes count as one, so that `/metrics` says the same whichever answers. To be
    entered before anything is imported that counts."""
    if processes == 1:
        yield
        return
    assert "prometheus_client" not in sys.modules, "it has chosen already how to count"
    with tempfile.TemporaryDirectory(prefix="tidings-metrics-") as folder:
        os.environ[METRICS_FOLDER] = folder
        yield


class Workers:
    """Those of one server; see `beside`."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._known = pickle.dumps(settings)
        self._listener = listener
        self._running: set[asyncio.subprocess.Process] = set()
        self._ending = False

    def end(self) -> None:
        """Tell them to drain and end; again: at once."""
        self._ending = True
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

    async def keep(self) -> None:
        """One of them, again and again, until the end."""
        pause = 0.0
        while not self._ending:
            started = time.monotonic()
            try:
                how = f"has ended with {await self._live()}"
            except OSError as error:
                how = f"cannot be started ({error})"
            if self._ending:
                return
            pause = 0.0 if time.monotonic() - started > YOUNG_SECONDS else max(2 * pause, 0.1)
            log.warning("a worker %s, starting another one", how)
            await asyncio.sleep(min(pause, LONGEST_PAUSE))

    async def _live(self) -> int:
        """One life; the exit code."""
        descriptor = self._listener.fileno()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "api.worker", str(descriptor)),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
            start_new_session=True,  # Ctrl-C in a terminal reaches us alone
        )
        self._running.add(process)
        try:
            assert process.stdin
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(self._known)
                await process.stdin.drain()
            if self._ending:  # while it was being started
                process.terminate()
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            self._running.discard(process)
            _forget(process.pid)


def _forget(pid: int) -> None:
    """What a process has measured, as against counted, ends with it."""
    if METRICS_FOLDER in os.environ:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 see above

        mark_process_dead(pid)  # type: ignore[no-untyped-call]


@asynccontextmanager
async def beside(settings: Settings, listener: socket.socket, count: int) -> AsyncIterator[Workers]:
    """`count` of them while the block runs. `settings` say where MongoDB is, also where that is
    ours."""
    workers = Workers(settings, listener)
    keeping = [asyncio.create_task(workers.keep(), name="worker") for _ in range(count)]
    try:
        yield workers
    finally:
        workers.end()
        if keeping:  # they drain for as long as we may, and then have commands to finish
            _, late = await asyncio.wait(keeping, timeout=2 * settings.drain_seconds + 5)
            for task in late:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
