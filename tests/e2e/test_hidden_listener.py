"""Somebody listens to events and sends commands, and nobody has said so: the report finds it."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from api.command_errors import ERRORS
from domain.order import OrderLinesDelivered
from domain.product import ProductRenamed
from domain.registry import AGGREGATES, JOINT_DECISIONS
from domain.shipment import RecordArrival
from domain.stock_item import ReceiveStock
from infra.answers import Accepted, Request
from infra.commands import CommandHandler
from infra.log import Log
from tests.e2e.buying import REPORT, bought, log_of
from tests.e2e.client import Client, eventually
from tests.e2e.server import Server, serving
from tests.e2e.shop import Shop

AT: Final = datetime(2026, 3, 1, tzinfo=UTC)
STORY: Final = """query ($id: String!) {
  flow(correlationId: $id) { command actor deep causedBy events { eventId } }
}"""


@pytest.fixture
def server(mongodb_uri: str, database_name: str, tmp_path: Path) -> Iterator[Server]:
    """A server of its own for each test: what is planted would show in the reports of others."""
    with serving(tmp_path, {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": database_name}) as run:
        yield run


async def react(log: Log, stream: str, kind: type, command: Any) -> None:
    """What a script that nobody knows of does when such an event happens."""
    heard = next(one for one in (await log.streams([stream]))[stream] if type(one.event) is kind)
    handler = CommandHandler(log, AGGREGATES, JOINT_DECISIONS, ERRORS)
    running = asyncio.create_task(handler.run())
    answer = await handler.handle(
        Request(
            command=command,
            command_id=str(uuid4()),
            actor="listener/hidden",
            correlation_id=heard.meta.correlation_id,
            causation_id=heard.meta.event_id,
            cause=kind.__name__,
            cause_at=heard.meta.recorded_at,
        )
    )
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert isinstance(answer, Accepted)


async def found_out(operator: Client) -> Any:
    """The report, once there is something undeclared in it."""

    async def report() -> Any:
        told = (await operator.run(REPORT))["flowReport"]
        return told if told["undeclared"] else None

    return await eventually(report)


async def test_a_hidden_listener_is_reported_as_an_edge_that_nobody_declared(
    server: Server, shop: Shop, operator: Client
) -> None:
    sku = await shop.product()
    payload = await shop.staff.done("renameProduct", sku=sku, name="Pot")
    assert (await operator.run(REPORT))["flowReport"]["undeclared"] == []
    async with log_of(server) as log:
        more = ReceiveStock(sku=sku, quantity=1, source="hidden", at=AT)
        await react(log, f"product-{sku}", ProductRenamed, more)
    report = await found_out(operator)
    hidden = {"source": "ProductRenamed", "target": "ReceiveStock", "by": "hidden"}
    assert report["undeclared"] == [hidden]
    assert report["cycles"] == report["disguised"] == []
    first, second = (await operator.run(STORY, id=payload["receipt"]["commandId"]))["flow"]
    assert (second["command"], second["actor"], second["deep"]) == (
        "ReceiveStock",
        "listener/hidden",
        1,
    )
    assert second["causedBy"] == first["events"][0]["eventId"]


async def test_an_event_that_is_used_as_a_command_is_reported_and_so_is_the_circle(
    server: Server, shop: Shop, operator: Client
) -> None:
    """The order says that a line was delivered, somebody makes the shipment go on, and the order
    depends on the answer: a conversation that nobody owns. Both its events are named."""
    order = await bought(shop, lines=2)
    await shop.staff.done("sendShipment", shipmentId=order.shipment_id)
    await shop.staff.done("recordArrival", shipmentId=order.shipment_id, lines=[1])
    async with log_of(server) as log:

        async def delivered() -> bool:
            events = (await log.streams([order.order_id]))[order.order_id]
            return any(isinstance(one.event, OrderLinesDelivered) for one in events)

        await eventually(delivered)
        rest = RecordArrival(shipment_id=order.shipment_id, lines=(2,), at=AT)
        await react(log, order.order_id, OrderLinesDelivered, rest)
    report = await found_out(operator)
    hidden = {"source": "OrderLinesDelivered", "target": "RecordArrival", "by": "hidden"}
    assert report["undeclared"] == [hidden]
    assert report["disguised"] == ["OrderLinesDelivered", "ShipmentArrived"]
    circle = ["MarkLinesDelivered", "OrderLinesDelivered", "RecordArrival", "ShipmentArrived"]
    assert report["cycles"] == [circle]
