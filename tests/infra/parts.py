"""Parts that the tests of the machinery put together."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final

from bson.raw_bson import RawBSONDocument
from pymongo import monitoring

from infra.answers import Answer, Request
from infra.codec import EventCodec
from infra.commands import CommandHandler
from infra.folding import collection_of
from infra.log import Log
from infra.mongo import Document, Mongo
from infra.projector import Projector, keep_projecting
from infra.reads import Reads
from infra.rebuild import checkpoint
from infra.tail import wake_on_growth
from tests.infra import toy

CODEC: Final = EventCodec(toy.JAR.events)
_numbers = count(1)


def asked(command: Any, command_id: str | None = None, actor: str = "ada", **more: Any) -> Request:
    """The command as it arrives; under a new id unless one is given."""
    return Request(
        command=command, command_id=command_id or f"c{next(_numbers)}", actor=actor, **more
    )


async def a_log(mongo: Mongo) -> Log:
    log = Log(mongo, CODEC)
    await log.prepare()
    return log


def handler_on(log: Log) -> CommandHandler:
    return CommandHandler(log, [toy.JAR], toy.JOINTS, toy.JAR.errors)


async def handle_all(handler: CommandHandler, commands: Sequence[Any]) -> list[Answer]:
    """All at once."""
    return list(await asyncio.gather(*(handler.handle(asked(command)) for command in commands)))


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
    """Tasks that live as long as the block; one that breaks fails the test. Gives the first."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [error for error in ended if isinstance(error, Exception)]


@asynccontextmanager
async def projecting(log: Log, projector: Projector) -> AsyncIterator[None]:
    """The projector at work as in a real process."""
    wake = asyncio.Event()
    async with running(keep_projecting(projector, wake), wake_on_growth(log, wake)):
        yield


async def until(holds: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until something outside of our events holds; it must within the time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        await asyncio.sleep(0.005)


async def projected(log: Log, position: int, seconds: float = 10.0) -> None:
    """Wait until the checkpoint is there."""
    async with asyncio.timeout(seconds):
        while (await checkpoint(log)).position < position:  # noqa: ASYNC110 others move it
            await asyncio.sleep(0.01)


async def documents(log: Log, projection: str) -> list[Document]:
    """All documents of the live generation, by key."""
    live = (await checkpoint(log)).generations[projection]
    return await log.mongo.run(
        lambda db: list(db[collection_of(projection, live)].find(sort=[("_id", 1)]))
    )


async def every(reads: Reads, projection: toy.Toy) -> list[Any]:
    """The views of all documents at the newest snapshot."""
    at = await reads.snapshot()
    return [row.view for row in await reads.find(projection, {}, (("_id", 1),), 0, at)]


class Seen(monitoring.CommandListener):
    """The commands that clients send, from now on until closed."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, Document]] = []
        self._open = True
        monitoring.register(self)

    def close(self) -> None:
        self._open = False

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self._open:
            sent = {k: v for k, v in event.command.items() if not isinstance(v, RawBSONDocument)}
            self.commands.append((event.command_name, sent))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Of no interest."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Of no interest."""

    def of(self, name: str) -> list[Document]:
        return [command for sent, command in self.commands if sent == name]

    def clear(self) -> None:
        self.commands.clear()
