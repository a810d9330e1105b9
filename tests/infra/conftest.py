"""What the tests of the machinery open on a database of their own."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from infra.branches import Branches, Parts
from infra.commands import CommandHandler
from infra.hot_documents import HotDocuments
from infra.log import Log
from infra.mongo import Mongo, open_mongo
from infra.past import Pasts
from infra.projector import Projector
from infra.reads import Reads
from infra.rebuild import prepare_read_models
from infra.settings import PastLimits
from tests.infra import toy
from tests.infra.errands import House, open_house
from tests.infra.other_pasts import DOMAIN, DOUBLING
from tests.infra.parts import Seen, a_log, handler_on, running


@pytest_asyncio.fixture
async def mongo(mongodb_uri: str, database_name: str) -> AsyncIterator[Mongo]:
    async with open_mongo(mongodb_uri, database_name) as opened:
        yield opened


@pytest_asyncio.fixture
async def log(mongo: Mongo) -> Log:
    return await a_log(mongo)


@pytest_asyncio.fixture
async def handler(log: Log) -> AsyncIterator[CommandHandler]:
    handler = handler_on(log)
    async with running(handler.run()):
        yield handler


@pytest_asyncio.fixture
async def house(mongodb_uri: str, database_name: str) -> AsyncIterator[House]:
    async with open_house(mongodb_uri, database_name) as opened:
        yield opened


@pytest_asyncio.fixture
async def projector(log: Log) -> Projector:
    """Of the two read models of the toy domain, which are prepared."""
    await prepare_read_models(log, toy.BOTH)
    return Projector(log, toy.BOTH)


@pytest_asyncio.fixture
async def reads(log: Log, projector: Projector) -> AsyncIterator[Reads]:
    del projector  # it has prepared what is read
    reads = Reads(log.mongo, hot=HotDocuments(log, 1_000))
    async with running(reads.follow()):
        yield reads


@pytest_asyncio.fixture
async def parts(log: Log, reads: Reads) -> AsyncIterator[Parts]:
    pasts = Pasts(log, reads, PastLimits())
    async with running(pasts.run()):
        yield Parts(log, toy.BOTH, DOMAIN, (DOUBLING,), pasts.freshly_at)


@pytest_asyncio.fixture
async def branches(parts: Parts) -> AsyncIterator[Branches]:
    branches = Branches(parts)
    async with running(branches.run()):
        yield branches


@pytest.fixture
def seen() -> Iterator[Seen]:
    """What the driver sends while the test runs; clients must be opened after this."""
    seen = Seen()
    yield seen
    seen.close()
