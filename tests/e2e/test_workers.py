"""Several processes on one port: one server to its clients, whichever of them answers or dies.

Who answers is chosen by holding the others: a process that is stopped takes no connection.
"""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import UUID, uuid4

import httpx
import pytest

from api.auth import Role
from tests.e2e.client import Client, Socket, anonymous
from tests.e2e.server import PATIENCE, Server, eventually, ready, serving
from tests.e2e.shop import new_sku

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")

RECEIVED = """subscription {
  events(after: "0:0", types: ["StockReceived"]) { position stream }
}"""
SILENT = "subscription { notifications { position } }"


@pytest.fixture
def two(mongodb_uri: str, tmp_path: Path) -> Iterator[Server]:
    """A server of two processes, both serving."""
    settings = {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": f"e2e-{uuid4().hex}"}
    with serving(tmp_path, settings, "--workers", "2") as server:
        eventually(lambda: counted(server, "serving_processes") == 2)
        yield server
    with server.database() as database:
        database.client.drop_database(database.name)


def counted(server: Server, what: str) -> float:
    """A figure of `/metrics`, over all its labels."""
    with urlopen(f"{server.url}/metrics") as answer:
        found = re.findall(
            rf"^tidings_{what}(?:{{.*}})? (\S+)$", answer.read().decode(), re.MULTILINE
        )
    return sum(map(float, found))


def workers(server: Server) -> list[int]:
    """The processes that serve beside the first one."""
    return [pid for pid in children(server.process.pid) if "api.worker" in command_line(pid)]


def children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.name))
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@contextmanager
def held(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def staff_of(server: Server) -> AsyncIterator[Client]:
    """On connections of its own."""
    async with anonymous(server.graphql, server.home) as anyone:
        yield anyone.signed_in((Role.STAFF, Role.OPERATOR), subject="keeper")


def receive(staff: Client, sku: str, key: UUID | None = None) -> Any:
    return staff.send("receiveStock", "", key, sku=sku, quantity=1)


async def test_both_answer_on_one_port(two: Server) -> None:
    first, (second,) = two.process.pid, workers(two)
    for resting in (first, second):
        with held(resting):
            async with staff_of(two) as staff:
                assert (await receive(staff, new_sku()))["errors"] == []
            assert await asyncio.to_thread(ready, two.url)
    assert counted(two, "events_total") == 2, "whoever is asked tells of both"
    assert "".join(two.output).count("serving at") == 1


async def listener(
    stack: AsyncExitStack, server: Server, subscription: str, *, held_back: int
) -> Socket:
    """Subscribed at a process that is not `held_back`."""
    with held(held_back):
        staff = await stack.enter_async_context(staff_of(server))
        socket = await stack.enter_async_context(staff.socket())
    await socket.subscribe(subscription)
    return socket


@pytest.mark.parametrize("swapped", [False, True])
async def test_what_is_sent_to_one_is_told_by_the_other(two: Server, *, swapped: bool) -> None:
    speaks, listens = sorted((two.process.pid, *workers(two)), reverse=swapped)
    async with AsyncExitStack() as stack:
        socket = await listener(stack, two, RECEIVED, held_back=speaks)
        with held(listens):
            async with staff_of(two) as staff:
                receipt = (await receive(staff, new_sku()))["receipt"]
        told = (await socket.next())["events"]
    assert told == {"position": receipt["position"], "stream": receipt["aggregateId"]}


async def send(server: Server, sku: str, done: dict[UUID, Any], until: asyncio.Event) -> None:
    """Commands one after the other; one without an answer is sent again, as clients should."""
    key = uuid4()
    while not until.is_set():
        await asyncio.sleep(0.01)
        async with staff_of(server) as staff:
            while not until.is_set():
                try:
                    answer = await staff.send_raw("receiveStock", "", key, sku=sku, quantity=1)
                except httpx.TransportError:
                    break
                if answer.status == 503:
                    break
                done[key], key = answer.data["receiveStock"]["receipt"], uuid4()


async def test_a_worker_that_is_killed_takes_nothing_along_and_is_replaced(two: Server) -> None:
    sku, done, until = new_sku(), dict[UUID, Any](), asyncio.Event()
    sending = [asyncio.create_task(send(two, sku, done, until)) for _ in range(16)]
    await asyncio.sleep(0.5)
    (worker,) = workers(two)
    os.kill(worker, signal.SIGKILL)
    await asyncio.to_thread(eventually, lambda: workers(two) not in ([], [worker]))
    await asyncio.to_thread(eventually, lambda: counted(two, "serving_processes") == 2)
    before = len(done)
    await asyncio.to_thread(eventually, lambda: len(done) > before)
    until.set()
    await asyncio.gather(*sending)
    async with staff_of(two) as staff:
        for key, receipt in done.items():
            again = (await receive(staff, sku, key))["receipt"]
            assert again == {**receipt, "replayed": True}
    versions = [receipt["version"] for receipt in done.values()]
    assert len(set(versions)) == len(versions)
    assert "a worker has ended with -9" in "".join(two.output)


async def test_a_signal_drains_all_of_them(two: Server) -> None:
    first, (second,) = two.process.pid, workers(two)
    sku, done, until = new_sku(), dict[UUID, Any](), asyncio.Event()
    async with AsyncExitStack() as stack:
        sockets = [await listener(stack, two, SILENT, held_back=pid) for pid in (first, second)]
        sending = [asyncio.create_task(send(two, sku, done, until)) for _ in range(8)]
        await asyncio.sleep(0.5)
        two.process.send_signal(signal.SIGTERM)
        assert [await socket.close_code() for socket in sockets] == [1012, 1012]
        until.set()
        await asyncio.gather(*sending)
    assert await asyncio.to_thread(two.process.wait, PATIENCE) == 0
    assert not command_line(second)
    assert "Traceback" not in "".join(two.output)
    assert len(done) > 20


async def test_none_outlives_the_first_one(tmp_path: Path) -> None:
    with serving(tmp_path, {}, "--workers", "3") as server:
        eventually(lambda: counted(server, "serving_processes") == 3)
        all_of_them = children(server.process.pid)
        assert len(all_of_them) == 3, "two workers, and mongod"
        os.kill(server.process.pid, signal.SIGKILL)
        await asyncio.to_thread(eventually, lambda: not any(map(command_line, all_of_them)))
