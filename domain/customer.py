"""A customer: who may order, and where to reach them.

1. A customer is registered once; registering again with the same facts changes nothing.
2. A change that changes nothing is not news.
3. A suspended customer keeps being known, but cannot place orders (see checkout).
"""

from dataclasses import replace
from datetime import datetime
from enum import Enum
from operator import attrgetter
from typing import TypeAlias, assert_never, get_args

from domain.address import Address, address_errors
from domain.decider import Decider, DomainError, domain_error, message, refuse_if_any
from domain.money import text_errors

# -- commands


@message
class RegisterCustomer:
    customer_id: str
    name: str
    email: str
    phone: str = ""
    segment: str = ""
    address: Address
    at: datetime


@message
class ChangeCustomerAddress:
    customer_id: str
    address: Address
    at: datetime


@message
class ChangeCustomerContact:
    customer_id: str
    email: str
    phone: str = ""
    at: datetime


@message
class SuspendCustomer:
    customer_id: str
    reason: str
    at: datetime


@message
class ReinstateCustomer:
    customer_id: str
    at: datetime


Command: TypeAlias = (
    RegisterCustomer
    | ChangeCustomerAddress
    | ChangeCustomerContact
    | SuspendCustomer
    | ReinstateCustomer
)


# -- events: names and fields are storage format


@message
class CustomerRegistered:
    customer_id: str
    name: str
    email: str
    phone: str
    segment: str
    address: Address
    at: datetime


@message
class CustomerAddressChanged:
    customer_id: str
    address: Address
    at: datetime


@message
class CustomerContactChanged:
    customer_id: str
    email: str
    phone: str
    at: datetime


@message
class CustomerSuspended:
    customer_id: str
    reason: str
    at: datetime


@message
class CustomerReinstated:
    customer_id: str
    at: datetime


Event: TypeAlias = (
    CustomerRegistered
    | CustomerAddressChanged
    | CustomerContactChanged
    | CustomerSuspended
    | CustomerReinstated
)


# -- errors


@domain_error
class CustomerUnknown(DomainError):
    text = "There is no customer {customer_id}."
    customer_id: str
    path: tuple[str, ...] = ("customerId",)


@domain_error
class CustomerAlreadyRegistered(DomainError):
    text = "The customer {customer_id} is registered already, with other details."
    customer_id: str
    path: tuple[str, ...] = ("customerId",)


@domain_error
class EmailInvalid(DomainError):
    text = "This is not an e-mail address."
    path: tuple[str, ...] = ("email",)


# -- state


class Standing(Enum):
    UNKNOWN = "unknown"
    ACTIVE = "active"
    SUSPENDED = "suspended"


@message
class Customer:
    standing: Standing = Standing.UNKNOWN
    name: str = ""
    email: str = ""
    phone: str = ""
    segment: str = ""
    address: Address | None = None


def evolve(customer: Customer, event: Event) -> Customer:
    match event:
        case CustomerRegistered():
            return Customer(
                standing=Standing.ACTIVE,
                name=event.name,
                email=event.email,
                phone=event.phone,
                segment=event.segment,
                address=event.address,
            )
        case CustomerAddressChanged():
            return replace(customer, address=event.address)
        case CustomerContactChanged():
            return replace(customer, email=event.email, phone=event.phone)
        case CustomerSuspended():
            return replace(customer, standing=Standing.SUSPENDED)
        case CustomerReinstated():
            return replace(customer, standing=Standing.ACTIVE)
        case _:
            assert_never(event)


# -- decisions


def contact_errors(email: str, phone: str) -> list[DomainError]:
    """An address has one @ with something on both sides; a phone number may be empty."""
    errors: list[DomainError] = []
    user, at, host = email.partition("@")
    if not (at and user and host) or "@" in host or text_errors(email):
        errors.append(EmailInvalid())
    return errors + (text_errors(phone, "phone", most=40) if phone else [])


def register(command: RegisterCustomer, customer: Customer) -> list[Event]:
    registered = CustomerRegistered(
        customer_id=command.customer_id,
        name=command.name,
        email=command.email,
        phone=command.phone,
        segment=command.segment,
        address=command.address,
        at=command.at,
    )
    if customer.standing is not Standing.UNKNOWN:
        if evolve(Customer(), registered) == replace(customer, standing=Standing.ACTIVE):
            return []
        raise CustomerAlreadyRegistered(customer_id=command.customer_id)
    refuse_if_any(
        text_errors(command.name, "name")
        + contact_errors(command.email, command.phone)
        + (text_errors(command.segment, "segment", most=40) if command.segment else [])
        + address_errors(command.address, "address")
    )
    return [registered]


def change_address(command: ChangeCustomerAddress, customer: Customer) -> list[Event]:
    refuse_if_any(address_errors(command.address, "address"))
    if customer.address == command.address:
        return []
    return [
        CustomerAddressChanged(
            customer_id=command.customer_id, address=command.address, at=command.at
        )
    ]


def change_contact(command: ChangeCustomerContact, customer: Customer) -> list[Event]:
    refuse_if_any(contact_errors(command.email, command.phone))
    if (customer.email, customer.phone) == (command.email, command.phone):
        return []
    return [
        CustomerContactChanged(
            customer_id=command.customer_id,
            email=command.email,
            phone=command.phone,
            at=command.at,
        )
    ]


def suspend(command: SuspendCustomer, customer: Customer) -> list[Event]:
    refuse_if_any(text_errors(command.reason, "reason"))
    if customer.standing is Standing.SUSPENDED:
        return []
    return [
        CustomerSuspended(customer_id=command.customer_id, reason=command.reason, at=command.at)
    ]


def reinstate(command: ReinstateCustomer, customer: Customer) -> list[Event]:
    if customer.standing is Standing.ACTIVE:
        return []
    return [CustomerReinstated(customer_id=command.customer_id, at=command.at)]


def decide(command: Command, customer: Customer) -> list[Event]:
    if isinstance(command, RegisterCustomer):
        return register(command, customer)
    if customer.standing is Standing.UNKNOWN:
        raise CustomerUnknown(customer_id=command.customer_id)
    match command:
        case ChangeCustomerAddress():
            return change_address(command, customer)
        case ChangeCustomerContact():
            return change_contact(command, customer)
        case SuspendCustomer():
            return suspend(command, customer)
        case ReinstateCustomer():
            return reinstate(command, customer)
        case _:
            assert_never(command)


CUSTOMER: Decider[Command, Customer, Event] = Decider(
    "customer",
    attrgetter("customer_id"),
    Customer(),
    decide,
    evolve,
    get_args(Command),
    get_args(Event),
    (CustomerUnknown, CustomerAlreadyRegistered, EmailInvalid),
    {
        RegisterCustomer: (CustomerRegistered,),
        ChangeCustomerAddress: (CustomerAddressChanged,),
        ChangeCustomerContact: (CustomerContactChanged,),
        SuspendCustomer: (CustomerSuspended,),
        ReinstateCustomer: (CustomerReinstated,),
    },
)
