"""The contract with others: every type of message that they can get, and its data.

1. Whoever reads them does not know our events: names and shapes are made for recipients, who rely
   on them. No event or state of ours is part of them, and a recipient needs no more than this file.
2. A field may be added, with a default. Anything else is another version, and both are told until
   the last recipient has moved.
3. Names of fields are single words, the same in JSON. Amounts and rates are decimals as text.
"""

from datetime import datetime
from enum import Enum
from typing import Any, Final

from domain.decider import message

NOTIFICATIONS_TOPIC: Final = "tidings.notifications"
CUSTOMERS_TOPIC: Final = "tidings.customers"
PRODUCTS_TOPIC: Final = "tidings.products"


@message
class Message:
    """Something to be told; without `data` it is a tombstone."""

    type: str
    version: int
    topic: str
    key: str
    subject: str
    data: Any | None


@message
class MessageType:
    """What can be told; `tells` says it to those who read the contract."""

    name: str
    version: int = 1
    topic: str
    data: type
    tells: str
    erasable: bool = False
    """Whether there are tombstones of it."""


# -- event notification: thin


@message
class Variables:
    """`id` is that of the subject, `position` where the log was."""

    id: str
    position: str


@message
class Link:
    """Where to ask for more: a GraphQL operation with its variables. The answer is never older than
    the notice; it may be newer."""

    operation: str
    variables: Variables


@message
class Notice:
    """Something has happened to the subject with this `id`."""

    id: str
    at: datetime
    link: Link


def _notice(name: str, tells: str) -> MessageType:
    return MessageType(name=name, topic=NOTIFICATIONS_TOPIC, data=Notice, tells=tells)


ORDER_PLACED: Final = _notice("OrderPlaced", "A customer has placed an order.")
ORDER_CONFIRMED: Final = _notice("OrderConfirmed", "An order is in stock and paid for.")
ORDER_CANCELLED: Final = _notice("OrderCancelled", "An order will not be sent.")
ORDER_DISPATCHED: Final = _notice("OrderDispatched", "An order, or a part, has left the house.")
ORDER_DELIVERED: Final = _notice("OrderDelivered", "An order, or a part of it, has arrived.")
ORDER_RETURNED: Final = _notice("OrderReturned", "An order, or a part of it, has come back.")
PAYMENT_DECLINED: Final = _notice("PaymentDeclined", "A payment was refused by the provider.")
PAYMENT_RECEIVED: Final = _notice("PaymentReceived", "Money has been taken for an order.")
PAYMENT_REFUNDED: Final = _notice("PaymentRefunded", "Money has been given back.")
SHIPMENT_BOOKED: Final = _notice("ShipmentBooked", "There is something to be sent.")
SHIPMENT_CANCELLED: Final = _notice("ShipmentCancelled", "What was to be sent stays here.")
CUSTOMER_REGISTERED: Final = _notice("CustomerRegistered", "There is a new customer.")
CUSTOMER_ADDRESS_CHANGED: Final = _notice("CustomerAddressChanged", "A customer has moved.")
CUSTOMER_CONTACT_CHANGED: Final = _notice(
    "CustomerContactChanged", "A customer is reached in another way."
)
CUSTOMER_SUSPENDED: Final = _notice("CustomerSuspended", "A customer may not place orders.")
CUSTOMER_REINSTATED: Final = _notice("CustomerReinstated", "A customer may place orders again.")
PRODUCT_RENAMED: Final = _notice("ProductRenamed", "A product has another name.")
PRODUCT_DISCONTINUED: Final = _notice("ProductDiscontinued", "A product is sold no more.")
PRODUCT_LISTED: Final = _notice("ProductListed", "A product can be ordered from now on.")
PRODUCT_REPRICED: Final = _notice("ProductRepriced", "A product has another price.")

# -- event-carried state transfer: fat


@message
class PostalAddress:
    """`country` and `region` are names as the customer gives them; empty where there is none."""

    street: str
    city: str
    postcode: str
    region: str
    country: str


class CustomerStatus(Enum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


@message
class CustomerState:
    """A customer as of `version`. A copy keeps the highest version that it has seen."""

    id: str
    version: int
    name: str
    email: str
    phone: str
    status: CustomerStatus
    address: PostalAddress


@message
class Price:
    """`amount` in major units, such as `19.00`, before tax."""

    amount: str
    currency: str


@message
class ProductState:
    """A product as of `version`; `tax` is a rate, such as `0.1900`. What is discontinued cannot be
    ordered any more, and stays known. A copy keeps the highest version that it has seen."""

    id: str
    version: int
    sku: str
    name: str
    brand: str
    price: Price
    tax: str
    discontinued: bool


CUSTOMER_STATE: Final = MessageType(
    name="CustomerState",
    topic=CUSTOMERS_TOPIC,
    data=CustomerState,
    tells="All that is known of a customer. Without data: the customer is to be forgotten.",
    erasable=True,
)
PRODUCT_STATE: Final = MessageType(
    name="ProductState",
    topic=PRODUCTS_TOPIC,
    data=ProductState,
    tells="All that is known of a product. Without data: the product is to be forgotten.",
    erasable=True,
)

# -- all of it

PUBLISHED: Final = (
    ORDER_PLACED,
    ORDER_CONFIRMED,
    ORDER_CANCELLED,
    ORDER_DISPATCHED,
    ORDER_DELIVERED,
    ORDER_RETURNED,
    PAYMENT_DECLINED,
    PAYMENT_RECEIVED,
    PAYMENT_REFUNDED,
    SHIPMENT_BOOKED,
    SHIPMENT_CANCELLED,
    CUSTOMER_REGISTERED,
    CUSTOMER_ADDRESS_CHANGED,
    CUSTOMER_CONTACT_CHANGED,
    CUSTOMER_SUSPENDED,
    CUSTOMER_REINSTATED,
    PRODUCT_RENAMED,
    PRODUCT_DISCONTINUED,
    PRODUCT_LISTED,
    PRODUCT_REPRICED,
    CUSTOMER_STATE,
    PRODUCT_STATE,
)
