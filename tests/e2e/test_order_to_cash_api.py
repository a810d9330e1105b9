"""Payments, shipments and the ledger over the API, on a server that nobody reacts for.

Staff sends what staff can send; what processes and the provider would send, the tests `tell`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import uuid4

import pytest

from api.command_errors import ERRORS
from api.runtime import open_log
from domain.account import Account, PostEntry, Posting
from domain.address import Address
from domain.order import ConfirmOrder
from domain.order_to_cash import Story
from domain.payment import (
    AuthorisePayment,
    CapturePayment,
    RecordAuthorisation,
    RecordCapture,
    RecordDecline,
    RecordRefund,
    RefundPayment,
)
from domain.recorded import position_text
from domain.registry import AGGREGATES, JOINT_DECISIONS
from domain.shipment import BookShipment
from infra.answers import Accepted, Request
from infra.commands import CommandHandler
from infra.settings import Settings
from tests.e2e.client import Client
from tests.e2e.server import Server, environment, process, serving
from tests.e2e.shop import Shop

Tell: TypeAlias = Callable[..., Awaitable[str]]
"""Sends commands one after the other; answers with the position of the last."""

AT: Final = datetime(2026, 3, 1, tzinfo=UTC)
HULL: Final = Address(street="Mint Lane 1", city="Hull", country="United Kingdom")


@pytest.fixture(scope="module")
def server(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`tidings serve --only api` and `tidings project`, and nothing that reacts."""
    home: Path = tmp_path_factory.mktemp("home")
    settings = {
        "MONGODB_URI": mongodb_uri,
        "TIDINGS_DATABASE": f"e2e-{uuid4().hex}",
        "TIDINGS_AT_LEAST_SECONDS": "20",  # the projector may be the last to be there
    }
    with (
        process(("project",), environment(home, settings)),
        serving(home, settings, "--only", "api") as running,
    ):
        yield running
    with running.database() as left:
        left.client.drop_database(left.name)


@pytest.fixture
async def tell(server: Server) -> AsyncIterator[Tell]:
    settings = Settings(
        mongodb_uri=server.settings["MONGODB_URI"],
        database=server.settings["TIDINGS_DATABASE"],
        home=server.home,
    )
    async with open_log(settings) as (events, _):
        handler = CommandHandler(events, AGGREGATES, JOINT_DECISIONS, ERRORS)
        running = asyncio.create_task(handler.run())

        async def send(*commands: Any) -> str:
            position = 0
            for command in commands:
                request = Request(command=command, command_id=str(uuid4()), actor="process")
                answer = await handler.handle(request)
                assert isinstance(answer, Accepted), answer
                position = answer.position
            return position_text(position)

        yield send
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def authorise(story: Story, customer_id: str, amount: int) -> AuthorisePayment:
    return AuthorisePayment(
        payment_id=story.payment_id,
        order_id=story.order_id,
        customer_id=customer_id,
        amount=amount,
        currency="EUR",
        card="ok",
        at=AT,
    )


async def confirmed(shop: Shop, tell: Tell, customer_id: str, lines: int = 2) -> Story:
    """An order of one piece of each of several products, reserved, authorised and booked."""
    skus = [await shop.product(stock=10) for _ in range(lines)]
    order = await shop.order(customer_id, *skus, imported=False)
    story = Story(order_id=order["aggregateId"])
    await shop.staff.done("reserveOrder", orderId=story.order_id)
    await tell(
        authorise(story, customer_id, 1_200 * lines),
        RecordAuthorisation(payment_id=story.payment_id, reference="p-7", at=AT),
        ConfirmOrder(order_id=story.order_id, at=AT),
        BookShipment(
            shipment_id=story.shipment_id,
            order_id=story.order_id,
            lines=tuple(range(1, lines + 1)),
            deliver_to=HULL,
            at=AT,
        ),
    )
    return story


def refusals(payload: Any) -> list[tuple[str, list[str]]]:
    assert payload["receipt"] is None
    return [(error["__typename"], error["path"]) for error in payload["errors"]]


# Orders


async def test_an_order_is_reserved_as_a_whole_and_says_so(shop: Shop) -> None:
    plenty, few = await shop.product(stock=10), await shop.product(stock=1)
    fields = "order { status timeline { event text } }"
    order = await shop.order(await shop.customer(), plenty, few, quantity=2, imported=False)
    short = await shop.staff.done("reserveOrder", fields, orderId=order["aggregateId"])
    assert short["order"]["timeline"][-1] == {
        "event": "OrderNotReserved",
        "text": f"The order could not be reserved: {few} (2 wanted, 1 there).",
    }
    found = await shop.staff.run(
        "query ($s: String!) { stockLevel(sku: $s) { reserved } }", s=plenty
    )
    assert found["stockLevel"]["reserved"] == 0

    await shop.staff.done("receiveStock", sku=few, quantity=1)
    kept = await shop.staff.done("reserveOrder", fields, orderId=order["aggregateId"])
    assert kept["receipt"]["aggregateId"] == order["aggregateId"]
    assert kept["order"]["status"] == "PLACED"
    assert kept["order"]["timeline"][-1]["event"] == "OrderReserved"


async def test_lines_are_not_dispatched_before_the_order_is_confirmed(
    shop: Shop, tell: Tell
) -> None:
    order = await shop.order(await shop.customer(), await shop.product(stock=1), imported=False)
    order_id = order["aggregateId"]
    early = await shop.staff.send("dispatchLines", orderId=order_id, lines=[1])
    assert refusals(early) == [("OrderNotConfirmed", ["orderId"])]
    await shop.staff.done("reserveOrder", orderId=order_id)
    at = await tell(ConfirmOrder(order_id=order_id, at=AT))
    found = await shop.staff.run(
        """query ($id: ID!, $at: Position) { order(id: $id, atLeast: $at) { status confirmedAt }
          orders(where: { status: { eq: CONFIRMED } }) { nodes { id } } }""",
        id=order_id,
        at=at,
    )
    assert found["order"] == {"status": "CONFIRMED", "confirmedAt": "2026-03-01T00:00:00.000Z"}
    assert order_id in [node["id"] for node in found["orders"]["nodes"]]
    await shop.staff.done("dispatchLines", orderId=order_id, lines=[1])


async def test_imported_orders_are_history_and_staffs_to_tell(shop: Shop) -> None:
    customer, sku = await shop.customer(), await shop.product(stock=1)
    order = await shop.order(customer, sku)
    sent = await shop.staff.done(
        "dispatchLines",
        "order { status payment { id } shipment { id } }",
        orderId=order["aggregateId"],
        lines=[1],
    )
    assert sent["order"] == {"status": "DISPATCHED", "payment": None, "shipment": None}
    own = shop.staff.customer(customer)
    lines = [{"sku": sku, "quantity": 1}]
    forged = await own.send_raw("placeOrder", customerId=customer, lines=lines, imported=True)
    assert forged.codes == ["FORBIDDEN"]
    await own.done("placeOrder", customerId=customer, lines=lines, card="declined")
    odd = await own.send("placeOrder", customerId=customer, lines=lines, card="4" * 101)
    assert refusals(odd) == [("TextInvalid", ["card"])]


# Payments


PAYMENT: Final = """{ id orderId customerId status reference declineReason version
  amount { amount currency } captured { amount } refunded { amount } }"""


async def test_a_payment_is_seen_from_its_order_by_its_id_and_in_a_list(
    shop: Shop, tell: Tell
) -> None:
    customer = await shop.customer()
    story = await confirmed(shop, tell, customer)
    payment = story.payment_id
    at = await tell(
        CapturePayment(payment_id=payment, capture_id="capture-1", amount=1_200, at=AT),
        RecordCapture(payment_id=payment, capture_id="capture-1", at=AT),
        RefundPayment(payment_id=payment, refund_id="refund-1", amount=200, at=AT),
        RecordRefund(payment_id=payment, refund_id="refund-1", at=AT),
    )
    found = await shop.staff.run(
        f"""query ($id: ID!, $order: ID!, $who: ID!, $at: Position) {{
          payment(id: $id, atLeast: $at) {PAYMENT}
          order(id: $order) {{ payment {PAYMENT} }}
          node(id: $id) {{ id ... on Payment {{ status }} }}
          payments(where: {{ customerId: {{ eq: $who }}, orderId: {{ eq: $order }},
              status: {{ in: [PARTLY_REFUNDED, REFUNDED] }} }}) {{ totalCount nodes {PAYMENT} }}
          others: payments(where: {{ customerId: {{ eq: $who }}, status: {{ eq: DECLINED }} }},
              orderBy: [REQUESTED_AT_ASC]) {{ totalCount }}
        }}""",
        id=payment,
        order=story.order_id,
        who=customer,
        at=at,
    )
    assert found["payment"] == {
        "id": payment,
        "orderId": story.order_id,
        "customerId": customer,
        "status": "PARTLY_REFUNDED",
        "reference": "p-7",
        "declineReason": None,
        "version": 6,
        "amount": {"amount": "24.00", "currency": "EUR"},
        "captured": {"amount": "12.00"},
        "refunded": {"amount": "2.00"},
    }
    assert found["order"]["payment"] == found["payment"]
    assert found["payments"] == {"totalCount": 1, "nodes": [found["payment"]]}
    assert found["node"] == {"id": payment, "status": "PARTLY_REFUNDED"}
    assert found["others"]["totalCount"] == 0


async def test_a_customer_is_told_of_confirmation_decline_and_refund(
    shop: Shop, tell: Tell
) -> None:
    customer = await shop.customer()
    story = await confirmed(shop, tell, customer, lines=1)
    payment = story.payment_id
    declined = Story(order_id=f"order-{uuid4()}")
    at = await tell(
        CapturePayment(payment_id=payment, capture_id="capture-1", amount=1_200, at=AT),
        RecordCapture(payment_id=payment, capture_id="capture-1", at=AT),
        RefundPayment(payment_id=payment, refund_id="refund-1", amount=1_200, at=AT),
        RecordRefund(payment_id=payment, refund_id="refund-1", at=AT),
        authorise(declined, customer, 500),
        RecordDecline(payment_id=declined.payment_id, reason="no funds", at=AT),
    )
    found = await shop.staff.customer(customer).run(
        """query ($who: ID!, $at: Position, $id: ID!) {
          inbox(customerId: $who, atLeast: $at) { kind text orderId }
          payment(id: $id) { status declineReason } }""",
        who=customer,
        at=at,
        id=declined.payment_id,
    )
    assert [(told["kind"], told["text"]) for told in found["inbox"][1:]] == [
        ("ORDER_CONFIRMED", "The order was confirmed: its payment is secured."),
        ("REFUNDED", "12.00 EUR were paid back."),
        ("PAYMENT_DECLINED", "The payment was declined: no funds"),
    ]
    assert found["inbox"][1]["orderId"] == story.order_id
    assert found["payment"] == {"status": "DECLINED", "declineReason": "no funds"}


# Shipments


SHIPMENT: Final = """shipment { id orderId status lines sent arrived deliverTo { city }
  lastSentAt lastArrivedAt }"""


async def test_a_shipment_is_sent_in_two_parcels_and_arrives(shop: Shop, tell: Tell) -> None:
    story = await confirmed(shop, tell, await shop.customer())
    staff, shipment = shop.staff, story.shipment_id
    too_soon = await staff.send("recordArrival", shipmentId=shipment, lines=[1])
    assert refusals(too_soon) == [("ShipmentLineNotSent", ["lines"])]

    first = await staff.done(
        "sendShipment", SHIPMENT, shipmentId=shipment, lines=[2], at=AT.isoformat()
    )
    assert first["receipt"]["aggregateId"] == shipment
    assert first["shipment"] == {
        "id": shipment,
        "orderId": story.order_id,
        "status": "PARTLY_SENT",
        "lines": [1, 2],
        "sent": [2],
        "arrived": [],
        "deliverTo": {"city": "Hull"},
        "lastSentAt": "2026-03-01T00:00:00.000Z",
        "lastArrivedAt": None,
    }
    rest = await staff.done("sendShipment", SHIPMENT, shipmentId=shipment)
    assert (rest["shipment"]["status"], rest["shipment"]["sent"]) == ("SENT", [1, 2])
    found = await staff.run(
        """query ($id: ID!, $order: ID!) {
          order(id: $order) { status shipment { id status }
            lines { product { available } } }
          shipment(id: $id) { status }
          node(id: $id) { ... on Shipment { orderId } }
          shipments(where: { orderId: { eq: $order }, status: { eq: SENT } }) { nodes { id } }
        }""",
        id=shipment,
        order=story.order_id,
    )
    assert found == {
        "order": {
            "status": "DISPATCHED",
            "shipment": {"id": shipment, "status": "SENT"},
            "lines": [{"product": {"available": 9}}] * 2,
        },
        "shipment": {"status": "SENT"},
        "node": {"orderId": story.order_id},
        "shipments": {"nodes": [{"id": shipment}]},
    }
    some = await staff.done("recordArrival", SHIPMENT, shipmentId=shipment, lines=[1])
    assert some["shipment"]["status"] == "PARTLY_ARRIVED"
    rest = await staff.done("recordArrival", SHIPMENT, shipmentId=shipment)
    assert rest["shipment"]["status"] == "ARRIVED"


async def test_a_shipment_that_is_not_there_is_not_sent(staff: Client) -> None:
    for mutation in ("sendShipment", "recordArrival"):
        payload = await staff.send(mutation, shipmentId="shipment-none")
        assert refusals(payload) == [("ShipmentUnknown", ["shipmentId"])]


async def test_customers_see_their_own_payments_and_shipments_only(shop: Shop, tell: Tell) -> None:
    own, other = await shop.customer("Ann"), await shop.customer("Bob")
    mine, theirs = await confirmed(shop, tell, own, 1), await confirmed(shop, tell, other, 1)
    await shop.staff.run(
        "query ($at: Position) { orders(first: 1, atLeast: $at) { totalCount } }",
        at=await tell(ConfirmOrder(order_id=theirs.order_id, at=AT)),
    )
    client = shop.staff.customer(own)
    for field, own_id, anothers in (
        ("payment", mine.payment_id, theirs.payment_id),
        ("shipment", mine.shipment_id, theirs.shipment_id),
    ):
        for document in (
            f"query ($id: ID!) {{ {field}(id: $id) {{ id }} }}",
            "query ($id: ID!) { node(id: $id) { id } }",
        ):
            assert (await client.answer(document, id=own_id)).codes == []
            for refused in (anothers, f"{field}-none"):
                assert (await client.answer(document, id=refused)).codes == ["FORBIDDEN"]


# The ledger


async def test_statements_and_trial_balance_tell_what_was_posted(shop: Shop, tell: Tell) -> None:
    def entry(what: str, **amounts: int) -> PostEntry:
        postings = [Posting(account=Account(a), amount=amount) for a, amount in amounts.items()]
        return PostEntry(
            entry_id=f"entry-{uuid4()}",
            order_id="order-1",
            text=what,
            currency="CHF",
            postings=tuple(postings),
            at=AT,
        )

    at = await tell(
        entry("Invoice", receivables=1_200, revenue=-1_000, tax=-200),
        entry("Payment", cash=1_200, receivables=-1_200),
        entry("Invoice", receivables=600, revenue=-500, tax=-100),
    )
    ask = """query ($at: Position, $after: String) {
      accountStatement(account: RECEIVABLES, currency: CHF, first: 2, after: $after, atLeast: $at) {
        totalCount pageInfo { hasNextPage endCursor }
        nodes { account text orderId at amount { amount currency } } }
      trialBalance(currency: CHF) {
        account debit { amount } credit { amount } balance { amount } entries } }"""
    found = await shop.staff.run(ask, at=at)
    statement = found["accountStatement"]
    assert statement["nodes"][0] == {
        "account": "RECEIVABLES",
        "text": "Invoice",
        "orderId": "order-1",
        "at": "2026-03-01T00:00:00.000Z",
        "amount": {"amount": "12.00", "currency": "CHF"},
    }
    rest = await shop.staff.run(ask, after=statement["pageInfo"]["endCursor"])
    lines = statement["nodes"] + rest["accountStatement"]["nodes"]
    assert [line["amount"]["amount"] for line in lines] == ["12.00", "-12.00", "6.00"]
    assert statement["totalCount"] == 3
    balances = {line.pop("account"): line for line in found["trialBalance"]}
    assert list(balances) == ["CASH", "RECEIVABLES", "REVENUE", "TAX"]
    assert balances["RECEIVABLES"] == {
        "debit": {"amount": "18.00"},
        "credit": {"amount": "12.00"},
        "balance": {"amount": "6.00"},
        "entries": 3,
    }
    assert sum(Decimal(line["balance"]["amount"]) for line in balances.values()) == 0
    everything = await shop.staff.run("{ trialBalance { currency } }")
    assert {line["currency"] for line in everything["trialBalance"]} == {"CHF"}
