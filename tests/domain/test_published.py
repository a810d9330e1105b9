"""What leaves the house because of an event, and what does not."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from domain.account import EntryPosted
from domain.address import Address
from domain.customer import (
    Customer,
    CustomerAddressChanged,
    CustomerRegistered,
    CustomerReinstated,
    CustomerSuspended,
)
from domain.money import Money
from domain.order import OrderConfirmed, OrderNotReserved, OrderReserved
from domain.payment import (
    AuthorisationRequested,
    CaptureRequested,
    PaymentAuthorised,
    PaymentVoided,
    RefundAwaited,
    RefundRequested,
    VoidAwaited,
    VoidRequested,
)
from domain.product import (
    Product,
    ProductAdded,
    ProductDiscontinued,
    ProductPriced,
)
from domain.published import ABOUT_AN_ORDER, CARRIED, NOTICES, published
from domain.published_messages import (
    CUSTOMER_STATE,
    PRODUCT_STATE,
    PUBLISHED,
    CustomerState,
    CustomerStatus,
    Link,
    Message,
    Notice,
    PostalAddress,
    Price,
    ProductState,
    Variables,
)
from domain.recorded import Meta, Recorded
from domain.registry import AGGREGATES
from domain.shipment import ShipmentArrived, ShipmentSent
from domain.stock_item import STOCK_ITEM

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
META = Meta(
    event_id="event-1",
    command_id="command-1",
    command="SomeCommand",
    correlation_id="command-1",
    causation_id="command-1",
    actor="somebody",
    recorded_at=AT,
)

STAYS = {
    *STOCK_ITEM.events,
    EntryPosted,
    *(OrderReserved, OrderNotReserved),  # steps on the way: confirmed or cancelled is told
    *(AuthorisationRequested, PaymentAuthorised, CaptureRequested, RefundRequested, RefundAwaited),
    *(VoidRequested, VoidAwaited, PaymentVoided),  # nothing was taken
    *(ShipmentSent, ShipmentArrived),  # told by what becomes of the order
    ProductAdded,  # told once it has a price
}
"""What nobody outside is told of."""

HOME = Address(street="1 High St", city="Leeds", postal_code="LS1", country="UK")
REGISTERED = CustomerRegistered(
    customer_id="customer-1",
    name="Ada",
    email="ada@example.org",
    phone="+44 1",
    segment="retail",
    address=HOME,
    at=AT,
)
MOVED = CustomerAddressChanged(
    customer_id="customer-1", address=replace(HOME, city="York", region="North"), at=AT
)
ADDED = ProductAdded(sku="A", name="Tea", brand="Finest", tax=1_900, at=AT)
PRICED = ProductPriced(sku="A", price=Money(amount=1_200, currency="EUR"), was=None, at=AT)
REPRICED = ProductPriced(sku="A", price=Money(amount=999, currency="EUR"), was=PRICED.price, at=AT)


def recorded(event: Any, stream: str, version: int = 1) -> Recorded:
    return Recorded(event=event, position=40 + version, stream=stream, version=version, meta=META)


def told(stream: str, *events: Any) -> list[Message]:
    """Everything that is told of a story of one aggregate."""
    decider = CARRIED[stream.partition("-")[0]]
    messages: list[Message] = []
    state = decider.initial
    for version, event in enumerate(events, start=1):
        state = decider.evolve(state, event)
        messages += published(recorded(event, stream, version), state)
    return messages


def types(messages: Sequence[Message]) -> list[str]:
    return [each.type for each in messages]


def states(messages: Sequence[Message]) -> list[Any]:
    return [each.data for each in messages if each.type in ("CustomerState", "ProductState")]


def test_an_order_is_told_thinly_with_a_link() -> None:
    confirmed = OrderConfirmed(order_id="order-1", customer_id="customer-1", at=AT)
    link = Link(operation=ABOUT_AN_ORDER, variables=Variables(id="order-1", position="0:41"))
    assert published(recorded(confirmed, "order-1"), None) == (
        Message(
            type="OrderConfirmed",
            version=1,
            topic="tidings.notifications",
            key="order-1",
            subject="order-1",
            data=Notice(id="order-1", at=AT, link=link),
        ),
    )


def test_a_customer_is_told_thinly_and_in_full() -> None:
    messages = told("customer-1", REGISTERED, MOVED)
    assert types(messages) == [
        *("CustomerRegistered", "CustomerState"),
        *("CustomerAddressChanged", "CustomerState"),
    ]
    assert {each.key for each in messages} == {"customer-1"}
    assert messages[-1].topic == "tidings.customers"
    assert messages[-1].data == CustomerState(
        id="customer-1",
        version=2,
        name="Ada",
        email="ada@example.org",
        phone="+44 1",
        status=CustomerStatus.ACTIVE,
        address=PostalAddress(
            street="1 High St", city="York", postcode="LS1", region="North", country="UK"
        ),
    )


def test_why_a_customer_is_suspended_stays_here() -> None:
    suspended = CustomerSuspended(customer_id="customer-1", reason="unpaid bills", at=AT)
    reinstated = CustomerReinstated(customer_id="customer-1", at=AT)
    messages = told("customer-1", REGISTERED, suspended, reinstated)
    assert [state.status.value for state in states(messages)] == ["active", "suspended", "active"]
    assert "unpaid" not in repr(messages)


def test_a_product_is_told_once_it_has_a_price() -> None:
    assert told("product-A", ADDED) == []
    messages = told("product-A", ADDED, PRICED)
    assert types(messages) == ["ProductListed", "ProductState"]
    assert messages[-1].topic == "tidings.products"
    assert messages[-1].key == "product-A"
    assert messages[-1].data == ProductState(
        id="product-A",
        version=2,
        sku="A",
        name="Tea",
        brand="Finest",
        price=Price(amount="12.00", currency="EUR"),
        tax="0.1900",
        discontinued=False,
    )


def test_a_product_is_repriced_and_discontinued() -> None:
    gone = ProductDiscontinued(sku="A", reason="out of fashion", at=AT)
    messages = told("product-A", ADDED, PRICED, REPRICED, gone)
    assert types(messages)[2:] == [
        *("ProductRepriced", "ProductState"),
        *("ProductDiscontinued", "ProductState"),
    ]
    last = states(messages)[-1]
    assert (last.price.amount, last.discontinued) == ("9.99", True)


def test_of_whom_nothing_is_known_any_more_there_is_a_tombstone() -> None:
    """An event that makes the aggregate forget leads to it, whatever its name will be."""
    (*_, message) = published(recorded(MOVED, "customer-1", 5), Customer())
    assert (message.type, message.key, message.data) == ("CustomerState", "customer-1", None)
    (*_, message) = published(recorded(REPRICED, "product-A", 5), Product())
    assert (message.type, message.key, message.data) == ("ProductState", "product-A", None)
    assert all(kind.erasable for kind in (CUSTOMER_STATE, PRODUCT_STATE))


def test_every_event_is_told_or_is_known_to_stay() -> None:
    events = {event for decider in AGGREGATES for event in decider.events}
    told_of = {*NOTICES, ProductPriced}
    assert told_of | STAYS == events, "tell it in domain/published.py, or say here that it stays"
    assert not told_of & STAYS


def test_what_stays_is_not_told() -> None:
    reserved = OrderReserved(order_id="order-1", customer_id="customer-1", at=AT)
    assert published(recorded(reserved, "order-1"), None) == ()


def test_no_message_has_the_name_of_another() -> None:
    names = [(kind.name, kind.version) for kind in PUBLISHED]
    assert len(set(names)) == len(names)
