"""Rebuilding under load, by GraphQL: what is asked for meanwhile is answered, and nothing is old.

One database with a long log of deliveries; the tests follow on each other.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from pymongo import MongoClient

from api.runtime import CODEC
from domain.recorded import Meta
from domain.stock_item import StockReceived, stream
from infra.codec import now
from infra.log import Log, NewEvent
from infra.mongo import open_mongo
from tests.e2e.busy import LEVELS, Shop, number
from tests.e2e.client import OPERATOR, Client, anonymous, eventually
from tests.e2e.server import PATIENCE, Server, environment, process, serving

EVENTS: Final = 30_000
SKUS: Final = [f"GEN-{number}" for number in range(2_000)]

REBUILDS: Final = """query ($p: String) { rebuilds(projection: $p) { kind generation state error
  position comparison { against documents differing missing extra partsAt examples { key } } } }"""
GENERATIONS: Final = (
    "query ($p: String) { generations(projection: $p) { projection generation version live } }"
)
PROGRESS: Final = """subscription ($p: String!) { rebuildProgress(projection: $p) { projection state
  position goal eventsPerSecond secondsLeft } }"""


def operation(name: str, kind: str) -> str:
    return f"""mutation ($input: {kind}!) {{ {name}(input: $input) {{
      errors {{ code message }} rebuild {{ projection generation state }} }} }}"""


REBUILD: Final = operation("rebuildReadModel", "RebuildReadModelInput")
PAUSE: Final = operation("pauseRebuild", "RebuildInput")
RESUME: Final = operation("resumeRebuild", "RebuildInput")
CANCEL: Final = operation("cancelRebuild", "RebuildInput")
ROLLBACK: Final = operation("rollbackGeneration", "GenerationInput")
REMOVE: Final = """mutation ($input: GenerationInput!) { removeGeneration(input: $input) {
  errors { code message } removed } }"""


async def deliveries(uri: str, database: str) -> Counter[str]:
    """Fill a log faster than commands could; how much of each sku there is."""
    versions: Counter[str] = Counter()
    async with open_mongo(uri, database) as mongo:
        log = Log(mongo, CODEC)
        await log.prepare()
        head = await log.head()
        for first in range(0, EVENTS, 2_000):
            skus = [SKUS[n % len(SKUS)] for n in range(first, first + 2_000)]
            versions.update(skus)
            head = await log.append(head, [delivery(sku, versions[sku]) for sku in skus])
    return versions


def delivery(sku: str, version: int) -> NewEvent:
    at, command = now(), str(uuid4())
    meta = Meta(
        event_id=f"{command}:0",
        command_id=command,
        command="ReceiveStock",
        correlation_id=command,
        causation_id=command,
        actor="test",
        recorded_at=at,
    )
    event = StockReceived(sku=sku, quantity=1, source="test", at=at)
    return NewEvent(event=event, stream=stream(sku), version=version, meta=meta)


@pytest.fixture(scope="module")
def settings(mongodb_uri: str) -> Iterator[dict[str, str]]:
    database = f"gen-{uuid4().hex}"
    yield {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": database}
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        client.drop_database(database)


@pytest.fixture(scope="module")
def there(settings: dict[str, str]) -> Counter[str]:
    """How much of each sku the log says there is."""
    return asyncio.run(deliveries(settings["MONGODB_URI"], settings["TIDINGS_DATABASE"]))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def own(home: Path, settings: dict[str, str], there: Counter[str]) -> Iterator[Server]:
    """A server on that log."""
    assert there
    with serving(home, settings) as server:
        yield server


@asynccontextmanager
async def operator_of(server: Server) -> AsyncIterator[Client]:
    async with anonymous(server.graphql, server.home) as client:
        yield client.signed_in(OPERATOR)


async def shop_of(client: Client, there: Counter[str]) -> Shop:
    """The shop when its stock can be read."""

    async def caught_up() -> bool:
        return number((await client.answer(LEVELS)).position) >= EVENTS

    await eventually(caught_up, 2 * PATIENCE)
    return Shop(client, SKUS[:200], on_hand=there)


async def told(client: Client, document: str, **input: Any) -> Any:
    """What an operation that must be possible answers."""
    (payload,) = (await client.run(document, input=input)).values()
    assert payload["errors"] == []
    return payload.get("rebuild", payload)


async def refusal(client: Client, document: str, **input: Any) -> str:
    (payload,) = (await client.run(document, input=input)).values()
    (error,) = payload["errors"]
    return str(error["code"])


async def latest(client: Client, projection: str) -> Any:
    return (await client.run(REBUILDS, p=projection))["rebuilds"][0]


async def ended(client: Client, projection: str) -> Any:
    """The latest job of a read model, done."""

    async def is_over() -> Any:
        job = await latest(client, projection)
        return job if job["state"] not in ("RUNNING", "PAUSED") else None

    job = await eventually(is_over, 2 * PATIENCE)
    assert job["state"] == "DONE", job
    return job


async def live(client: Client, projection: str) -> int:
    found = (await client.run(GENERATIONS, p=projection))["generations"]
    (generation,) = [one["generation"] for one in found if one["live"]]
    return int(generation)


@asynccontextmanager
async def at_work(shop: Shop) -> AsyncIterator[asyncio.Task[None]]:
    working = asyncio.create_task(shop.work())
    try:
        yield working
    finally:
        working.cancel()
        await asyncio.wait([working])
    assert working.cancelled(), working.exception()


async def test_switch_and_rollback_are_seen_by_nobody_under_load(
    own: Server, there: Counter[str]
) -> None:
    async with operator_of(own) as operator:
        shop = await shop_of(operator, there)
        before = {name: await live(operator, name) for name in ("stock_levels", "flow_edges")}
        async with at_work(shop), operator.stream(PROGRESS, p="stock_levels") as progress:
            for name in before:  # side by side
                assert (await told(operator, REBUILD, projection=name))["state"] == "RUNNING"
            seen = []
            async for message in progress:
                seen.append(message["data"]["rebuildProgress"])
                if seen[-1]["state"] == "DONE":
                    break
            for name, old in before.items():
                job = await ended(operator, name)
                assert (job["kind"], job["generation"]) == ("REBUILD", old + 1)
                found = job["comparison"]
                assert (found["against"], found["differing"]) == (old, 0)
                assert (found["missing"], found["extra"]) == (0, 0)
                assert await live(operator, name) == old + 1
            await told(operator, ROLLBACK, projection="stock_levels")
            assert (await ended(operator, "stock_levels"))["kind"] == "ROLLBACK"
            assert await live(operator, "stock_levels") == before["stock_levels"]
            await asyncio.sleep(1)
        assert number(seen[-1]["position"]) == number(seen[-1]["goal"]) >= EVENTS
        assert shop.queries > 100
        assert shop.commands > 50
    print(f"{shop.queries} queries, {shop.commands} commands, none failed, none was stale")


async def test_an_operator_pauses_resumes_cancels_and_removes(own: Server) -> None:
    async with operator_of(own) as operator:
        old = await live(operator, "flow_edges")
        await told(operator, REBUILD, projection="flow_edges")
        assert (await told(operator, PAUSE, projection="flow_edges"))["state"] == "PAUSED"
        assert (await latest(operator, "flow_edges"))["state"] == "PAUSED"
        assert await refusal(operator, PAUSE, projection="flow_edges") == "NOT_UNDER_WAY"
        assert await refusal(operator, ROLLBACK, projection="flow_edges") == "ALREADY_UNDER_WAY"
        assert (await told(operator, RESUME, projection="flow_edges"))["state"] == "RUNNING"
        await ended(operator, "flow_edges")
        assert await live(operator, "flow_edges") > old
        await told(operator, REBUILD, projection="flow_edges", hold=True)
        assert (await told(operator, CANCEL, projection="flow_edges"))["state"] == "CANCELLED"
        assert await refusal(operator, RESUME, projection="flow_edges") == "NOT_UNDER_WAY"
        removed = await told(operator, REMOVE, projection="flow_edges", generation=old)
        assert removed["removed"] == [old]
        again = {"projection": "flow_edges", "generation": old}
        assert await refusal(operator, REMOVE, **again) == "NO_SUCH_GENERATION"
        assert await refusal(operator, REBUILD, projection="x") == "UNKNOWN_READ_MODEL"


async def test_killed_while_it_rebuilds_it_goes_on_when_there_is_a_server_again(
    home: Path, settings: dict[str, str], there: Counter[str]
) -> None:
    """(With some of it written, in `tests.infra.test_generations`: this one takes a moment.)"""
    with serving(home, settings) as first:
        async with operator_of(first) as operator:
            await shop_of(operator, there)
            await told(operator, REBUILD, projection="flow_edges")
            with first.database() as database:
                running = {"projection": "flow_edges", "active": True, "owner": {"$ne": None}}

                async def begun() -> Any:
                    return database["rebuilds"].find_one(running)

                job = await eventually(begun)
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    with serving(home, settings) as second, second.database() as database:
        async with operator_of(second) as operator:
            done = await ended(operator, "flow_edges")
            assert (done["state"], done["generation"]) == ("DONE", job["generation"])
            assert done["comparison"]["differing"] == 0
            assert await live(operator, "flow_edges") == job["generation"]
        row = database["rebuilds"].find_one({"_id": job["_id"]})
        assert row is not None
        assert row["state"] == "done"
    with process(("verify",), environment(home, settings)) as verification:
        assert verification.wait(4 * PATIENCE) == 0


async def test_a_changed_version_does_not_keep_a_server_from_serving(
    home: Path, settings: dict[str, str], there: Counter[str]
) -> None:
    assert there
    with serving(home, settings) as before, before.database() as database:
        before.stop()
        changed = {"$set": {"versions.stock_levels": 0}}
        database["checkpoints"].update_one({"_id": "main"}, changed)
    with serving(home, settings) as server:
        async with operator_of(server) as operator:
            refused = await operator.answer("{ stockLevels(first: 1) { nodes { sku } } }")
            assert refused.codes == ["READ_MODEL_BEHIND"]
            assert "stock_levels is being built anew" in refused.body["errors"][0]["message"]
            assert (await operator.run("{ realFlow { count } }"))["realFlow"]
            await ended(operator, "stock_levels")
            found = await operator.run("{ stockLevels(first: 1) { nodes { onHand } } }")
            assert found["stockLevels"]["nodes"][0]["onHand"] >= EVENTS // len(SKUS)
