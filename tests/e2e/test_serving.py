"""The process itself: how it starts, how it stops, and what is left when it is killed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.e2e.client import STAFF, Answer, Client, anonymous
from tests.e2e.server import NO_SETTINGS, PATIENCE, Server, environment, eventually, ready, serving
from tests.e2e.shop import Shop, new_sku


@pytest.fixture
def settings(mongodb_uri: str) -> dict[str, str]:
    return {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": f"e2e-{uuid4().hex}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tidings(
    home: Path, settings: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """One that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        env=environment(home, settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


# Stopping


async def send_until_stopped(
    client: Client, sku: str, done: dict[UUID, Any]
) -> list[tuple[UUID, str]]:
    """Commands one after the other; those without an answer, and why."""
    while True:
        key = uuid4()
        try:
            answer: Answer = await client.send_raw("receiveStock", "", key, sku=sku, quantity=1)
        except httpx.TransportError as error:
            return [(key, type(error).__name__)]
        if answer.status == 503:
            return [(key, "503")]
        done[key] = answer.data["receiveStock"]["receipt"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly_and_the_next_one_takes_over(
    tmp_path: Path, settings: dict[str, str], number: int
) -> None:
    sku, done = new_sku(), dict[UUID, Any]()
    with serving(tmp_path, settings) as server:
        async with anonymous(server.graphql, tmp_path) as anyone:
            staff = anyone.signed_in(STAFF, subject="keeper")
            async with staff.socket() as follower:
                await follower.subscribe("subscription { notifications { position } }")
                sending = [
                    asyncio.create_task(send_until_stopped(staff, sku, done)) for _ in range(8)
                ]
                await asyncio.sleep(0.5)
                server.process.send_signal(number)
                assert await follower.close_code() == 1012
                unanswered = [each for group in await asyncio.gather(*sending) for each in group]
            assert await asyncio.to_thread(server.process.wait, PATIENCE) == 0
    assert "Traceback" not in "".join(server.output)
    assert len(done) > 20

    with serving(tmp_path, settings) as server:
        async with anonymous(server.graphql, tmp_path) as anyone:
            staff = anyone.signed_in(STAFF, subject="keeper")
            for key, receipt in done.items():
                again = await staff.send("receiveStock", "", key, sku=sku, quantity=1)
                assert again["receipt"] == {**receipt, "replayed": True}
            for key, _ in unanswered:
                await staff.send("receiveStock", "", key, sku=sku, quantity=1)
            last = await staff.done("countStock", "stockLevel { onHand }", sku=sku, counted=0)
            assert last["receipt"]["version"] == len(done) + len(unanswered) + 1
        with server.database() as database:
            database.client.drop_database(database.name)


async def test_a_command_under_way_is_answered_before_the_end(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with serving(tmp_path, settings) as server:
        async with anonymous(server.graphql, tmp_path) as anyone:
            staff, sku = anyone.signed_in(STAFF), new_sku()
            sending = [
                asyncio.create_task(staff.done("receiveStock", sku=sku, quantity=1))
                for _ in range(50)
            ]
            while not any(task.done() for task in sending):  # noqa: ASYNC110 - tasks set no event
                await asyncio.sleep(0)
            server.process.send_signal(signal.SIGTERM)
            outcomes = await asyncio.gather(*sending, return_exceptions=True)
            answered = [each for each in outcomes if not isinstance(each, BaseException)]
            refused = [each for each in outcomes if isinstance(each, BaseException)]
            assert all(isinstance(error, httpx.ConnectError) for error in refused), refused
            assert answered
            assert await asyncio.to_thread(server.process.wait, PATIENCE) == 0


# Starting


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = tidings(tmp_path, NO_SETTINGS, "serve", "--port", str(port))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        (
            f"tidings: Cannot listen on 127.0.0.1:{port} (Address already in use): stop the "
            "program that does, or choose another port with --port."
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (("serve", "--port", "99999"), {}),
        (("serve", "--port", "-1"), {}),
        (("serve", "--host", "no.such.host.example"), {}),
        (("serve", "--host", "192.0.2.1"), {}),
        (("serve", "--only", "nothing"), {}),
        (("serve",), {"TIDINGS_PORT": "http"}),
        (("serve", "--port", "0"), {"MONGODB_URI": "mongodb://127.0.0.1:1/?directConnection=true"}),
    ],
)
def test_what_cannot_work_is_told_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], settings: dict[str, str]
) -> None:
    ended = tidings(tmp_path, settings, *arguments)
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("tidings: ")


def test_it_says_where_it_is_and_how_it_is(server: Server) -> None:
    assert ready(server.url)
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "alive"}
    assert "tidings_" in httpx.get(f"{server.url}/metrics").text
    said = "".join(server.output)
    assert f"playground  {server.url}/" in said
    assert "Stop with Ctrl-C." in said


# On its own MongoDB


def mongods(home: Path) -> list[str]:
    """Command lines of the mongod processes that work in this place."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if "mongod" in line and str(home) in line:
                found.append(line)
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
async def test_kill_9_leaves_no_mongod_behind_and_no_command_is_lost(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, port=port) as server:
        assert len(mongods(tmp_path)) == 1
        async with anonymous(server.graphql, tmp_path) as anyone:
            shop = Shop(anyone.signed_in(STAFF))
            order = await shop.order(await shop.customer(), await shop.product())
        os.kill(server.process.pid, signal.SIGKILL)
        await asyncio.to_thread(eventually, lambda: not mongods(tmp_path))

    with serving(tmp_path, port=port) as server:
        async with anonymous(server.graphql, tmp_path) as anyone:
            found = await anyone.signed_in(STAFF).run(
                "query ($id: ID!, $at: Position) { order(id: $id, atLeast: $at) { status } }",
                id=order["aggregateId"],
                at=order["position"],
            )
        assert found["order"] == {"status": "PLACED"}
        assert await asyncio.to_thread(server.stop, signal.SIGINT) == 0
    assert not mongods(tmp_path)
    assert "Traceback" not in "".join(server.output)
