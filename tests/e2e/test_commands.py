"""Every command, as its users send it: what it answers, what it refuses, and what a repeat does."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.client import Client, crowd
from tests.e2e.shop import ADDRESS, Shop, money, new_sku

STOCK = "stockLevel { onHand reserved available reorderLevel low version }"
ORDER = "order { id status lines { number progress } }"


def refusals(payload: Any) -> list[tuple[str, list[str]]]:
    """The type and the path of each refusal; a refused command has no receipt."""
    assert payload["receipt"] is None
    return [(error["__typename"], error["path"]) for error in payload["errors"]]


# Customers


async def test_a_customer_is_registered_changed_suspended_and_reinstated(staff: Client) -> None:
    fields = "customer { id name email phone segment standing version address { city region } }"
    registered = await staff.done(
        "registerCustomer",
        fields,
        name="Ann Smith",
        email="ann@example.com",
        phone="+44 1482 1",
        segment="TRADE",
        address=ADDRESS,
    )
    key, version = registered["receipt"]["aggregateId"], registered["receipt"]["version"]
    assert registered["customer"] == {
        "id": key,
        "name": "Ann Smith",
        "email": "ann@example.com",
        "phone": "+44 1482 1",
        "segment": "TRADE",
        "standing": "ACTIVE",
        "version": version,
        "address": {"city": "Hull", "region": "North"},
    }

    moved = await staff.done(
        "changeCustomerAddress",
        fields,
        customerId=key,
        address={**ADDRESS, "city": "York"},
        expectedVersion=version,
    )
    assert moved["customer"]["address"]["city"] == "York"
    contact = await staff.done(
        "changeCustomerContact", fields, customerId=key, email="ann@example.org", phone=""
    )
    assert (contact["customer"]["email"], contact["customer"]["phone"]) == ("ann@example.org", "")
    suspended = await staff.done("suspendCustomer", fields, customerId=key, reason="unpaid")
    assert suspended["customer"]["standing"] == "SUSPENDED"
    reinstated = await staff.done("reinstateCustomer", fields, customerId=key)
    assert reinstated["customer"]["standing"] == "ACTIVE"
    assert reinstated["receipt"]["version"] == reinstated["customer"]["version"] == version + 4


async def test_everything_that_is_wrong_is_told_at_once(staff: Client) -> None:
    payload = await staff.send(
        "registerCustomer", name="", email="nowhere", address={**ADDRESS, "street": "", "city": ""}
    )
    assert refusals(payload) == [
        ("TextInvalid", ["name"]),
        ("EmailInvalid", ["email"]),
        ("TextInvalid", ["address", "street"]),
        ("TextInvalid", ["address", "city"]),
    ]
    assert payload["errors"][0] == {
        "__typename": "TextInvalid",
        "code": "TEXT_INVALID",
        "message": "The text must have 1 to 200 characters and no control characters.",
        "path": ["name"],
        "most": 200,
    }


# The catalogue


async def test_a_product_is_added_repriced_renamed_and_discontinued(staff: Client) -> None:
    fields = "product { id sku name brand price { amount currency } taxRate discontinued }"
    sku = new_sku()
    added = await staff.done(
        "addProduct", fields, sku=sku, name="Green", brand="Leaf", price=money("2.5"), taxRate="0.2"
    )
    assert added["product"] == {
        "id": f"product-{sku}",
        "sku": sku,
        "name": "Green",
        "brand": "Leaf",
        "price": {"amount": "2.50", "currency": "EUR"},
        "taxRate": "0.2000",
        "discontinued": False,
    }
    repriced = await staff.done("repriceProduct", fields, sku=sku, price=money("3.00"))
    assert repriced["product"]["price"]["amount"] == "3.00"
    renamed = await staff.done("renameProduct", fields, sku=sku, name="Sencha")
    assert renamed["product"]["name"] == "Sencha"
    gone = await staff.done("discontinueProduct", fields, sku=sku, reason="sold out")
    assert gone["product"]["discontinued"] is True


async def test_a_price_must_fit_its_currency_and_its_product(shop: Shop) -> None:
    sku = await shop.product()
    send = shop.staff.send
    assert refusals(await send("repriceProduct", sku=sku, price=money("0.001"))) == [
        ("AmountTooPrecise", ["price", "amount"])
    ]
    assert refusals(await send("repriceProduct", sku=sku, price=money("1", "USD"))) == [
        ("PriceCurrencyDiffers", ["price", "currency"])
    ]
    too_much = await send("repriceProduct", sku=sku, price=money("999999999999999999"))
    assert refusals(too_much) == [("AmountOutOfRange", ["price"])]
    assert too_much["errors"][0]["amount"] == "999999999999999999.00"


@pytest.mark.parametrize("rate", ["1.0001", "-0.5", "300000", "999999999999999999", "0.00001"])
async def test_rates_beyond_their_bounds_are_refused_with_facts(staff: Client, rate: str) -> None:
    payload = await staff.send(
        "addProduct", sku=new_sku(), name="Green", price=money("1"), taxRate=rate
    )
    ((kind, path),) = refusals(payload)
    assert (kind, path[0]) in {("RateOutOfRange", "taxRate"), ("RateTooPrecise", "taxRate")}


# Stock


async def test_stock_comes_is_kept_given_back_counted_and_leaves(shop: Shop) -> None:
    sku, staff = await shop.product(), shop.staff

    async def level(mutation: str, **sent: Any) -> tuple[int, int, int]:
        found = (await staff.done(mutation, STOCK, sku=sku, **sent))["stockLevel"]
        return found["onHand"], found["reserved"], found["available"]

    assert await level("receiveStock", quantity=50, source="supplier") == (50, 0, 50)
    assert await level("reserveStock", orderId="order-a", quantity=20) == (50, 20, 30)
    assert await level("reserveStock", orderId="order-b", quantity=5) == (50, 25, 25)
    assert await level("releaseStock", orderId="order-b") == (50, 20, 30)
    assert await level("despatchStock", orderId="order-a", quantity=20) == (30, 0, 30)
    assert await level("countStock", counted=28) == (28, 0, 28)
    low = await staff.done("setReorderLevel", STOCK, sku=sku, level=28)
    assert (low["stockLevel"]["reorderLevel"], low["stockLevel"]["low"]) == (28, True)


async def test_what_is_not_there_cannot_be_kept(shop: Shop) -> None:
    sku, send = await shop.product(stock=3), shop.staff.send
    refused = await send("reserveStock", sku=sku, orderId="order-a", quantity=4)
    assert refused["errors"] == [
        {
            "__typename": "InsufficientStock",
            "code": "INSUFFICIENT_STOCK",
            "message": f"4 pieces of {sku} were asked for, 3 are available.",
            "path": ["quantity"],
            "sku": sku,
            "requested": 4,
            "available": 3,
        }
    ]
    await shop.staff.done("reserveStock", sku=sku, orderId="order-a", quantity=3)
    for mutation, sent, kind in (
        ("reserveStock", {"orderId": "order-a", "quantity": 2}, "AlreadyReserved"),
        ("despatchStock", {"orderId": "order-b", "quantity": 1}, "InsufficientStock"),
        ("countStock", {"counted": 2}, "CountBelowReserved"),
    ):
        ((refusal, _),) = refusals(await send(mutation, sku=sku, **sent))
        assert refusal == kind


# Orders


async def test_an_order_goes_its_way(shop: Shop) -> None:
    staff, customer = shop.staff, await shop.customer()
    tea, cup = await shop.product(stock=10, price="2.50"), await shop.product(stock=10, price="8")
    placed = await staff.done(
        "placeOrder",
        "order { id status total { amount currency } net { amount } tax { amount } lineCount "
        "customer { id } deliverTo { city } lines { number name quantity net { amount } } }",
        customerId=customer,
        lines=[{"sku": tea, "quantity": 4}, {"sku": cup, "quantity": 1}],
        imported=True,
    )
    key = placed["receipt"]["aggregateId"]
    assert placed["order"] == {
        "id": key,
        "status": "PLACED",
        "total": {"amount": "21.60", "currency": "EUR"},
        "net": {"amount": "18.00"},
        "tax": {"amount": "3.60"},
        "lineCount": 2,
        "customer": {"id": customer},
        "deliverTo": {"city": "Hull"},
        "lines": [
            {"number": 1, "name": "Green tea", "quantity": 4, "net": {"amount": "10.00"}},
            {"number": 2, "name": "Green tea", "quantity": 1, "net": {"amount": "8.00"}},
        ],
    }

    async def status(mutation: str, **sent: Any) -> str:
        return str((await staff.done(mutation, ORDER, orderId=key, **sent))["order"]["status"])

    await staff.done("reserveOrder", orderId=key)
    assert await status("dispatchLines", lines=[1]) == "PARTLY_DISPATCHED"
    assert await status("dispatchLines", lines=[1, 2]) == "DISPATCHED"
    assert await status("markLinesDelivered", lines=[2]) == "PARTLY_DELIVERED"
    assert await status("markLinesDelivered", lines=[1]) == "DELIVERED"
    assert await status("returnLines", lines=[1, 2], reason="cracked") == "RETURNED"
    late = await staff.send("cancelOrder", orderId=key, reason="too late")
    assert refusals(late) == [("OrderIsOnItsWay", ["orderId"])]


async def test_an_order_is_cancelled_once(shop: Shop) -> None:
    order = await shop.order(await shop.customer(), await shop.product())
    key = order["aggregateId"]
    cancelled = await shop.staff.done("cancelOrder", ORDER, orderId=key, reason="changed my mind")
    assert cancelled["order"]["status"] == "CANCELLED"
    again = await shop.staff.done("cancelOrder", ORDER, orderId=key, reason="changed my mind")
    assert again["receipt"]["version"] == cancelled["receipt"]["version"]
    moved = await shop.staff.send("dispatchLines", orderId=key, lines=[1])
    assert refusals(moved) == [("OrderIsCancelled", ["orderId"])]


async def test_an_order_says_what_is_wrong_with_each_line(shop: Shop) -> None:
    tea, gone = await shop.product(), await shop.product()
    await shop.staff.done("discontinueProduct", sku=gone, reason="sold out")
    lines = [{"sku": sku, "quantity": 1} for sku in (tea, "NO-SUCH", gone)]
    payload = await shop.staff.send("placeOrder", customerId="customer-nobody", lines=lines)
    assert refusals(payload) == [
        ("CustomerUnknown", ["customerId"]),
        ("ProductUnknown", ["lines", "1", "sku"]),
        ("ProductIsDiscontinued", ["lines", "2", "sku"]),
    ]


async def test_staff_may_say_price_discount_tax_and_time(shop: Shop) -> None:
    sku = await shop.product()
    line = {"sku": sku, "quantity": 3, "unitPrice": money("100"), "discount": "0.1"}
    payload = await shop.staff.done(
        "placeOrder",
        "order { placedAt placedOn total { amount } }",
        customerId=await shop.customer(),
        lines=[{**line, "taxRate": "0"}],
        at="2020-02-29T23:30:00-02:00",
    )
    assert payload["order"] == {
        "placedAt": "2020-03-01T01:30:00.000Z",
        "placedOn": "2020-03-01",
        "total": {"amount": "270.00"},
    }


# Repeats


async def test_a_repeat_gets_the_first_answer(shop: Shop) -> None:
    key, sku = uuid4(), await shop.product()
    first = await shop.staff.send("receiveStock", command_id=key, sku=sku, quantity=5)
    await shop.staff.done("receiveStock", sku=sku, quantity=1)
    again = await shop.staff.send("receiveStock", command_id=key, sku=sku, quantity=5)
    assert first["receipt"]["replayed"] is False
    assert again["receipt"] == {**first["receipt"], "replayed": True}


async def test_an_id_is_for_one_command_only(shop: Shop) -> None:
    key, sku = uuid4(), await shop.product()
    await shop.staff.send("receiveStock", command_id=key, sku=sku, quantity=5)
    other_input = await shop.staff.send("receiveStock", command_id=key, sku=sku, quantity=6)
    other_command = await shop.staff.send("countStock", command_id=key, sku=sku, counted=5)
    for payload in (other_input, other_command):
        assert refusals(payload) == [("CommandIdReused", ["commandId"])]
        assert payload["errors"][0]["commandId"] == str(key)


async def test_a_refusal_is_remembered(shop: Shop) -> None:
    key, sku = uuid4(), await shop.product(stock=1)
    wanted: dict[str, Any] = {"sku": sku, "orderId": "order-a", "quantity": 2}
    first = await shop.staff.send("reserveStock", command_id=key, **wanted)
    await shop.staff.done("receiveStock", sku=sku, quantity=100)
    again = await shop.staff.send("reserveStock", command_id=key, **wanted)
    assert again == first
    assert again["errors"][0]["available"] == 1
    await shop.staff.done("reserveStock", **wanted)


async def test_a_failed_validation_is_not_remembered(shop: Shop) -> None:
    key, sku = uuid4(), await shop.product()
    broken = await shop.staff.send_raw("receiveStock", command_id=key, sku=sku, quantity="many")
    assert broken.codes == ["VALIDATION_FAILED"]
    await shop.staff.done("receiveStock", command_id=key, sku=sku, quantity=5)

    key = uuid4()
    precise = await shop.staff.send("repriceProduct", command_id=key, sku=sku, price=money("0.001"))
    assert refusals(precise) == [("AmountTooPrecise", ["price", "amount"])]
    await shop.staff.done("repriceProduct", command_id=key, sku=sku, price=money("0.01"))


async def test_a_lost_race_tells_the_current_version(shop: Shop) -> None:
    sku = await shop.product()
    await shop.staff.done("renameProduct", sku=sku, name="Sencha", expectedVersion=2)
    lost = await shop.staff.send("renameProduct", sku=sku, name="Gyokuro", expectedVersion=2)
    assert refusals(lost) == [("VersionConflict", ["expectedVersion"])]
    facts = {name: lost["errors"][0][name] for name in ("stream", "expected", "actual")}
    assert facts == {"stream": f"product-{sku}", "expected": 2, "actual": 3}


async def test_a_thousand_repeats_at_once_are_one_command(shop: Shop) -> None:
    key, sku = uuid4(), await shop.product(stock=10)
    customer = await shop.customer()
    lines = [{"sku": sku, "quantity": 1}]

    async def send(client: Client) -> Any:
        return await client.send(
            "placeOrder", "order { id version }", key, customerId=customer, lines=lines
        )

    async with crowd(shop.staff, 40) as clients:
        answers = await asyncio.gather(*(send(client) for client in clients * 25))
    receipts = [answer.pop("receipt") for answer in answers]
    assert all(answer == answers[0] for answer in answers)
    assert sum(not receipt.pop("replayed") for receipt in receipts) == 1
    assert all(receipt == receipts[0] for receipt in receipts)
    assert receipts[0]["version"] == 1
    found = await shop.staff.run(
        "query ($id: ID!) { orders(where: { customerId: { eq: $id } }) { totalCount } }",
        id=customer,
    )
    assert found["orders"]["totalCount"] == 1


async def test_of_200_clients_who_want_the_last_50_pieces_50_get_one(shop: Shop) -> None:
    sku = await shop.product(stock=50)

    async def reserve(number: int) -> Any:
        return await shop.staff.send("reserveStock", sku=sku, orderId=f"order-{number}", quantity=1)

    payloads = await asyncio.gather(*(reserve(number) for number in range(200)))
    refused = [payload["errors"] for payload in payloads if payload["errors"]]
    assert len(refused) == 150
    facts = {"sku": sku, "requested": 1, "available": 0}
    for (error,) in refused:
        assert error["code"] == "INSUFFICIENT_STOCK"
        assert {name: error[name] for name in facts} == facts
    found = await shop.staff.run(
        "query ($s: String!) { stockLevel(sku: $s) { onHand reserved available } }", s=sku
    )
    assert found["stockLevel"] == {"onHand": 50, "reserved": 50, "available": 0}
