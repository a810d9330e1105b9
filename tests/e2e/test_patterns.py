"""`tidings bench patterns`: what must hold of thin and fat messages, whatever the machine."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from pymongo import AsyncMongoClient

from api.patterns import compare
from infra.settings import KafkaSettings, Settings
from tests.e2e.server import environment
from tests.kafka.brokers import Broker, free_port

CHANGES: Final = 4
DOWN_SECONDS: Final = 1.0
BENCH: Final = (sys.executable, "-m", "api", "bench", "patterns")


async def test_fat_knows_without_the_source_and_thin_only_with_it(
    mongodb_uri: str, kafka: Broker
) -> None:
    settings = Settings(
        mongodb_uri=mongodb_uri,
        kafka=KafkaSettings(bootstrap_servers=(kafka.bootstrap,), small=kafka.small),
    )
    before = await left_over(mongodb_uri, kafka)
    found = await compare(settings, CHANGES, DOWN_SECONDS)
    assert len(found.thin) == len(found.fat) == CHANGES
    assert {(cost.calls, cost.in_vain) for cost in found.thin} == {(1, 0)}
    assert {(cost.calls, cost.call_bytes) for cost in found.fat} == {(0, 0)}
    assert all(cost.knows > cost.heard and cost.call_bytes > 0 for cost in found.thin)

    thin, fat, away = found.in_need.thin, found.in_need.fat, found.in_need.away
    assert fat.knows < away
    assert thin.heard < away < thin.knows
    assert away >= DOWN_SECONDS
    assert (fat.calls, thin.calls) == (0, 1)
    assert thin.in_vain > 0
    assert await left_over(mongodb_uri, kafka) <= before


async def left_over(uri: str, kafka: Broker) -> set[str]:
    """Databases and topics of comparisons."""
    async with AsyncMongoClient[dict[str, object]](uri) as client:
        names = await client.list_database_names()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        names += await admin.list_topics()
    finally:
        await admin.close()
    return {name for name in names if name.startswith("patterns-")}


def test_it_prints_both_side_by_side(mongodb_uri: str, kafka: Broker, tmp_path: Path) -> None:
    settings = {"MONGODB_URI": mongodb_uri, **kafka.settings}
    ended = subprocess.run(
        [*BENCH, "--changes", "2", "--down", "0.5"],
        env=environment(tmp_path, settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    rows = [[cell.strip() for cell in line.split("│")] for line in ended.stdout.splitlines()]
    told = {cells[1]: cells[2:4] for cells in rows if len(cells) == 5}
    assert told["calls back"] == ["1", "0"]
    assert told["bytes of calls back"][1] == "0"
    assert "source down: knows *" in told


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ("", "KAFKA_BOOTSTRAP_SERVERS is not set: there is nowhere to publish."),
        ("{nowhere}", "KAFKA_BOOTSTRAP_SERVERS={nowhere}: no Kafka broker answers there."),
    ],
)
def test_without_kafka_it_says_so_in_one_line(servers: str, said: str, tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    settings = {"KAFKA_BOOTSTRAP_SERVERS": servers.format(nowhere=nowhere)}
    ended = subprocess.run(
        BENCH,
        env=environment(tmp_path, settings),
        capture_output=True,
        text=True,
        check=False,
    )
    text = f"tidings: {said.format(nowhere=nowhere)}\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", text)
