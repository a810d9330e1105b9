"""What leaves the house: the only place that says what is told of which event.

1. Others know nothing of our events: one may be told under another name, as one of several things,
   or not at all (see `published_messages` for what there is to be told).
2. A notice is thin: what happened, to whom, and a link to ask for more. It holds no personal data.
3. A state is fat: all that a recipient needs for a copy of its own. Nothing known of a customer or
   product any more (the state that its stream began with) is a tombstone: the key and no data.
   An event that makes its aggregate forget is all that an erasure takes.
4. The key is the subject's stream, which is its id in GraphQL, too: what is told of one subject
   stays in order.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from domain.customer import (
    CUSTOMER,
    Customer,
    CustomerAddressChanged,
    CustomerContactChanged,
    CustomerRegistered,
    CustomerReinstated,
    CustomerSuspended,
    Standing,
)
from domain.decider import Decider
from domain.money import decimal_of, rate_of
from domain.order import (
    OrderCancelled,
    OrderConfirmed,
    OrderLinesDelivered,
    OrderLinesDispatched,
    OrderLinesReturned,
    OrderPlaced,
)
from domain.payment import PaymentCaptured, PaymentDeclined, PaymentRefunded
from domain.product import (
    PRODUCT,
    Product,
    ProductDiscontinued,
    ProductPriced,
    ProductRenamed,
)
from domain.published_messages import (
    CUSTOMER_ADDRESS_CHANGED,
    CUSTOMER_CONTACT_CHANGED,
    CUSTOMER_REGISTERED,
    CUSTOMER_REINSTATED,
    CUSTOMER_STATE,
    CUSTOMER_SUSPENDED,
    ORDER_CANCELLED,
    ORDER_CONFIRMED,
    ORDER_DELIVERED,
    ORDER_DISPATCHED,
    ORDER_PLACED,
    ORDER_RETURNED,
    PAYMENT_DECLINED,
    PAYMENT_RECEIVED,
    PAYMENT_REFUNDED,
    PRODUCT_DISCONTINUED,
    PRODUCT_LISTED,
    PRODUCT_RENAMED,
    PRODUCT_REPRICED,
    PRODUCT_STATE,
    SHIPMENT_BOOKED,
    SHIPMENT_CANCELLED,
    CustomerState,
    CustomerStatus,
    Link,
    Message,
    MessageType,
    Notice,
    PostalAddress,
    Price,
    ProductState,
    Variables,
)
from domain.recorded import Recorded, position_text
from domain.shipment import ShipmentBooked, ShipmentCalledOff

# -- links: what is likely to be asked next

_ASKS: Final = "query ($id: ID!, $position: Position)"

ABOUT_AN_ORDER: Final = (
    f"{_ASKS} {{ order(id: $id, atLeast: $position) {{ id status customerId placedAt"
    " deliverTo { street city postalCode region country }"
    " lines { number sku name quantity progress } shipment { id status } } }"
)
ABOUT_A_PAYMENT: Final = (
    f"{_ASKS} {{ payment(id: $id, atLeast: $position) {{ id status orderId customerId"
    " amount { amount currency } captured { amount currency } refunded { amount currency } } }"
)
ABOUT_A_SHIPMENT: Final = (
    f"{_ASKS} {{ shipment(id: $id, atLeast: $position) {{ id status orderId lines sent arrived"
    " deliverTo { street city postalCode region country } } }"
)
ABOUT_A_CUSTOMER: Final = (
    f"{_ASKS} {{ customer(id: $id, atLeast: $position) {{ id name email phone standing"
    " address { street city postalCode region country } } }"
)
ABOUT_A_PRODUCT: Final = (
    f"{_ASKS} {{ product: node(id: $id, atLeast: $position) {{ id ... on Product {{ sku name brand"
    " price { amount currency } discontinued } } }"
)


# -- notices

NOTICES: Final[Mapping[type, MessageType]] = {
    OrderPlaced: ORDER_PLACED,
    OrderConfirmed: ORDER_CONFIRMED,
    OrderCancelled: ORDER_CANCELLED,
    OrderLinesDispatched: ORDER_DISPATCHED,
    OrderLinesDelivered: ORDER_DELIVERED,
    OrderLinesReturned: ORDER_RETURNED,
    PaymentDeclined: PAYMENT_DECLINED,
    PaymentCaptured: PAYMENT_RECEIVED,
    PaymentRefunded: PAYMENT_REFUNDED,
    ShipmentBooked: SHIPMENT_BOOKED,
    ShipmentCalledOff: SHIPMENT_CANCELLED,
    CustomerRegistered: CUSTOMER_REGISTERED,
    CustomerAddressChanged: CUSTOMER_ADDRESS_CHANGED,
    CustomerContactChanged: CUSTOMER_CONTACT_CHANGED,
    CustomerSuspended: CUSTOMER_SUSPENDED,
    CustomerReinstated: CUSTOMER_REINSTATED,
    ProductRenamed: PRODUCT_RENAMED,
    ProductDiscontinued: PRODUCT_DISCONTINUED,
}
"""What is told of an event. Prices are told by `_notice_of`."""

OPERATIONS: Final[Mapping[str, str]] = {
    "order": ABOUT_AN_ORDER,
    "payment": ABOUT_A_PAYMENT,
    "shipment": ABOUT_A_SHIPMENT,
    "customer": ABOUT_A_CUSTOMER,
    "product": ABOUT_A_PRODUCT,
}
"""What a link asks, by the category of the stream."""


def _notice_of(event: Any) -> MessageType | None:
    """A product is new once it has a price (see `product`)."""
    if isinstance(event, ProductPriced):
        return PRODUCT_LISTED if event.was is None else PRODUCT_REPRICED
    return NOTICES.get(type(event))


def _notices(recorded: Recorded) -> Iterator[Message]:
    kind = _notice_of(recorded.event)
    if kind is None:
        return
    position = position_text(recorded.position)
    link = Link(
        operation=OPERATIONS[_category(recorded.stream)],
        variables=Variables(id=recorded.stream, position=position),
    )
    yield _told(kind, recorded, Notice(id=recorded.stream, at=recorded.event.at, link=link))


# -- states


def _customers(recorded: Recorded, customer: Customer) -> Iterator[Message]:
    if customer.address is None:
        yield _told(CUSTOMER_STATE, recorded, None)
        return
    address = customer.address
    suspended = customer.standing is Standing.SUSPENDED
    state = CustomerState(
        id=recorded.stream,
        version=recorded.version,
        name=customer.name,
        email=customer.email,
        phone=customer.phone,
        status=CustomerStatus.SUSPENDED if suspended else CustomerStatus.ACTIVE,
        address=PostalAddress(
            street=address.street,
            city=address.city,
            postcode=address.postal_code,
            region=address.region,
            country=address.country,
        ),
    )
    yield _told(CUSTOMER_STATE, recorded, state)


def _products(recorded: Recorded, product: Product) -> Iterator[Message]:
    """One that has been added and has no price yet is told once it has one."""
    if product == PRODUCT.initial:
        yield _told(PRODUCT_STATE, recorded, None)
    if product.price is None:
        return
    amount, currency = product.price.amount, product.price.currency
    state = ProductState(
        id=recorded.stream,
        version=recorded.version,
        sku=recorded.event.sku,
        name=product.name,
        brand=product.brand,
        price=Price(amount=str(decimal_of(amount, currency)), currency=currency),
        tax=str(rate_of(product.tax)),
        discontinued=product.discontinued,
    )
    yield _told(PRODUCT_STATE, recorded, state)


def _told(kind: MessageType, recorded: Recorded, data: Any | None) -> Message:
    return Message(
        type=kind.name,
        version=kind.version,
        topic=kind.topic,
        key=recorded.stream,
        subject=recorded.stream,
        data=data,
    )


# -- all of it

CARRIED: Final[Mapping[str, Decider[Any, Any, Any]]] = {
    decider.category: decider for decider in (CUSTOMER, PRODUCT)
}
"""The deciders whose states are told, by category: `published` wants the state of these alone."""

_STATES: Final[Mapping[str, Callable[[Recorded, Any], Iterator[Message]]]] = {
    CUSTOMER.category: _customers,
    PRODUCT.category: _products,
}


def published(recorded: Recorded, state: Any) -> tuple[Message, ...]:
    """What is told of an event; `state` is that of its stream after it, where it is `CARRIED`."""
    states = _STATES.get(_category(recorded.stream))
    return (*_notices(recorded), *(states(recorded, state) if states else ()))


def _category(stream: str) -> str:
    return stream.partition("-")[0]
