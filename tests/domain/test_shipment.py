"""The rules of a shipment."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.address import Address
from domain.money import TextInvalid
from domain.shipment import (
    SHIPMENT,
    BookShipment,
    CallOffShipment,
    RecordArrival,
    SendShipment,
    ShipmentArrived,
    ShipmentBooked,
    ShipmentCalledOff,
    ShipmentIsCalledOff,
    ShipmentLineNotSent,
    ShipmentLineUnknown,
    ShipmentSent,
    ShipmentUnknown,
)
from tests.scenario import given

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
ID = "shipment-1"
HOME = Address(street="1 High St", city="Leeds", country="UK")
BOOK = BookShipment(shipment_id=ID, order_id="order-1", lines=(1, 2, 3), deliver_to=HOME, at=AT)
BOOKED = ShipmentBooked(shipment_id=ID, order_id="order-1", lines=(1, 2, 3), deliver_to=HOME, at=AT)
CALL_OFF = CallOffShipment(shipment_id=ID, at=AT)
CALLED_OFF = ShipmentCalledOff(shipment_id=ID, order_id="order-1", at=AT)


def send(*lines: int) -> SendShipment:
    return SendShipment(shipment_id=ID, lines=lines, at=AT)


def arrive(*lines: int) -> RecordArrival:
    return RecordArrival(shipment_id=ID, lines=lines, at=AT)


def sent(*lines: int) -> ShipmentSent:
    return ShipmentSent(shipment_id=ID, order_id="order-1", lines=lines, at=AT)


def arrived(*lines: int) -> ShipmentArrived:
    return ShipmentArrived(shipment_id=ID, order_id="order-1", lines=lines, at=AT)


def test_a_shipment_is_booked_once() -> None:
    given(SHIPMENT).when(BOOK).then(BOOKED)
    given(SHIPMENT, BOOKED).when(replace(BOOK, lines=(1,))).then_nothing()


def test_a_shipment_has_an_address_that_can_be_found() -> None:
    given(SHIPMENT).when(replace(BOOK, deliver_to=replace(HOME, city=""))).then_refused(
        TextInvalid(most=200, path=("deliverTo", "city"))
    )


@pytest.mark.parametrize("command", [send(), arrive(), CALL_OFF])
def test_only_what_is_booked_can_be_handled(command: Any) -> None:
    given(SHIPMENT).when(command).then_refused(ShipmentUnknown(shipment_id=ID))


def test_lines_are_sent_once_each_in_one_parcel_or_in_several() -> None:
    given(SHIPMENT, BOOKED).when(send()).then(sent(1, 2, 3))
    given(SHIPMENT, BOOKED).when(send(2, 1, 2)).then(sent(2, 1))
    given(SHIPMENT, BOOKED, sent(2)).when(send()).then(sent(1, 3))
    given(SHIPMENT, BOOKED, sent(2)).when(send(2)).then_nothing()


def test_lines_arrive_once_each_after_they_were_sent() -> None:
    given(SHIPMENT, BOOKED, sent(1, 2)).when(arrive()).then(arrived(1, 2))
    given(SHIPMENT, BOOKED, sent(1, 2), arrived(1)).when(arrive(1, 2)).then(arrived(2))
    given(SHIPMENT, BOOKED, sent(1), arrived(1)).when(arrive()).then_nothing()
    given(SHIPMENT, BOOKED).when(arrive()).then_nothing()
    given(SHIPMENT, BOOKED, sent(1)).when(arrive(1, 2)).then_refused(
        ShipmentLineNotSent(shipment_id=ID, line=2)
    )


@pytest.mark.parametrize("command", [send(4, 0), arrive(4, 0)])
def test_every_line_that_it_does_not_have_is_told(command: Any) -> None:
    given(SHIPMENT, BOOKED).when(command).then_refused(
        ShipmentLineUnknown(shipment_id=ID, line=4), ShipmentLineUnknown(shipment_id=ID, line=0)
    )


def test_it_can_be_called_off_until_something_has_been_sent() -> None:
    given(SHIPMENT, BOOKED).when(CALL_OFF).then(CALLED_OFF)
    given(SHIPMENT, BOOKED, CALLED_OFF).when(CALL_OFF).then_nothing()
    given(SHIPMENT, BOOKED, sent(1)).when(CALL_OFF).then_nothing()
    given(SHIPMENT, BOOKED, CALLED_OFF).when(send()).then_refused(
        ShipmentIsCalledOff(shipment_id=ID)
    )
