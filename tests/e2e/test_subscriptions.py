"""What clients follow: orders, notifications and the log, over websockets and event streams."""

import asyncio
import random
from uuid import uuid4

import pytest

from tests.e2e.client import PATIENCE, Client, Socket, command
from tests.e2e.shop import Shop

CHANGES = """subscription ($id: ID, $customer: ID, $after: Position) {
  orderChanged(id: $id, customerId: $customer, after: $after) {
    position order { id status total { amount } } gap { since to } } }"""
NOTIFICATIONS = """subscription ($customer: ID, $after: Position) {
  notifications(customerId: $customer, after: $after) {
    position kind orderId customerId text at gap { since to } } }"""
EVENTS = """subscription ($after: Position, $types: [String!], $stream: ID) {
  events(after: $after, types: $types, stream: $stream) {
    position stream version type data actor command gap { since to } } }"""
CUTS = 200


async def cancelled(shop: Shop, order: str) -> str:
    """The position at which it was cancelled."""
    payload = await shop.staff.done("cancelOrder", orderId=order, reason="changed my mind")
    return str(payload["receipt"]["position"])


# What is followed


async def test_an_order_is_followed_by_its_id_by_its_customer_and_among_all(shop: Shop) -> None:
    customer = await shop.customer()
    order = await shop.order(customer, await shop.product())
    order_id, at = order["aggregateId"], order["position"]
    async with shop.staff.socket() as socket:
        for name, topic in (
            ("one", {"id": order_id}),
            ("own", {"customer": customer}),
            ("all", {}),
        ):
            await socket.subscribe(CHANGES, name, {**topic, "after": at})
        position = await cancelled(shop, order_id)
        told = [await socket.heard() for _ in range(3)]
    changes = {message["id"]: message["payload"]["data"]["orderChanged"] for message in told}
    state = {"id": order_id, "status": "CANCELLED", "total": {"amount": "12.00"}}
    expected = {"position": position, "order": state, "gap": None}
    assert changes == {"one": expected, "own": expected, "all": expected}


async def test_an_answer_of_a_subscription_says_its_position(shop: Shop) -> None:
    customer = await shop.customer()
    order = await shop.order(customer, await shop.product())
    async with shop.staff.socket() as socket:
        await socket.subscribe(CHANGES, variables={"id": order["aggregateId"], "after": "0:0"})
        payload = (await socket.heard())["payload"]
    assert payload["extensions"]["position"] == payload["data"]["orderChanged"]["position"]


async def test_a_customer_is_notified_over_both_transports(shop: Shop) -> None:
    customer, sku = await shop.customer(), await shop.product()
    registered = (await shop.order(customer, sku))["position"]
    client, asked = shop.staff.customer(customer), {"customer": customer, "after": registered}
    async with client.socket() as socket, client.stream(NOTIFICATIONS, **asked) as stream:
        await socket.subscribe(NOTIFICATIONS, variables=asked)
        order = await shop.order(customer, sku)
        over_socket = (await socket.next())["notifications"]
        async with asyncio.timeout(PATIENCE):
            over_stream = (await anext(stream))["data"]["notifications"]
    assert over_socket == over_stream
    assert (over_socket["kind"], over_socket["orderId"]) == ("ORDER_PLACED", order["aggregateId"])
    assert over_socket["position"] == order["position"]


async def test_operators_follow_the_log_by_stream_and_type(shop: Shop, operator: Client) -> None:
    sku = await shop.product(stock=5)
    stream, wanted = f"stock_item-{sku}", ["StockReserved", "StockReleased"]
    async with operator.socket() as socket:
        await socket.subscribe(
            EVENTS, variables={"after": "0:0", "stream": stream, "types": wanted}
        )
        keep = {"sku": sku, "orderId": "order-a"}
        await shop.staff.done("reserveStock", **keep, quantity=2)
        await shop.staff.done("receiveStock", sku=sku, quantity=1)
        await shop.staff.done("releaseStock", **keep)
        told = [(await socket.next())["events"] for _ in range(2)]
    assert [(event["version"], event["type"]) for event in told] == [
        (2, "StockReserved"),
        (4, "StockReleased"),
    ]
    assert told[0]["stream"] == stream
    assert told[0]["data"]["quantity"] == 2
    assert told[0]["command"] == "ReserveStock"


# Coming back


async def test_a_receipt_is_a_place_to_resume_from(shop: Shop) -> None:
    """Even at once, when the read models have not seen it yet."""
    customer, sku = await shop.customer(), await shop.product()
    async with shop.staff.socket() as socket:
        for number in range(20):
            order = await shop.order(customer, sku)
            asked = {"customer": customer, "after": order["position"]}
            await socket.subscribe(NOTIFICATIONS, str(number), asked)
            later = await shop.order(customer, sku)
            told = (await socket.next(str(number)))["notifications"]
            assert (told["gap"], told["position"]) == (None, later["position"])
            await socket.say(type="complete", id=str(number))


async def told_once_connected(client: Client, customer: str, after: str, most: int) -> list[str]:
    """The positions that a client sees before its cable is cut."""
    async with client.socket() as socket:
        await socket.subscribe(NOTIFICATIONS, variables={"customer": customer, "after": after})
        told: list[str] = []
        try:
            async with asyncio.timeout(0.05):
                while len(told) < most:
                    told.append((await socket.next())["notifications"]["position"])
        except TimeoutError:
            pass
        socket.cut()
    return told


async def test_a_client_that_is_cut_off_200_times_misses_nothing_and_sees_nothing_twice(
    shop: Shop,
) -> None:
    customer, sku = await shop.customer(), await shop.product()
    client, sent = shop.staff.customer(customer), [(await shop.order(customer, sku))["position"]]
    running = True

    async def keep_ordering() -> None:
        while running:
            sent.append((await shop.order(customer, sku))["position"])

    ordering = [asyncio.create_task(keep_ordering()) for _ in range(3)]
    seen = [sent[0]]
    for _ in range(CUTS):
        seen += await told_once_connected(client, customer, seen[-1], random.randint(0, 3))
    running = False
    await asyncio.gather(*ordering)
    sent.sort(key=number)
    async with client.socket() as socket:
        await socket.subscribe(NOTIFICATIONS, variables={"customer": customer, "after": seen[-1]})
        while seen[-1] != sent[-1]:
            seen.append((await socket.next())["notifications"]["position"])
    assert seen == sent
    assert len(seen) > CUTS


@pytest.mark.parametrize(
    ("document", "field"),
    [(CHANGES, "orderChanged"), (NOTIFICATIONS, "notifications"), (EVENTS, "events")],
)
async def test_a_place_beyond_the_log_is_a_gap_and_then_what_is_new(
    shop: Shop, operator: Client, document: str, field: str
) -> None:
    customer, sku = await shop.customer(), await shop.product()
    beyond = "0:999999999999"
    async with operator.socket() as socket:
        await socket.subscribe(document, variables={"after": beyond})
        gap = (await socket.next())[field]
        assert gap["gap"] == {"since": beyond, "to": gap["position"]}
        order = await shop.order(customer, sku)
        async with asyncio.timeout(PATIENCE):
            while (told := (await socket.next())[field])["position"] != order["position"]:
                assert number(gap["position"]) < number(told["position"])
    assert told["gap"] is None


def number(position: str) -> int:
    return int(position.partition(":")[2])


# Clients that are slow


async def test_a_slow_client_slows_nobody_and_misses_nothing(shop: Shop, operator: Client) -> None:
    sku = await shop.product(stock=1)
    stream = f"stock_item-{sku}"
    asked = {"after": "0:0", "stream": stream}
    small = {"max_queue": 1, "write_limit": 1_024}
    async with operator.socket(**small) as slow, operator.socket() as quick:
        await slow.subscribe(EVENTS, variables=asked)
        await quick.subscribe(EVENTS, variables=asked)
        await asyncio.gather(
            *(shop.staff.done("receiveStock", sku=sku, quantity=1) for _ in range(300))
        )
        met = await versions(quick, 301)
        assert met == list(range(1, 302))
        assert await versions(slow, 301) == met


async def versions(socket: Socket, count: int) -> list[int]:
    return [(await socket.next())["events"]["version"] for _ in range(count)]


async def test_completing_one_subscription_leaves_the_others(shop: Shop) -> None:
    customer, sku = await shop.customer(), await shop.product()
    async with shop.staff.socket() as socket:
        await socket.subscribe(NOTIFICATIONS, "a", {"customer": customer})
        await socket.subscribe(NOTIFICATIONS, "b", {"customer": customer, "after": "0:0"})
        await socket.say(type="complete", id="a")
        await shop.order(customer, sku)
        assert (await socket.next("b"))["notifications"]["kind"] == "ORDER_PLACED"


async def test_queries_and_commands_run_over_the_socket_too(shop: Shop) -> None:
    sku = await shop.product()
    async with shop.staff.socket() as socket:
        sent = {"commandId": str(uuid4()), "sku": sku, "quantity": 4}
        await socket.subscribe(command("receiveStock"), "do", {"input": sent})
        receipt = (await socket.next("do"))["receiveStock"]["receipt"]
        assert await socket.heard() == {"type": "complete", "id": "do"}
        ask = "query ($s: String!, $at: Position) { stockLevel(sku: $s, atLeast: $at) { onHand } }"
        await socket.subscribe(ask, "ask", {"s": sku, "at": receipt["position"]})
        assert await socket.next("ask") == {"stockLevel": {"onHand": 4}}
        assert await socket.heard() == {"type": "complete", "id": "ask"}
