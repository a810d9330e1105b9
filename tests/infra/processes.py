"""Other processes, for tests that need more than one:

python -m tests.infra.processes write URI DATABASE NAME COMMANDS
python -m tests.infra.processes repeat URI DATABASE COMMAND_ID TIMES
python -m tests.infra.processes project URI DATABASE BATCH
python -m tests.infra.processes rebuild URI DATABASE JOB
python -m tests.infra.processes branch URI DATABASE BRANCH
python -m tests.infra.processes export URI DATABASE FILE FRAMES
python -m tests.infra.processes import URI DATABASE FILE FRAMES
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra import log as infra_log
from infra import shadow
from infra.answers import Accepted
from infra.branches import Branches, Parts
from infra.branching import storing
from infra.branching.record import Counts
from infra.log import Log
from infra.mongo import SyncDatabase, open_mongo
from infra.moving import exporting
from infra.moving.importing import import_log
from infra.past import Pasts
from infra.projector import Projector
from infra.reads import Reads
from infra.rebuild import attempt
from infra.settings import PastLimits
from tests.infra import toy
from tests.infra.other_pasts import DOMAIN
from tests.infra.parts import a_log, asked, handler_on, running

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def process(*arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of the above, killed at the end if it still runs."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.infra.processes",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def ready(*processes: asyncio.subprocess.Process) -> None:
    """Wait until all have said that they are ready, then let them go at once."""
    for each in processes:
        assert each.stdout
        assert await each.stdout.readline() == b"ready\n"
    for each in processes:
        assert each.stdin
        each.stdin.write(b"go\n")


def _say_ready_and_wait() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


async def _write(log: Log, name: str, commands: int) -> None:
    """Put marbles into an own jar and a shared one, eight commands at a time."""
    handler = handler_on(log)
    async with running(handler.run()):
        _say_ready_and_wait()
        gate = asyncio.Semaphore(8)

        async def one(number: int) -> None:
            async with gate:
                command = toy.Put(jar="shared" if number % 2 else name)
                answer = await handler.handle(asked(command, f"{name}-{number}"))
                assert isinstance(answer, Accepted)

        await asyncio.gather(*(one(number) for number in range(commands)))


async def _repeat(log: Log, command_id: str, times: int) -> None:
    """Send one command many times at once; print the positions that were answered."""
    handler = handler_on(log)
    async with running(handler.run()):
        _say_ready_and_wait()
        answers = await asyncio.gather(
            *(handler.handle(asked(toy.Put(jar="one"), command_id)) for _ in range(times))
        )
        print(json.dumps(sorted({answer.position for answer in answers})), flush=True)


async def _project(log: Log, batch: int) -> None:
    _say_ready_and_wait()
    projector = Projector(log, toy.BOTH)
    while True:
        if not await projector.run_once(batch):
            await asyncio.sleep(0.001)


async def _move(log: Log, what: str, file: Path, frames: int) -> None:
    """Export or import, and be killed after so many frames of ten events."""
    exporting.BATCH = 10  # type: ignore[misc]  # a small log is enough then
    left = frames

    def killed(_done: int, _all: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    if what == "export":
        await exporting.export_log(log, file, progress=killed)
    else:
        await import_log(log, file, killed)


async def _rebuild(log: Log, job: str) -> None:
    """Slowly, so that it can be killed half way."""
    contents = toy.contents()

    def slowly(view: Any, recorded: Any, key: str) -> Any:
        time.sleep(0.005)
        return contents.fold(view, recorded, key)

    shadow.FLUSH = 10  # type: ignore[misc]  # this process is for tests
    infra_log.SCAN_BATCH = 20  # type: ignore[misc]  # same
    _say_ready_and_wait()
    await attempt(log, replace(contents, fold=slowly), job)


async def _branch(log: Log, branch_id: str) -> None:
    """Work it out, and be killed when half of its documents are stored."""
    write = storing.write_documents

    def killed(db: SyncDatabase, token: str, name: str, outcome: Any) -> Counts:
        written = write(db, token, name, outcome)
        os.kill(os.getpid(), signal.SIGKILL)
        return written

    storing.write_documents = killed
    pasts = Pasts(log, Reads(log.mongo), PastLimits())
    await Branches(Parts(log, toy.BOTH, DOMAIN, (), pasts.freshly_at)).ready(branch_id)


async def main(what: str, uri: str, database: str, *more: str) -> None:
    async with open_mongo(uri, database) as mongo:
        log = await a_log(mongo)
        match what:
            case "write":
                await _write(log, more[0], int(more[1]))
            case "repeat":
                await _repeat(log, more[0], int(more[1]))
            case "export" | "import":
                await _move(log, what, Path(more[0]), int(more[1]))
            case "rebuild":
                await _rebuild(log, more[0])
            case "branch":
                await _branch(log, more[0])
            case _:
                await _project(log, int(more[0]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
