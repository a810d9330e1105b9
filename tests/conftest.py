"""What every test may ask for: a real MongoDB, a real Kafka broker, a place in each.

Which broker that is stands above the tests, and how many ran on it below.
"""

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import settings
from pymongo import AsyncMongoClient

from infra.embedded import embedded_mongod
from tests.kafka.brokers import SMALL_CANNOT, Broker, apache_is_here, broker
from tests.kafka.topics import delete_topics

ON_BROKER = "broker"
"""The property of a test, in every kind of report, that names the broker it ran on."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """An option that only the first conftest may add."""
    parser.addoption(
        "--update-contracts",
        action="store_true",
        help="write tests/contracts/ anew, to be reviewed like any other change",
    )
    parser.addoption(
        "--broker",
        choices=("apache", "small"),
        default="apache" if apache_is_here() else "small",
        help="what plays Kafka; apache (the default where it is prepared) needs Java",
    )


def pytest_configure() -> None:
    """Ctrl-C means Ctrl-C to the processes of the tests, also where they are run in the
    background: there a shell has it ignored, and that is inherited."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("ci", derandomize=True)
    if os.environ.get("CI"):  # the same examples each time; elsewhere new ones are looked for
        settings.load_profile("ci")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """`MONGODB_URI`, or else a replica set of one that lives as long as the tests."""
    if uri := os.environ.get("MONGODB_URI"):
        yield uri
        return
    home: Path = tmp_path_factory.mktemp("tidings")
    async with embedded_mongod(home) as mongod:
        yield mongod.uri


@pytest_asyncio.fixture
async def database_name(mongodb_uri: str) -> AsyncIterator[str]:
    """The name of an empty database, which is dropped after the test."""
    name = f"test-{uuid4().hex}"
    yield name
    async with AsyncMongoClient[dict[str, object]](mongodb_uri) as client:
        await client.drop_database(name)


@pytest.fixture(scope="session")
def start_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], Broker]]:
    """The small broker or Apache Kafka, one of each for all tests."""
    started: dict[bool, Broker] = {}

    def start(small: bool) -> Broker:  # noqa: FBT001 (the only argument)
        if small not in started:
            started[small] = broker(tmp_path_factory.mktemp("kafka"), small=small)
        started[small].start()
        return started[small]

    yield start
    for each in started.values():
        each.stop()


@pytest.fixture
def kafka(
    start_broker: Callable[[bool], Broker],
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> Broker:
    """A broker that runs, whatever the test before has done to it."""
    running = start_broker(pytestconfig.getoption("--broker") == "small")
    record_property(ON_BROKER, running.name)
    return running


@pytest_asyncio.fixture
async def topic_prefix(kafka: Broker) -> AsyncIterator[str]:
    """What the names of the topics of a test begin with; they are deleted after it."""
    prefix = f"test-{uuid4().hex}."
    yield prefix
    if kafka.running:
        await delete_topics(kafka, prefix)


def pytest_report_header(config: pytest.Config) -> str:
    if config.getoption("--broker") == "small":
        return f"broker: the small one, which cannot {SMALL_CANNOT}"
    return "broker: Apache Kafka"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counted = Counter(
        f"{name} {outcome}"
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for kind, name in report.user_properties
        if kind == ON_BROKER and report.when == "call"
    )
    for what, number in sorted(counted.items()):
        terminalreporter.write_line(f"on a broker: {number} on {what}")
