"""Branches of a real history: the TPC-H data, and orders that were really bought, over GraphQL.

The sums are made again by DuckDB on the raw tables. The one rounding rule, on both sides: amounts
are summed exactly and the sum is rounded once, half away from zero.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.e2e.buying import bought as bought_one
from tests.e2e.buying import status_is
from tests.e2e.client import STAFF, Client, anonymous, eventually
from tests.e2e.server import Server, environment, serving
from tests.e2e.shop import Shop
from tests.e2e.test_tpch import REVENUE, SCALE, Loaded, every, succeeding

pytest.importorskip("duckdb_extension_tpch", reason="the extra `tpch` is not installed")

from api.loading.tpch import made, order_id, sku

tpch = pytest.mark.tpch

SINCE: Final = "1995-03-01"
CENT: Final = Decimal("0.01")
INSTEAD: Final = """l_quantity * (1 - l_discount) * CASE
    WHEN l_partkey = ? AND o_orderdate >= ?::DATE THEN round(p_retailprice * 0.9, 2)
    ELSE p_retailprice END"""
"""What a line comes to where a part has cost 10 % less since a day."""

BRANCH: Final = "errors { code message } branch { id at upto state share failure }"
DIFF: Final = """query ($branch: ID!) { branchDiff(branch: $branch) {
  documents { projection changed added removed }
  revenue { currency real { amount } branch { amount } difference { amount currency } }
  ledger { account real { amount } branch { amount } difference { amount } }
  stock(first: 100) { sku onHand { real branch } reserved { real branch } }
  refusedCount refusedOrders
  refused(first: 100) { position stream type orderId errors { code message } } } }"""


@pytest.fixture(scope="module")
def loaded(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    home: Path = tmp_path_factory.mktemp("branches")
    settings = {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": f"branches-{uuid4().hex}"}
    with serving(home, settings) as server:
        tables = made(float(SCALE))
        output = succeeding(("load", "tpch", "--scale", SCALE), environment(home, server.settings))
        yield Loaded(server, tables, output)
        tables.close()
    with server.database() as left:
        left.client.drop_database(left.name)


@pytest.fixture
async def there(loaded: Loaded) -> Any:
    """Staff of the server with the TPC-H data."""
    async with anonymous(loaded.server.graphql, loaded.server.home) as client:
        yield client.signed_in(STAFF)


def hashes(server: Server) -> Mapping[str, str]:
    """Of every collection that is no branch's: byte for byte, by MongoDB itself."""
    with server.database() as database:
        found = database.command("dbHash")["collections"]
    return {
        name: digest for name, digest in found.items() if not name.startswith(("branch", "past"))
    }


def run(server: Server, *arguments: str) -> str:
    """What `tidings` prints; it must succeed."""
    return succeeding(arguments, {**environment(server.home, server.settings), "COLUMNS": "300"})


def rounded(exact: Decimal) -> Decimal:
    return exact.quantize(CENT, ROUND_HALF_UP)


# -- changing a branch


async def change(client: Client, mutation: str, **input: Any) -> Any:
    """The branch after a change, which must be accepted."""
    kind = f"{mutation[0].upper()}{mutation[1:]}Input!"
    document = f"mutation ($input: {kind}) {{ {mutation}(input: $input) {{ {BRANCH} }} }}"
    payload = (await client.run(document, input=input))[mutation]
    assert payload["errors"] == []
    return payload["branch"]


async def branch_at(client: Client, position: int) -> str:
    at = {"position": f"0:{position}"}
    return str((await change(client, "createBranch", name="what if", at=at))["id"])


async def diff(client: Client, branch: str) -> Any:
    """Once it is worked out."""

    async def is_ready() -> bool:
        ask = "query ($id: ID!) { branch(id: $id) { state failure } }"
        found = (await client.run(ask, id=branch))["branch"]
        assert found["state"] != "FAILED", found["failure"]
        return bool(found["state"] == "READY")

    await eventually(is_ready, 120)
    return (await client.run(DIFF, branch=branch))["branchDiff"]


async def remove(client: Client, branch: str) -> None:
    document = "mutation ($id: ID!) { removeBranch(input: { branch: $id }) { errors { code } } }"
    assert (await client.run(document, id=branch))["removeBranch"]["errors"] == []


# -- another price


@tpch
async def test_a_product_had_cost_ten_per_cent_less(loaded: Loaded, there: Client) -> None:
    ((part,),) = loaded.rows(
        """SELECT p_partkey FROM part JOIN lineitem ON l_partkey = p_partkey
        WHERE p_retailprice * 90 % 1 <> 0 GROUP BY ALL ORDER BY sum(l_quantity) DESC LIMIT 1"""
    )
    before = hashes(loaded.server)
    branch = await branch_at(there, 1)
    rule = {"sku": sku(part), "factor": "0.9", "since": SINCE}
    await change(there, "useVariant", branch=branch, variant={"repriced": rule})
    found = await diff(there, branch)
    query = f"""SELECT round({REVENUE}, 2), round(sum({INSTEAD}), 2),
            round(sum({INSTEAD}) - {REVENUE}, 2)
        FROM lineitem JOIN part ON p_partkey = l_partkey JOIN orders ON o_orderkey = l_orderkey"""
    ((real, instead, difference),) = loaded.rows(query, part, SINCE, part, SINCE)
    (revenue,) = found["revenue"]
    assert Decimal(revenue["real"]["amount"]) == real
    assert Decimal(revenue["branch"]["amount"]) == instead
    assert Decimal(revenue["difference"]["amount"]) == difference < 0
    assert found["stock"] == found["ledger"] == []  # nobody was charged for imported orders
    assert found["refusedCount"] == 0
    await days_are_those_of(loaded, there, branch, part)
    await orders_cost_less(loaded, there, branch, part)
    assert hashes(loaded.server) == before
    await remove(there, branch)
    assert hashes(loaded.server) == before


async def days_are_those_of(loaded: Loaded, staff: Client, branch: str, part: int) -> None:
    """Any query can be asked of the branch: revenue of every day, by DuckDB and here."""
    document = """query ($branch: ID!) { salesByDay(
      from: "1992-01-01", to: "1998-12-31", branch: $branch) { day revenue { amount } } }"""
    days = (await staff.run(document, branch=branch))["salesByDay"]
    query = f"""SELECT o_orderdate, round(sum({INSTEAD}), 2)
        FROM orders JOIN lineitem ON l_orderkey = o_orderkey JOIN part ON p_partkey = l_partkey
        GROUP BY 1 ORDER BY 1"""
    assert [(day["day"], Decimal(day["revenue"]["amount"])) for day in days] == [
        (f"{day}", worth) for day, worth in loaded.rows(query, part, SINCE)
    ]


async def orders_cost_less(loaded: Loaded, staff: Client, branch: str, part: int) -> None:
    """The orders that differ are those of the product since then, the rest is not stored again."""
    query = """SELECT DISTINCT l_orderkey FROM lineitem JOIN orders ON o_orderkey = l_orderkey
        WHERE l_partkey = ? AND o_orderdate >= ?::DATE"""
    expected = {order_id(SCALE, key) for (key,) in loaded.rows(query, part, SINCE)}
    document = """query ($branch: ID!) { branchDiff(branch: $branch) {
      changes(projection: "order_list", first: 100) { key fields { name } } } }"""
    changes = (await staff.run(document, branch=branch))["branchDiff"]["changes"]
    assert {change["key"] for change in changes} == expected
    assert {field["name"] for change in changes for field in change["fields"]} == {"total"}


# -- what was really charged


@dataclass(frozen=True)
class Line:
    """A line of an order that is bought here."""

    quantity: int
    discount: Decimal
    tax: Decimal

    def net(self, price: Decimal) -> Decimal:
        return self.quantity * price * (1 - self.discount)

    def gross(self, price: Decimal) -> Decimal:
        return self.net(price) * (1 + self.tax)

    def wanted(self, product: str) -> dict[str, Any]:
        rates = {"discount": f"{self.discount}", "taxRate": f"{self.tax}"}
        return {"sku": product, "quantity": self.quantity, **rates}


BOUGHT: Final = (
    (Line(3, Decimal("0.07"), Decimal("0.19")), Line(1, Decimal("0.01"), Decimal("0.07"))),
    (Line(7, Decimal("0.033"), Decimal("0.19")),),
)
"""Orders of one product; the first line of the first one comes back."""


async def bought(shop: Shop, product: str) -> None:
    """Orders of the product that go all the way; one line comes back."""
    client, customer, orders = shop.staff, await shop.customer(), []
    for lines in BOUGHT:
        wanted = [line.wanted(product) for line in lines]
        placed = await client.done("placeOrder", customerId=customer, lines=wanted)
        order = str(placed["receipt"]["aggregateId"])
        await status_is(client, order, "CONFIRMED")
        for step in ("sendShipment", "recordArrival"):

            async def taken(step: str = step, order: str = order) -> bool:
                shipment = order.replace("order-", "shipment-")
                return not (await client.send(step, shipmentId=shipment))["errors"]

            await eventually(taken)
        await status_is(client, order, "DELIVERED")
        orders.append(order)
    await client.done("returnLines", orderId=orders[0], lines=[1], reason="Too many")


async def at_rest(server: Server) -> Mapping[str, str]:
    """The hashes, once nothing moves any more."""

    async def rests() -> bool:
        before = hashes(server)
        await asyncio.sleep(0.5)
        return before == hashes(server)

    await eventually(rests, 60)
    return hashes(server)


async def refunded(client: Client) -> None:
    """Wait until what came back is credited."""

    async def is_credited() -> bool:
        lines = (await client.run("{ trialBalance { account } }"))["trialBalance"]
        return {"account": "REFUNDS"} in lines

    await eventually(is_credited)


def accounts(price: Decimal) -> dict[str, Decimal]:
    """What the orders make of the accounts when the product has this price."""
    cash = revenue = tax = refunds = Decimal()
    for lines in BOUGHT:
        gross = rounded(sum((line.gross(price) for line in lines), Decimal()))
        net = rounded(sum((line.net(price) for line in lines), Decimal()))
        cash, revenue, tax = cash + gross, revenue - net, tax - (gross - net)
    back = BOUGHT[0][0]
    gross, net = rounded(back.gross(price)), rounded(back.net(price))
    cash, refunds, tax = cash - gross, refunds + net, tax + (gross - net)
    return {"CASH": cash, "REVENUE": revenue, "TAX": tax, "REFUNDS": refunds}


async def test_the_ledger_knows_what_would_have_been_charged(server: Server, shop: Shop) -> None:
    price, now, staff = Decimal("13.05"), Decimal("11.75"), shop.staff  # 11.745 is no price
    product = await shop.product(stock=50, price=f"{price}")
    await bought(shop, product)
    await refunded(staff)
    before = await at_rest(server)
    branch = await branch_at(staff, 1)
    rule = {"sku": product, "factor": "0.9", "since": SINCE}
    await change(staff, "useVariant", branch=branch, variant={"repriced": rule})
    found = await diff(staff, branch)
    was, then = accounts(price), accounts(now)
    differences = {
        line["account"]: Decimal(line["difference"]["amount"]) for line in found["ledger"]
    }
    assert differences == {account: then[account] - was[account] for account in was}
    assert sum(differences.values()) == 0
    assert found["refusedCount"] == 0
    document = (
        "query ($branch: ID) { trialBalance(branch: $branch) { account balance { amount } } }"
    )
    for history, at in ((branch, "branch"), (None, "real")):
        lines = (await staff.run(document, branch=history))["trialBalance"]
        balances = {line["account"]: line["balance"]["amount"] for line in lines}
        assert sum(map(Decimal, balances.values())) == 0
        told = {line["account"]: line[at]["amount"] for line in found["ledger"]}
        assert told.items() <= balances.items()
    assert hashes(server) == before

    printed = run(server, "branch", "diff", branch)
    assert f"account cash: {differences['CASH']:+,} EUR" in printed
    assert branch in run(server, "branch", "list").replace("\n", "")
    run(server, "branch", "remove", branch)
    assert hashes(server) == before
    assert (await staff.run("query ($id: ID!) { branch(id: $id) { id } }", id=branch)) == {
        "branch": None
    }


# -- a delivery that never came


@tpch
async def test_a_delivery_that_never_came_names_the_orders_it_would_have_served(
    loaded: Loaded, there: Client
) -> None:
    ((part, least),) = loaded.rows(
        """SELECT ps_partkey, min(ps_availqty) FROM partsupp
        JOIN (SELECT l_partkey, sum(l_quantity) AS wanted FROM lineitem GROUP BY 1)
        ON l_partkey = ps_partkey
        GROUP BY ps_partkey, wanted HAVING min(ps_availqty) < wanted / 2
        ORDER BY min(ps_availqty) DESC LIMIT 1"""
    )
    stream = stock_events(loaded.server, sku(part))
    deliveries = [event for event in stream if event["type"] == "StockReceived"]
    kept = min(deliveries, key=lambda event: event["data"]["quantity"])
    assert kept["data"]["quantity"] == least
    unserved = not_served(stream, least)
    assert unserved

    before = hashes(loaded.server)
    branch = await branch_at(there, 1)
    positions = [f"0:{event['_id']}" for event in deliveries if event is not kept]
    await change(there, "dropEvents", branch=branch, positions=positions)
    found = await diff(there, branch)
    assert found["refusedOrders"] == list(dict.fromkeys(order for _, order in unserved))
    assert [(one["position"], one["orderId"]) for one in found["refused"]] == [
        (f"0:{position}", order) for position, order in unserved
    ]
    assert {error["code"] for one in found["refused"] for error in one["errors"]} == {
        "INSUFFICIENT_STOCK"
    }
    never_came = sum(e["data"]["quantity"] for e in deliveries if e is not kept)
    (stock,) = found["stock"]
    assert stock["sku"] == sku(part)
    assert stock["onHand"]["real"] - stock["onHand"]["branch"] == never_came
    assert found["revenue"] == found["ledger"] == []
    levels = await every(
        there,
        "stockLevels",
        "sku onHand",
        f'where: {{ onHand: {{ lt: 0 }} }}, branch: "{branch}", ',
    )
    assert [level["sku"] for level in levels] == [sku(part)]
    assert hashes(loaded.server) == before
    await remove(there, branch)


def stock_events(server: Server, product: str) -> list[Any]:
    """All that has happened to the stock of a product, as it is stored."""
    stream = f"stock_item-{product}"
    with server.database() as database:
        return list(database["events"].find({"stream": stream}, sort=[("version", 1)]))


def not_served(stream: list[Any], left: int) -> list[tuple[int, str]]:
    """Positions and orders that get nothing when so much is there: first come, first served."""
    found = []
    for event in stream:
        if event["type"] == "StockDispatched":
            if event["data"]["quantity"] <= left:
                left -= event["data"]["quantity"]
            else:
                found.append((event["_id"], event["data"]["order_id"]))
    return found


# -- by hand


async def test_what_is_put_in_and_sent_is_seen_in_the_branch_only(
    server: Server, shop: Shop
) -> None:
    staff, customer, product = shop.staff, await shop.customer(), await shop.product(stock=10)
    before = await at_rest(server)
    branch = (await change(staff, "createBranch", name="from here on"))["id"]
    command = {
        "placeOrder": {
            "commandId": str(uuid4()),
            "customerId": customer,
            "lines": [{"sku": product, "quantity": 2}],
        }
    }
    document = """mutation ($input: SendToBranchInput!) { sendToBranch(input: $input) {
      errors { code message } refusals { code message }
      commands { command events { type } } askedOutside { type } } }"""
    sent = (await staff.run(document, input={"branch": branch, "command": command}))["sendToBranch"]
    assert sent["errors"] == sent["refusals"] == []
    assert [one["command"] for one in sent["commands"]] == [
        "PlaceOrder",
        "ReserveOrder",
        "AuthorisePayment",
    ]
    assert [one["type"] for one in sent["askedOutside"]] == ["AuthorisationRequested"]
    stock = {"type": "StockReceived", "stream": f"stock_item-{product}"}
    data = {"sku": product, "quantity": 5, "source": "a dream", "at": "2026-03-01T09:30:00Z"}
    await change(staff, "injectEvent", branch=branch, data=data, **stock)
    found = await diff(staff, branch)
    (changed,) = found["stock"]
    assert changed["onHand"]["branch"] == changed["onHand"]["real"] + 5
    assert changed["reserved"]["branch"] == changed["reserved"]["real"] + 2
    counts = {one["projection"]: one for one in found["documents"]}
    assert (counts["order_list"]["added"], counts["order_details"]["added"]) == (1, 1)
    asked = "query ($branch: ID) { orders(branch: $branch) { totalCount } }"
    more, real = [
        (await staff.run(asked, branch=one))["orders"]["totalCount"] for one in (branch, None)
    ]
    assert more == real + 1
    assert hashes(server) == before
    await remove(staff, branch)


async def test_a_delivery_might_have_been_another(server: Server, shop: Shop) -> None:
    product = await shop.product(stock=10)
    (delivery,) = (e for e in stock_events(server, product) if e["type"] == "StockReceived")
    at = {"position": f"0:{delivery['_id']}"}
    branch = (await change(shop.staff, "createBranch", name="twelve came", at=at))["id"]
    data = {"sku": product, "quantity": 12, "source": "supplier", "at": "2026-03-01T09:30:00Z"}
    place = {"branch": branch, "position": at["position"]}
    await change(shop.staff, "replaceEvent", **place, type="StockReceived", data=data)
    (changed,) = (await diff(shop.staff, branch))["stock"]
    assert (changed["onHand"]["real"], changed["onHand"]["branch"]) == (10, 12)
    await remove(shop.staff, branch)


async def test_what_processes_ask_for_depends_on_what_was_before(
    server: Server, shop: Shop
) -> None:
    order = await bought_one(shop)
    before = await at_rest(server)
    branch = (await change(shop.staff, "createBranch", name="had it been cancelled"))["id"]
    cancel = {"commandId": str(uuid4()), "orderId": order.order_id, "reason": "Found it cheaper"}
    document = """mutation ($input: SendToBranchInput!) { sendToBranch(input: $input) {
      refusals { code } commands { command } askedOutside { type } } }"""
    command = {"cancelOrder": cancel}
    answer = await shop.staff.run(document, input={"branch": branch, "command": command})
    sent = answer["sendToBranch"]
    assert sent["refusals"] == []
    assert [one["command"] for one in sent["commands"]] == [
        "CancelOrder",
        "ReleaseOrder",
        "VoidPayment",
        "CallOffShipment",
    ]
    assert [one["type"] for one in sent["askedOutside"]] == ["VoidRequested"]
    asked = "query ($id: ID!, $branch: ID) { order(id: $id, branch: $branch) { status } }"
    for history, status in ((branch, "CANCELLED"), (None, "CONFIRMED")):
        found = await shop.staff.run(asked, id=order.order_id, branch=history)
        assert found["order"]["status"] == status
    assert hashes(server) == before
    await remove(shop.staff, branch)


async def test_what_cannot_be_done_says_why(staff: Client) -> None:
    branch = await branch_at(staff, 10)

    async def code(mutation: str, **input: Any) -> str:
        kind = f"{mutation[0].upper()}{mutation[1:]}Input!"
        document = f"mutation ($input: {kind}) {{ {mutation}(input: $input) {{ {BRANCH} }} }}"
        (error,) = (await staff.run(document, input=input))[mutation]["errors"]
        return str(error["code"])

    assert await code("dropEvents", branch=branch, positions=["0:9"]) == "OUTSIDE_OF_BRANCH"
    assert await code("dropEvents", branch="branch-1", positions=["0:9"]) == "UNKNOWN_BRANCH"
    odd = {"branch": branch, "stream": "stock_item-A"}
    assert await code("injectEvent", type="Magic", data={}, **odd) == "EVENT_INVALID"
    assert await code("injectEvent", type="StockReceived", data={}, **odd) == "EVENT_INVALID"
    negative = {"repriced": {"sku": "A", "factor": "-1", "since": SINCE}}
    assert await code("useVariant", branch=branch, variant=negative) == "RULE_INVALID"
    await remove(staff, branch)
    unknown = await staff.answer(DIFF, branch="branch-1")
    assert unknown.codes == ["BAD_REQUEST"]
    asked = "query ($branch: ID) { orders(branch: $branch) { totalCount } }"
    assert (await staff.answer(asked, branch="branch-1")).codes == ["BAD_REQUEST"]
