"""Projector processes that share a read model over Kafka: they are killed and added, and no answer
is wrong meanwhile."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from pymongo.database import Database

from api.runtime import CODEC
from infra.feeding.group import FEEDS, GROUP
from infra.folding import as_read, collection_of, document_of
from infra.mongo import CODEC as BSON
from infra.projector import CHECKPOINTS
from readmodels.customer_directory import CUSTOMER_DIRECTORY
from tests.e2e.client import STAFF, Client, anonymous
from tests.e2e.server import Server, environment, process, serving
from tests.e2e.shop import Shop
from tests.kafka.brokers import Broker

FED: Final = CUSTOMER_DIRECTORY.name
PARTITIONS: Final = 12
PATIENCE: Final = 60.0
ASKED: Final = """
query ($id: ID!, $at: Position) { customer(id: $id, atLeast: $at) { version email } }"""


@dataclass
class Deployment:
    """A server, and projectors apart from it."""

    server: Server
    projectors: ExitStack
    started: list[Any] = field(default_factory=list)

    def add(self) -> None:
        settings = environment(self.server.home, self.server.settings)
        arguments = ("project", "--from-kafka", FED)
        self.started.append(self.projectors.enter_context(process(arguments, settings)))

    def verify(self) -> subprocess.CompletedProcess[str]:
        """What `tidings verify` says to all of it."""
        return subprocess.run(
            [sys.executable, "-m", "api", "verify"],
            env=environment(self.server.home, self.server.settings),
            capture_output=True,
            text=True,
            check=False,
        )

    def sharers(self, since: int = 0) -> int:
        """How many processes hold the partitions, going by those that have moved on since."""
        with self.server.database() as database:
            rows = list(database[FEEDS].find({"position": {"$gt": since}, "projection": FED}))
        return len({row["by"] for row in rows if "by" in row}) if len(rows) == PARTITIONS else 0

    def position(self) -> int:
        """What everything that is fed has come to."""
        with self.server.database() as database:
            found = database[CHECKPOINTS].find_one({"_id": GROUP})
        return int(found["reached"]["position"]) if found else 0


@pytest.fixture
def deployment(mongodb_uri: str, kafka: Broker, tmp_path: Path) -> Iterator[Deployment]:
    settings = {
        "MONGODB_URI": mongodb_uri,
        "TIDINGS_DATABASE": f"e2e-{uuid4().hex}",
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "TIDINGS_KAFKA_SMALL": str(int(kafka.small)),
        "TIDINGS_KAFKA_TOPIC_PREFIX": f"{uuid4().hex}-",
    }
    with serving(tmp_path, settings) as server, ExitStack() as projectors:
        yield Deployment(server, projectors)
    with server.database() as database:
        database.client.drop_database(database.name)


@dataclass
class Clerk:
    """Changes customers, and looks each time whether the change can be seen."""

    client: Client
    customers: list[str]
    seen: int = 0
    put_off: Counter[str] = field(default_factory=Counter)

    async def work(self, stop: asyncio.Event, seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            customer = chance.choice(self.customers)
            email = f"{uuid4().hex}@example.com"
            payload = await self.client.done(
                "changeCustomerContact", customerId=customer, email=email
            )
            await self.look(customer, email, payload["receipt"])

    async def look(self, customer: str, email: str, receipt: Any) -> None:
        """An answer at least at the position shows the change, or what came after it; where that
        cannot be, it says so instead."""
        asked = {"id": customer, "at": receipt["position"]}
        answer = await self.client.answer(ASKED, **asked)
        if answer.body.get("errors"):
            self.put_off.update(answer.codes)
            return
        found = answer.data["customer"]
        assert found["version"] >= receipt["version"]
        assert found["email"] == email or found["version"] > receipt["version"]
        self.seen += 1


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 other processes make it so
            await asyncio.sleep(0.2)


def refolded(database: Database[dict[str, Any]]) -> dict[str, Any]:
    """The directory as the log makes it."""
    views: dict[str, Any] = {}
    events = database["events"].with_options(codec_options=BSON)
    for document in events.find(sort=[("_id", 1)]):
        for recorded in CODEC.recorded(document):
            for key in CUSTOMER_DIRECTORY.touched(recorded):
                view = CUSTOMER_DIRECTORY.evolve(views.get(key, (None, 0))[0], recorded, key)
                views[key] = view, recorded.position
    return {
        key: as_read(document_of(key, view, position)) for key, (view, position) in views.items()
    }


def stored(database: Database[dict[str, Any]]) -> dict[str, Any]:
    """The directory as it is served."""
    group = database[CHECKPOINTS].find_one({"_id": GROUP})
    assert group is not None
    name = collection_of(FED, group["generations"][FED])
    rows = database[name].with_options(codec_options=BSON).find()
    return {row["_id"]: row for row in rows}


@pytest.mark.chaos
async def test_four_share_a_read_model_while_one_is_killed_and_one_is_added(
    deployment: Deployment,
) -> None:
    for _ in range(4):
        deployment.add()
    server, stop = deployment.server, asyncio.Event()
    async with anonymous(server.graphql, server.home) as anyone:
        client = anyone.signed_in(STAFF)
        shop = Shop(client)
        customers = [await shop.customer() for _ in range(60)]
        clerks = [Clerk(client, customers[part::3]) for part in range(3)]
        async with asyncio.TaskGroup() as tasks:
            for seed, clerk in enumerate(clerks):
                tasks.create_task(clerk.work(stop, seed))
            await eventually(lambda: deployment.sharers() == 4)
            await _answers(clerks)

            deployment.started[0].kill()
            at = deployment.position()
            await eventually(lambda: deployment.sharers(at) == 3)
            await _answers(clerks)

            deployment.add()
            at = deployment.position()
            await eventually(lambda: deployment.sharers(at) == 4)
            await _answers(clerks)
            stop.set()
        refused = {code for clerk in clerks for code in clerk.put_off}
        assert refused <= {"READ_MODEL_BEHIND"}
    with server.database() as database:
        head = database["counters"].find_one({"_id": "log"})
        assert head is not None
        await eventually(lambda: deployment.position() >= head["position"])
        assert stored(database) == refolded(database)
    verified = await asyncio.to_thread(deployment.verify)
    assert verified.returncode == 0, verified.stdout


async def _answers(clerks: list[Clerk]) -> None:
    """Wait until each of them has seen some more of what they have changed."""
    enough = [clerk.seen + 20 for clerk in clerks]
    await eventually(lambda: all(c.seen >= n for c, n in zip(clerks, enough, strict=True)))
