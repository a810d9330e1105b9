"""From the order to the cash, with a process for each part, a provider in bad weather, and kills.

Money and stock must end balanced, whoever was killed when; nobody is charged twice; and what the
books of Tidings say is what the provider's own book says.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import pytest

from api.reacting import FOLLOWERS
from domain.order_to_cash import AUTHORISATION_TIME, Story
from infra.deadlines import DEADLINES
from infra.log import EVENTS
from infra.stories import stories_of
from readmodels.registry import PROJECTIONS
from tests.e2e.client import STAFF, Client, anonymous, eventually
from tests.e2e.company import Company, company, is_caught, trap
from tests.e2e.server import eventually as wait_until
from tests.e2e.shop import Shop
from tests.e2e.trade import Trade

ORDERS: Final = 2_000
OTHERS: Final = 1_000
FEW: Final = 40
REACTOR_SECONDS: Final = 5
"""A reactor has started by then, and has looked for deadlines and for work."""

TRADE_SECONDS: Final = 600
SETTLED_SECONDS: Final = 120
FLOW: Final = "process/order_to_cash"
STORIES: Final = stories_of(FOLLOWERS[FLOW])

WEATHER: Final = (
    *("--declines", "0.1", "--timeouts", "0.05", "--lost", "0.02", "--duplicates", "0.02"),
    *("--delay-ms", "5"),
)


# -- 2,000 orders


@pytest.mark.chaos
async def test_money_and_stock_balance_whoever_is_killed_when(
    mongodb_uri: str, tmp_path: Path
) -> None:
    with company(mongodb_uri, tmp_path, *WEATHER) as whole:
        whole.start(*whole.parts)
        async with anonymous(whole.graphql, whole.home) as nobody:
            trade = Trade(Shop(nobody.signed_in(STAFF)))
            await trade.open()
            kills = await traded(whole, trade)
            assert min(kills.values()) >= 5, kills
            await every_order_is_final(trade)
            await books_agree(whole, trade.shop.staff)
            await nothing_is_reserved(trade.shop.staff)
        checked = whole.command("verify")
        assert checked.returncode == 0, checked.stdout


async def traded(whole: Company, trade: Trade) -> Counter[str]:
    """All orders placed and finished while parts are killed; how often each was."""
    kills: Counter[str] = Counter()
    done = asyncio.Event()
    async with asyncio.timeout(TRADE_SECONDS), asyncio.TaskGroup() as tasks:
        tasks.create_task(keep_killing(whole, kills, done))
        await trade.run(ORDERS)
        done.set()
    await eventually(lambda: asyncio.to_thread(whole.is_at_rest), SETTLED_SECONDS)
    assert whole.parked() == []
    return kills


async def keep_killing(whole: Company, kills: Counter[str], done: asyncio.Event) -> None:
    """Every few seconds the reactor or the sandbox, at moments nobody chose; nothing is parked."""
    for part in cycle((whole.reactor, whole.sandbox)):
        await asyncio.sleep(random.uniform(2, 4))
        if done.is_set():
            return
        await asyncio.to_thread(part.kill)
        part.start()
        kills[part.name] += 1
        assert await asyncio.to_thread(whole.parked) == []


async def every_order_is_final(trade: Trade) -> None:
    statuses = await counts(trade.shop.staff, "orders", "DELIVERED", "RETURNED", "CANCELLED")
    assert sum(statuses.values()) == ORDERS == len(trade.plans)
    assert min(statuses.values()) > 0
    shipments = await counts(trade.shop.staff, "shipments", "ARRIVED", "CALLED_OFF")
    assert shipments["ARRIVED"] == statuses["DELIVERED"] + statuses["RETURNED"]
    assert shipments["CALLED_OFF"] > 0
    ended = ("CAPTURED", "PARTLY_REFUNDED", "REFUNDED", "DECLINED", "VOIDED")
    payments = await counts(trade.shop.staff, "payments", *ended)
    assert min(payments.values()) > 0
    total = await trade.shop.staff.run("{ payments { totalCount } }")
    assert sum(payments.values()) == total["payments"]["totalCount"]


async def counts(client: Client, field: str, *statuses: str) -> dict[str, int]:
    fields = [
        f"{status}: {field}(where: {{ status: {{ eq: {status} }} }}) {{ totalCount }}"
        for status in statuses
    ]
    found = await client.run(f"{{ {' '.join(fields)} }}")
    return {status: found[status]["totalCount"] for status in statuses}


async def books_agree(whole: Company, staff: Client) -> None:
    """The ledger balances, and its cash is what the events and the provider say."""
    book = whole.book()
    assert book["double_charges"] == 0
    assert book["double_charges_prevented"] > 0
    moved = movements(whole)
    assert book["currencies"].keys() == moved.keys() == {"EUR", "USD"}
    for currency, sums in book["currencies"].items():
        assert moved[currency] == Counter(
            PaymentCaptured=sums["captured"], PaymentRefunded=sums["refunded"]
        )
        assert sums["authorised"] == sums["captured"] + sums["voided"]
        balances = await trial_balance(staff, currency)
        assert sum(balances.values()) == 0
        assert balances["RECEIVABLES"] == 0
        assert balances["CASH"] == sums["captured"] - sums["refunded"] > 0


def movements(whole: Company) -> dict[str, Counter[str]]:
    """What was captured and refunded, as the log says."""
    moved: dict[str, Counter[str]] = {}
    with whole.database() as db:
        for event in db[EVENTS].find({"type": {"$in": ["PaymentCaptured", "PaymentRefunded"]}}):
            data = event["data"]
            moved.setdefault(data["currency"], Counter())[event["type"]] += data["amount"]
    return moved


async def trial_balance(staff: Client, currency: str) -> dict[str, int]:
    """Minor units by account."""
    found = await staff.run(
        "query ($c: CurrencyCode) { trialBalance(currency: $c) { account balance { amount } } }",
        c=currency,
    )
    return {
        line["account"]: round(float(line["balance"]["amount"]) * 100)
        for line in found["trialBalance"]
    }


async def nothing_is_reserved(staff: Client) -> None:
    found = await staff.run("{ stockLevels(first: 100) { totalCount nodes { sku reserved } } }")
    levels = found["stockLevels"]
    assert len(levels["nodes"]) == levels["totalCount"] > 0
    assert [level for level in levels["nodes"] if level["reserved"]] == []


# -- deadlines, poison, replay


@pytest.fixture
def whole(mongodb_uri: str, tmp_path: Path) -> Iterator[Company]:
    """API and projector of a company; reactor and sandbox, in fair weather, are yet to start."""
    with company(mongodb_uri, tmp_path, "--delay-ms", "5") as built:
        built.start(built.api, built.projector)
        yield built


@pytest.fixture
async def shop(whole: Company) -> AsyncIterator[Shop]:
    async with anonymous(whole.graphql, whole.home) as nobody:
        yield Shop(nobody.signed_in(STAFF))


async def placed(shop: Shop, customer_id: str, sku: str, **more: Any) -> Story:
    order = await shop.order(customer_id, sku, imported=False, **more)
    return Story(order_id=order["aggregateId"])


def happened(whole: Company, stream: str) -> list[str]:
    """The types of a stream's events."""
    with whole.database() as db:
        return [event["type"] for event in db[EVENTS].find({"stream": stream}, sort=[("_id", 1)])]


async def has(whole: Company, stream: str, kind: str) -> None:
    """Wait until it has happened."""

    async def is_there() -> bool:
        return kind in await asyncio.to_thread(happened, whole, stream)

    await eventually(is_there)


async def at_rest(whole: Company) -> None:
    await eventually(lambda: asyncio.to_thread(whole.is_at_rest))


async def test_a_deadline_that_passed_while_nobody_reacted_fires_once(
    whole: Company, shop: Shop
) -> None:
    sku = await shop.product(stock=1)
    customer_id = await shop.customer()
    whole.start(whole.reactor)  # and no sandbox: nobody answers
    wait_until(lambda: whole.position_of(FLOW) is not None)
    soon = datetime.now(UTC) - AUTHORISATION_TIME + timedelta(seconds=8)
    story = await placed(shop, customer_id, sku, at=soon.isoformat())
    await has(whole, story.payment_id, "AuthorisationRequested")
    whole.reactor.stop()
    with whole.database() as db:
        (deadline,) = db[DEADLINES].find()
    assert deadline["story"] == story.order_id
    await asyncio.sleep((deadline["at"].replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds())
    assert "OrderCancelled" not in happened(whole, story.order_id)

    whole.start(whole.reactor)
    await has(whole, story.payment_id, "VoidAwaited")
    whole.reactor.kill()
    whole.start(whole.sandbox, whole.reactor)  # who answers now, answers too late
    await has(whole, story.payment_id, "PaymentVoided")
    await at_rest(whole)
    assert happened(whole, story.order_id) == ["OrderPlaced", "OrderReserved", "OrderCancelled"]
    with whole.database() as db:
        assert db[DEADLINES].count_documents({}) == 0
    found = await shop.staff.run(
        """query ($id: ID!, $sku: String!) { order(id: $id) { status timeline { text } }
          stockLevel(sku: $sku) { onHand reserved } }""",
        id=story.order_id,
        sku=sku,
    )
    assert found["order"]["status"] == "CANCELLED"
    assert "not answered in time" in found["order"]["timeline"][-1]["text"]
    assert found["stockLevel"] == {"onHand": 1, "reserved": 0}
    assert whole.book()["currencies"]["EUR"] == {
        "authorised": 1_200,
        "voided": 1_200,
        "captured": 0,
        "refunded": 0,
    }


@pytest.mark.chaos
async def test_a_poisoned_story_waits_for_an_operator_and_a_thousand_others_go_on(
    whole: Company, shop: Shop
) -> None:
    customer, sku = await shop.customer(), await shop.product(stock=10_000)
    whole.start(whole.reactor)
    story = await placed(shop, customer, sku)
    await has(whole, story.payment_id, "AuthorisationRequested")
    whole.reactor.stop()
    mend = poison(whole, story)
    await asyncio.gather(*(many(shop, customer, sku, OTHERS // 10) for _ in range(10)))
    whole.start(whole.sandbox, whole.reactor)

    async def others_are_confirmed() -> bool:
        return (await counts(shop.staff, "shipments", "BOOKED"))["BOOKED"] == OTHERS

    await eventually(others_are_confirmed, SETTLED_SECONDS)
    name = f"{FLOW}/{story.order_id}"
    listed = whole.command("parked").stdout
    assert listed.count("waits at position") == 1
    assert name in listed
    assert "AssertionError" in listed
    assert happened(whole, story.order_id)[-1] == "OrderConfirmed"

    retry = ("parked", "retry", FLOW, story.order_id)
    assert f"{name} still fails" in whole.command(*retry).stdout
    mend()
    assert f"{name} goes on" in whole.command(*retry).stdout
    assert whole.command("parked").stdout == ""
    await has(whole, story.shipment_id, "ShipmentBooked")
    await shop.staff.done("sendShipment", shipmentId=story.shipment_id)
    await shop.staff.done("recordArrival", shipmentId=story.shipment_id)
    await has(whole, story.order_id, "OrderLinesDelivered")
    await has(whole, story.payment_id, "PaymentCaptured")


def poison(whole: Company, story: Story) -> Callable[[], None]:
    """Spoil what is remembered of a story, so that its next reaction fails; answers with a cure."""
    name = {"_id": story.order_id}
    with whole.database() as db:
        sound = db[STORIES].find_one_and_update(name, {"$set": {"state.deliver_to": None}})
        assert sound is not None
        assert sound["state"]["deliver_to"] is not None

    def cure() -> None:
        with whole.database() as db:
            db[STORIES].update_one(
                name, {"$set": {"state.deliver_to": sound["state"]["deliver_to"]}}
            )

    return cure


async def many(shop: Shop, customer_id: str, sku: str, orders: int) -> None:
    for _ in range(orders):
        await placed(shop, customer_id, sku)


async def test_a_replay_calls_nobody_and_makes_the_same_documents(
    whole: Company, shop: Shop
) -> None:
    whole.start(whole.sandbox, whole.reactor)
    trade = Trade(shop)
    await trade.open()
    await trade.run(FEW)
    await at_rest(whole)
    documents, book = whole.hashes(), whole.book()
    assert len(documents) == len(PROJECTIONS)
    assert book["requests"] > FEW

    whole.sandbox.stop()
    with trap(whole.sandbox_url) as listener:
        rebuilt = whole.command("rebuild")
        assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
        assert rebuilt.stdout.count(" is live") == len(PROJECTIONS)
        whole.reactor.stop()
        whole.start(whole.reactor)  # one that has nothing in memory
        await asyncio.sleep(REACTOR_SECONDS)
        assert not is_caught(listener)
    assert whole.hashes() == documents
    whole.start(whole.sandbox)
    assert whole.book() == book
