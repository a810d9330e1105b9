"""Notifications: what a customer is told, in which words."""

from dataclasses import replace

import pytest

from readmodels.notifications import NOTIFICATIONS, Notification, NotificationKind, inbox
from readmodels.wording import amount
from tests.readmodels.events import (
    ASKED,
    CANCELLED,
    CONFIRMED,
    CUP,
    DECLINED,
    MORE_TEA,
    MOVED,
    PLACED,
    REINSTATED,
    SUSPENDED,
    TEA,
    delivered,
    dispatched,
    refunded,
    returned,
    sent,
)
from tests.readmodels.given import NOON, given

FIRST = "customer-1:0000000000000001"

TOLD = (
    (PLACED, "order_placed", "The order was placed: 3 lines, 25.44 EUR in all."),
    (
        replace(PLACED, lines=(TEA,), total=5, currency="JPY"),
        "order_placed",
        "The order was placed: 1 line, 5 JPY in all.",
    ),
    (CONFIRMED, "order_confirmed", "The order was confirmed: its payment is secured."),
    (DECLINED, "payment_declined", "The payment was declined: insufficient funds"),
    (CANCELLED, "order_cancelled", "The order was cancelled: changed my mind"),
    (dispatched(1, 2), "lines_dispatched", "Lines 1 and 2 were dispatched; that was all."),
    (dispatched(3, rest=1), "lines_dispatched", "Line 3 was dispatched; 1 line still to come."),
    (
        delivered(1, 2, 3, rest=2),
        "lines_delivered",
        "Lines 1, 2 and 3 were delivered; 2 lines still to come.",
    ),
    (returned(CUP, MORE_TEA), "return_received", "Lines 2 and 3 were returned: too bitter"),
    (refunded(1000), "refunded", "10.00 EUR were paid back."),
    (MOVED, "address_changed", "The address was changed."),
    (SUSPENDED, "suspended", "The account was suspended: unpaid"),
    (REINSTATED, "reinstated", "The account was reinstated."),
)


@pytest.mark.parametrize(("event", "kind", "text"), TOLD)
def test_a_customer_is_told_what_happened(event: object, kind: str, text: str) -> None:
    told = given(NOTIFICATIONS, event).document(FIRST)
    assert (told.customer_id, told.kind, told.text) == ("customer-1", NotificationKind(kind), text)


def test_a_notification_names_the_order_and_the_time() -> None:
    told = given(NOTIFICATIONS, PLACED).document(FIRST)
    assert (told.order_id, told.at) == ("order-1", NOON)
    assert given(NOTIFICATIONS, SUSPENDED).document(FIRST).order_id is None


def test_every_event_is_a_notification_of_its_own() -> None:
    inbox_of_two = given(NOTIFICATIONS, PLACED, CANCELLED)
    inbox_of_two.then_keys(FIRST, "customer-1:0000000000000002")
    assert isinstance(inbox_of_two.document(FIRST), Notification)


def test_what_only_the_house_needs_to_know_is_not_told() -> None:
    given(NOTIFICATIONS, ASKED, sent(1)).then_keys()


def test_an_inbox_resumes_after_a_position() -> None:
    query = inbox("customer-1", 7)
    assert query.filter == {
        "$and": [{"position": {"$gt": 7}}, {"customer_id": {"$eq": "customer-1"}}]
    }
    assert query.sort == [("position", 1), ("_id", 1)]


def test_staff_may_follow_all_inboxes() -> None:
    assert inbox(None).filter == {"$and": [{"position": {"$gt": 0}}]}


def test_amounts_have_the_decimals_of_their_currency() -> None:
    assert amount(5, "EUR") == "0.05 EUR"
    assert amount(1005, "KWD") == "1.005 KWD"
    assert amount(1005, "JPY") == "1005 JPY"
