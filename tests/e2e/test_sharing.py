"""A thousand subscribers over real websockets, and what a change costs the server then."""

import asyncio
import re
from contextlib import AsyncExitStack
from typing import Any, Final
from uuid import uuid4

from tests.e2e.client import PATIENCE, Client, Socket
from tests.e2e.shop import Shop

SOCKETS: Final = 20
EACH: Final = 50
ALL: Final = SOCKETS * EACH

NOTIFICATIONS: Final = """subscription ($customer: ID) {
  notifications(customerId: $customer) { position kind orderId } }"""
CHANGES: Final = """subscription ($id: ID) {
  orderChanged(id: $id) { position order { id status } } }"""
ORDER: Final = "query ($id: ID!, $at: Position) { order(id: $id, atLeast: $at) { id } }"
EXECUTIONS: Final = "tidings_subscription_executions_total"
MESSAGES: Final = "tidings_subscription_messages_total"


async def measured(client: Client) -> dict[str, float]:
    """What `/metrics` says of subscriptions."""
    text = (await client.http.get(client.url.replace("/graphql", "/metrics"))).text
    found = re.findall(r"^(tidings_subscri\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


async def subscribed(client: Client, kind: str, count: int) -> None:
    """Wait until so many are told of what changes."""
    async with asyncio.timeout(PATIENCE):
        name = f'tidings_subscribers{{kind="{kind}"}}'
        while (await measured(client)).get(name, 0) < count:  # noqa: ASYNC110 others move it
            await asyncio.sleep(0.05)


async def test_a_thousand_identical_subscriptions_cost_one_execution_a_change(shop: Shop) -> None:
    customer, sku = await shop.customer(), await shop.product()
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(shop.staff.socket()) for _ in range(SOCKETS)]
        for socket in sockets:
            for number in range(EACH):
                await socket.subscribe(NOTIFICATIONS, f"s{number}", {"customer": customer})
        await subscribed(shop.staff, "notifications", ALL)
        before = await measured(shop.staff)
        orders = [(await shop.order(customer, sku))["aggregateId"] for _ in range(3)]
        told = [await heard(socket, 3) for socket in sockets]
        after = await measured(shop.staff)
    assert after[EXECUTIONS] - before[EXECUTIONS] == len(orders)
    assert after[MESSAGES] - before[MESSAGES] == len(orders) * ALL
    for by_id in told:
        assert by_id.keys() == {f"s{number}" for number in range(EACH)}
        for payloads in by_id.values():
            assert payloads == told[0]["s0"]
    assert [each["data"]["notifications"]["orderId"] for each in told[0]["s0"]] == orders


async def heard(socket: Socket, each: int) -> dict[str, list[Any]]:
    """The payloads of all subscriptions of a socket, so many of each."""
    by_id: dict[str, list[Any]] = {}
    for _ in range(EACH * each):
        message = await socket.heard()
        by_id.setdefault(message["id"], []).append(message["payload"])
    return by_id


async def test_a_thousand_subscriptions_to_other_orders_cost_one_execution_of_one(
    shop: Shop,
) -> None:
    customer, sku = await shop.customer(), await shop.product()
    order = await shop.order(customer, sku)
    await shop.staff.run(ORDER, id=order["aggregateId"], at=order["position"])
    ids = [order["aggregateId"], *(f"order-{uuid4()}" for _ in range(ALL - 1))]
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(shop.staff.socket()) for _ in range(SOCKETS)]
        for number, each in enumerate(ids):
            await sockets[number % SOCKETS].subscribe(CHANGES, each, {"id": each})
        await subscribed(shop.staff, "order_details", ALL)
        before = await measured(shop.staff)
        await shop.staff.done("cancelOrder", orderId=ids[0], reason="changed my mind")
        message = await sockets[0].heard()
        after = await measured(shop.staff)
    assert message["id"] == ids[0]
    assert message["payload"]["data"]["orderChanged"]["order"]["status"] == "CANCELLED"
    assert after[EXECUTIONS] - before[EXECUTIONS] == 1
    assert after[MESSAGES] - before[MESSAGES] == 1


async def test_websockets_and_event_streams_share(shop: Shop) -> None:
    customer, sku = await shop.customer(), await shop.product()
    asked = {"customer": customer}
    async with (
        shop.staff.socket() as socket,
        shop.staff.stream(NOTIFICATIONS, **asked) as first,
        shop.staff.stream(NOTIFICATIONS, **asked) as second,
    ):
        await socket.subscribe(NOTIFICATIONS, variables=asked)
        await subscribed(shop.staff, "notifications", 3)
        before = await measured(shop.staff)
        orders = [(await shop.order(customer, sku))["aggregateId"] for _ in range(3)]
        async with asyncio.timeout(PATIENCE):
            told = [
                [(await socket.next())["notifications"] for _ in orders],
                *[
                    [(await anext(stream))["data"]["notifications"] for _ in orders]
                    for stream in (first, second)
                ],
            ]
        after = await measured(shop.staff)
    assert told[0] == told[1] == told[2]
    assert [each["orderId"] for each in told[0]] == orders
    assert after[EXECUTIONS] - before[EXECUTIONS] == len(orders)


async def test_of_two_customers_each_sees_their_own(shop: Shop) -> None:
    """The same document and no variables: it is the rights that differ."""
    first, second, sku = await shop.customer(), await shop.customer(), await shop.product()
    async with AsyncExitStack() as stack:
        asked = {"customer": first}
        own, other = [
            await stack.enter_async_context(shop.staff.customer(each).socket())
            for each in (first, second)
        ]
        await own.subscribe(NOTIFICATIONS, "1", asked)
        await own.subscribe(NOTIFICATIONS, "2", asked)
        await subscribed(shop.staff, "notifications", 2)
        await other.subscribe(NOTIFICATIONS, "1", asked)
        refusal = await other.heard()
        assert (refusal["type"], refusal["payload"]["data"]) == ("next", None)
        assert refusal["payload"]["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        await shop.order(first, sku)
        told = [await own.heard() for _ in range(2)]
    assert {message["id"] for message in told} == {"1", "2"}
    assert told[0]["payload"] == told[1]["payload"]


async def test_a_token_that_ends_ends_its_own_subscription_only(shop: Shop) -> None:
    customer, sku = await shop.customer(), await shop.product()
    brief = shop.staff.customer(customer, seconds=3)
    async with shop.staff.customer(customer).socket() as socket, brief.socket() as ending:
        for each in (socket, ending):
            await each.subscribe(NOTIFICATIONS, variables={"customer": customer})
        await subscribed(shop.staff, "notifications", 2)
        first = await shop.order(customer, sku)
        for each in (socket, ending):
            assert (await each.next())["notifications"]["orderId"] == first["aggregateId"]
        assert await ending.close_code() == 4403
        second = await shop.order(customer, sku)
        assert (await socket.next())["notifications"]["orderId"] == second["aggregateId"]
