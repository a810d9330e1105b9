"""Other processes, for tests that need more than one:

python -m tests.infra.processes write URI DATABASE NAME COMMANDS
python -m tests.infra.processes repeat URI DATABASE COMMAND_ID TIMES
python -m tests.infra.processes project URI DATABASE BATCH
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from infra.answers import Accepted
from infra.log import Log
from infra.mongo import open_mongo
from infra.projector import Projector
from tests.infra import toy
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


async def main(what: str, uri: str, database: str, *more: str) -> None:
    async with open_mongo(uri, database) as mongo:
        log = await a_log(mongo)
        match what:
            case "write":
                await _write(log, more[0], int(more[1]))
            case "repeat":
                await _repeat(log, more[0], int(more[1]))
            case _:
                await _project(log, int(more[0]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
