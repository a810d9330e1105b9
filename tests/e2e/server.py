"""Tidings as its users run it: a process of its own, started by its command line.

1. A server picks its port and says so; whoever starts it waits for that line.
2. Whatever happens to a test, its processes do not outlive it.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from pymongo import MongoClient
from pymongo.database import Database

PATIENCE = 30.0
"""Seconds that anything may take on a busy machine."""

NO_SETTINGS: Mapping[str, str] = {}

QUIET_ENVIRONMENT = {
    "TIDINGS_LOG_LEVEL": "warning",
    "TIDINGS_LIMIT_COST_PER_MINUTE": "100000000",
    "TIDINGS_SAMPLER_SHARE": "0",  # some tests count what is asked of MongoDB
}


@dataclass(frozen=True)
class Server:
    """A running `tidings serve`."""

    url: str
    home: Path
    settings: Mapping[str, str]
    process: subprocess.Popen[str]
    output: list[str]

    @property
    def graphql(self) -> str:
        return f"{self.url}/graphql"

    @contextmanager
    def database(self) -> Iterator[Database[dict[str, Any]]]:
        """Its database, seen from outside."""
        with MongoClient[dict[str, Any]](self.settings["MONGODB_URI"]) as client:
            yield client[self.settings["TIDINGS_DATABASE"]]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """What a process of the tests sees: nothing of the settings of whoever runs them."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TIDINGS_")
        and name not in ("MONGODB_URI", "SHIPPING_MONGODB_URI", "KAFKA_BOOTSTRAP_SERVERS")
    }
    return {**inherited, **QUIET_ENVIRONMENT, "TIDINGS_HOME": str(home), **settings}


@contextmanager
def process(
    arguments: Sequence[str], settings: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """`tidings` with arguments, killed in the end if need be."""
    running = subprocess.Popen(
        [sys.executable, "-m", "api", *arguments],
        env=dict(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGCONT)
            running.terminate()
            try:
                running.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
        assert running.stdout
        running.stdout.close()


@contextmanager
def serving(
    home: Path, settings: Mapping[str, str] = NO_SETTINGS, *arguments: str, port: int = 0
) -> Iterator[Server]:
    """A server that answers; with `MONGODB_URI` among the settings, or else on its own mongod."""
    with started(("serve", "--port", str(port), *arguments), home, settings) as server:
        yield server


@contextmanager
def started(
    arguments: Sequence[str], home: Path, settings: Mapping[str, str] = NO_SETTINGS
) -> Iterator[Server]:
    """A process that has said where it answers."""
    with process(arguments, environment(home, settings)) as run:
        output: list[str] = []
        reader = threading.Thread(target=_collect, args=(run, output), daemon=True)
        reader.start()
        url = _announced(run, output)
        yield Server(url, home, settings, run, output)
        if run.poll() is None:
            run.terminate()
            run.wait(PATIENCE)
        reader.join()


def _collect(run: subprocess.Popen[str], output: list[str]) -> None:
    """Reads all that is written, so that the process never waits for us; it is shown with a test
    that fails meanwhile."""
    assert run.stdout
    for line in run.stdout:
        output.append(line)
        print(line, end="")
    print(f"it has ended with {run.wait()}")


def _announced(run: subprocess.Popen[str], output: Sequence[str]) -> str:
    eventually(lambda: run.poll() is not None or any("serving at" in line for line in output))
    found = re.search(r"http://\S+", "".join(output))
    assert found, f"it ended with {run.poll()}: {''.join(output)}"
    return found[0]


def ready(url: str) -> bool:
    """What `/readyz` says."""
    with urlopen(f"{url}/readyz") as answer:
        return bool(answer.status == 200)


def eventually(holds: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until a function answers true."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)
