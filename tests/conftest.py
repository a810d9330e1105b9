"""What every test may ask for: a real MongoDB, and a database of its own in it."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import settings
from pymongo import AsyncMongoClient

from infra.embedded import embedded_mongod


def pytest_addoption(parser: pytest.Parser) -> None:
    """An option that only the first conftest may add."""
    parser.addoption(
        "--update-contracts",
        action="store_true",
        help="write tests/contracts/ anew, to be reviewed like any other change",
    )


def pytest_configure() -> None:
    """Ctrl-C means Ctrl-C to the processes of the tests, also where they are run in the
    background: there a shell has it ignored, and that is inherited."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("ci", derandomize=True)
    if os.environ.get("CI"):  # the same examples each time; elsewhere new ones are looked for
        settings.load_profile("ci")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """`MONGODB_URI`, or else a replica set of one that lives as long as the tests."""
    if uri := os.environ.get("MONGODB_URI"):
        yield uri
        return
    home: Path = tmp_path_factory.mktemp("tidings")
    async with embedded_mongod(home) as mongod:
        yield mongod.uri


@pytest_asyncio.fixture
async def database_name(mongodb_uri: str) -> AsyncIterator[str]:
    """The name of an empty database, which is dropped after the test."""
    name = f"test-{uuid4().hex}"
    yield name
    async with AsyncMongoClient[dict[str, object]](mongodb_uri) as client:
        await client.drop_database(name)
