"""Documents read from the other members of a replica set: as true as those of the primary."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from pymongo import AsyncMongoClient, monitoring

from infra.mongo import open_mongo
from infra.mongod import HOST, find_binary
from infra.projector import Projector
from infra.reads import Reads
from infra.rebuild import prepare_read_models
from tests.infra import toy
from tests.infra.parts import a_log, asked, every, handler_on, projecting, running
from tests.kafka.brokers import free_port

PATIENCE = 60.0


@pytest_asyncio.fixture
async def two(tmp_path: Path) -> AsyncIterator[str]:
    """A set of a primary and a secondary; where to find it."""
    ports = (free_port(), free_port())
    mongods = [_started(tmp_path / str(port), port) for port in ports]
    try:
        async with AsyncMongoClient[dict[str, Any]](
            HOST, ports[0], directConnection=True, serverSelectionTimeoutMS=30_000
        ) as client:
            members = [
                {"_id": number, "host": f"{HOST}:{port}", "priority": 1 - number}
                for number, port in enumerate(ports)
            ]
            await client.admin.command("replSetInitiate", {"_id": "two", "members": members})
            async with asyncio.timeout(PATIENCE):
                while not await _all_there(client):  # noqa: ASYNC110 mongod says no more
                    await asyncio.sleep(0.1)
        yield f"mongodb://{HOST}:{ports[0]},{HOST}:{ports[1]}/?replicaSet=two"
    finally:
        for mongod in mongods:
            mongod.kill()
            mongod.wait()


def _started(folder: Path, port: int) -> subprocess.Popen[bytes]:
    folder.mkdir()
    place = ("--dbpath", str(folder), "--port", str(port), "--bind_ip", HOST)
    small = ("--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64")
    command = (str(find_binary()), "--replSet", "two", *place, *small)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=dict(os.environ))


async def _all_there(client: AsyncMongoClient[dict[str, Any]]) -> bool:
    status = await client.admin.command("replSetGetStatus")
    return {member["stateStr"] for member in status["members"]} == {"PRIMARY", "SECONDARY"}


class Finds(monitoring.CommandListener):
    """Where documents of the read models were asked for."""

    def __init__(self) -> None:
        self.ports: set[int | None] = set()
        monitoring.register(self)

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if str(event.command.get("find", "")).startswith("rm_contents"):
            self.ports.add(event.connection_id[1])

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Of no interest."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Of no interest."""


async def test_a_write_is_seen_at_its_position_on_a_secondary(two: str) -> None:
    finds = Finds()
    async with open_mongo(two, "secondaries") as mongo:
        reads = Reads(mongo, preference="secondary")
        log = await a_log(mongo)
        await prepare_read_models(log, toy.BOTH)
        handler = handler_on(log)
        async with (
            running(handler.run(), reads.follow()),
            projecting(log, Projector(log, toy.BOTH)),
        ):
            for number in range(1, 20):
                answer = await handler.handle(asked(toy.Put(jar="a")))
                await reads.snapshot(answer.position)
                [jar] = await every(reads, toy.CONTENTS)
                assert jar.marbles == number
            primary = mongo.sync.client.primary
            assert primary is not None
    assert len(finds.ports) == 1
    assert primary[1] not in finds.ports
