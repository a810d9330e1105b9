"""Queries of one thing or several: what they find, what they cost, and at which position."""

import asyncio
from typing import Any

from tests.e2e.client import STAFF, Client, anonymous
from tests.e2e.server import Server, serving
from tests.e2e.shop import Shop

# One thing


async def test_everything_with_an_id_is_found_by_it(shop: Shop) -> None:
    customer, sku = await shop.customer("Ada Byron"), await shop.product(stock=3)
    order = await shop.order(customer, sku)
    wanted = [order["aggregateId"], customer, f"product-{sku}", f"stock_item-{sku}", "nothing-1"]
    found = await shop.staff.run(
        """query ($ids: [ID!]!, $id: ID!, $at: Position) {
          order(id: $id, atLeast: $at) { id }
          node(id: $id) { id ... on Order { status } }
          nodes(ids: $ids) { __typename id }
        }""",
        ids=wanted,
        id=order["aggregateId"],
        at=order["position"],
    )
    assert found["node"] == {"id": order["aggregateId"], "status": "PLACED"}
    kinds = ["Order", "Customer", "Product", "StockLevel"]
    named = [{"__typename": kind, "id": key} for kind, key in zip(kinds, wanted, strict=False)]
    assert found["nodes"] == [*named, None]


async def test_more_than_100_ids_are_too_many(staff: Client) -> None:
    answer = await staff.answer(
        "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=["order-1"] * 101
    )
    assert answer.codes == ["BAD_REQUEST"]


async def test_an_order_tells_its_story(shop: Shop) -> None:
    sku = await shop.product(stock=5)
    order = (await shop.order(await shop.customer(), sku))["aggregateId"]
    sent = await shop.staff.done("dispatchLines", orderId=order, lines=[1])
    found = await shop.staff.run(
        """query ($id: ID!, $at: Position) { order(id: $id, atLeast: $at) {
          status region segment timeline { version event position actor text at }
          lines { progress dispatchedAt deliveredAt returnedAt product { available } }
        } }""",
        id=order,
        at=sent["receipt"]["position"],
    )
    story = found["order"]["timeline"]
    assert [(entry["version"], entry["event"]) for entry in story] == [
        (1, "OrderPlaced"),
        (2, "OrderLinesDispatched"),
    ]
    (line,) = found["order"]["lines"]
    assert (line["progress"], line["product"]["available"]) == ("DISPATCHED", 4)
    assert line["dispatchedAt"] == story[1]["at"]
    assert line["dispatchedAt"].endswith("Z")


async def test_what_is_not_there_is_null(staff: Client) -> None:
    found = await staff.run(
        """{ order(id: "order-none") { id } customer(id: "customer-none") { id }
             product(sku: "NONE") { id } stockLevel(sku: "NONE") { id } node(id: "x") { id } }"""
    )
    assert set(found.values()) == {None}


async def test_the_inbox_is_read_page_by_page(shop: Shop) -> None:
    customer, sku = await shop.customer(), await shop.product()
    orders = [(await shop.order(customer, sku)) for _ in range(3)]
    ask = """query ($id: ID!, $after: Position, $at: Position) {
      inbox(customerId: $id, after: $after, first: 2, atLeast: $at) {
        position kind orderId text at customerId } }"""
    at = orders[-1]["position"]
    page = (await shop.staff.run(ask, id=customer, at=at))["inbox"]
    rest = (await shop.staff.run(ask, id=customer, at=at, after=page[-1]["position"]))["inbox"]
    assert [told["orderId"] for told in page + rest] == [each["aggregateId"] for each in orders]
    assert {told["kind"] for told in page + rest} == {"ORDER_PLACED"}
    assert [told["position"] for told in page + rest] == [each["position"] for each in orders]


# What it costs


PAGE = """query ($who: ID!, $first: Int, $at: Position) {
  orders(where: { customerId: { eq: $who } }, first: $first, atLeast: $at) {
    totalCount
    nodes {
      net { amount } timeline { text } customer { name }
      lines { product { name available } }
    }
  }
}"""


async def test_a_bigger_page_is_not_more_calls_to_the_database(shop: Shop, server: Server) -> None:
    customer, skus = await shop.customer(), [await shop.product() for _ in range(5)]
    for number in range(40):
        last = await shop.order(customer, *skus[: number % 5 + 1])

    async def calls(first: int, asked: Client = shop.staff) -> int:
        """Reads of documents while a page of this size is answered, by MongoDB's own account."""
        with server.database() as database:
            database.command("profile", 2)
            page = await asked.run(PAGE, who=customer, first=first, at=last["position"])
            database.command("profile", 0)
            reads = {"command.readConcern.atClusterTime": {"$exists": True}}
            count = database["system.profile"].count_documents(reads)
            database["system.profile"].drop()
        assert len(page["orders"]["nodes"]) == first
        return count

    forgetful = {**server.settings, "TIDINGS_DOCUMENTS_IN_MEMORY": "0"}
    with serving(server.home, forgetful, "--only", "api") as other:
        async with anonymous(other.graphql, other.home) as nobody:
            staff = nobody.signed_in(STAFF)
            few, more, most = [await calls(first, staff) for first in (10, 20, 40)]
    # The page, its count, details, customers, products: these perhaps in two calls, since orders
    # of one line ask for theirs a turn earlier.
    assert few == more == most <= 6
    assert await calls(40) <= 6
    assert await calls(40) == 0  # it is in memory


# For operators


async def test_operators_see_what_is_parked(operator: Client, server: Server) -> None:
    parked = {"projection": "order_list", "key": "order-1", "position": 7, "error": "no such line"}
    with server.database() as database:
        database["parked"].insert_one({"_id": "order_list/order-1", **parked})
        found = await operator.run("{ parkedKeys { projection key position error } }")
        database["parked"].delete_many({})
    assert found["parkedKeys"] == [{**parked, "position": "0:7"}]


# Positions


async def test_every_answer_says_its_position(shop: Shop) -> None:
    sku = await shop.product()
    asked = [
        "{ __typename }",
        '{ node(id: "nothing") { id } }',
        "{ orders(first: 1) { totalCount } stockLevels(first: 1) { totalCount } }",
        "{ orders(first: 0) { totalCount } }",
    ]
    for document in asked:
        assert (await shop.staff.answer(document)).position.startswith("0:"), document
    done = await shop.staff.send_raw("receiveStock", sku=sku, quantity=1)
    assert done.position == done.data["receiveStock"]["receipt"]["position"]
    refused = await shop.staff.send_raw("receiveStock", sku=sku, quantity=0)
    assert refused.position.startswith("0:")


async def test_a_request_is_answered_at_one_position_while_stock_moves(shop: Shop) -> None:
    """All stock moves are of one piece from a pile of known size, so any answer can be checked."""
    sku = await shop.product(stock=1_000)
    orders = [(await shop.order(await shop.customer(), sku))["aggregateId"] for _ in range(2)]
    running = True

    async def move(number: int) -> None:
        while running:
            wanted = {"sku": sku, "orderId": orders[number]}
            await shop.staff.done("reserveStock", **wanted, quantity=5)
            await shop.staff.done("releaseStock", **wanted)

    async def ask() -> tuple[str, Any]:
        answer = await shop.staff.answer(
            """query ($s: String!) { stockLevel(sku: $s) { available }
              levels: stockLevels(where: { sku: { eq: $s } }) { nodes { available } }
              product(sku: $s) { available } }""",
            s=sku,
        )
        return answer.position, answer.data

    moving = [asyncio.create_task(move(number)) for number in range(2)]
    answers = [await ask() for _ in range(150)]
    running = False
    await asyncio.gather(*moving)
    for _, data in answers:
        available = data["stockLevel"]["available"]
        assert data["product"]["available"] == available
        assert data["levels"]["nodes"] == [{"available": available}]
    assert len({position for position, _ in answers}) > 10
    assert len({data["product"]["available"] for _, data in answers}) > 1


async def test_no_answer_has_an_order_that_its_customer_and_stock_do_not_know(shop: Shop) -> None:
    customer, sku = await shop.customer(), await shop.product(stock=1_000)
    running = True

    async def sell() -> None:
        while running:
            order = (await shop.order(customer, sku))["aggregateId"]
            await shop.staff.done("dispatchLines", orderId=order, lines=[1])

    first = await shop.order(customer, sku)
    await shop.staff.done(
        "dispatchLines", "order { status }", orderId=first["aggregateId"], lines=[1]
    )
    selling = asyncio.create_task(sell())
    asked = sold = 0
    while asked < 100 or sold <= 10:
        asked += 1
        found = await shop.staff.run(
            """query ($who: ID!, $s: String!) {
              dispatched: orders(where: { customerId: { eq: $who }, status: { eq: DISPATCHED } }) {
                totalCount }
              stockLevel(sku: $s) { onHand } }""",
            who=customer,
            s=sku,
        )
        sold = found["dispatched"]["totalCount"]
        assert found["stockLevel"]["onHand"] == 1_000 - sold
    running = False
    await selling
