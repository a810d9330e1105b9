"""What messages from Kafka mean to the desk. Pure.

1. Of a customer it keeps the name and the address, of a product the name: what a label needs.
2. A fat message holds all of the state at its position, so the newest one is all there is to know.
3. Types and versions that it has no use for are passed over, as the contract allows; what cannot be
   read at all is told as such.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeAlias

from domain.decider import message
from domain.published_messages import (
    CUSTOMER_STATE,
    CUSTOMERS_TOPIC,
    NOTIFICATIONS_TOPIC,
    ORDER_CANCELLED,
    ORDER_CONFIRMED,
    PRODUCT_STATE,
    PRODUCTS_TOPIC,
    CustomerState,
    Link,
    MessageType,
    PostalAddress,
    ProductState,
)
from infra.cloud_events import Received, decoded
from infra.codec import Unreadable

TOPICS: Final = (CUSTOMERS_TOPIC, PRODUCTS_TOPIC, NOTIFICATIONS_TOPIC)


@message
class Customer:
    """As of `position` of our log. Of whoever was erased there is nothing but the first two."""

    id: str
    position: int
    version: int = 0
    name: str = ""
    address: PostalAddress | None = None


@message
class Product:
    """As of `position` of our log; what is not known any more has no sku."""

    id: str
    position: int
    version: int = 0
    sku: str = ""
    name: str = ""


@message
class Ask:
    """An order is confirmed: ask what is to be sent."""

    order_id: str
    link: Link


@message
class CallOff:
    """An order is cancelled."""

    order_id: str


@message
class Unread:
    """A message that cannot be read; kept, so that it can be looked at."""

    error: str


Meaning: TypeAlias = Customer | Product | Ask | CallOff | Unread | None


@message
class Place:
    """Where a message stands in Kafka."""

    topic: str
    partition: int
    offset: int


@message
class Heard:
    """What a message means. `position` is that of our log, and `at` when it was recorded there;
    None where it could not be read."""

    place: Place
    position: int | None
    at: datetime | None
    meaning: Meaning


def heard(record: Any, place: Place) -> Heard:
    """What a record of the driver means."""
    try:
        received = decoded(record)
    except Unreadable as error:
        return Heard(place=place, position=None, at=None, meaning=Unread(error=str(error)))
    meant = _MEANINGS.get((received.type, received.version))
    return Heard(
        place=place,
        position=received.position,
        at=received.at,
        meaning=meant(received) if meant else None,
    )


def _customer(received: Received) -> Customer:
    state: CustomerState | None = received.data
    if state is None:
        return Customer(id=received.subject, position=received.position)
    return Customer(
        id=received.subject,
        position=received.position,
        version=state.version,
        name=state.name,
        address=state.address,
    )


def _product(received: Received) -> Product:
    state: ProductState | None = received.data
    if state is None:
        return Product(id=received.subject, position=received.position)
    return Product(
        id=received.subject,
        position=received.position,
        version=state.version,
        sku=state.sku,
        name=state.name,
    )


def _ask(received: Received) -> Ask:
    return Ask(order_id=received.subject, link=received.data.link)


def _call_off(received: Received) -> CallOff:
    return CallOff(order_id=received.subject)


def _of(kind: MessageType) -> tuple[str, int]:
    return kind.name, kind.version


_MEANINGS: Final[dict[tuple[str, int], Callable[[Received], Meaning]]] = {
    _of(CUSTOMER_STATE): _customer,
    _of(PRODUCT_STATE): _product,
    _of(ORDER_CONFIRMED): _ask,
    _of(ORDER_CANCELLED): _call_off,
}
