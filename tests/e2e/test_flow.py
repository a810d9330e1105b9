"""The flow of a running system: what really happened, one story, why, and what would happen.

The server runs everything: the API, the projector, the process and the payment sandbox beside it.
"""

import asyncio
import hashlib
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from domain.recorded import Meta, position_text
from domain.stock_item import StockReceived
from infra.log import Log, NewEvent
from tests.e2e.buying import REPORT, Bought, bought, log_of, status_is
from tests.e2e.client import STAFF, Client, anonymous, eventually
from tests.e2e.server import Server, serving
from tests.e2e.shop import Shop, money

AT: Final = datetime(2026, 3, 1, tzinfo=UTC)
EVENTS: Final = 100_000
MOST_MILLISECONDS: Final = 100

FLOW: Final = """query ($id: String!) {
  flow(correlationId: $id) {
    commandId command actor deep causedBy events { eventId type stream version position recordedAt }
  }
}"""
WHY: Final = """query ($id: ID!, $field: String!) {
  why(id: $id, field: $field) { event stream command actor reason position at }
}"""
REAL: Final = "{ realFlow { source target by count delayP50 delayP99 } }"


def asking(preview: str) -> str:
    """The document of one preview, as `previewPlaceOrder`."""
    kind = f"{preview.removeprefix('preview')}Input"
    return f"""query ($input: {kind}!) {{ {preview}(input: $input) {{
      commands {{ command by deep events {{ stream version type data }} errors {{ code }} }}
      askedOutside {{ type }} deadlines {{ name at }}
      changes {{ projection key fields {{ name before after }} }}
    }} }}"""


async def would(client: Client, preview: str, **wanted: Any) -> Any:
    """What a command would do."""
    sent = {"commandId": str(uuid4()), **wanted}
    return (await client.run(asking(preview), input=sent))[preview]


@pytest.fixture(scope="module")
def server(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home: Path = tmp_path_factory.mktemp("home")
    settings = {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": f"e2e-{uuid4().hex}"}
    with serving(home, settings) as running:
        yield running
    with running.database() as left:
        left.client.drop_database(left.name)


async def until_it_rests(server: Server, client: Client) -> None:
    """Wait until all that has happened is in the read models, and nothing more happens."""

    async def rests() -> bool:
        before = hashes(server)
        await asyncio.sleep(0.3)
        return before == hashes(server)

    await eventually(rests)
    answer = await client.answer(REAL)
    with server.database() as database:
        head = database["counters"].find_one({"_id": "log"})
    assert head is not None
    assert answer.position == position_text(head["position"])


def hashes(server: Server) -> dict[str, str]:
    """Every collection, byte for byte."""
    with server.database() as database:
        found = {}
        for name in sorted(database.list_collection_names()):
            digest = hashlib.sha256()
            for batch in database[name].find_raw_batches({}, sort=[("_id", 1)]):
                digest.update(bytes(batch))  # type: ignore[arg-type]  # raw batches are bytes
            found[name] = digest.hexdigest()
        return found


# -- one story


async def test_a_story_is_told_as_a_tree_from_the_order_to_the_booked_shipment(
    shop: Shop, operator: Client
) -> None:
    order = await bought(shop)
    told = (await operator.run(FLOW, id=order.command_id))["flow"]
    assert [(one["deep"], one["command"], one["actor"].partition("/")[0]) for one in told[1:]] == [
        (1, "ReserveOrder", "process"),
        (2, "AuthorisePayment", "process"),
        (3, "RecordAuthorisation", "gateway"),
        (4, "ConfirmOrder", "process"),
        (5, "BookShipment", "process"),
    ]
    assert (told[0]["commandId"], told[0]["deep"], told[0]["causedBy"]) == (
        order.command_id,
        0,
        None,
    )
    given = {event["eventId"]: event for one in told for event in one["events"]}
    for one in told[1:]:
        cause = given[one["causedBy"]]
        assert all(event["recordedAt"] >= cause["recordedAt"] for event in one["events"])
    assert {event["type"] for event in given.values()} == {
        "OrderPlaced",
        "OrderReserved",
        "StockReserved",
        "AuthorisationRequested",
        "PaymentAuthorised",
        "OrderConfirmed",
        "ShipmentBooked",
    }


async def test_a_story_that_never_began_is_empty(operator: Client) -> None:
    assert (await operator.run(FLOW, id=str(uuid4())))["flow"] == []


async def test_why_an_order_is_confirmed_leads_back_to_who_placed_it(shop: Shop) -> None:
    order = await bought(shop)
    links = (await shop.staff.run(WHY, id=order.order_id, field="status"))["why"]
    assert [(link["event"], link["command"]) for link in links] == [
        ("OrderConfirmed", "ConfirmOrder"),
        ("PaymentAuthorised", "RecordAuthorisation"),
        ("AuthorisationRequested", "AuthorisePayment"),
        ("OrderReserved", "ReserveOrder"),
        ("OrderPlaced", "PlaceOrder"),
    ]
    assert links[-1]["actor"].startswith("user-")


async def test_why_an_order_is_cancelled_tells_the_reason(shop: Shop) -> None:
    customer_id, sku = await shop.customer(), await shop.product(stock=1)
    receipt = await shop.order(customer_id, sku, imported=False, card="declined")
    await status_is(shop.staff, receipt["aggregateId"], "CANCELLED")
    links = (await shop.staff.run(WHY, id=receipt["aggregateId"], field="status"))["why"]
    assert [link["event"] for link in links[:2]] == ["OrderCancelled", "PaymentDeclined"]
    assert links[0]["reason"] == "The payment was declined"


async def test_why_asks_for_a_field_that_there_is(shop: Shop) -> None:
    order = await bought(shop)
    for explained, field in (
        (order.order_id, "colour"),
        (order.order_id, "__class__"),
        (order.order_id, "lines.7.progress"),
        ("order-none", "status"),
        (f"payment-{uuid4()}", "status"),
    ):
        answer = await shop.staff.answer(WHY, id=explained, field=field)
        assert answer.codes == ["BAD_REQUEST"], field
    for explained, field, event in (
        (order.order_id, "deliverTo.city", "OrderPlaced"),
        (order.order_id, "lines.0.quantity", "OrderPlaced"),
        (order.customer_id, "address.postalCode", "CustomerRegistered"),
    ):
        links = (await shop.staff.run(WHY, id=explained, field=field))["why"]
        assert [link["event"] for link in links] == [event]


# -- previews


async def test_a_preview_of_an_order_tells_events_requests_deadlines_and_documents(
    shop: Shop,
) -> None:
    customer_id, sku = await shop.customer(), await shop.product(stock=3)
    lines = [{"sku": sku, "quantity": 2}]
    found = await would(shop.staff, "previewPlaceOrder", customerId=customer_id, lines=lines)
    assert [(one["deep"], one["command"], one["errors"]) for one in found["commands"]] == [
        (0, "PlaceOrder", []),
        (1, "ReserveOrder", []),
        (2, "AuthorisePayment", []),
    ]
    assert [asked["type"] for asked in found["askedOutside"]] == ["AuthorisationRequested"]
    assert [deadline["name"] for deadline in found["deadlines"]] == ["authorisation"]
    stock = next(change for change in found["changes"] if change["projection"] == "stock_levels")
    changed = {field["name"]: (field["before"], field["after"]) for field in stock["fields"]}
    assert changed["reserved"] == (0, 2)


async def test_a_preview_tells_refusals_and_what_the_process_would_do_about_them(
    shop: Shop,
) -> None:
    customer_id, sku = await shop.customer(), await shop.product(stock=1)
    lines = [{"sku": sku, "quantity": 2}]
    found = await would(shop.staff, "previewPlaceOrder", customerId=customer_id, lines=lines)
    told = [one["command"] for one in found["commands"]]
    assert told == ["PlaceOrder", "ReserveOrder", "CancelOrder"]
    found = await would(shop.staff, "previewPlaceOrder", customerId="customer-none", lines=lines)
    (refused,) = found["commands"]
    assert refused["errors"] == [{"code": "CUSTOMER_UNKNOWN"}]
    assert refused["events"] == []


def inputs(order: Bought) -> dict[str, dict[str, Any]]:
    """Every command that can be previewed, for an order that has been confirmed."""
    return {
        "previewPlaceOrder": {
            "customerId": order.customer_id,
            "lines": [{"sku": order.sku, "quantity": 1}],
        },
        "previewCancelOrder": {"orderId": order.order_id, "reason": "ordered twice"},
        "previewSendShipment": {"shipmentId": order.shipment_id},
        "previewReturnLines": {"orderId": order.order_id, "lines": [1], "reason": "leaks"},
        "previewReceiveStock": {"sku": order.sku, "quantity": 7, "source": "supplier"},
        "previewCountStock": {"sku": order.sku, "counted": 5},
        "previewAddProduct": {"sku": "NEW-1", "name": "New", "price": money("3.00")},
        "previewRepriceProduct": {"sku": order.sku, "price": money("11.00")},
        "previewDiscontinueProduct": {"sku": order.sku, "reason": "sold out"},
        "previewSuspendCustomer": {"customerId": order.customer_id, "reason": "unpaid"},
    }


async def test_previews_leave_every_collection_byte_for_byte_as_it_was(
    server: Server, shop: Shop, operator: Client
) -> None:
    order = await bought(shop)
    await until_it_rests(server, operator)
    before = hashes(server)
    assert {"events", "commands", "counters", "checkpoints", "outbox"} <= before.keys()
    for preview, wanted in inputs(order).items():
        found = await would(operator, preview, **wanted)
        refused = any(one["errors"] for one in found["commands"])
        assert refused == (preview == "previewReturnLines"), found
        assert bool(found["changes"]) != refused
    assert hashes(server) == before


async def test_what_is_previewed_is_what_then_happens(
    server: Server, shop: Shop, operator: Client
) -> None:
    order = await bought(shop)
    wanted = inputs(order)["previewCancelOrder"]
    told = await would(shop.staff, "previewCancelOrder", **wanted)
    await shop.staff.done("cancelOrder", **wanted)
    await until_it_rests(server, operator)
    async with log_of(server) as log:
        for one in told["commands"]:
            for event in one["events"]:
                (stream,) = (await log.streams([event["stream"]])).values()
                happened = next(e for e in stream if e.version == event["version"])
                assert type(happened.event).__name__ == event["type"]
    assert [one["command"] for one in told["commands"]] == [
        "CancelOrder",
        "ReleaseOrder",
        "VoidPayment",
        "CallOffShipment",
    ]


async def test_a_preview_says_so_when_documents_do_not_show_yet_what_has_happened(
    mongodb_uri: str, database_name: str, tmp_path: Path
) -> None:
    settings = {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": database_name}
    with serving(tmp_path, settings, "--only", "api") as unprojected:
        async with anonymous(unprojected.graphql, unprojected.home) as client:
            staff = client.signed_in(STAFF)
            customer_id = await Shop(staff).customer()
            wanted = {"customerId": customer_id, "reason": "unpaid", "commandId": str(uuid4())}
            answer = await staff.answer(asking("previewSuspendCustomer"), input=wanted)
            assert answer.codes == ["READ_MODEL_BEHIND"]


# -- the flow as a whole


async def test_the_real_flow_is_counted_with_its_delays_and_was_declared(
    server: Server, shop: Shop, operator: Client
) -> None:
    order = await bought(shop)
    await shop.staff.done("sendShipment", shipmentId=order.shipment_id)
    await until_it_rests(server, operator)
    real = {(e["source"], e["target"]): e for e in (await operator.run(REAL))["realFlow"]}
    declared = (await operator.run("{ declaredFlow { edges { source target by } mermaid } }"))[
        "declaredFlow"
    ]
    reserve = real["OrderPlaced", "ReserveOrder"]
    assert reserve["by"] == "order_to_cash"
    assert reserve["count"] >= 1
    assert 0 <= reserve["delayP50"] <= reserve["delayP99"]
    assert real["PlaceOrder", "OrderPlaced"]["delayP50"] is None
    assert real["CapturePayment", "CaptureRequested"]["by"] == "payment"
    assert real["CaptureRequested", "RecordCapture"]["by"] == "payment_provider"
    assert {"source": "OrderPlaced", "target": "ReserveOrder", "by": "order_to_cash"} in declared[
        "edges"
    ]
    assert declared["mermaid"].startswith("flowchart LR\n")
    report = (await operator.run(REPORT))["flowReport"]
    assert report["undeclared"] == report["cycles"] == report["disguised"] == []
    unused = {(edge["source"], edge["target"]) for edge in report["unused"]}
    assert not unused & real.keys()
    assert ("RenameProduct", "ProductRenamed") in unused


# -- how fast


async def fill(log: Log, events: int) -> int:
    """Append so many events as the log does, in large groups; answers with the last position."""
    head, versions, group = await log.head(), dict[str, int](), 2_000
    for start in range(0, events, group):
        new = []
        for number in range(start, start + group):
            sku = f"BULK-{number % 500}"
            stream = f"stock_item-{sku}"
            versions[stream] = versions.get(stream, 0) + 1
            command_id = str(uuid4())
            meta = Meta(
                event_id=f"{command_id}:0",
                command_id=command_id,
                command="ReceiveStock",
                correlation_id=command_id,
                causation_id=command_id,
                actor="bulk",
                recorded_at=AT,
            )
            event = StockReceived(sku=sku, quantity=1, source="bulk", at=AT)
            new.append(NewEvent(stream=stream, version=versions[stream], event=event, meta=meta))
        head = await log.append(head, new)
    return head.position


async def milliseconds(client: Client, document: str, **variables: Any) -> float:
    """The median of five, in the calmest of three moments: the machine may be busy with others."""
    medians = []
    for _ in range(3):
        times = []
        for _ in range(5):
            started = time.perf_counter()
            await client.run(document, **variables)
            times.append((time.perf_counter() - started) * 1000)
        medians.append(statistics.median(times))
    return min(medians)


async def test_on_a_long_log_a_story_its_reasons_and_a_preview_take_less_than_a_blink(
    server: Server, shop: Shop, operator: Client
) -> None:
    order = await bought(shop)
    await until_it_rests(server, operator)
    async with log_of(server) as log:
        last = position_text(await fill(log, EVENTS))

    async def caught_up() -> bool:
        return (await operator.answer(REAL)).position == last

    await eventually(caught_up, seconds=120)
    command_id = {"commandId": str(uuid4())}
    took = {
        "flow": await milliseconds(operator, FLOW, id=order.command_id),
        "why": await milliseconds(operator, WHY, id=order.order_id, field="status"),
    }
    for preview, wanted in inputs(order).items():
        document = asking(preview)
        took[preview] = await milliseconds(operator, document, input={**command_id, **wanted})
    assert max(took.values()) < MOST_MILLISECONDS, took
