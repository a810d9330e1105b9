"""Customer directory: who are our customers, and how do we find one by name?"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never, get_args

from domain.address import Address
from domain.customer import (
    CustomerAddressChanged,
    CustomerContactChanged,
    CustomerRegistered,
    CustomerReinstated,
    CustomerSuspended,
    Event,
    Standing,
)
from domain.decider import message
from domain.recorded import Recorded
from readmodels.page import FIRST_PAGE, Condition, Field, Op, Page, Select, Sort, select
from readmodels.projection import Projection, field_of, index, own_stream
from readmodels.words import folded, words


@message
class CustomerListed:
    """`search` holds the words of the name, `sort_name` all of it, without case and accents."""

    customer_id: str
    name: str
    email: str
    phone: str
    segment: str
    address: Address
    standing: Standing
    registered_at: datetime
    search: tuple[str, ...]
    sort_name: str
    version: int


def evolve(customer: CustomerListed | None, recorded: Recorded, _: str) -> CustomerListed | None:
    event: Event = recorded.event
    if isinstance(event, CustomerRegistered):
        return _registered(event, recorded.version)
    if customer is None:
        return None
    customer = replace(customer, version=recorded.version)
    match event:
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


def _registered(event: CustomerRegistered, version: int) -> CustomerListed:
    return CustomerListed(
        customer_id=event.customer_id,
        name=event.name,
        email=event.email,
        phone=event.phone,
        segment=event.segment,
        address=event.address,
        standing=Standing.ACTIVE,
        registered_at=event.at,
        search=words(event.name),
        sort_name=folded(event.name),
        version=version,
    )


FIELDS: Final = {
    "search": Field(str, many=True, sortable=False),
    "sort_name": Field(str),
    "email": Field(str),
    "segment": Field(str),
    "standing": Field(Standing),
    "registered_at": Field(datetime),
}

BY_NAME: Final = (Sort("sort_name"),)


def named(text: str) -> tuple[Condition, ...]:
    """What makes a customer be found by this text: each word begins a word of the name."""
    return tuple(Condition("search", Op.STARTS_WITH, word) for word in words(text))


def customers(
    where: Sequence[Condition] = (), order_by: Sequence[Sort] = (), page: Page = FIRST_PAGE
) -> Select:
    """A page of customers, by name unless another order is asked for."""
    return select(FIELDS, where, order_by or BY_NAME, page)


CUSTOMER_DIRECTORY: Final = Projection(
    name="customer_directory",
    version=1,
    view=CustomerListed,
    events=get_args(Event),
    keys=field_of("customer_id"),
    evolve=evolve,
    streams=own_stream,
    indexes=tuple(map(index, FIELDS)),
)
