"""The servers under load, each a process of its own."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.place import Place

PATIENCE: Final = 30.0
NO_LIMIT: Final = {"TIDINGS_LIMIT_COST_PER_MINUTE": str(10**12)}


@dataclass(frozen=True)
class Server:
    port: int
    pid: int

    def megabytes(self) -> float:
        """Resident memory, where the system tells it as Linux does."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise LookupError("no VmRSS")

    def cpu_seconds(self) -> float:
        """Spent so far, by the same source."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@asynccontextmanager
async def tidings(place: Place, database: str, **settings: str) -> AsyncIterator[Server]:
    """`tidings serve` with all its parts, projector included."""
    port = free_port()
    environment = {
        "MONGODB_URI": place.uri,
        "TIDINGS_DATABASE": database,
        "TIDINGS_HOME": str(place.home),
        **NO_LIMIT,
        **settings,
    }
    async with running(("api", "serve", "--port", str(port)), environment, port) as server:
        yield server


@asynccontextmanager
async def crud(place: Place, database: str) -> AsyncIterator[Server]:
    async with _compared("crud_server", place, database) as server:
        yield server


@asynccontextmanager
async def bare(place: Place, database: str) -> AsyncIterator[Server]:
    async with _compared("bare_server", place, database) as server:
        yield server


@asynccontextmanager
async def _compared(name: str, place: Place, database: str) -> AsyncIterator[Server]:
    """One of the servers in this folder that Tidings is held against."""
    port = free_port()
    arguments = (f"tests.bench.{name}", place.uri, database, str(port))
    async with running(arguments, {}, port) as server:
        yield server


@asynccontextmanager
async def running(
    module: Sequence[str], environment: Mapping[str, str], port: int
) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *module,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await _listening(port, process)
        yield Server(port, process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(port: int, process: asyncio.subprocess.Process) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise RuntimeError(f"the server on port {port} did not start")
