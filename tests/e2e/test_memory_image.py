"""`tidings serve --memory-image`: the hottest questions, answered without asking MongoDB."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen
from uuid import uuid4

import pytest
from pymongo.database import Database

from tests.e2e.client import STAFF, Client, anonymous, eventually
from tests.e2e.server import Server, environment, process, serving
from tests.e2e.shop import Shop

ORDER: Final = """query ($id: ID!, $atLeast: Position) { order(id: $id, atLeast: $atLeast) {
  status total { amount } lines { sku quantity } customer { name }
} }"""
ASKED: Final = 20
NAMES: Final = ("order_details", "customer_directory")


@pytest.fixture(scope="module")
def server(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home: Path = tmp_path_factory.mktemp("home")
    settings = {
        "MONGODB_URI": mongodb_uri,
        "TIDINGS_DATABASE": f"e2e-{uuid4().hex}",
        "TIDINGS_DOCUMENTS_IN_MEMORY": "0",
    }
    options = [part for name in NAMES for part in ("--memory-image", name)]
    with serving(home, settings, *options) as running:
        yield running
    with running.database() as left:
        left.client.drop_database(left.name)


@contextmanager
def written_down(server: Server) -> Iterator[Callable[[str], int]]:
    """Gives a function that counts how often the API has asked MongoDB for a document since."""
    only = {"command.readConcern.atClusterTime": {"$exists": True}}
    with server.database() as database:
        database.command({"profile": 1, "filter": only})
        try:
            yield lambda key: _asked_for(database, key)
        finally:
            database.command("profile", 0, filter="unset")
            database["system.profile"].drop()


def _asked_for(database: Database[dict[str, Any]], key: str) -> int:
    finds = (row["command"] for row in database["system.profile"].find())
    return sum(key in find.get("filter", {}).get("_id", {}).get("$in", ()) for find in finds)


def counted(server: Server, answered_from: str) -> float:
    """What `/metrics` says of reads of orders."""
    name = f'{{answered_from="{answered_from}",projection="order_details"}}'
    with urlopen(f"{server.url}/metrics") as page:
        lines = page.read().decode().splitlines()
    found = [line for line in lines if line.startswith(f"tidings_image_reads_total{name}")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


async def test_an_order_costs_no_call_and_shows_what_has_just_happened(
    server: Server, shop: Shop, staff: Client
) -> None:
    customer_id, sku = await shop.customer(), await shop.product(stock=9)
    receipt = await shop.order(customer_id, sku, quantity=2)
    order_id = receipt["aggregateId"]

    async def from_memory() -> bool:
        await staff.run(ORDER, id=order_id, atLeast=receipt["position"])
        return counted(server, "memory") > 0

    await eventually(from_memory)
    with written_down(server) as asked_for:
        for _ in range(ASKED):
            order = (await staff.run(ORDER, id=order_id))["order"]
            assert (order["status"], order["customer"]["name"]) == ("PLACED", "Ann Smith")
            assert order["lines"][0]["quantity"] == 2
        assert (asked_for(order_id), asked_for(customer_id)) == (0, 0)
        cancelled = await staff.done("cancelOrder", orderId=order_id, reason="changed my mind")
        at = cancelled["receipt"]["position"]
        order = (await staff.run(ORDER, id=order_id, atLeast=at))["order"]
        assert order["status"] == "CANCELLED"


@pytest.mark.parametrize(("kept", "calls"), [("0", ASKED), ("20000", 0)])
async def test_without_an_image_an_order_is_a_call_unless_documents_are_kept(
    server: Server, kept: str, calls: int
) -> None:
    """The same on another server of the same database."""
    settings = {**server.settings, "TIDINGS_DOCUMENTS_IN_MEMORY": kept}
    with serving(server.home, settings, "--only", "api") as plain:
        async with anonymous(plain.graphql, plain.home) as nobody:
            client = nobody.signed_in(STAFF)
            shop = Shop(client)
            customer_id, sku = await shop.customer(), await shop.product(stock=9)
            receipt = await shop.order(customer_id, sku)
            order_id = receipt["aggregateId"]
            await client.run(ORDER, id=order_id, atLeast=receipt["position"])
            with written_down(plain) as asked_for:
                for _ in range(ASKED):
                    await client.run(ORDER, id=order_id)
                assert (asked_for(order_id), asked_for(customer_id)) == (calls, calls)
                cancelled = await client.done("cancelOrder", orderId=order_id, reason="no")
                at = cancelled["receipt"]["position"]
                order = (await client.run(ORDER, id=order_id, atLeast=at))["order"]
                assert order["status"] == "CANCELLED"
                assert asked_for(order_id) == calls + 1


def test_an_unknown_read_model_is_named(server: Server) -> None:
    settings = environment(server.home, server.settings)
    with process(("serve", "--port", "0", "--memory-image", "no_such"), settings) as started:
        assert started.wait(30) == 2
        assert started.stdout
        assert "There is no read model no_such: order_details" in started.stdout.read()
