"""Payments and shipments: how far each has come."""

import pytest

from readmodels.payments import PAYMENTS, PaymentListed, PaymentStatus, payments
from readmodels.shipments import SHIPMENTS, ShipmentListed, ShipmentStatus, shipments
from tests.readmodels.events import (
    ASKED,
    AUTHORISED,
    BERLIN,
    BOOKED,
    CALLED_OFF,
    DAY,
    DECLINED,
    VOIDED,
    arrived,
    captured,
    refunded,
    sent,
)
from tests.readmodels.given import NOON, given

WAYS_OF_PAYMENTS = (
    ((), PaymentStatus.REQUESTED),
    ((AUTHORISED,), PaymentStatus.AUTHORISED),
    ((DECLINED,), PaymentStatus.DECLINED),
    ((AUTHORISED, VOIDED), PaymentStatus.VOIDED),
    ((AUTHORISED, captured(2000)), PaymentStatus.PARTLY_CAPTURED),
    ((AUTHORISED, captured(2000), captured(544)), PaymentStatus.CAPTURED),
    ((AUTHORISED, captured(2544), refunded(44)), PaymentStatus.PARTLY_REFUNDED),
    ((AUTHORISED, captured(2544), refunded(44), refunded(2500)), PaymentStatus.REFUNDED),
    ((AUTHORISED, captured(2000), refunded(2000)), PaymentStatus.REFUNDED),
    ((AUTHORISED, captured(2000), refunded(2000), captured(544)), PaymentStatus.PARTLY_REFUNDED),
)


@pytest.mark.parametrize(("events", "status"), WAYS_OF_PAYMENTS)
def test_a_payment_has_the_status_that_the_providers_answers_make(
    events: tuple[object, ...], status: PaymentStatus
) -> None:
    assert given(PAYMENTS, ASKED, *events).document("payment-1").status is status


def test_a_payment_holds_what_was_moved_and_not_the_card() -> None:
    given(PAYMENTS, ASKED, AUTHORISED, captured(2000), captured(544), refunded(44)).then(
        "payment-1",
        PaymentListed(
            payment_id="payment-1",
            order_id="order-1",
            customer_id="customer-1",
            status=PaymentStatus.PARTLY_REFUNDED,
            currency="EUR",
            amount=2544,
            captured=2544,
            refunded=44,
            reference="p-7",
            requested_at=NOON,
            version=5,
        ),
    )


def test_a_declined_payment_says_why() -> None:
    declined = given(PAYMENTS, ASKED, DECLINED).document("payment-1")
    assert declined.decline_reason == "insufficient funds"


def test_the_latest_payments_come_first() -> None:
    assert payments().sort == [("requested_at", -1), ("_id", -1)]


WAYS_OF_SHIPMENTS = (
    ((), ShipmentStatus.BOOKED),
    ((CALLED_OFF,), ShipmentStatus.CALLED_OFF),
    ((sent(2),), ShipmentStatus.PARTLY_SENT),
    ((sent(2), arrived(2)), ShipmentStatus.PARTLY_SENT),
    ((sent(3, 1), sent(2)), ShipmentStatus.SENT),
    ((sent(1, 2, 3), arrived(2)), ShipmentStatus.PARTLY_ARRIVED),
    ((sent(1, 2, 3), arrived(2), arrived(1, 3)), ShipmentStatus.ARRIVED),
)


@pytest.mark.parametrize(("events", "status"), WAYS_OF_SHIPMENTS)
def test_the_least_advanced_lines_decide_the_status_of_a_shipment(
    events: tuple[object, ...], status: ShipmentStatus
) -> None:
    assert given(SHIPMENTS, BOOKED, *events).document("shipment-1").status is status


def test_a_shipment_holds_its_lines_in_order_and_when_it_moved_last() -> None:
    given(SHIPMENTS, BOOKED, sent(3), sent(1, days=2), arrived(3)).then(
        "shipment-1",
        ShipmentListed(
            shipment_id="shipment-1",
            order_id="order-1",
            status=ShipmentStatus.PARTLY_SENT,
            lines=(1, 2, 3),
            sent=(1, 3),
            arrived=(3,),
            deliver_to=BERLIN,
            booked_at=NOON,
            last_sent_at=NOON + 2 * DAY,
            last_arrived_at=NOON + 3 * DAY,
            version=4,
        ),
    )


def test_what_waits_longest_to_be_sent_comes_first() -> None:
    assert shipments().sort == [("booked_at", 1), ("_id", 1)]


def test_what_was_never_begun_is_no_document() -> None:
    given(PAYMENTS, AUTHORISED, captured(5), VOIDED).then_none("payment-1")
    given(SHIPMENTS, sent(1), arrived(1), CALLED_OFF).then_none("shipment-1")
