"""Orders that are really bought: paid at the sandbox, and booked, by a server that runs it all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from api.runtime import open_log
from infra.log import Log
from infra.settings import Settings
from tests.e2e.client import Client, eventually
from tests.e2e.server import Server
from tests.e2e.shop import Shop

ORDER: Final = "query ($id: ID!) { order(id: $id) { status } }"

REPORT: Final = """{ flowReport {
  undeclared { source target by } unused { source target by } cycles disguised
} }"""


@asynccontextmanager
async def log_of(server: Server) -> AsyncIterator[Log]:
    settings = Settings(
        mongodb_uri=server.settings["MONGODB_URI"],
        database=server.settings["TIDINGS_DATABASE"],
        home=server.home,
    )
    async with open_log(settings) as (events, _):
        yield events


@dataclass(frozen=True)
class Bought:
    """A real order, paid for and booked."""

    customer_id: str
    sku: str
    order_id: str
    command_id: str

    @property
    def shipment_id(self) -> str:
        return self.order_id.replace("order-", "shipment-")


async def status_is(client: Client, order_id: str, status: str) -> None:
    async def reached() -> bool:
        order = (await client.run(ORDER, id=order_id))["order"]
        return bool(order and order["status"] == status)

    await eventually(reached)


async def bought(shop: Shop, lines: int = 1) -> Bought:
    """An order that has been confirmed, and its shipment booked."""
    customer_id, sku = await shop.customer(), await shop.product(stock=10)
    receipt = await shop.order(customer_id, *[sku] * lines, quantity=2, imported=False)
    order = Bought(customer_id, sku, receipt["aggregateId"], receipt["commandId"])
    await status_is(shop.staff, order.order_id, "CONFIRMED")

    async def booked() -> Any:
        ask = "query ($id: ID!) { shipment(id: $id) { id } }"
        return (await shop.staff.run(ask, id=order.shipment_id))["shipment"]

    await eventually(booked)
    return order
