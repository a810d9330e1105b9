"""The rules of a customer."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.address import Address
from domain.customer import (
    CUSTOMER,
    ChangeCustomerAddress,
    ChangeCustomerContact,
    Command,
    CustomerAddressChanged,
    CustomerAlreadyRegistered,
    CustomerContactChanged,
    CustomerRegistered,
    CustomerReinstated,
    CustomerSuspended,
    CustomerUnknown,
    EmailInvalid,
    RegisterCustomer,
    ReinstateCustomer,
    SuspendCustomer,
)
from domain.money import TextInvalid
from tests.scenario import given

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 9, tzinfo=UTC)
ID = "customer-1"
HOME = Address(street="1 High St", city="Leeds", country="UK")
OFFICE = Address(street="2 Low Rd", city="York", country="UK")

REGISTER = RegisterCustomer(
    customer_id=ID, name="Ada", email="ada@example.org", address=HOME, at=AT
)
REGISTERED = CustomerRegistered(
    customer_id=ID, name="Ada", email="ada@example.org", phone="", segment="", address=HOME, at=AT
)
MOVE = ChangeCustomerAddress(customer_id=ID, address=OFFICE, at=AT)
MOVED = CustomerAddressChanged(customer_id=ID, address=OFFICE, at=AT)
CONTACT = ChangeCustomerContact(customer_id=ID, email="a@example.org", phone="+44 1", at=AT)
CONTACTED = CustomerContactChanged(customer_id=ID, email="a@example.org", phone="+44 1", at=AT)
SUSPEND = SuspendCustomer(customer_id=ID, reason="unpaid bills", at=AT)
SUSPENDED = CustomerSuspended(customer_id=ID, reason="unpaid bills", at=AT)
REINSTATE = ReinstateCustomer(customer_id=ID, at=AT)
REINSTATED = CustomerReinstated(customer_id=ID, at=AT)


def test_a_customer_can_be_registered() -> None:
    given(CUSTOMER).when(REGISTER).then(REGISTERED)


def test_registering_again_with_the_same_facts_changes_nothing() -> None:
    given(CUSTOMER, REGISTERED).when(replace(REGISTER, at=LATER)).then_nothing()


def test_registering_again_does_not_reinstate() -> None:
    given(CUSTOMER, REGISTERED, SUSPENDED).when(REGISTER).then_nothing()


@pytest.mark.parametrize(
    "other",
    [
        replace(REGISTER, name="Eve"),
        replace(REGISTER, email="eve@example.org"),
        replace(REGISTER, phone="1"),
        replace(REGISTER, segment="trade"),
        replace(REGISTER, address=OFFICE),
    ],
)
def test_registering_again_with_other_facts_is_refused(other: RegisterCustomer) -> None:
    given(CUSTOMER, REGISTERED).when(other).then_refused(CustomerAlreadyRegistered(customer_id=ID))


def test_registering_with_what_has_been_changed_since_is_refused() -> None:
    given(CUSTOMER, REGISTERED, MOVED).when(REGISTER).then_refused(CustomerAlreadyRegistered)


@pytest.mark.parametrize("email", ["", "ada", "@example.org", "ada@", "a@b@c", "a@b\n"])
def test_an_email_address_has_one_at_with_something_on_both_sides(email: str) -> None:
    given(CUSTOMER).when(replace(REGISTER, email=email)).then_refused(EmailInvalid())
    given(CUSTOMER, REGISTERED).when(replace(CONTACT, email=email)).then_refused(EmailInvalid())


def test_all_that_is_wrong_with_a_registration_is_told_at_once() -> None:
    bad = replace(
        REGISTER,
        name=" ",
        email="ada",
        phone="1" * 41,
        segment="x" * 41,
        address=replace(HOME, city=""),
    )
    given(CUSTOMER).when(bad).then_refused(
        TextInvalid(most=200, path=("name",)),
        EmailInvalid(),
        TextInvalid(most=40, path=("phone",)),
        TextInvalid(most=40, path=("segment",)),
        TextInvalid(most=200, path=("address", "city")),
    )


@pytest.mark.parametrize("command", [MOVE, CONTACT, SUSPEND, REINSTATE])
def test_only_a_registered_customer_can_be_changed(command: Command) -> None:
    given(CUSTOMER).when(command).then_refused(CustomerUnknown(customer_id=ID))


def test_a_customer_can_move() -> None:
    given(CUSTOMER, REGISTERED).when(MOVE).then(MOVED)


def test_moving_to_where_one_lives_is_not_news() -> None:
    given(CUSTOMER, REGISTERED, MOVED).when(replace(MOVE, at=LATER)).then_nothing()


def test_one_cannot_move_to_nowhere() -> None:
    nowhere = replace(MOVE, address=replace(OFFICE, street=""))
    given(CUSTOMER, REGISTERED).when(nowhere).then_refused(
        TextInvalid(most=200, path=("address", "street"))
    )


def test_contact_details_can_be_changed() -> None:
    given(CUSTOMER, REGISTERED).when(CONTACT).then(CONTACTED)


def test_the_same_contact_details_are_not_news() -> None:
    given(CUSTOMER, REGISTERED, CONTACTED).when(replace(CONTACT, at=LATER)).then_nothing()


def test_a_customer_can_be_suspended_for_a_reason() -> None:
    given(CUSTOMER, REGISTERED).when(SUSPEND).then(SUSPENDED)
    given(CUSTOMER, REGISTERED).when(replace(SUSPEND, reason="")).then_refused(TextInvalid)


def test_suspending_twice_is_not_news() -> None:
    given(CUSTOMER, REGISTERED, SUSPENDED).when(SUSPEND).then_nothing()


def test_a_suspended_customer_keeps_being_known() -> None:
    given(CUSTOMER, REGISTERED, SUSPENDED).when(MOVE).then(MOVED)


def test_a_suspended_customer_can_be_reinstated() -> None:
    given(CUSTOMER, REGISTERED, SUSPENDED).when(REINSTATE).then(REINSTATED)


def test_a_customer_in_good_standing_cannot_be_reinstated_any_further() -> None:
    given(CUSTOMER, REGISTERED).when(REINSTATE).then_nothing()
    given(CUSTOMER, REGISTERED, SUSPENDED, REINSTATED).when(REINSTATE).then_nothing()


def test_what_is_not_of_a_customer_is_a_mistake_and_not_a_refusal() -> None:
    foreign: Any = object()
    with pytest.raises(AssertionError):
        CUSTOMER.decide(foreign, CUSTOMER.fold([REGISTERED]))
    with pytest.raises(AssertionError):
        CUSTOMER.evolve(CUSTOMER.initial, foreign)
