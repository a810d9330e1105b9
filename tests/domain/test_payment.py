"""The rules of a payment."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pytest

from domain.money import AmountOutOfRange, TextInvalid
from domain.payment import (
    PAYMENT,
    AuthorisationRequested,
    AuthorisePayment,
    CapturePayment,
    CaptureRequested,
    Event,
    MoreThanAuthorised,
    MoreThanCaptured,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentNotAuthorised,
    PaymentRefunded,
    PaymentUnknown,
    PaymentVoided,
    RecordAuthorisation,
    RecordCapture,
    RecordDecline,
    RecordRefund,
    RecordVoid,
    RefundAwaited,
    RefundPayment,
    RefundRequested,
    VoidAwaited,
    VoidPayment,
    VoidRequested,
)
from tests.scenario import given

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
ID: dict[str, Any] = {"payment_id": "payment-1", "at": AT}
OF: dict[str, Any] = {**ID, "order_id": "order-1"}
WHOSE: dict[str, Any] = {**OF, "customer_id": "customer-1"}
MONEY: dict[str, Any] = {"amount": 1_000, "currency": "EUR"}

AUTHORISE = AuthorisePayment(card="4242", **MONEY, **WHOSE)
REQUESTED = AuthorisationRequested(card="4242", **MONEY, **WHOSE)
AUTHORISED = PaymentAuthorised(reference="ref-1", **WHOSE)
DECLINED = PaymentDeclined(reason="no funds", **WHOSE)
VOID = VoidPayment(**ID)
VOID_ASKED = VoidRequested(reference="ref-1", **OF)
VOIDED = PaymentVoided(**WHOSE)
READY = (REQUESTED, AUTHORISED)
Past: TypeAlias = tuple[Event, ...]


def capture(name: str, amount: int) -> CapturePayment:
    return CapturePayment(capture_id=name, amount=amount, **ID)


def asked(name: str, amount: int) -> CaptureRequested:
    return CaptureRequested(capture_id=name, reference="ref-1", amount=amount, currency="EUR", **OF)


def captured(name: str, amount: int) -> PaymentCaptured:
    return PaymentCaptured(capture_id=name, amount=amount, currency="EUR", **WHOSE)


def refund(name: str, amount: int) -> RefundPayment:
    return RefundPayment(refund_id=name, amount=amount, **ID)


def refund_asked(name: str, amount: int) -> RefundRequested:
    return RefundRequested(refund_id=name, reference="ref-1", amount=amount, currency="EUR", **OF)


def awaited(name: str, amount: int) -> RefundAwaited:
    return RefundAwaited(refund_id=name, amount=amount, **OF)


# -- authorising


def test_a_payment_is_asked_for_once() -> None:
    given(PAYMENT).when(AUTHORISE).then(REQUESTED)
    given(PAYMENT, REQUESTED).when(AUTHORISE).then_nothing()
    given(PAYMENT, *READY).when(replace(AUTHORISE, amount=5)).then_nothing()


def test_a_payment_is_of_an_amount_that_is_accepted() -> None:
    given(PAYMENT).when(replace(AUTHORISE, amount=-1)).then_refused(AmountOutOfRange)
    given(PAYMENT).when(replace(AUTHORISE, card="\n")).then_refused(TextInvalid)


def test_the_first_answer_counts() -> None:
    yes, no = RecordAuthorisation(reference="ref-1", **ID), RecordDecline(reason="no funds", **ID)
    given(PAYMENT, REQUESTED).when(yes).then(AUTHORISED)
    given(PAYMENT, REQUESTED).when(no).then(DECLINED)
    for past in ((REQUESTED, AUTHORISED), (REQUESTED, DECLINED)):
        given(PAYMENT, *past).when(yes).then_nothing()
        given(PAYMENT, *past).when(no).then_nothing()


def test_an_answer_that_says_nothing_is_refused() -> None:
    given(PAYMENT, REQUESTED).when(RecordAuthorisation(reference="", **ID)).then_refused(
        TextInvalid
    )
    given(PAYMENT, REQUESTED).when(RecordDecline(reason="", **ID)).then_refused(TextInvalid)


@pytest.mark.parametrize(
    "command",
    [
        RecordAuthorisation(reference="ref-1", **ID),
        RecordDecline(reason="no funds", **ID),
        capture("c1", 1),
        RecordCapture(capture_id="c1", **ID),
        VOID,
        RecordVoid(**ID),
        refund("r1", 1),
        RecordRefund(refund_id="r1", **ID),
    ],
    ids=lambda command: type(command).__name__,
)
def test_only_what_was_asked_for_can_be_handled(command: Any) -> None:
    given(PAYMENT).when(command).then_refused(PaymentUnknown(payment_id="payment-1"))


# -- capturing


def test_parts_are_captured_up_to_what_was_authorised() -> None:
    given(PAYMENT, *READY).when(capture("c1", 600)).then(asked("c1", 600))
    past = (*READY, asked("c1", 600))
    given(PAYMENT, *past).when(capture("c2", 400)).then(asked("c2", 400))
    given(PAYMENT, *past).when(capture("c2", 401)).then_refused(
        MoreThanAuthorised(payment_id="payment-1", left=400, asked=401)
    )


def test_a_capture_is_asked_for_once_and_its_answer_counts_once() -> None:
    answer = RecordCapture(capture_id="c1", **ID)
    given(PAYMENT, *READY, asked("c1", 600)).when(capture("c1", 600)).then_nothing()
    given(PAYMENT, *READY, asked("c1", 600)).when(answer).then(captured("c1", 600))
    given(PAYMENT, *READY, asked("c1", 600), captured("c1", 600)).when(answer).then_nothing()
    given(PAYMENT, *READY).when(answer).then_nothing()


@pytest.mark.parametrize(
    ("past", "status"),
    [
        ([REQUESTED], "requested"),
        ([REQUESTED, DECLINED], "declined"),
        ([*READY, VOID_ASKED], "voiding"),
        ([*READY, VOID_ASKED, VOIDED], "voided"),
    ],
)
def test_nothing_is_captured_that_is_not_authorised(past: list[Any], status: str) -> None:
    given(PAYMENT, *past).when(capture("c1", 1)).then_refused(
        PaymentNotAuthorised(payment_id="payment-1", status=status)
    )


# -- voiding


def test_an_authorised_payment_is_voided_once() -> None:
    given(PAYMENT, *READY).when(VOID).then(VOID_ASKED)
    given(PAYMENT, *READY, VOID_ASKED).when(VOID).then_nothing()
    given(PAYMENT, *READY, VOID_ASKED).when(RecordVoid(**ID)).then(VOIDED)
    given(PAYMENT, *READY, VOID_ASKED, VOIDED).when(RecordVoid(**ID)).then_nothing()


def test_a_void_waits_until_the_provider_has_answered() -> None:
    waits = VoidAwaited(**OF)
    given(PAYMENT, REQUESTED).when(VOID).then(waits)
    given(PAYMENT, REQUESTED, waits).when(VOID).then_nothing()
    answer = RecordAuthorisation(reference="ref-1", **ID)
    given(PAYMENT, REQUESTED, waits).when(answer).then(AUTHORISED, VOID_ASKED)
    declined = RecordDecline(reason="no funds", **ID)
    given(PAYMENT, REQUESTED, waits).when(declined).then(DECLINED)


def test_what_was_captured_or_declined_is_not_voided() -> None:
    given(PAYMENT, *READY, asked("c1", 1)).when(VOID).then_nothing()
    given(PAYMENT, REQUESTED, DECLINED).when(VOID).then_nothing()


# -- refunding


def test_what_was_captured_is_refunded_once() -> None:
    past: Past = (*READY, asked("c1", 600), captured("c1", 600))
    answer = RecordRefund(refund_id="r1", **ID)
    given(PAYMENT, *past).when(refund("r1", 200)).then(refund_asked("r1", 200))
    past = (*past, refund_asked("r1", 200))
    given(PAYMENT, *past).when(refund("r1", 200)).then_nothing()
    through = PaymentRefunded(refund_id="r1", amount=200, currency="EUR", **WHOSE)
    given(PAYMENT, *past).when(answer).then(through)
    given(PAYMENT, *past, through).when(answer).then_nothing()


def test_never_more_is_refunded_than_was_captured() -> None:
    past = (*READY, asked("c1", 600), captured("c1", 600), refund_asked("r1", 500))
    given(PAYMENT, *past).when(refund("r2", 101)).then_refused(
        MoreThanCaptured(payment_id="payment-1", left=100, asked=101)
    )
    given(PAYMENT, *READY).when(refund("r1", 1)).then_refused(MoreThanCaptured)


def test_a_refund_waits_until_the_capture_is_through() -> None:
    past: Past = (*READY, asked("c1", 600))
    given(PAYMENT, *past).when(refund("r1", 200)).then(awaited("r1", 200))
    past = (*past, awaited("r1", 200), awaited("r2", 300))
    given(PAYMENT, *past).when(RecordCapture(capture_id="c1", **ID)).then(
        captured("c1", 600), refund_asked("r1", 200), refund_asked("r2", 300)
    )


def test_a_capture_lets_only_those_refunds_go_that_it_covers() -> None:
    past = (*READY, asked("c1", 100), asked("c2", 500), awaited("r1", 300), awaited("r2", 100))
    given(PAYMENT, *past).when(RecordCapture(capture_id="c1", **ID)).then(
        captured("c1", 100), refund_asked("r2", 100)
    )
