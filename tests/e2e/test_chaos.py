"""Killing the API or mongod with signal 9, again and again, while commands are sent.

Every acknowledged command must be there exactly once, positions must have no holes, and the read
models must be what the log says: `tidings verify` agrees, and finds it where they are not.
"""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pymongo import MongoClient

from api.auth import Role, dev_token
from infra.embedded import embedded_mongod
from infra.settings import Settings
from tests.e2e.server import Server, environment, serving

KILLS = 20
SENDERS = 24
SKUS = 10

RECEIVE = """mutation Receive($input: ReceiveStockInput!) {
  receiveStock(input: $input) { errors { code } receipt { position version replayed aggregateId } }
}"""


@dataclass
class Sent:
    """What the clients know: commands by id, each with the receipt that it was acknowledged by."""

    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    stopped: bool = False


class Victim:
    """A server on its own mongod, which is killed and started again on the same port and data."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, _free_port()
        self._stack = ExitStack()
        self.start()

    def start(self) -> None:
        self.server: Server = self._stack.enter_context(serving(self.home, port=self.port))

    def kill_api(self) -> None:
        self.server.process.send_signal(signal.SIGKILL)
        self.server.process.wait()
        self.start()

    def kill_mongod(self) -> None:
        pid = json.loads((self.home / "mongod.json").read_text())["pid"]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self._stack.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def send_until_stopped(http: httpx.AsyncClient, token: str, sent: Sent) -> None:
    """Send commands, each as often as it takes to be acknowledged."""
    while not sent.stopped:
        command_id = str(uuid4())
        sku = f"CHAOS-{random.randrange(SKUS)}"
        body = {
            "query": RECEIVE,
            "variables": {"input": {"commandId": command_id, "sku": sku, "quantity": 1}},
        }
        while (receipt := await _receipt(http, token, body)) is None:  # noqa: ASYNC110 - a retry
            await asyncio.sleep(0.05)
        sent.receipts[command_id] = receipt


async def _receipt(http: httpx.AsyncClient, token: str, body: Any) -> dict[str, Any] | None:
    """The receipt, or None where there was no answer, or none that says anything."""
    try:
        answer = await http.post(
            "/graphql", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=20
        )
    except httpx.HTTPError:
        return None
    if answer.status_code != httpx.codes.OK or "errors" in answer.json():
        return None
    payload = answer.json()["data"]["receiveStock"]
    assert payload["errors"] == []
    return dict(payload["receipt"])


async def torment(victim: Victim, sent: Sent) -> None:
    """Twenty kills, API and mongod in turn, at moments nobody chose."""
    for number in range(KILLS):
        before = len(sent.receipts)
        await asyncio.sleep(random.uniform(0.2, 0.8))
        kill = victim.kill_mongod if number % 2 else victim.kill_api
        await asyncio.to_thread(kill)
        async with asyncio.timeout(60):
            while len(sent.receipts) <= before + SENDERS:  # noqa: ASYNC110 - a poll of the clients
                await asyncio.sleep(0.05)
    sent.stopped = True


def verify(home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api", "verify"],
        env=environment(home, {}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.chaos
async def test_no_kill_loses_or_doubles_an_acknowledged_command(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    sent = Sent()
    token = dev_token(Settings(home=tmp_path), "chaos", (Role.STAFF,), None, 3600)
    try:
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{victim.port}") as http,
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(SENDERS):
                tasks.create_task(send_until_stopped(http, token, sent))
            tasks.create_task(torment(victim, sent))
    finally:
        victim.stop()

    proved = verify(tmp_path)
    assert proved.returncode == 0, proved.stdout + proved.stderr
    async with embedded_mongod(tmp_path) as mongod:
        with MongoClient[dict[str, Any]](mongod.uri) as client:
            events = client["tidings"]["events"]
            _all_are_there_once(sent, list(events.find(sort=[("_id", 1)])))
            stock = client["tidings"]["rm_stock_levels_1"]
            held = sum(level["on_hand"] for level in stock.find())
            assert held == events.count_documents({})
            stock.update_one({"_id": "CHAOS-0"}, {"$inc": {"on_hand": 1}})
    spoilt = verify(tmp_path)
    assert spoilt.returncode == 1
    assert "on_hand" in spoilt.stdout
    assert "CHAOS-0" in spoilt.stdout


def _all_are_there_once(sent: Sent, events: list[dict[str, Any]]) -> None:
    assert [event["_id"] for event in events] == list(range(1, len(events) + 1))
    by_command: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_command.setdefault(event["meta"]["command_id"], []).append(event)
    assert all(len(found) == 1 for found in by_command.values())
    for command_id, receipt in sent.receipts.items():
        (event,) = by_command[command_id]
        assert receipt["position"] == f"0:{event['_id']}"
        assert receipt["version"] == event["version"]
        assert receipt["aggregateId"] == event["stream"]
