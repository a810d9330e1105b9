"""A shipment: what leaves the house for one order, in one parcel or in several.

1. It is booked once, for all lines of the order.
2. Lines are sent once each, and arrive after they were sent; a repeat changes nothing.
3. It can be called off until something has been sent.
"""

from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import TypeAlias, assert_never, get_args

from domain.address import Address, address_errors
from domain.decider import Decider, DomainError, domain_error, message, refuse_if_any

# -- commands


@message
class BookShipment:
    """`lines` are line numbers of the order."""

    shipment_id: str
    order_id: str
    lines: tuple[int, ...]
    deliver_to: Address
    at: datetime


@message
class SendShipment:
    """No `lines` means all that have not been sent."""

    shipment_id: str
    lines: tuple[int, ...] = ()
    at: datetime


@message
class RecordArrival:
    """No `lines` means all that have been sent."""

    shipment_id: str
    lines: tuple[int, ...] = ()
    at: datetime


@message
class CallOffShipment:
    shipment_id: str
    at: datetime


Command: TypeAlias = BookShipment | SendShipment | RecordArrival | CallOffShipment


# -- events: names and fields are storage format


@message
class ShipmentBooked:
    shipment_id: str
    order_id: str
    lines: tuple[int, ...]
    deliver_to: Address
    at: datetime


@message
class ShipmentSent:
    shipment_id: str
    order_id: str
    lines: tuple[int, ...]
    at: datetime


@message
class ShipmentArrived:
    shipment_id: str
    order_id: str
    lines: tuple[int, ...]
    at: datetime


@message
class ShipmentCalledOff:
    shipment_id: str
    order_id: str
    at: datetime


Event: TypeAlias = ShipmentBooked | ShipmentSent | ShipmentArrived | ShipmentCalledOff


# -- errors


@domain_error
class ShipmentUnknown(DomainError):
    text = "There is no shipment {shipment_id}."
    shipment_id: str
    path: tuple[str, ...] = ("shipmentId",)


@domain_error
class ShipmentIsCalledOff(DomainError):
    text = "The shipment {shipment_id} is called off."
    shipment_id: str
    path: tuple[str, ...] = ("shipmentId",)


@domain_error
class ShipmentLineUnknown(DomainError):
    text = "The shipment {shipment_id} has no line {line}."
    shipment_id: str
    line: int
    path: tuple[str, ...] = ("lines",)


@domain_error
class ShipmentLineNotSent(DomainError):
    text = "Line {line} of the shipment {shipment_id} has not been sent."
    shipment_id: str
    line: int
    path: tuple[str, ...] = ("lines",)


# -- state


@message
class Shipment:
    order_id: str = ""
    lines: tuple[int, ...] = ()
    sent: tuple[int, ...] = ()
    arrived: tuple[int, ...] = ()
    called_off: bool = False


def evolve(shipment: Shipment, event: Event) -> Shipment:
    match event:
        case ShipmentBooked():
            return Shipment(order_id=event.order_id, lines=event.lines)
        case ShipmentSent():
            return replace(shipment, sent=(*shipment.sent, *event.lines))
        case ShipmentArrived():
            return replace(shipment, arrived=(*shipment.arrived, *event.lines))
        case ShipmentCalledOff():
            return replace(shipment, called_off=True)
        case _:
            assert_never(event)


# -- decisions


def book(command: BookShipment, shipment: Shipment) -> list[Event]:
    if shipment.order_id:
        return []
    refuse_if_any(address_errors(command.deliver_to, "deliverTo"))
    return [
        ShipmentBooked(
            shipment_id=command.shipment_id,
            order_id=command.order_id,
            lines=command.lines,
            deliver_to=command.deliver_to,
            at=command.at,
        )
    ]


def _known(shipment_id: str, lines: tuple[int, ...], shipment: Shipment) -> None:
    if shipment.called_off:
        raise ShipmentIsCalledOff(shipment_id=shipment_id)
    refuse_if_any(
        ShipmentLineUnknown(shipment_id=shipment_id, line=line)
        for line in lines
        if line not in shipment.lines
    )


def send(command: SendShipment, shipment: Shipment) -> list[Event]:
    wanted = command.lines or shipment.lines
    _known(command.shipment_id, wanted, shipment)
    lines = tuple(line for line in dict.fromkeys(wanted) if line not in shipment.sent)
    if not lines:
        return []
    return [
        ShipmentSent(
            shipment_id=command.shipment_id,
            order_id=shipment.order_id,
            lines=lines,
            at=command.at,
        )
    ]


def record_arrival(command: RecordArrival, shipment: Shipment) -> list[Event]:
    wanted = command.lines or shipment.sent
    _known(command.shipment_id, wanted, shipment)
    refuse_if_any(
        ShipmentLineNotSent(shipment_id=command.shipment_id, line=line)
        for line in wanted
        if line not in shipment.sent
    )
    lines = tuple(line for line in dict.fromkeys(wanted) if line not in shipment.arrived)
    if not lines:
        return []
    return [
        ShipmentArrived(
            shipment_id=command.shipment_id,
            order_id=shipment.order_id,
            lines=lines,
            at=command.at,
        )
    ]


def call_off(command: CallOffShipment, shipment: Shipment) -> list[Event]:
    if shipment.called_off or shipment.sent:
        return []
    return [
        ShipmentCalledOff(
            shipment_id=command.shipment_id, order_id=shipment.order_id, at=command.at
        )
    ]


def decide(command: Command, shipment: Shipment) -> list[Event]:
    if isinstance(command, BookShipment):
        return book(command, shipment)
    if not shipment.order_id:
        raise ShipmentUnknown(shipment_id=command.shipment_id)
    match command:
        case SendShipment():
            return send(command, shipment)
        case RecordArrival():
            return record_arrival(command, shipment)
        case CallOffShipment():
            return call_off(command, shipment)
        case _:
            assert_never(command)


SHIPMENT: Decider[Command, Shipment, Event] = Decider(
    "shipment",
    attrgetter("shipment_id"),
    Shipment(),
    decide,
    evolve,
    get_args(Command),
    get_args(Event),
    (ShipmentUnknown, ShipmentIsCalledOff, ShipmentLineUnknown, ShipmentLineNotSent),
    {
        BookShipment: (ShipmentBooked,),
        SendShipment: (ShipmentSent,),
        RecordArrival: (ShipmentArrived,),
        CallOffShipment: (ShipmentCalledOff,),
    },
)
