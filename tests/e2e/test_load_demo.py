"""The demo: what a first look finds, however it was loaded, and that loading again is nothing."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from api.auth import Role, dev_token
from api.examples import DEMO_CUSTOMER, EXAMPLES
from api.loading.demo import customer_id, order_id
from infra.settings import Settings
from tests.e2e.client import STAFF, Client, anonymous
from tests.e2e.server import Server, environment, serving


@pytest.fixture
def served(mongodb_uri: str, database_name: str, tmp_path: Path) -> Iterator[Server]:
    """A server on an empty database."""
    settings = {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": database_name}
    with serving(tmp_path, settings) as server:
        yield server


@pytest.fixture
async def client(served: Server) -> AsyncIterator[Client]:
    async with anonymous(served.graphql, served.home) as nobody:
        yield nobody.signed_in(STAFF)


def load(server: Server, *options: str) -> subprocess.CompletedProcess[str]:
    """`tidings load demo` beside the server."""
    return subprocess.run(
        [sys.executable, "-m", "api", "load", "demo", *options],
        capture_output=True,
        text=True,
        check=False,
        env=environment(server.home, server.settings),
    )


def head(server: Server) -> Any:
    with server.database() as database:
        return database["counters"].find_one({"_id": "log"})


LOADED = "The demo loaded: 5 customers, 8 products, 8 orders."


async def test_the_playgrounds_operations_find_what_they_name(
    served: Server, client: Client
) -> None:
    assert LOADED in load(served).stdout
    assert customer_id(1) == DEMO_CUSTOMER
    look, order, _ = EXAMPLES
    found = await client.run(look.query)
    assert found["orders"]["totalCount"] == 8
    assert [level["sku"] for level in found["stockLevels"]["nodes"]] == ["TEA-MINT"]
    placed = (await client.run(order.query, **order.variables))["placeOrder"]
    assert placed["errors"] == []
    assert placed["order"]["total"] == {"amount": "27.86", "currency": "EUR"}
    assert [line["name"] for line in placed["order"]["lines"]] == ["Green tea, 100 g", "Blue cup"]


async def test_there_are_orders_at_every_stage(served: Server, client: Client) -> None:
    load(served)
    found = await client.run("{ orders(orderBy: [PLACED_AT_ASC]) { nodes { id status } } }")
    assert {order["id"]: order["status"] for order in found["orders"]["nodes"]} == {
        order_id(1): "DELIVERED",
        order_id(2): "PARTLY_DISPATCHED",
        order_id(3): "DELIVERED",
        order_id(4): "CANCELLED",
        order_id(5): "DISPATCHED",
        order_id(6): "PLACED",
        order_id(7): "PLACED",
        order_id(8): "PLACED",
    }
    returns = await client.run("{ returns { nodes { customerId returned { amount } } } }")
    assert returns["returns"]["nodes"] == [
        {"customerId": DEMO_CUSTOMER, "returned": {"amount": "38.00"}}
    ]


@pytest.mark.parametrize("first_via", [True, False])
async def test_both_ways_are_the_same(served: Server, first_via: bool) -> None:  # noqa: FBT001 the case
    ways = [("--via", served.url), ()]
    first, second = ways if first_via else reversed(ways)
    assert "48 commands (0 of them repeats)" in load(served, *first).stdout
    before = head(served)
    again = load(served, *second).stdout
    assert "48 commands (48 of them repeats)" in again
    assert LOADED in again
    assert head(served) == before


async def test_what_is_refused_is_told(served: Server, client: Client) -> None:
    price = {"amount": "1.00", "currency": "EUR"}
    await client.done("addProduct", sku="TEA-MINT", name="Another tea", price=price)
    done = load(served)
    assert done.returncode == 1
    assert "AddProduct" in done.stdout
    assert "The product TEA-MINT is in the catalogue already, with other details." in done.stdout
    assert "The demo loaded in part: 2 commands were refused" in done.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--via", "nonsense"), "give a URL such as"),
        (("--via", "http://127.0.0.1:1"), "does not answer"),
        (("--via", "https://tidings.example"), "wants a --token"),
    ],
)
def test_what_cannot_work_is_one_line(served: Server, options: tuple[str, ...], told: str) -> None:
    done = load(served, *options)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("tidings: ")
    assert told in line


def test_a_customers_token_is_not_enough(served: Server) -> None:
    settings = Settings(home=served.home)
    token = dev_token(settings, f"{uuid4()}", (Role.CUSTOMER,), DEMO_CUSTOMER, 60)
    done = load(served, "--via", served.url, "--token", token)
    assert done.returncode == 2
    assert "is not open to you" in done.stderr
