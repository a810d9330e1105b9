"""The shipping desk: a recipient with a copy of its own, on a real broker beside a real server.

Two processes, two databases. What the desk knows it has from Kafka; it calls us by GraphQL only.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest

from tests.e2e.client import STAFF, Client, anonymous, eventually
from tests.e2e.server import Server, serving, started
from tests.e2e.shop import ADDRESS, Shop
from tests.kafka.brokers import Broker, free_port

AWAY_SECONDS: Final = 3.0
SECONDS: Final = 60.0
"""That something may take which has to come through Kafka."""

SOURCE_CUSTOMER: Final = """query ($id: ID!, $at: Position) { customer(id: $id, atLeast: $at) {
    id name version address { street city postcode: postalCode region country } } }"""
COPIED_CUSTOMER: Final = """query ($id: ID!) { customer(id: $id) {
    id name version address { street city postcode region country } } }"""
PRODUCT: Final = "query ($sku: String!) { product(sku: $sku) { id sku name version } }"
ORDER: Final = "query ($id: ID!) { order(id: $id) { status shipment { id sent arrived } } }"
QUEUE: Final = """{ queue(first: 100) {
    id orderId customerId status lines { number sku quantity } deliverTo { street } } }"""
SHIPMENT: Final = "query ($id: ID!) { shipment(id: $id) { status sent arrived } }"
LABEL: Final = """query ($id: ID!) { label(shipmentId: $id) { errors { code }
    label { recipient address { street city } lines { number quantity sku name } text } } }"""
FRESHNESS: Final = """{ copyFreshness { topics { topic position } customers products waiting
    unreadable hearing calling } }"""
SEND: Final = """mutation ($input: MoveInput!) { sendParcel(input: $input) {
    errors { code } shipment { status sent } } }"""
ARRIVE: Final = """mutation ($input: MoveInput!) { recordArrival(input: $input) {
    errors { code } shipment { status arrived } } }"""


@dataclass(frozen=True)
class Site:
    """Where everything of a test is; the two processes can be stopped and started again."""

    home: Path
    settings: Mapping[str, str]
    port: int

    @contextmanager
    def source(self) -> Iterator[Server]:
        """`tidings serve` on a mongod of its own, always at the same address."""
        with serving(self.home, self.settings, port=self.port) as running:
            yield running

    @contextmanager
    def desk(self) -> Iterator[Server]:
        """`tidings shipping`, on another mongod of its own."""
        with started(("shipping",), self.home, self.settings) as running:
            yield running

    def kill_source(self, running: Server) -> None:
        """Our API and its MongoDB, as if their machine lost power."""
        mongod = json.loads((self.home / "mongod.json").read_text())["pid"]
        running.process.send_signal(signal.SIGSTOP)  # so that it does not start another one
        os.kill(mongod, signal.SIGKILL)
        running.stop(signal.SIGKILL)


@pytest.fixture
def site(kafka: Broker, topic_prefix: str, tmp_path: Path) -> Site:
    port = free_port()
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "TIDINGS_KAFKA_SMALL": "1" if kafka.small else "0",
        "TIDINGS_KAFKA_TOPIC_PREFIX": topic_prefix,
        "TIDINGS_SHIPPING_PORT": "0",
        "TIDINGS_SHIPPING_API_URL": f"http://127.0.0.1:{port}",
    }
    return Site(tmp_path, settings, port)


@asynccontextmanager
async def staff_of(server: Server) -> AsyncIterator[Client]:
    async with anonymous(f"{server.url}/graphql", server.home) as client:
        yield client.signed_in(STAFF)


@asynccontextmanager
async def both(site: Site) -> AsyncIterator[tuple[Server, Client, Server, Client]]:
    """Our server and the desk, with a client for each."""
    async with AsyncExitStack() as stack:
        source, desk = site.source(), site.desk()
        ours = await asyncio.to_thread(source.__enter__)
        stack.push(source.__exit__)
        theirs = await asyncio.to_thread(desk.__enter__)
        stack.push(desk.__exit__)
        at_ours = await stack.enter_async_context(staff_of(ours))
        yield ours, at_ours, theirs, await stack.enter_async_context(staff_of(theirs))


async def shipment_of(desk: Client, order_id: str) -> Any:
    """What the desk has booked for an order, once it has."""

    async def booked() -> Any:
        queue = (await desk.run(QUEUE))["queue"]
        return next((each for each in queue if each["orderId"] == order_id), None)

    return await eventually(booked, SECONDS)


async def until_equal(
    source: Client, desk: Client, customers: Sequence[str], at: str | None = None
) -> None:
    """The copies of these customers equal the source as of a position, field by field."""
    for customer_id in customers:

        async def known(id: str = customer_id) -> Any:
            return (await source.run(SOURCE_CUSTOMER, id=id, at=at))["customer"]

        wanted = await eventually(known)

        async def is_equal(id: str = customer_id, wanted: Any = wanted) -> bool:
            return bool((await desk.run(COPIED_CUSTOMER, id=id))["customer"] == wanted)

        await eventually(is_equal, SECONDS)


async def move_house(ours: Client, customer_id: str, number: int) -> str:
    """The position of the change."""
    moved = await ours.done("changeCustomerAddress", customerId=customer_id, address=street(number))
    return str(moved["receipt"]["position"])


def street(number: int) -> dict[str, str]:
    return {**ADDRESS, "street": f"New Street {number}"}


async def test_an_order_is_booked_labelled_sent_and_delivered_by_the_desk(site: Site) -> None:
    async with both(site) as (_, ours, _, desk):
        shop = Shop(ours)
        customer_id = await shop.customer("Ann Smith")
        tea, pot = await shop.product(stock=9), await shop.product(stock=9, name="Tea pot")
        elsewhere = {**ADDRESS, "street": "Gift Road 7"}
        placed: list[dict[str, Any]] = [{}, {"deliverTo": elsewhere}, {}]
        order, gift, cancelled = [
            str((await shop.order(customer_id, tea, pot, imported=False, **more))["aggregateId"])
            for more in placed
        ]
        shipment = await shipment_of(desk, order)
        assert shipment["lines"] == [
            {"number": 1, "sku": tea, "quantity": 1},
            {"number": 2, "sku": pot, "quantity": 1},
        ]
        await until_equal(ours, desk, [customer_id])
        for sku in (tea, pot):
            assert await desk.run(PRODUCT, sku=sku) == await ours.run(PRODUCT, sku=sku)

        await until_equal(ours, desk, [customer_id], await move_house(ours, customer_id, 1))
        label = (await desk.run(LABEL, id=shipment["id"]))["label"]["label"]
        assert (label["recipient"], label["address"]["street"]) == ("Ann Smith", "New Street 1")
        assert "1 x Tea pot" in label["text"]
        as_a_gift = await shipment_of(desk, gift)
        label = (await desk.run(LABEL, id=as_a_gift["id"]))["label"]["label"]
        assert label["address"]["street"] == "Gift Road 7"

        await shipment_of(desk, cancelled)
        await ours.done("cancelOrder", orderId=cancelled, reason="Changed my mind")
        stays = cancelled.replace("order-", "shipment-")

        async def is_called_off() -> bool:
            found = (await desk.run(SHIPMENT, id=stays))["shipment"]
            return bool(found["status"] == "CALLED_OFF")

        await eventually(is_called_off)
        refused = (await desk.run(SEND, input={"shipmentId": stays}))["sendParcel"]
        assert refused["errors"] == [{"code": "CALLED_OFF"}]

        await delivered(ours, desk, order, shipment["id"])


async def delivered(ours: Client, desk: Client, order: str, shipment: str) -> None:
    """In two parcels, each entered twice at the desk, and known to us as such."""
    for _ in range(2):
        sent = await desk.run(SEND, input={"shipmentId": shipment, "lines": [2]})
        assert sent["sendParcel"]["shipment"] == {"status": "PARTLY_SENT", "sent": [2]}
    early = await desk.run(ARRIVE, input={"shipmentId": shipment, "lines": [1]})
    assert early["recordArrival"]["errors"] == [{"code": "LINE_NOT_SENT"}]
    assert await desk.run(SEND, input={"shipmentId": shipment})
    for _ in range(2):
        arrived = await desk.run(ARRIVE, input={"shipmentId": shipment})
        assert arrived["recordArrival"]["shipment"] == {"status": "ARRIVED", "arrived": [2, 1]}

    async def is_delivered() -> bool:
        return bool((await ours.run(ORDER, id=order))["order"]["status"] == "DELIVERED")

    await eventually(is_delivered)
    told = (await ours.run(ORDER, id=order))["order"]["shipment"]
    assert told == {"id": shipment, "sent": [1, 2], "arrived": [1, 2]}
    freshness = (await desk.run(FRESHNESS))["copyFreshness"]
    assert (freshness["waiting"], freshness["calling"], freshness["unreadable"]) == (0, None, 0)


async def test_the_desk_works_while_our_api_and_its_mongodb_are_down(site: Site) -> None:
    async with both(site) as (source, ours, _, desk):
        shop = Shop(ours)
        customers = [await shop.customer(f"Customer {number}") for number in range(5)]
        sku = await shop.product(stock=99)
        orders = [
            str((await shop.order(each, sku, imported=False))["aggregateId"]) for each in customers
        ]
        shipments = [(await shipment_of(desk, order))["id"] for order in orders]
        await until_equal(ours, desk, customers)

        # told or not when the power goes
        await asyncio.gather(*(move_house(ours, each, 1) for each in customers))
        site.kill_source(source)
        changes = asyncio.gather(
            *(insistent_move(ours, each, number) for number, each in enumerate(customers[:3], 10))
        )
        await works_alone(desk, shipments)
        again = site.source()
        await asyncio.to_thread(again.__enter__)
        try:
            await until_equal(ours, desk, customers, latest(await changes))
            assert await desk.run(PRODUCT, sku=sku) == await ours.run(PRODUCT, sku=sku)
            last = await desk.run(COPIED_CUSTOMER, id=customers[2])
            assert last["customer"]["address"]["street"] == "New Street 12"
            for order, shipment in zip(orders, shipments, strict=True):
                await eventually(lambda order=order: is_dispatched(ours, order))
                label = (await desk.run(LABEL, id=shipment))["label"]["label"]
                assert label["address"]["street"].startswith("New Street")
            assert (await desk.run(FRESHNESS))["copyFreshness"]["waiting"] == 0
        finally:
            again.__exit__(None, None, None)


def latest(positions: Sequence[str]) -> str:
    return max(positions, key=lambda position: int(position.partition(":")[2]))


async def is_dispatched(ours: Client, order: str) -> bool:
    return bool((await ours.run(ORDER, id=order))["order"]["status"] == "DISPATCHED")


async def insistent_move(ours: Client, customer_id: str, number: int) -> str:
    """A change that is sent until somebody takes it; its position."""
    command_id = uuid4()
    change = {"customerId": customer_id, "address": street(number)}

    async def taken() -> str | None:
        try:
            answer = await ours.send_raw("changeCustomerAddress", "", command_id, **change)
        except httpx.TransportError:
            return None
        if answer.status != httpx.codes.OK:
            return None
        return str(answer.data["changeCustomerAddress"]["receipt"]["position"])

    return str(await eventually(taken, AWAY_SECONDS + SECONDS))


async def works_alone(desk: Client, shipments: Sequence[str]) -> None:
    """Answers, labels and sends; all the time, and with nobody to ask."""
    until = asyncio.get_running_loop().time() + AWAY_SECONDS
    while asyncio.get_running_loop().time() < until:
        for shipment in shipments:
            label = (await desk.run(LABEL, id=shipment))["label"]["label"]
            assert label["recipient"].startswith("Customer ")
            assert label["lines"][0]["name"] == "Green tea"
    for shipment in shipments:
        sent = await desk.run(SEND, input={"shipmentId": shipment})
        assert sent["sendParcel"]["shipment"]["status"] == "SENT"

    async def is_in_trouble() -> Any:
        return (await desk.run(FRESHNESS))["copyFreshness"]["calling"]

    assert await eventually(is_in_trouble)
    assert (await desk.run(FRESHNESS))["copyFreshness"]["waiting"] == len(shipments)


async def test_a_desk_that_was_killed_catches_up(site: Site) -> None:
    async with both(site) as (_, ours, running, desk):
        shop = Shop(ours)
        customers = [await shop.customer(f"Customer {number}") for number in range(5)]
        await until_equal(ours, desk, customers)
        running.stop(signal.SIGKILL)
        moves = [await move_house(ours, each, number) for number, each in enumerate(customers)]
        later = await shop.customer("Came later")
        again = site.desk()
        renewed = await asyncio.to_thread(again.__enter__)
        try:
            async with staff_of(renewed) as after:
                await until_equal(ours, after, [*customers, later], moves[-1])
        finally:
            again.__exit__(None, None, None)


async def test_while_kafka_is_down_the_desk_answers_and_says_what_is_wrong(
    site: Site, kafka: Broker
) -> None:
    if kafka.small:
        pytest.skip("the small broker forgets everything")
    async with both(site) as (_, ours, _, desk):
        customer_id = await Shop(ours).customer()
        await until_equal(ours, desk, [customer_id])
        kafka.kill()

        async def says_so() -> bool:
            return "no Kafka broker" in (
                (await desk.run(FRESHNESS))["copyFreshness"]["hearing"] or ""
            )

        await eventually(says_so, SECONDS)
        position = await move_house(ours, customer_id, 1)
        held = (await desk.run(COPIED_CUSTOMER, id=customer_id))["customer"]
        assert held["address"]["street"] == ADDRESS["street"]
        await asyncio.to_thread(kafka.start)
        await until_equal(ours, desk, [customer_id], position)
