"""Shipments: what is to be sent and what is on its way, and the commands of the warehouse."""

from datetime import datetime
from enum import Enum
from operator import itemgetter
from typing import Any, cast

import strawberry

from api.commands import CommandInput, Payload, few_lines, send
from api.connections import (
    Connection,
    DateTimeFilter,
    IdFilter,
    conditions,
    connect,
    sorts,
)
from api.context import Info
from api.node import Node, after_receipt
from api.reading import reading
from api.rights import EVERYONE, STAFF
from api.values import Address
from domain.shipment import RecordArrival, SendShipment
from readmodels.order_details import ORDER_DETAILS
from readmodels.page import Page
from readmodels.shipments import SHIPMENTS, ShipmentListed, ShipmentStatus, shipments

strawberry.enum(ShipmentStatus)


@strawberry.type
class Shipment(Node):
    """What leaves the house for one order, in one parcel or in several."""

    order_id: strawberry.ID
    status: ShipmentStatus
    lines: list[int] = strawberry.field(description="Line numbers of the order.")
    sent: list[int] = strawberry.field(description="Those of them that have been sent.")
    arrived: list[int] = strawberry.field(description="Those of them that have arrived.")
    deliver_to: Address
    booked_at: datetime
    last_sent_at: datetime | None
    last_arrived_at: datetime | None
    version: int

    @classmethod
    def is_type_of(cls, value: object, _: Any) -> bool:
        return isinstance(value, ShipmentListed)


# -- queries


@strawberry.enum
class ShipmentOrder(Enum):
    BOOKED_AT_ASC = "booked_at_asc"
    BOOKED_AT_DESC = "booked_at_desc"


@strawberry.input
class ShipmentStatusFilter:
    eq: ShipmentStatus | None = None
    in_: list[ShipmentStatus] | None = strawberry.field(name="in", default=None)


@strawberry.input
class ShipmentWhere:
    order_id: IdFilter | None = None
    status: ShipmentStatusFilter | None = None
    booked_at: DateTimeFilter | None = None


async def own_shipment(info: Info, id: str) -> Shipment | None:
    """The shipment, if it is there and of an order of theirs; the same refusal for both, for
    customers."""
    found = await info.context.load(SHIPMENTS, id)
    info.context.require_own(await _receiver(info, found.order_id) if found else None)
    return cast("Shipment | None", found)


async def _receiver(info: Info, order_id: str) -> str | None:
    """The customer whose order it is."""
    order = await info.context.load(ORDER_DETAILS, order_id)
    return order.customer_id if order else None


@strawberry.type
class ShippingQuery:
    @reading(EVERYONE, "A shipment; of one's own, for customers.", stream=itemgetter("id"))
    async def shipment(self, info: Info, id: strawberry.ID) -> Shipment | None:
        return await own_shipment(info, id)

    @reading(STAFF, "Those that have waited longest first, unless asked otherwise.")
    async def shipments(
        self,
        info: Info,
        page: Page,
        where: ShipmentWhere | None = None,
        order_by: list[ShipmentOrder] | None = None,
    ) -> Connection[Shipment]:
        query = shipments(conditions(where), sorts(order_by), page)
        return cast(Connection[Shipment], await connect(info, SHIPMENTS, query))


# -- commands


@strawberry.type
class ShipmentPayload(Payload):
    @strawberry.field(description="The shipment as it is after the command.")
    async def shipment(self, info: Info) -> Shipment | None:
        return cast("Shipment | None", await after_receipt(info, self.receipt, SHIPMENTS))


@strawberry.type
class SendShipmentPayload(ShipmentPayload):
    pass


@strawberry.type
class RecordArrivalPayload(ShipmentPayload):
    pass


@strawberry.input
class SendShipmentInput(CommandInput):
    """`lines` are line numbers of the order; none means all that have not been sent."""

    shipment_id: strawberry.ID
    lines: list[int] = strawberry.field(default_factory=list)

    def command(self, at: datetime) -> SendShipment:
        return SendShipment(shipment_id=self.shipment_id, lines=few_lines(self.lines), at=at)


@strawberry.input
class RecordArrivalInput(CommandInput):
    """`lines` are line numbers of the order; none means all that have been sent."""

    shipment_id: strawberry.ID
    lines: list[int] = strawberry.field(default_factory=list)

    def command(self, at: datetime) -> RecordArrival:
        return RecordArrival(shipment_id=self.shipment_id, lines=few_lines(self.lines), at=at)


@strawberry.type
class ShippingMutation:
    @strawberry.mutation(
        metadata=STAFF, description="Take lines out of stock and send them as one parcel."
    )
    async def send_shipment(self, info: Info, input: SendShipmentInput) -> SendShipmentPayload:
        return await send(info, input, SendShipmentPayload)

    @strawberry.mutation(metadata=STAFF, description="A parcel has arrived.")
    async def record_arrival(self, info: Info, input: RecordArrivalInput) -> RecordArrivalPayload:
        return await send(info, input, RecordArrivalPayload)
