"""Loading goes on: over a server that dies and comes back, and after Ctrl-C."""

import asyncio
import io
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from rich.console import Console

from api.auth import Role, dev_token
from api.loading.senders import ACTOR, Away, OverHttp
from api.loading.stories import Source, Stage, command_id
from api.loading.telling import Told, bars, tell
from api.loading.tpch import tpch
from api.stock import ReceiveStockInput
from infra.codec import now
from infra.settings import SettingInvalid, Settings
from tests.e2e.client import PATIENCE
from tests.e2e.server import environment, process, serving

COMMANDS = 3_000
SKUS = 20
AT = now()


def deliveries() -> Iterator[list[ReceiveStockInput]]:
    for number in range(COMMANDS):
        sku = f"LOAD-{number % SKUS}"
        yield [ReceiveStockInput(command_id=command_id("test", number), at=AT, sku=sku, quantity=1)]


def a_source() -> Source:
    return Source("Deliveries", f"{COMMANDS}", (Stage("deliveries", COMMANDS, deliveries()),))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.chaos
async def test_a_server_may_die_and_come_back(
    mongodb_uri: str, database_name: str, tmp_path: Path
) -> None:
    port = free_port()
    settings = {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": database_name}
    token = dev_token(Settings(home=tmp_path), ACTOR, (Role.STAFF,), None, 600)
    sender = OverHttp(f"http://127.0.0.1:{port}", token)
    progress = bars(Console(file=io.StringIO()))
    with serving(tmp_path, settings, port=port) as first:
        telling = asyncio.create_task(tell(a_source(), sender, progress))
        await _until_commands(settings, COMMANDS // 3)
        first.process.kill()
        first.process.wait()
    assert not telling.done()
    with serving(tmp_path, settings, port=port):
        told: Told = await telling
    sender.close()
    with database_of(settings) as database:
        assert database["events"].count_documents({}) == COMMANDS
        assert len(database["events"].distinct("meta.command_id")) == COMMANDS
    assert (told.commands, told.refusals) == (COMMANDS, [])


@contextmanager
def database_of(settings: Mapping[str, str]) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](settings["MONGODB_URI"]) as client:
        yield client[settings["TIDINGS_DATABASE"]]


async def _until_commands(settings: Mapping[str, str], wanted: int) -> None:
    with database_of(settings) as database:
        async with asyncio.timeout(PATIENCE):
            while database["commands"].estimated_document_count() < wanted:  # noqa: ASYNC110 another process
                await asyncio.sleep(0.01)


@pytest.mark.tpch
async def test_what_was_stopped_goes_on(
    mongodb_uri: str, database_name: str, tmp_path: Path
) -> None:
    pytest.importorskip("duckdb_extension_tpch", reason="the extra `tpch` is not installed")
    settings = {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": database_name}
    arguments = ("load", "tpch", "--scale", "0.001")
    with process(arguments, environment(tmp_path, settings)) as running:
        await _until_commands(settings, 3_000)
        running.send_signal(signal.SIGINT)
        output, _ = await asyncio.to_thread(running.communicate)
    assert running.returncode == 130
    assert "Stopped. Run it again: it goes on where it was." in output
    with process(arguments, environment(tmp_path, settings)) as running:
        output, _ = await asyncio.to_thread(running.communicate)
    assert running.returncode == 0
    assert "150 customers, 200 products, 1,500 orders, 6,005 lines" in output
    with database_of(settings) as database:
        assert database["commands"].count_documents({}) == 15_932


def test_without_duckdb_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(SettingInvalid, match=r"pip install 'tidings\[tpch\]'"):
        tpch(0.01)


@pytest.mark.parametrize("scale", [0.0, -1.0, 11.0])
def test_a_scale_has_bounds(scale: float) -> None:
    with pytest.raises(SettingInvalid, match="--scale"):
        tpch(scale)


@pytest.mark.parametrize(
    ("status", "retry_after", "body"),
    [
        (429, 7, b'{"errors": [{"message": "m", "extensions": {"code": "RATE_LIMITED"}}]}'),
        (503, 1, b'{"errors": [{"message": "m", "extensions": {"code": "OVERLOADED"}}]}'),
        (200, 0, b'{"errors": [{"message": "m", "extensions": {"code": "TIMEOUT"}}]}'),
        (502, 0, b"<html>Bad Gateway</html>"),
    ],
)
def test_what_passes_is_waited_for(status: int, retry_after: float, body: bytes) -> None:
    sender = OverHttp("http://127.0.0.1", "token")
    with pytest.raises(Away) as away:
        sender._outcome(status, retry_after, body)
    assert away.value.seconds == retry_after
    sender.close()
