"""Shipments: what is to be sent, what is on its way, and where to?"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Final, assert_never, get_args

from domain.address import Address
from domain.decider import message
from domain.recorded import Recorded
from domain.shipment import (
    Event,
    ShipmentArrived,
    ShipmentBooked,
    ShipmentCalledOff,
    ShipmentSent,
)
from readmodels.page import FIRST_PAGE, Condition, Field, Page, Select, Sort, select
from readmodels.projection import Projection, field_of, index, own_stream


class ShipmentStatus(Enum):
    """The least advanced lines decide."""

    BOOKED = "booked"
    """Nothing has been sent."""
    PARTLY_SENT = "partly_sent"
    """Some lines have been sent, others not."""
    SENT = "sent"
    """All lines have been sent, none has arrived."""
    PARTLY_ARRIVED = "partly_arrived"
    """All lines have been sent, some have arrived."""
    ARRIVED = "arrived"
    CALLED_OFF = "called_off"


@message
class ShipmentListed:
    """`lines`, `sent` and `arrived` are line numbers of the order, in order."""

    shipment_id: str
    order_id: str
    status: ShipmentStatus = ShipmentStatus.BOOKED
    lines: tuple[int, ...]
    sent: tuple[int, ...] = ()
    arrived: tuple[int, ...] = ()
    deliver_to: Address
    booked_at: datetime
    last_sent_at: datetime | None = None
    last_arrived_at: datetime | None = None
    version: int


def evolve(shipment: ShipmentListed | None, recorded: Recorded, _: str) -> ShipmentListed | None:
    event: Event = recorded.event
    if isinstance(event, ShipmentBooked):
        return _booked(event, recorded.version)
    if shipment is None:
        return None
    shipment = replace(shipment, version=recorded.version)
    match event:
        case ShipmentSent():
            sent = _more(shipment.sent, event.lines)
            return _weighed(replace(shipment, sent=sent, last_sent_at=event.at))
        case ShipmentArrived():
            arrived = _more(shipment.arrived, event.lines)
            return _weighed(replace(shipment, arrived=arrived, last_arrived_at=event.at))
        case ShipmentCalledOff():
            return replace(shipment, status=ShipmentStatus.CALLED_OFF)
        case _:
            assert_never(event)


def _booked(event: ShipmentBooked, version: int) -> ShipmentListed:
    return ShipmentListed(
        shipment_id=event.shipment_id,
        order_id=event.order_id,
        lines=_more((), event.lines),
        deliver_to=event.deliver_to,
        booked_at=event.at,
        version=version,
    )


def _more(lines: tuple[int, ...], more: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({*lines, *more}))


def _weighed(shipment: ShipmentListed) -> ShipmentListed:
    return replace(shipment, status=_status(shipment))


def _status(shipment: ShipmentListed) -> ShipmentStatus:
    if shipment.arrived == shipment.lines:
        return ShipmentStatus.ARRIVED
    if shipment.sent == shipment.lines:
        return ShipmentStatus.PARTLY_ARRIVED if shipment.arrived else ShipmentStatus.SENT
    return ShipmentStatus.PARTLY_SENT if shipment.sent else ShipmentStatus.BOOKED


FIELDS: Final = {
    "order_id": Field(str, sortable=False),
    "status": Field(ShipmentStatus, sortable=False),
    "booked_at": Field(datetime),
}

OLDEST_FIRST: Final = (Sort("booked_at"),)


def shipments(
    where: Sequence[Condition] = (), order_by: Sequence[Sort] = (), page: Page = FIRST_PAGE
) -> Select:
    """A page of shipments: those that have waited longest first, unless asked otherwise."""
    return select(FIELDS, where, order_by or OLDEST_FIRST, page)


SHIPMENTS: Final = Projection(
    name="shipments",
    version=1,
    view=ShipmentListed,
    events=get_args(Event),
    keys=field_of("shipment_id"),
    evolve=evolve,
    streams=own_stream,
    indexes=(index("order_id"), index("status", "booked_at"), index("booked_at")),
)
