"""What a benchmark runs on: a MongoDB, a folder, and the write side in this process."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from api.command_errors import ERRORS
from api.runtime import CODEC
from domain.registry import AGGREGATES, JOINT_DECISIONS
from infra.answers import Accepted
from infra.commands import CommandHandler
from infra.log import Log
from infra.mongo import open_mongo
from tests.bench.samples import catalogue, request

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    uri: str
    home: Path

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The name of a database that is dropped at the end."""
        name = f"bench-{uuid4().hex[:12]}"
        yield name
        async with open_mongo(self.uri, name) as mongo:
            await mongo.client.drop_database(name)

    @asynccontextmanager
    async def log(self) -> AsyncIterator[Log]:
        """An empty log."""
        async with self.database() as name, open_mongo(self.uri, name) as mongo:
            log = Log(mongo, CODEC)
            await log.prepare()
            yield log


@asynccontextmanager
async def handler_on(log: Log) -> AsyncIterator[CommandHandler]:
    """The command handler, running, with the catalogue in the log."""
    handler = CommandHandler(log, AGGREGATES, JOINT_DECISIONS, ERRORS)
    running = asyncio.create_task(handler.run())
    try:
        await asyncio.gather(*(handler.handle(each) for each in catalogue()))
        yield handler
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def accepted(handler: CommandHandler, command: Any) -> None:
    """A refusal would be fast, but is not what is measured."""
    answer = await handler.handle(request(command))
    assert isinstance(answer, Accepted), answer


def pieces(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """The items in lists of this size."""
    for first in items:
        yield list(chain((first,), islice(items, size - 1)))
