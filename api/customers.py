"""Customers: the directory, and the commands that change it."""

from datetime import datetime
from enum import Enum
from operator import itemgetter
from typing import Any, cast

import strawberry

from api.commands import CommandInput, Payload, new_id, send
from api.connections import (
    Connection,
    DateTimeFilter,
    StringFilter,
    conditions,
    connect,
    sorts,
)
from api.context import Info
from api.node import Node, after_receipt
from api.reading import reading
from api.rights import EVERYONE, STAFF
from api.values import Address, AddressInput
from domain.customer import (
    ChangeCustomerAddress,
    ChangeCustomerContact,
    RegisterCustomer,
    ReinstateCustomer,
    Standing,
    SuspendCustomer,
)
from readmodels.customer_directory import CUSTOMER_DIRECTORY, CustomerListed, customers, named
from readmodels.page import Page

strawberry.enum(Standing, name="CustomerStanding")


@strawberry.type
class Customer(Node):
    """A customer as the directory lists it."""

    name: str
    email: str
    phone: str
    segment: str
    address: Address
    standing: Standing
    registered_at: datetime
    version: int

    @classmethod
    def is_type_of(cls, value: object, _: Any) -> bool:
        return isinstance(value, CustomerListed)


# -- queries


@strawberry.enum
class CustomerOrder(Enum):
    NAME_ASC = "sort_name_asc"
    NAME_DESC = "sort_name_desc"
    REGISTERED_AT_ASC = "registered_at_asc"
    REGISTERED_AT_DESC = "registered_at_desc"


@strawberry.input
class StandingFilter:
    eq: Standing | None = None


@strawberry.input
class CustomerWhere:
    email: StringFilter | None = None
    segment: StringFilter | None = None
    standing: StandingFilter | None = None
    registered_at: DateTimeFilter | None = None


@strawberry.type
class CustomerQuery:
    @reading(EVERYONE, "A customer; one's own for customers.", stream=itemgetter("id"))
    async def customer(self, info: Info, id: strawberry.ID) -> Customer | None:
        info.context.require_own(id)
        return cast("Customer | None", await info.context.load(CUSTOMER_DIRECTORY, id))

    @reading(STAFF, "Customers; `search` finds those with words that begin like its words.")
    async def customers(
        self,
        info: Info,
        page: Page,
        search: str | None = None,
        where: CustomerWhere | None = None,
        order_by: list[CustomerOrder] | None = None,
    ) -> Connection[Customer]:
        wanted = [*conditions(where), *(named(search) if search else ())]
        query = customers(wanted, sorts(order_by), page)
        return cast(Connection[Customer], await connect(info, CUSTOMER_DIRECTORY, query))


# -- commands


@strawberry.type
class CustomerPayload(Payload):
    @strawberry.field(description="The customer as it is after the command.")
    async def customer(self, info: Info) -> Customer | None:
        found = await after_receipt(info, self.receipt, CUSTOMER_DIRECTORY)
        return cast("Customer | None", found)


@strawberry.type
class RegisterCustomerPayload(CustomerPayload):
    pass


@strawberry.type
class ChangeCustomerAddressPayload(CustomerPayload):
    pass


@strawberry.type
class ChangeCustomerContactPayload(CustomerPayload):
    pass


@strawberry.type
class SuspendCustomerPayload(CustomerPayload):
    pass


@strawberry.type
class ReinstateCustomerPayload(CustomerPayload):
    pass


@strawberry.input
class RegisterCustomerInput(CommandInput):
    name: str
    email: str
    phone: str = ""
    segment: str = ""
    address: AddressInput

    def command(self, at: datetime) -> RegisterCustomer:
        return RegisterCustomer(
            customer_id=new_id("customer", self.command_id),
            name=self.name,
            email=self.email,
            phone=self.phone,
            segment=self.segment,
            address=self.address.value(),
            at=at,
        )


@strawberry.input
class ChangeCustomerAddressInput(CommandInput):
    customer_id: strawberry.ID
    address: AddressInput
    expected_version: int | None = None

    def command(self, at: datetime) -> ChangeCustomerAddress:
        return ChangeCustomerAddress(
            customer_id=self.customer_id, address=self.address.value(), at=at
        )


@strawberry.input
class ChangeCustomerContactInput(CommandInput):
    customer_id: strawberry.ID
    email: str
    phone: str = ""
    expected_version: int | None = None

    def command(self, at: datetime) -> ChangeCustomerContact:
        return ChangeCustomerContact(
            customer_id=self.customer_id, email=self.email, phone=self.phone, at=at
        )


@strawberry.input
class SuspendCustomerInput(CommandInput):
    customer_id: strawberry.ID
    reason: str

    def command(self, at: datetime) -> SuspendCustomer:
        return SuspendCustomer(customer_id=self.customer_id, reason=self.reason, at=at)


@strawberry.input
class ReinstateCustomerInput(CommandInput):
    customer_id: strawberry.ID

    def command(self, at: datetime) -> ReinstateCustomer:
        return ReinstateCustomer(customer_id=self.customer_id, at=at)


@strawberry.type
class CustomerMutation:
    @strawberry.mutation(metadata=STAFF)
    async def register_customer(
        self, info: Info, input: RegisterCustomerInput
    ) -> RegisterCustomerPayload:
        return await send(info, input, RegisterCustomerPayload)

    @strawberry.mutation(metadata=EVERYONE)
    async def change_customer_address(
        self, info: Info, input: ChangeCustomerAddressInput
    ) -> ChangeCustomerAddressPayload:
        info.context.require_own(input.customer_id)
        return await send(info, input, ChangeCustomerAddressPayload)

    @strawberry.mutation(metadata=EVERYONE)
    async def change_customer_contact(
        self, info: Info, input: ChangeCustomerContactInput
    ) -> ChangeCustomerContactPayload:
        info.context.require_own(input.customer_id)
        return await send(info, input, ChangeCustomerContactPayload)

    @strawberry.mutation(metadata=STAFF)
    async def suspend_customer(
        self, info: Info, input: SuspendCustomerInput
    ) -> SuspendCustomerPayload:
        return await send(info, input, SuspendCustomerPayload)

    @strawberry.mutation(metadata=STAFF)
    async def reinstate_customer(
        self, info: Info, input: ReinstateCustomerInput
    ) -> ReinstateCustomerPayload:
        return await send(info, input, ReinstateCustomerPayload)
