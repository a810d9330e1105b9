"""A private MongoDB for one machine: a one-node replica set under `.tidings/`, started when needed.

1. Whoever holds `lock` owns mongod. Others attach to it, and take over when the owner is gone.
2. mongod never outlives its owner: it stops with it, on Linux even after `kill -9`. Elsewhere the
   next start finds what was left over and stops it first.
3. It listens on 127.0.0.1 only, on a port that stays the same over restarts (`mongod.json`).
4. When mongod dies it is started again; after `DEATHS` deaths within a minute `lost` fails.
5. What cannot work says so in one line that names the way out: `EmbeddedUnavailable`.
"""

import asyncio
import fcntl
import logging
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from infra.mongod import (
    HOST,
    REPLICA_SET,
    EmbeddedUnavailable,
    Place,
    choose_port,
    command,
    find_binary,
    is_ours,
    own_pid,
    prepare,
    why_not_started,
)

__all__ = ["EmbeddedUnavailable", "Mongod", "embedded_mongod"]

log = logging.getLogger("tidings.embedded")

START_SECONDS = 60.0
STOP_SECONDS = 10.0
DEATHS = 5
DEATHS_SECONDS = 60.0
NOT_YET_INITIALIZED = 94


@dataclass(frozen=True)
class Mongod:
    """Where it answers. `lost` never completes, but fails once mongod has been given up."""

    uri: str
    lost: asyncio.Future[None]


@asynccontextmanager
async def embedded_mongod(home: Path) -> AsyncIterator[Mongod]:
    """A MongoDB that is ready to use. Enter it from the main thread (see rule 2)."""
    place, binary = prepare(home), find_binary()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    keeper = asyncio.create_task(_keep(place, binary, ready))
    try:
        first: set[asyncio.Future[Any]] = {keeper, ready}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await keeper
        yield Mongod(f"mongodb://{HOST}:{ready.result()}/?replicaSet={REPLICA_SET}", keeper)
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def _keep(place: Place, binary: Path, ready: asyncio.Future[int]) -> None:
    """Own mongod from the moment the lock is ours until cancelled or given up."""
    with place.writable(), (place.home / "lock").open("w") as lock:
        await _lock(lock, place, ready)
        await _stop_left_over(place)
        port = ready.result() if ready.done() else choose_port(place)
        deaths: list[float] = []
        while True:
            reason = await _live(place, binary, port, ready)
            now = time.monotonic()
            deaths = [*(death for death in deaths if now - death < DEATHS_SECONDS), now]
            if len(deaths) == DEATHS:
                raise EmbeddedUnavailable(f"mongod died {DEATHS} times within a minute: {reason}")
            log.warning("mongod died, starting it again on port %d: %s", port, reason)


async def _lock(lock: IO[str], place: Place, ready: asyncio.Future[int]) -> None:
    """Wait for the lock; while another process holds it, its mongod is ours to use."""
    give_up = time.monotonic() + START_SECONDS
    while True:
        with suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not ready.done():
            if port := await _attachable(place):
                ready.set_result(port)
            elif time.monotonic() > give_up:
                raise EmbeddedUnavailable(
                    f"Another process holds {place.home / 'lock'} but its mongod does not answer:"
                    f" stop it, or see {place.log}."
                )
        await asyncio.sleep(0.5 if ready.done() else 0.05)


async def _attachable(place: Place) -> int | None:
    pid, port = place.recorded()
    if pid is None or port is None or not is_ours(pid, place):
        return None
    with suppress(OSError, PyMongoError):
        async with _client(port) as client:
            if await _is_primary(client, port):
                return port
    return None


async def _live(place: Place, binary: Path, port: int, ready: asyncio.Future[int]) -> str:
    """One life of mongod; answers with why it ended. Raises when it never worked at all."""
    with place.log.open("ab") as output:
        log_start = output.tell()
        process = await asyncio.create_subprocess_exec(
            *command(binary, place, port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C in a terminal reaches us alone: we drain first
        )
    try:
        place.write_record(process.pid, port)
        if await _until_primary(process, port):
            if not ready.done():
                ready.set_result(port)
            return f"exit code {await process.wait()}, its log is {place.log}"
    finally:
        await _stop(process)
    reason = why_not_started(place, await process.wait(), log_start)
    if not ready.done():
        raise EmbeddedUnavailable(reason)
    return reason


async def _until_primary(process: asyncio.subprocess.Process, port: int) -> bool:
    """Whether it became usable in time."""
    give_up = time.monotonic() + START_SECONDS
    while process.returncode is None and time.monotonic() < give_up:
        with suppress(OSError, PyMongoError):
            async with _client(port) as client:
                while time.monotonic() < give_up:
                    if await _is_primary(client, port):
                        return True
                    await _join_set(client, port)
                    await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
    return False


@asynccontextmanager
async def _client(port: int) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    """A client once something listens; until then OSError, at once."""
    _, writer = await asyncio.open_connection(HOST, port)
    writer.close()
    async with AsyncMongoClient[dict[str, Any]](
        HOST, port, directConnection=True, serverSelectionTimeoutMS=2_000
    ) as client:
        yield client


async def _is_primary(client: AsyncMongoClient[dict[str, Any]], port: int) -> bool:
    hello = await client.admin.command("hello")
    return bool(hello["isWritablePrimary"]) and hello.get("me") == f"{HOST}:{port}"


async def _join_set(client: AsyncMongoClient[dict[str, Any]], port: int) -> None:
    """Make it a set of one at its first start, and under its new address when the port changed."""
    members = [{"_id": 0, "host": f"{HOST}:{port}"}]
    try:
        config = (await client.admin.command("replSetGetConfig"))["config"]
    except OperationFailure as reason:
        if reason.code != NOT_YET_INITIALIZED:
            raise
        await client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
    else:
        if [member["host"] for member in config["members"]] != [members[0]["host"]]:
            changed = {**config, "version": config["version"] + 1, "members": members}
            await client.admin.command("replSetReconfig", changed, force=True)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Cleanly, or by force when it does not go."""
    with suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
    await process.wait()


async def _stop_left_over(place: Place) -> None:
    """Stop the mongod of an owner that was killed, found by our record or by its own pid file."""
    for pid in {place.recorded()[0], own_pid(place)}:
        kill_at = time.monotonic() + STOP_SECONDS
        while pid is not None and is_ours(pid, place):
            late = time.monotonic() > kill_at
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
            await asyncio.sleep(0.05)
