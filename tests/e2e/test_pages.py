"""Lists: pages in both directions, filters and orders, and what is refused of them."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.client import Client
from tests.e2e.shop import Shop, money

ORDERS = """query ($where: OrderWhere, $by: [OrderOrder!], $first: Int, $after: String,
                   $last: Int, $before: String) {
  orders(where: $where, orderBy: $by, first: $first, after: $after, last: $last, before: $before) {
    nodes { id placedAt total { amount } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
  }
}"""


def of(customer_id: str) -> dict[str, Any]:
    return {"customerId": {"eq": customer_id}}


async def ids(client: Client, **variables: Any) -> list[str]:
    found = await client.run(ORDERS, **variables)
    return [order["id"] for order in found["orders"]["nodes"]]


async def many_orders(shop: Shop, prices: Sequence[str]) -> tuple[str, list[str]]:
    """A customer with an order for each price, a minute apart; the ids in order of time."""
    customer, sku = await shop.customer(), await shop.product()
    start = datetime(2021, 5, 1, tzinfo=UTC)

    async def place(number: int, price: str) -> str:
        payload = await shop.staff.done(
            "placeOrder",
            customerId=customer,
            lines=[{"sku": sku, "quantity": 1, "unitPrice": money(price), "taxRate": "0"}],
            at=(start + timedelta(minutes=number)).isoformat(),
            imported=True,
        )
        return str(payload["receipt"]["aggregateId"])

    placed = await asyncio.gather(*(place(n, price) for n, price in enumerate(prices)))
    await shop.order(customer, sku)
    last = await shop.staff.send("cancelOrder", orderId=placed[0], reason="only to wait for it")
    await shop.staff.run(
        "query ($p: Position) { orders(atLeast: $p) { totalCount } }", p=last["receipt"]["position"]
    )
    return customer, placed


# Pages


async def test_paging_meets_each_of_250_orders_once_while_others_arrive(shop: Shop) -> None:
    customer, placed = await many_orders(shop, [f"{n % 5}.00" for n in range(250)])
    arriving = asyncio.create_task(many_orders(shop, ["1.00"] * 100))

    async def walk(by: str, *, forwards: bool) -> list[str]:
        size, place = ("first", "after") if forwards else ("last", "before")
        more, cursor = (
            ("hasNextPage", "endCursor") if forwards else ("hasPreviousPage", "startCursor")
        )
        met: list[str] = []
        at = None
        while True:
            page = (
                await shop.staff.run(ORDERS, where=of(customer), by=[by], **{size: 30, place: at})
            )["orders"]
            nodes = [order["id"] for order in page["nodes"]]
            met = met + nodes if forwards else nodes + met
            assert page["totalCount"] == 251
            if not page["pageInfo"][more]:
                return met
            at = page["pageInfo"][cursor]

    walks = [
        await walk(by, forwards=forwards)
        for by in ("PLACED_AT_ASC", "PLACED_AT_DESC", "TOTAL_ASC", "TOTAL_DESC")
        for forwards in (True, False)
    ]
    await arriving
    for met in walks:
        assert len(met) == len(set(met)) == 251
    assert walks[0][:-1] == walks[1][:-1] == placed
    assert walks[2] == list(reversed(walks[0]))
    assert [walks[4], walks[5]] == [walks[5], list(reversed(walks[6]))]


async def test_equal_totals_are_in_order_of_the_id(shop: Shop) -> None:
    customer, placed = await many_orders(shop, ["7.00"] * 12)
    total = {"total": {"currency": "EUR", "eq": "7.00"}}
    found = await ids(shop.staff, where={**of(customer), **total}, by=["TOTAL_ASC"])
    assert found == sorted(placed)


@pytest.mark.parametrize("size", [{"first": n} for n in (0, -1, 101, 2**31 - 1)] + [{"last": 0}])
@pytest.mark.parametrize(
    "field", ["orders", "customers", "products", "stockLevels", "salesByProduct"]
)
async def test_a_page_out_of_range_is_an_error(
    staff: Client, field: str, size: dict[str, int]
) -> None:
    ((name, value),) = size.items()
    answer = await staff.answer(f"{{ {field}({name}: {value}) {{ totalCount }} }}")
    assert answer.codes in (["BAD_REQUEST"], ["LIMIT_EXCEEDED"])


@pytest.mark.parametrize("cursor", ["", "x", "####", "AAAA", "bm8", "é", "A" * 10_000])
async def test_a_bad_cursor_is_an_error(staff: Client, cursor: str) -> None:
    assert (await staff.answer(ORDERS, after=cursor)).codes == ["BAD_REQUEST"]
    assert (await staff.answer(ORDERS, last=5, before=cursor)).codes == ["BAD_REQUEST"]


async def test_a_cursor_belongs_to_its_order(shop: Shop) -> None:
    customer, _ = await many_orders(shop, ["1.00"] * 2)
    page = (await shop.staff.run(ORDERS, where=of(customer), first=1))["orders"]
    cursor = page["pageInfo"]["endCursor"]
    answer = await shop.staff.answer(ORDERS, where=of(customer), by=["TOTAL_ASC"], after=cursor)
    assert answer.codes == ["BAD_REQUEST"]


# Filters


async def test_orders_are_filtered_by_all_that_is_said(shop: Shop) -> None:
    customer, placed = await many_orders(shop, ["5.00", "6.00", "7.00", "8.00"])
    later = {"placedAt": {"between": ["2021-05-01T00:01:00Z", "2021-05-01T00:02:00Z"]}}
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"total": {"currency": "EUR", "gt": "6.00"}}, placed[2:]),
        ({"total": {"currency": "EUR", "gte": "6.00", "lt": "8.00"}}, placed[1:3]),
        ({"total": {"currency": "USD", "gte": "0"}}, []),
        ({"status": {"eq": "CANCELLED"}}, placed[:1]),
        ({"status": {"in": ["PLACED", "DELIVERED"]}, "placedOn": {"eq": "2021-05-01"}}, placed[1:]),
        (later, placed[1:3]),
        ({**later, "total": {"currency": "EUR", "lte": "6.00"}}, placed[1:2]),
        ({"placedAt": {"lt": "2021-05-01T02:01:00+02:00"}}, placed[:1]),
    ]
    for where, expected in cases:
        wanted = {**where, **of(customer)}
        if "total" in where:
            wanted["placedOn"] = {"eq": "2021-05-01"}
        assert await ids(shop.staff, where=wanted, by=["PLACED_AT_ASC"]) == expected, where


async def test_an_amount_that_no_order_can_have_is_refused(staff: Client) -> None:
    too_precise = {"total": {"currency": "EUR", "gte": "1.005"}}
    assert (await staff.answer(ORDERS, where=too_precise)).codes == ["BAD_REQUEST"]


async def test_customers_are_found_by_words_segment_and_standing(shop: Shop) -> None:
    word, segment = f"x{uuid4().hex}", uuid4().hex[:12]  # no hex digit: "a" must find Ål alone
    bo = await shop.customer(f"Bo {word}", segment)
    al = await shop.customer(f"Ål {word}", segment)
    suspended = await shop.staff.done("suspendCustomer", customerId=bo, reason="unpaid")

    async def found(**variables: Any) -> list[str]:
        data = await shop.staff.run(
            """query ($s: String, $w: CustomerWhere, $by: [CustomerOrder!], $at: Position) {
              customers(search: $s, where: $w, orderBy: $by, atLeast: $at) {
                edges { cursor node { id } } }
            }""",
            at=suspended["receipt"]["position"],
            **variables,
        )
        return [edge["node"]["id"] for edge in data["customers"]["edges"]]

    assert await found(s=f"{word[:10]} a") == [al]
    assert await found(w={"segment": {"eq": segment}}) == [al, bo]
    assert await found(w={"segment": {"eq": segment}}, by=["REGISTERED_AT_DESC"]) == [al, bo]
    assert await found(s=word, w={"standing": {"eq": "SUSPENDED"}}) == [bo]
    assert await found(s=word, w={"email": {"startsWith": "ann@"}}, by=["NAME_DESC"]) == [bo, al]


async def test_products_and_stock_are_found_by_what_is_there(shop: Shop) -> None:
    word = uuid4().hex
    many, few = (
        await shop.product(stock=20, name=f"A {word}"),
        await shop.product(stock=2, name=f"B {word}"),
    )
    gone = await shop.product(name=f"C {word}")
    last = await shop.staff.done("discontinueProduct", sku=gone, reason="sold out")
    skus = {"in": [many, few, gone]}

    async def found(field: str, kind: str, arguments: str, where: Any) -> list[str]:
        data = await shop.staff.run(
            f"query ($w: {kind}, $at: Position) {{ {field}(where: $w, atLeast: $at {arguments}) "
            "{ nodes { sku } totalCount } }",
            at=last["receipt"]["position"],
            w=where,
        )
        return [node["sku"] for node in data[field]["nodes"]]

    products = ("products", "ProductWhere")
    assert await found(*products, f'search: "{word}"', {}) == [many, few, gone]
    assert await found(*products, "", {"sku": skus, "available": {"gte": 2, "lt": 20}}) == [few]
    assert await found(*products, "", {"sku": skus, "discontinued": {"eq": True}}) == [gone]
    assert await found(*products, "orderBy: AVAILABLE_ASC", {"sku": skus}) == [gone, few, many]
    levels = ("stockLevels", "StockLevelWhere")
    assert await found(*levels, "", {"sku": skus, "low": {"eq": True}}) == [few]
    assert await found(*levels, "orderBy: ON_HAND_DESC", {"sku": skus, "onHand": {"gt": 0}}) == [
        many,
        few,
    ]
