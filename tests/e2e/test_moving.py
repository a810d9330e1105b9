"""A log is moved by the command line, and nothing is done twice where it has come to; a document
changed by hand is made anew by a running server."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
import zstandard
from pymongo import MongoClient

from api.runtime import Runtime, open_runtime
from infra.projector import CHECKPOINTS
from infra.settings import Settings
from infra.stories import OUTBOX
from tests.e2e.buying import bought
from tests.e2e.client import OPERATOR, STAFF, anonymous
from tests.e2e.server import PATIENCE, Server, environment, eventually, process, serving
from tests.e2e.shop import Shop

FOLLOWERS: Final = ("process/order_to_cash", "gateway/payment_provider")
DIFFERENCES: Final = """{ differences {
  projection key what repaired fields { name stored expected setBy setAt }
} }"""


@pytest.fixture(scope="module")
def server(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of its own: nobody else buys here. It looks after its documents eagerly."""
    home: Path = tmp_path_factory.mktemp("home")
    settings = {
        "MONGODB_URI": mongodb_uri,
        "TIDINGS_DATABASE": f"e2e-{uuid4().hex}",
        "TIDINGS_SAMPLER_SHARE": "0.5",
    }
    with serving(home, settings) as running:
        yield running
    with running.database() as left:
        left.client.drop_database(left.name)


@pytest.fixture
def elsewhere(server: Server, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """The settings of another, empty database."""
    name = f"e2e-{uuid4().hex}"
    settings = {"MONGODB_URI": server.settings["MONGODB_URI"], "TIDINGS_DATABASE": name}
    yield environment(tmp_path, settings)
    with MongoClient[dict[str, Any]](settings["MONGODB_URI"]) as client:
        client.drop_database(name)


def tidings(settings: Mapping[str, str], *arguments: str | Path) -> tuple[int, list[str]]:
    """What the command line answers with, and prints."""
    with process(tuple(map(str, arguments)), settings) as run:
        output, _ = run.communicate(timeout=PATIENCE)
    return run.returncode, output.splitlines()


def here(server: Server) -> Mapping[str, str]:
    return environment(server.home, server.settings)


async def sold(server: Server) -> None:
    """An order, paid, and all that comes of it done."""
    async with anonymous(server.graphql, server.home) as client:
        shop = Shop(client.signed_in(STAFF))
        await bought(shop)
    with server.database() as database:
        eventually(lambda: database[OUTBOX].count_documents({}) == 0)


@asynccontextmanager
async def reacting(settings: Mapping[str, str]) -> AsyncIterator[tuple[Runtime, list[Any]]]:
    """All of a process that serves but its web server, with a door that counts who calls."""
    calls: list[Any] = []

    async def call(event: Any, _: str) -> Any:
        calls.append(event)
        await asyncio.sleep(60)

    own = Settings(
        mongodb_uri=settings["MONGODB_URI"],
        database=settings["TIDINGS_DATABASE"],
        home=Path(settings["TIDINGS_HOME"]),
    )
    async with open_runtime(own, react={"payment_provider": call}) as runtime:
        yield runtime, calls


async def reached(runtime: Runtime, position: int, *names: str) -> None:
    """Wait until these are there, and nothing waits to be carried out."""

    def there(db: Any) -> bool:
        where = {"_id": {"$in": list(names)}, "position": position}
        done = db[CHECKPOINTS].count_documents(where) == len(names)
        return done and not db[OUTBOX].count_documents({})

    async with asyncio.timeout(PATIENCE):
        while not await runtime.mongo.run(there):  # noqa: ASYNC110 others move them
            await asyncio.sleep(0.05)


async def test_a_log_that_was_moved_is_equal_and_nobody_is_charged_again(
    server: Server, elsewhere: Mapping[str, str], tmp_path: Path
) -> None:
    await sold(server)
    file = tmp_path / "log.ndjson.zst"
    code, exported = await asyncio.to_thread(tidings, here(server), "export", file)
    assert code == 0, exported
    where = next(line for line in exported if line.startswith("The log ends at position"))
    code, imported = await asyncio.to_thread(tidings, elsewhere, "import", file)
    assert (code, imported[-1]) == (0, where)
    async with reacting(elsewhere) as (runtime, calls):
        end = (await runtime.log.head()).position
        await reached(runtime, end, "main", *FOLLOWERS)
        assert calls == []
        assert (await runtime.log.head()).position == end
    for settings in (here(server), elsewhere):
        code, verified = await asyncio.to_thread(tidings, settings, "verify")
        assert (code, verified[-1]) == (0, where), verified
        assert "0 problems" in verified[-2]


async def test_a_log_without_personal_data_is_for_looking_at_only(
    server: Server, elsewhere: Mapping[str, str], tmp_path: Path
) -> None:
    await sold(server)
    file = tmp_path / "log.ndjson.zst"
    asked = ("export", file, "--without-personal-data")
    code, exported = await asyncio.to_thread(tidings, here(server), *asked)
    assert code == 0, exported
    assert exported[-1] == "Personal data is left out: the hashes are those of what is left."
    text = plain(file)
    for personal in (b"Ann Smith", b"ann@example.com", b"Mint Lane", b"HU1 1AA"):
        assert personal not in text
    code, imported = await asyncio.to_thread(tidings, elsewhere, "import", file)
    assert code == 0
    assert imported[-1] == "Personal data was left out of it: nothing will react to this log."
    async with reacting(elsewhere) as (runtime, calls):
        await reached(runtime, (await runtime.log.head()).position, "main")
        assert calls == []
    code, verified = await asyncio.to_thread(tidings, elsewhere, "verify")
    assert code == 0, verified


def plain(file: Path) -> bytes:
    with zstandard.open(file, "rb") as opened:
        return bytes(opened.read())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("import", "nowhere"), "nowhere cannot be read: No such file or directory."),
        (("import", "pyproject.toml"), "pyproject.toml does not begin as an export of a log does."),
        (("export", "nowhere/file"), "nowhere/file cannot be written: No such file or directory."),
        (("export", "pyproject.toml"), "pyproject.toml is there already, and whole"),
        (("export", "file", "--from", "2"), "The log ends at 0: there is nothing after 1."),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    elsewhere: Mapping[str, str], arguments: tuple[str, ...], says: str
) -> None:
    code, output = tidings(elsewhere, *arguments)
    assert code == 2
    assert output[-1].startswith(f"tidings: {says}"), output


async def test_a_document_changed_by_hand_is_found_told_and_made_anew(server: Server) -> None:
    async with anonymous(server.graphql, server.home) as client:
        customer = await Shop(client.signed_in(STAFF)).customer("Ann Smith")
        with server.database() as database:
            live = (database[CHECKPOINTS].find_one({"_id": "main"}) or {})["generations"]
            directory = database[f"rm_customer_directory_{live['customer_directory']}"]
            eventually(lambda: directory.find_one({"_id": customer}) is not None)
            made = directory.find_one({"_id": customer})
            directory.update_one({"_id": customer}, {"$set": {"name": "Bob Smith"}})
            eventually(lambda: directory.find_one({"_id": customer}) == made)
            eventually(lambda: database["differences"].count_documents({}) == 1)
        (found,) = (await client.signed_in(OPERATOR).run(DIFFERENCES))["differences"]
        (field,) = found.pop("fields")
        assert found == {
            "projection": "customer_directory",
            "key": customer,
            "what": "differs",
            "repaired": True,
        }
        assert field.pop("setAt").startswith("0:")
        assert field == {
            "name": "name",
            "stored": "'Bob Smith'",
            "expected": "'Ann Smith'",
            "setBy": "CustomerRegistered",
        }
        metrics = (await client.http.get(f"{server.url}/metrics")).text
    repaired = 'tidings_repaired_documents_total{projection="customer_directory"} 1.0'
    assert repaired in metrics
