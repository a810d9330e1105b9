"""The source of a comparison: a `tidings serve` of its own, which is killed and started again.

1. Database and topics are its own, and are dropped in the end.
2. It has the MongoDB and the Kafka of whoever compares, and no other setting of theirs.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

import httpx

from api.auth import Role, dev_token
from api.relaying import TOPICS
from infra.embedded import embedded_mongod
from infra.kafka import create_topics, delete_topics
from infra.mongo import open_mongo
from infra.mongod import dying_with_us
from infra.settings import KafkaSettings, SettingInvalid, Settings

ROOT: Final = Path(__file__).parents[1]
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
TOKEN_SECONDS: Final = 24 * 3_600.0
LOOK_SECONDS: Final = 0.02
_OURS: Final = re.compile(r"TIDINGS_|MONGODB_URI|SHIPPING_MONGODB_URI|KAFKA_")


class Source:
    """A process, once it has been started; it keeps its address."""

    url: str

    def __init__(self, home: Path, environment: Mapping[str, str], kafka: KafkaSettings) -> None:
        self.kafka = kafka
        self.token = dev_token(Settings(home=home), "patterns", [Role.STAFF], None, TOKEN_SECONDS)
        self._log = home / "source.log"
        self._environment = environment
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return when it answers; raises `SettingInvalid` when it does not start."""
        with self._log.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *dying_with_us([sys.executable, "-m", "api", "serve", "--port", str(self._port)]),
                cwd=ROOT,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop it
            )
        self.url = await self._announced(self._process)
        self._port = int(self.url.rpartition(":")[2])

    async def _announced(self, process: asyncio.subprocess.Process) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while process.returncode is None:
                    if found := re.search(r"serving at (http://[\w.:]+)", self._log.read_text()):
                        return found[1]
                    await asyncio.sleep(LOOK_SECONDS)
        lines = self._log.read_text().splitlines() or ["it says nothing"]
        raise SettingInvalid(f"The source of the comparison does not start: {lines[-1]}")

    async def kill(self) -> None:
        """As if its machine lost power."""
        assert self._process is not None, "it has been started"
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """As its operator would; by force when it does not go."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()

    async def has_told(self, position: int) -> None:
        """Return when everything up to there is in Kafka."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            while True:
                state = (await client.get("/readyz")).json()
                if state["relayed"] >= position:
                    return
                await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def open_source(settings: Settings, kafka: KafkaSettings) -> AsyncIterator[Source]:
    """One that runs; raises `KafkaUnavailable`, or `SettingInvalid`."""
    name = f"patterns-{uuid4().hex}"
    own = replace(kafka, topic_prefix=f"{name}.")
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="tidings-")))
        await create_topics(own, TOPICS)
        stack.push_async_callback(delete_topics, own, TOPICS)
        uri = settings.mongodb_uri
        if uri is None:
            uri = (await stack.enter_async_context(embedded_mongod(home / "mongod"))).uri
        stack.push_async_callback(_drop, uri, name)
        source = Source(home, _environment(home, uri, name, own), own)
        stack.push_async_callback(source.stop)
        await source.start()
        yield source


def _environment(home: Path, uri: str, name: str, kafka: KafkaSettings) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not _OURS.match(key)}
    return inherited | {
        "MONGODB_URI": uri,
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(kafka.bootstrap_servers),
        "TIDINGS_KAFKA_SMALL": str(int(kafka.small)),
        "TIDINGS_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
        "TIDINGS_DATABASE": name,
        "TIDINGS_HOME": str(home),
        "TIDINGS_LOG_LEVEL": "warning",
    }


async def _drop(uri: str, database: str) -> None:
    async with open_mongo(uri, database) as mongo:
        await mongo.run(lambda db: db.client.drop_database(database))
