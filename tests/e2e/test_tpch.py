"""The standard TPC-H data, loaded as commands and asked for over GraphQL, against DuckDB's own SQL
on the raw tables.

The one rounding rule, on both sides: amounts are summed exactly and the sum is rounded once, to
the cent, half away from zero.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.client import STAFF, Client, anonymous
from tests.e2e.server import Server, environment, process, serving

pytest.importorskip("duckdb_extension_tpch", reason="the extra `tpch` is not installed")

from api.loading.tpch import customer_id, made, order_id, sku

pytestmark = pytest.mark.tpch

SCALE = "0.01"
MOST_ROWS = 100
"""A report answers with no more."""

SEGMENTS = ("AUTOMOBILE", "BUILDING", "FURNITURE", "HOUSEHOLD", "MACHINERY")
REVENUE = "sum(l_extendedprice * (1 - l_discount))"


@dataclass(frozen=True)
class Loaded:
    """A server whose database holds the data, and the raw tables."""

    server: Server
    tables: Any
    output: str

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.tables.execute(query, parameters).fetchall()
        return found

    def run(self, *arguments: str) -> str:
        """What `tidings` prints; it must succeed."""
        settings = environment(self.server.home, self.server.settings)
        return succeeding(arguments, settings)


def succeeding(arguments: tuple[str, ...], settings: dict[str, str]) -> str:
    with process(arguments, settings) as running:
        output, _ = running.communicate()
    assert running.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def loaded(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    home: Path = tmp_path_factory.mktemp("tpch")
    database = f"tpch-{uuid4().hex}"
    with serving(home, {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": database}) as server:
        tables = made(float(SCALE))
        settings = environment(home, server.settings)
        output = succeeding(("load", "tpch", "--scale", SCALE), settings)
        yield Loaded(server, tables, output)
        tables.close()
    with server.database() as left:
        left.client.drop_database(database)


@pytest.fixture
async def staff(loaded: Loaded) -> Any:
    async with anonymous(loaded.server.graphql, loaded.server.home) as client:
        yield client.signed_in(STAFF)


async def every(client: Client, field: str, selection: str, arguments: str = "") -> list[Any]:
    """All nodes of a connection, page by page."""
    document = f"""query ($after: String) {{
      page: {field}({arguments}first: {MOST_ROWS}, after: $after) {{
        nodes {{ {selection} }} pageInfo {{ hasNextPage endCursor }} }} }}"""
    nodes: list[Any] = []
    after = None
    while True:
        page = (await client.run(document, after=after))["page"]
        nodes += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return nodes
        after = page["pageInfo"]["endCursor"]


async def days(client: Client) -> list[Any]:
    document = """{ salesByDay(from: "1992-01-01", to: "1998-12-31") {
      day orders units revenue { amount currency } } }"""
    found: list[Any] = (await client.run(document))["salesByDay"]
    return found


def dollars(money: Any) -> Decimal:
    assert money["currency"] == "USD"
    return Decimal(money["amount"])


# -- counts


async def test_everything_is_there(loaded: Loaded, staff: Client) -> None:
    summary = "TPC-H 0.01 loaded: 1,500 customers, 2,000 products, 15,000 orders, 60,175 lines."
    assert summary in loaded.output
    counts = await staff.run("{ customers { totalCount } products { totalCount } }")
    assert counts == {"customers": {"totalCount": 1_500}, "products": {"totalCount": 2_000}}
    assert sum(day["orders"] for day in await days(staff)) == 15_000


async def test_every_order_costs_what_its_lines_do(loaded: Loaded, staff: Client) -> None:
    orders = await every(staff, "orders", "id placedOn lineCount total { amount currency }")
    assert sum(order["lineCount"] for order in orders) == 60_175
    query = """SELECT o_orderkey, o_orderdate, count(*),
        round(sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)), 2)
        FROM orders JOIN lineitem ON l_orderkey = o_orderkey GROUP BY ALL"""
    assert {(o["id"], o["placedOn"], o["lineCount"], dollars(o["total"])) for o in orders} == {
        (order_id(SCALE, key), f"{day}", lines, total)
        for key, day, lines, total in loaded.rows(query)
    }


async def test_what_is_left_of_the_stock(loaded: Loaded, staff: Client) -> None:
    levels = await every(staff, "stockLevels", "sku onHand reserved")
    query = """SELECT p_partkey,
        (SELECT sum(ps_availqty) FROM partsupp WHERE ps_partkey = p_partkey)
        - (SELECT coalesce(sum(l_quantity), 0) FROM lineitem WHERE l_partkey = p_partkey)
        FROM part"""
    assert {(level["sku"], level["onHand"], level["reserved"]) for level in levels} == {
        (sku(part), int(rest), 0) for part, rest in loaded.rows(query)
    }


async def test_all_of_it_happened(loaded: Loaded, staff: Client) -> None:
    statuses = Counter(order["status"] for order in await every(staff, "orders", "status"))
    query = """SELECT all_back, count(*) FROM (
        SELECT bool_and(l_returnflag = 'R') AS all_back FROM lineitem GROUP BY l_orderkey)
        GROUP BY all_back"""
    orders = dict(loaded.rows(query))
    assert statuses == {"DELIVERED": orders[False], "RETURNED": orders[True]}


# -- money


async def test_revenue_per_day(loaded: Loaded, staff: Client) -> None:
    query = f"""SELECT o_orderdate, count(DISTINCT o_orderkey), sum(l_quantity)::INTEGER,
        round({REVENUE}, 2)
        FROM orders JOIN lineitem ON l_orderkey = o_orderkey GROUP BY 1 ORDER BY 1"""
    assert [
        (day["day"], day["orders"], day["units"], dollars(day["revenue"]))
        for day in await days(staff)
    ] == [(f"{day}", orders, units, revenue) for day, orders, units, revenue in loaded.rows(query)]


async def test_revenue_per_product_and_region(loaded: Loaded, staff: Client) -> None:
    selection = "sku region name units revenue { amount currency }"
    sales = await every(staff, "salesByProduct", selection, "byRegion: true, ")
    query = f"""SELECT p_partkey, r_name, p_name, sum(l_quantity)::INTEGER, round({REVENUE}, 2)
        FROM lineitem JOIN part ON p_partkey = l_partkey
        JOIN orders ON o_orderkey = l_orderkey JOIN customer ON c_custkey = o_custkey
        JOIN nation ON n_nationkey = c_nationkey JOIN region ON r_regionkey = n_regionkey
        GROUP BY ALL"""
    found = [(s["sku"], s["region"], s["name"], s["units"], dollars(s["revenue"])) for s in sales]
    assert sorted(found) == sorted((sku(part), *rest) for part, *rest in loaded.rows(query))
    amounts = [revenue for *_, revenue in found]
    assert amounts == sorted(amounts, reverse=True)


async def test_revenue_per_product(loaded: Loaded, staff: Client) -> None:
    sales = await every(staff, "salesByProduct", "sku region revenue { amount currency }")
    query = f"SELECT l_partkey, round({REVENUE}, 2) FROM lineitem GROUP BY 1"
    found = [(s["sku"], s["region"], dollars(s["revenue"])) for s in sales]
    assert sorted(found) == sorted((sku(part), None, worth) for part, worth in loaded.rows(query))


QUARTERS = [date(year, month, 1) for year in range(1992, 1996) for month in (1, 4, 7, 10)][:14]
"""Those with returns; TPC-H's own parameter lies among them."""


@pytest.mark.parametrize("quarter", QUARTERS, ids=str)
async def test_returned_revenue_per_customer(loaded: Loaded, staff: Client, quarter: date) -> None:
    """The sum of TPC-H query 10."""
    document = """query ($from: Date!, $first: Int!) {
      returnsOfOrders(from: $from, months: 3, first: $first) {
        customerId returned { amount currency } } }"""
    answer = await staff.run(document, **{"from": f"{quarter}", "first": MOST_ROWS})
    query = f"""SELECT c_custkey, {REVENUE} AS exact, round(exact, 2)
        FROM customer JOIN orders ON c_custkey = o_custkey JOIN lineitem ON l_orderkey = o_orderkey
        WHERE o_orderdate >= ?::DATE AND o_orderdate < ?::DATE + INTERVAL 3 MONTH
        AND l_returnflag = 'R' GROUP BY 1"""
    rows = loaded.rows(query, quarter, quarter)
    most_first = sorted((-exact, customer_id(SCALE, key), shown) for key, exact, shown in rows)
    assert rows
    assert [(r["customerId"], dollars(r["returned"])) for r in answer["returnsOfOrders"]] == [
        (customer, shown) for _, customer, shown in most_first[:MOST_ROWS]
    ]


async def test_all_returned_revenue_per_customer(loaded: Loaded, staff: Client) -> None:
    found = await every(staff, "returns", "customerId returnedLines returned { amount currency }")
    query = f"""SELECT o_custkey, count(*), round({REVENUE}, 2)
        FROM orders JOIN lineitem ON l_orderkey = o_orderkey WHERE l_returnflag = 'R' GROUP BY 1"""
    assert {(r["customerId"], r["returnedLines"], dollars(r["returned"])) for r in found} == {
        (customer_id(SCALE, key), lines, returned) for key, lines, returned in loaded.rows(query)
    }


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize("day", [date(1993, 7, 1), date(1995, 3, 15), date(1998, 8, 2)], ids=str)
async def test_unshipped_revenue_per_order(
    loaded: Loaded, staff: Client, day: date, segment: str
) -> None:
    """TPC-H query 3."""
    document = """query ($on: Date!, $segment: String!, $first: Int!) {
      backlog(on: $on, placedBefore: $on, segment: $segment, first: $first) {
        orderId placedOn lines revenue { amount currency } } }"""
    answer = await staff.run(document, on=f"{day}", segment=segment, first=MOST_ROWS)
    query = f"""SELECT o_orderkey, o_orderdate, count(*), {REVENUE} AS exact, round(exact, 2)
        FROM customer JOIN orders ON c_custkey = o_custkey JOIN lineitem ON l_orderkey = o_orderkey
        WHERE c_mktsegment = ? AND o_orderdate < ?::DATE AND l_shipdate > ?::DATE
        GROUP BY 1, 2"""
    most_first = sorted(
        (-exact, f"{placed}", order_id(SCALE, key), lines, shown)
        for key, placed, lines, exact, shown in loaded.rows(query, segment, day, day)
    )
    assert most_first
    assert [
        (order["orderId"], order["placedOn"], order["lines"], dollars(order["revenue"]))
        for order in answer["backlog"]
    ] == [
        (order, placed, lines, shown) for _, placed, order, lines, shown in most_first[:MOST_ROWS]
    ]


# -- the log


def test_the_log_is_whole_and_the_documents_are_what_it_says(loaded: Loaded) -> None:
    assert ", 0 problems" in loaded.run("verify")


def test_loading_again_changes_nothing(loaded: Loaded) -> None:
    with loaded.server.database() as database:
        before = database["counters"].find_one({"_id": "log"})
        output = loaded.run("load", "tpch", "--scale", SCALE)
        assert database["counters"].find_one({"_id": "log"}) == before
    assert "159,721 commands (159,721 of them repeats)" in output
