"""Tidings and its payment provider as a company runs them: a process for each part.

1. Each part can be killed, stopped and started again, at the same address and on the same data.
2. What a part writes goes to a file of its own, so that no part ever waits for a reader.
"""

import hashlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen
from uuid import uuid4

import bson
import httpx
from pymongo import MongoClient
from pymongo.database import Database

from api.callbacks import PATH as CALLBACKS
from api.reacting import FOLLOWERS
from api.runtime import CODEC
from infra.folding import PARKED, collection_of
from infra.following import Follower
from infra.log import COUNTERS, EVENTS
from infra.projector import CHECKPOINTS
from infra.stories import OUTBOX
from tests.e2e.server import PATIENCE, environment, eventually

PROVIDER_SECONDS: Final = "0.3"
"""How long the provider may take to answer: short, so that a time-out costs a test little."""


class Part:
    """One process of the company."""

    def __init__(
        self, name: str, arguments: Sequence[str], settings: Mapping[str, str], output: Path
    ) -> None:
        self.name = name
        self._arguments = arguments
        self._settings = dict(settings)
        self._output = output
        self._run: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._output.open("ab") as output:
            self._run = subprocess.Popen(
                [sys.executable, "-m", "api", *self._arguments],
                env=self._settings,
                stdout=output,
                stderr=output,
            )

    def end(self, number: int) -> None:
        """Send a signal and wait for the end."""
        run, self._run = self._run, None
        if run is not None:
            run.send_signal(number)
            run.wait(PATIENCE)

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        self.end(signal.SIGTERM)

    @property
    def output(self) -> str:
        return self._output.read_text()


@dataclass(frozen=True)
class Company:
    """The parts, where they are, and what is known of them from outside."""

    home: Path
    settings: Mapping[str, str]
    url: str
    sandbox_url: str
    sandbox: Part
    api: Part
    projector: Part
    reactor: Part

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.sandbox, self.api, self.projector, self.reactor

    @property
    def graphql(self) -> str:
        return f"{self.url}/graphql"

    def start(self, *parts: Part) -> None:
        """Start these parts; the API and the sandbox answer afterwards."""
        for part in parts:
            part.start()
        if self.api in parts:
            eventually(lambda: _answers(f"{self.url}/readyz"))
        if self.sandbox in parts:
            eventually(lambda: _listens(self.sandbox_url))

    @contextmanager
    def database(self) -> Iterator[Database[dict[str, Any]]]:
        with MongoClient[dict[str, Any]](self.settings["MONGODB_URI"]) as client:
            yield client[self.settings["TIDINGS_DATABASE"]]

    def book(self) -> dict[str, Any]:
        """What the sandbox believes."""
        key = self.settings["TIDINGS_PAYMENT_PROVIDER_KEY"]
        answer = httpx.get(
            f"{self.sandbox_url}/book", headers={"Authorization": f"Bearer {key}"}, trust_env=False
        )
        return dict(answer.raise_for_status().json())

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What an operator types; wide, so that no line is folded."""
        return subprocess.run(
            [sys.executable, "-m", "api", *arguments],
            env={**environment(self.home, self.settings), "COLUMNS": "1000"},
            capture_output=True,
            text=True,
            check=False,
        )

    def is_at_rest(self) -> bool:
        """Whether everything has been told, carried out and projected: nothing is under way."""
        with self.database() as db:
            head = _head(db)
            told = all(_is_told(db, follower) for follower in FOLLOWERS.values())
            idle = told and not db[OUTBOX].count_documents({})
            return idle and self.position_of("main") == head == _head(db)

    def position_of(self, follower: str) -> int | None:
        """How far it has come, once it has started."""
        with self.database() as db:
            found = db[CHECKPOINTS].find_one({"_id": follower})
            return None if found is None else int(found["position"])

    def parked(self) -> list[dict[str, Any]]:
        with self.database() as db:
            return list(db[PARKED].find())

    def hashes(self) -> dict[str, str]:
        """What the documents of each read model come to."""
        with self.database() as db:
            main = db[CHECKPOINTS].find_one({"_id": "main"})
            assert main is not None
            return {
                name: _hash(db, collection_of(name, generation))
                for name, generation in main["generations"].items()
            }


def _head(db: Database[dict[str, Any]]) -> int:
    counter = db[COUNTERS].find_one({"_id": "log"})
    assert counter is not None
    return int(counter["position"])


def _is_told(db: Database[dict[str, Any]], follower: Follower) -> bool:
    """Whether no event waits for it. Its checkpoint passes events of others without a write."""
    place = db[CHECKPOINTS].find_one({"_id": follower.name})
    assert place is not None
    names = CODEC.stored_names(follower.events)
    waits = {"_id": {"$gt": place["position"]}, "type": {"$in": names}}
    return db[EVENTS].find_one(waits) is None


def _hash(db: Database[dict[str, Any]], collection: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for document in db[collection].find(sort=[("_id", 1)]):
        digest.update(bson.encode(document))
    return digest.hexdigest()


def _answers(url: str) -> bool:
    try:
        with urlopen(url) as answer:
            return bool(answer.status == httpx.codes.OK)
    except OSError:
        return False


def _listens(url: str) -> bool:
    try:
        socket.create_connection(_address(url), timeout=1).close()
    except OSError:
        return False
    return True


def _address(url: str) -> tuple[str, int]:
    where = httpx.URL(url)
    assert where.port
    return where.host, where.port


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def trap(url: str) -> Iterator[socket.socket]:
    """Listens where the sandbox was, and answers nobody; see `is_caught`."""
    with socket.create_server(_address(url)) as listener:
        listener.setblocking(False)
        yield listener


def is_caught(listener: socket.socket) -> bool:
    """Whether anybody has called."""
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


@contextmanager
def company(uri: str, home: Path, *weather: str) -> Iterator[Company]:
    """All parts, none of them started; `weather` are options of the sandbox."""
    port, sandbox_port = _free_port(), _free_port()
    url, sandbox_url = (f"http://127.0.0.1:{number}" for number in (port, sandbox_port))
    settings = {
        "MONGODB_URI": uri,
        "TIDINGS_DATABASE": f"e2e-{uuid4().hex}",
        "TIDINGS_AT_LEAST_SECONDS": "20",
        "TIDINGS_PAYMENT_PROVIDER_URL": sandbox_url,
        "TIDINGS_PAYMENT_PROVIDER_KEY": uuid4().hex,
        "TIDINGS_PAYMENT_PROVIDER_SECONDS": PROVIDER_SECONDS,
        "TIDINGS_PAYMENT_CALLBACK_URL": f"{url}{CALLBACKS}",
        "TIDINGS_PAYMENT_CALLBACK_SECRET": uuid4().hex,
    }

    def part(name: str, *arguments: str) -> Part:
        return Part(name, arguments, environment(home, settings), home / f"{name}.txt")

    sandbox = ("sandbox", "--port", str(sandbox_port), "--book", str(home / "book.db"), *weather)
    whole = Company(
        home,
        settings,
        url,
        sandbox_url,
        part("sandbox", *sandbox),
        part("api", "serve", "--only", "api", "--port", str(port)),
        part("project", "project"),
        part("react", "react"),
    )
    try:
        yield whole
    finally:
        for running in whole.parts:
            running.kill()
        with whole.database() as left:
            left.client.drop_database(left.name)
