"""The history of one thing: what changed from version to version, who changed it, and why."""

import subprocess
import sys
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.e2e.buying import bought, log_of
from tests.e2e.client import Client
from tests.e2e.server import Server, environment
from tests.e2e.shop import Shop

HISTORY: Final = """query ($id: ID!, $first: Int! = 20, $after: String) {
  history(id: $id, first: $first, after: $after) {
    nodes {
      version position events at actor reason command changes { path before after }
    }
    pageInfo { hasNextPage hasPreviousPage endCursor }
    totalCount
  }
}"""


async def versions(client: Client, id: str) -> list[Any]:
    nodes: list[Any] = (await client.run(HISTORY, id=id))["history"]["nodes"]
    return nodes


def changed(version: Any) -> dict[str, tuple[Any, Any]]:
    return {one["path"]: (one["before"], one["after"]) for one in version["changes"]}


async def test_each_version_tells_what_changed_who_did_it_and_why(
    shop: Shop, nobody: Client
) -> None:
    customer, sku = await shop.customer(), await shop.product(stock=5)
    order = (await shop.order(customer, sku, quantity=2))["aggregateId"]
    ann = nobody.customer(customer)
    await ann.done("cancelOrder", orderId=order, reason="changed my mind")
    placed, cancelled = await versions(shop.staff, order)
    assert (placed["version"], placed["events"], placed["command"]) == (
        1,
        ["OrderPlaced"],
        "PlaceOrder",
    )
    first = changed(placed)
    assert first["stage"] == ("new", "placed")
    assert first["customer_id"] == ("", customer)
    assert first["lines.0"][0] is None
    assert (first["lines.0"][1]["sku"], first["lines.0"][1]["quantity"]) == (sku, 2)
    assert changed(cancelled) == {"stage": ("placed", "cancelled")}
    assert (cancelled["events"], cancelled["command"]) == (["OrderCancelled"], "CancelOrder")
    assert cancelled["reason"] == "changed my mind"
    assert cancelled["actor"] != placed["actor"]
    assert placed["at"] <= cancelled["at"]


async def test_it_is_the_log_version_by_version(shop: Shop, server: Server) -> None:
    """Stock that a real order moved; and of every kind of thing that such an order leaves."""
    order = await bought(shop)
    ids = [
        order.order_id,
        order.shipment_id,
        order.order_id.replace("order-", "payment-"),
        order.customer_id,
        f"stock_item-{order.sku}",
        f"product-{order.sku}",
    ]
    async with log_of(server) as log:
        streams = await log.streams(ids)
    for name in ids:
        told = await versions(shop.staff, name)
        assert [one["version"] for one in told] == list(range(1, len(told) + 1))
        assert [one["position"] for one in told] == [f"0:{e.position}" for e in streams[name]]
        assert told
        assert all(one["changes"] for one in told if one["events"] != ["OrderNotReserved"])
    stock = await versions(shop.staff, f"stock_item-{order.sku}")
    assert changed(stock[0])["on_hand"] == (0, 10)
    assert changed(stock[1]) == {
        "reserved": (0, 2),
        f"reservations.{order.order_id}": (None, 2),
    }
    assert stock[1]["actor"].startswith("process/")


async def test_pages_go_by_version(shop: Shop) -> None:
    sku = await shop.product()
    item = f"stock_item-{sku}"
    for quantity in range(1, 8):
        await shop.staff.done("receiveStock", sku=sku, quantity=quantity, source=f"{quantity}")
    seen: list[int] = []
    cursor, more = None, True
    while more:
        page = (await shop.staff.run(HISTORY, id=item, first=3, after=cursor))["history"]
        assert page["totalCount"] == 7
        assert page["pageInfo"]["hasPreviousPage"] == bool(seen)
        for node in page["nodes"]:
            was, now = changed(node)["on_hand"]
            assert now - was == node["version"]
        seen += [node["version"] for node in page["nodes"]]
        cursor, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert seen == list(range(1, 8))


@pytest.mark.parametrize(
    "asked",
    [
        {"id": "order-1", "first": 0},
        {"id": "order-1", "first": 101},
        {"id": "order-1", "after": "x"},
        {"id": "order-1", "after": "-1"},
        {"id": "nothing-1"},
    ],
)
async def test_what_cannot_be_answered_is_said(staff: Client, asked: dict[str, Any]) -> None:
    assert (await staff.answer(HISTORY, **asked)).codes == ["BAD_REQUEST"]


async def test_what_never_was_has_no_versions(staff: Client) -> None:
    found = (await staff.run(HISTORY, id=f"order-{uuid4()}"))["history"]
    assert (found["nodes"], found["totalCount"]) == ([], 0)
    assert found["pageInfo"] == {"hasNextPage": False, "hasPreviousPage": False, "endCursor": None}


async def test_customers_see_the_history_of_what_is_theirs(shop: Shop, nobody: Client) -> None:
    order = await bought(shop)
    ann = nobody.customer(order.customer_id)
    bob = nobody.customer(await shop.customer("Bob"))
    own = [
        order.order_id,
        order.shipment_id,
        order.order_id.replace("order-", "payment-"),
        order.customer_id,
    ]
    for name in own:
        assert await versions(ann, name) == await versions(shop.staff, name)
        unknown = name.partition("-")[0] + f"-{uuid4()}"
        refused = [await bob.answer(HISTORY, id=asked) for asked in (name, unknown)]
        assert [answer.codes for answer in refused] == [["FORBIDDEN"], ["FORBIDDEN"]]
        texts = {answer.body["errors"][0]["message"] for answer in refused}
        assert len(texts) == 1
    for name in (f"stock_item-{order.sku}", f"product-{order.sku}", "entry-1", "nothing-1"):
        assert (await ann.answer(HISTORY, id=name)).codes == ["FORBIDDEN"]


def told(server: Server, id: str) -> subprocess.CompletedProcess[str]:
    """What the command line says."""
    return subprocess.run(
        [sys.executable, "-m", "api", "history", id],
        env=environment(server.home, server.settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_the_command_line_tells_it_too(shop: Shop, server: Server) -> None:
    sku = await shop.product(stock=5)
    printed = told(server, f"stock_item-{sku}")
    assert printed.returncode == 0, printed.stderr
    assert "StockReceived" in printed.stdout
    assert "ReceiveStock by user-" in printed.stdout
    assert "on_hand: 0 → 5" in printed.stdout
    for name, said in (("order-1", "Nothing has happened to"), ("x-1", "There is no history of")):
        refused = told(server, name)
        assert (refused.returncode, said in refused.stderr) == (2, True)
