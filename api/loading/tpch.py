"""The TPC-H data as a source: made by DuckDB on this machine, the same at every run.

1. Parts are products, `partsupp` is stock, orders bring their lines with discount and tax; ship
   and receipt dates are dispatch and delivery, return flags are returns on the day of receipt.
2. Everything happens at midnight (UTC) of its date. What has none (customers, parts, stock) is
   there from the first day of the data on.
3. Prices come from the catalogue: TPC-H's extended price is the part's price times quantity, and
   data of which that is not true is not loaded.
4. TPC-H knows neither cities nor e-mail addresses: the nation stands for the city, and addresses
   are made up under `.example`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from importlib import import_module
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

import strawberry

from api.catalogue import AddProductInput
from api.commands import Input, new_id
from api.customers import RegisterCustomerInput
from api.loading.stories import Source, Stage, Story, command_id
from api.placing import (
    DispatchLinesInput,
    MarkLinesDeliveredInput,
    OrderLineInput,
    PlaceOrderInput,
    ReturnLinesInput,
)
from api.scalars import CurrencyCode
from api.stock import ReceiveStockInput
from api.values import AddressInput, MoneyInput
from infra.settings import SettingInvalid

FIRST_DAY: Final = date(1992, 1, 1)
MOST_SCALE: Final = 10.0
ROWS: Final = 1_000
"""Rows fetched at once."""

_CUSTOMERS: Final = """
    SELECT c.*, n_name, r_name FROM customer c
    JOIN nation ON n_nationkey = c_nationkey JOIN region ON r_regionkey = n_regionkey
    ORDER BY c_custkey"""

_STOCK: Final = """
    SELECT ps_partkey, ps_availqty, s_name, row_number() OVER (
        PARTITION BY ps_partkey ORDER BY ps_suppkey, ps_availqty, ps_supplycost) AS delivery
    FROM partsupp JOIN supplier ON s_suppkey = ps_suppkey
    ORDER BY ps_partkey, delivery"""

_ORDERS: Final = """
    SELECT o_orderkey, o_custkey, o_orderdate, list(
        {'part': l_partkey, 'quantity': l_quantity::INTEGER, 'discount': l_discount,
         'tax': l_tax, 'shipped': l_shipdate, 'received': l_receiptdate,
         'returned': l_returnflag = 'R'}
        ORDER BY l_linenumber) AS lines
    FROM orders JOIN lineitem ON l_orderkey = o_orderkey
    GROUP BY ALL ORDER BY o_orderdate, o_orderkey"""

_PRICED_OTHERWISE: Final = """
    SELECT count(*) FROM lineitem JOIN part ON p_partkey = l_partkey
    WHERE l_extendedprice <> l_quantity * p_retailprice OR l_quantity <> l_quantity::INTEGER"""


def made(scale: float) -> Any:
    """A DuckDB connection to fresh TPC-H tables; raises `SettingInvalid` without DuckDB."""
    if not 0 < scale <= MOST_SCALE:
        raise SettingInvalid(f"--scale {scale:g}: it is above 0 and at most {MOST_SCALE:g}.")
    try:
        duckdb, extension = import_module("duckdb"), import_module("duckdb_extension_tpch")
    except ImportError:
        raise SettingInvalid("TPC-H data is made by DuckDB: pip install 'tidings[tpch]'.") from None
    path = files(extension) / "extensions" / f"v{duckdb.__version__}" / "tpch.duckdb_extension"
    connection = duckdb.connect()
    try:
        connection.execute(f"LOAD '{path}'")
    except duckdb.Error as error:
        raise SettingInvalid(f"DuckDB cannot make TPC-H data: {error}") from error
    connection.execute(f"CALL dbgen(sf = {scale})")
    ((otherwise,),) = connection.execute(_PRICED_OTHERWISE).fetchall()
    if otherwise:
        raise SettingInvalid(f"{otherwise} lines of this TPC-H data have prices of their own.")
    return connection


def tpch(scale: float) -> Source:
    """Everything in the tables, as commands."""
    connection = made(scale)
    name = f"{scale:g}"

    def rows(query: str) -> Iterator[dict[str, Any]]:
        cursor = connection.cursor().execute(query)
        columns = [column[0] for column in cursor.description]
        while batch := cursor.fetchmany(ROWS):
            for row in batch:
                yield dict(zip(columns, row, strict=True))

    def size(table: str) -> int:
        return int(next(rows(f"SELECT count(*) AS size FROM {table}"))["size"])  # noqa: S608 ours

    customers, products, orders = size("customer"), size("part"), size("orders")
    contents = (
        f"{customers:,} customers, {products:,} products, {orders:,} orders, "
        f"{size('lineitem'):,} lines"
    )
    stages = (
        Stage("customers", customers, ([_customer(name, row)] for row in rows(_CUSTOMERS))),
        Stage("products", products, ([_product(name, row)] for row in rows("FROM part"))),
        Stage("stock", size("partsupp"), ([_stock(name, row)] for row in rows(_STOCK))),
        Stage("orders", orders, (_order(name, row) for row in rows(_ORDERS))),
    )
    return Source(f"TPC-H {name}", contents, stages)


def customer_id(scale: str, key: int) -> str:
    return new_id("customer", command_id("tpch", scale, "customer", key))


def order_id(scale: str, key: int) -> str:
    return new_id("order", command_id("tpch", scale, "order", key))


def sku(part: int) -> str:
    return f"P{part:06}"


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _customer(scale: str, row: Mapping[str, Any]) -> RegisterCustomerInput:
    key = row["c_custkey"]
    return RegisterCustomerInput(
        command_id=command_id("tpch", scale, "customer", key),
        at=_midnight(FIRST_DAY),
        name=row["c_name"],
        email=f"customer-{key}@tpch.example",
        phone=row["c_phone"],
        segment=row["c_mktsegment"],
        address=AddressInput(
            street=row["c_address"],
            city=row["n_name"],
            country=row["n_name"],
            region=row["r_name"],
        ),
    )


def _product(scale: str, row: Mapping[str, Any]) -> AddProductInput:
    return AddProductInput(
        command_id=command_id("tpch", scale, "product", row["p_partkey"]),
        at=_midnight(FIRST_DAY),
        sku=sku(row["p_partkey"]),
        name=row["p_name"],
        brand=row["p_brand"],
        price=MoneyInput(amount=row["p_retailprice"], currency=CurrencyCode("USD")),
    )


def _stock(scale: str, row: Mapping[str, Any]) -> ReceiveStockInput:
    part = row["ps_partkey"]  # a supplier may deliver a part twice, where there are few
    return ReceiveStockInput(
        command_id=command_id("tpch", scale, "stock", part, row["delivery"]),
        at=_midnight(FIRST_DAY),
        sku=sku(part),
        quantity=row["ps_availqty"],
        source=row["s_name"],
    )


# -- an order and what became of it


def _order(scale: str, row: Mapping[str, Any]) -> Story:
    """Placed, then dispatched, delivered and returned, day by day."""
    key, lines = row["o_orderkey"], row["lines"]
    order = command_id("tpch", scale, "order", key)
    place = PlaceOrderInput(
        command_id=order,
        at=_midnight(row["o_orderdate"]),
        customer_id=strawberry.ID(customer_id(scale, row["o_custkey"])),
        imported=True,
        lines=[
            OrderLineInput(
                sku=sku(line["part"]),
                quantity=line["quantity"],
                discount=line["discount"],
                tax_rate=line["tax"],
            )
            for line in lines
        ],
    )
    return [place, *(_step(order, *step) for step in sorted(_steps(lines).items()))]


_DISPATCH, _DELIVER, _RETURN = range(3)
"""Steps of a line, in the order in which they are taken on the same day."""


def _steps(lines: list[dict[str, Any]]) -> dict[tuple[date, int], list[int]]:
    """The numbers of the lines that take a step on a day."""
    found: dict[tuple[date, int], list[int]] = defaultdict(list)
    for number, line in enumerate(lines, start=1):
        found[line["shipped"], _DISPATCH].append(number)
        found[line["received"], _DELIVER].append(number)
        if line["returned"]:
            found[line["received"], _RETURN].append(number)
    return found


def _step(order: UUID, day_and_step: tuple[date, int], lines: list[int]) -> Input:
    day, step = day_and_step
    of, at = strawberry.ID(new_id("order", order)), _midnight(day)
    command = command_id("tpch", order, day, step)
    if step == _DISPATCH:
        return DispatchLinesInput(command_id=command, at=at, order_id=of, lines=lines)
    if step == _DELIVER:
        return MarkLinesDeliveredInput(command_id=command, at=at, order_id=of, lines=lines)
    return ReturnLinesInput(
        command_id=command, at=at, order_id=of, lines=lines, reason="Sent back by the customer."
    )
