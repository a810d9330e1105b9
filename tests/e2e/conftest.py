"""One server for all tests of this folder, on a database of its own, and clients for it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.client import OPERATOR, STAFF, Client, anonymous
from tests.e2e.server import Server, serving
from tests.e2e.shop import Shop


@pytest.fixture(scope="session")
def server(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`tidings serve` on the MongoDB of the tests."""
    home: Path = tmp_path_factory.mktemp("home")
    settings = {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": f"e2e-{uuid4().hex}"}
    with serving(home, settings) as running:
        yield running
    with running.database() as left:
        left.client.drop_database(left.name)


@pytest.fixture
async def nobody(server: Server) -> AsyncIterator[Client]:
    async with anonymous(server.graphql, server.home) as client:
        yield client


@pytest.fixture
def staff(nobody: Client) -> Client:
    return nobody.signed_in(STAFF)


@pytest.fixture
def operator(nobody: Client) -> Client:
    return nobody.signed_in(OPERATOR)


@pytest.fixture
def shop(staff: Client) -> Shop:
    return Shop(staff)
