"""What people at the desk see: its shipments, its labels, its copies."""

from datetime import datetime

import strawberry

from api.scalars import Count, Position
from api.shipping_desk.calls import Kind
from api.shipping_desk.shipments import Status

strawberry.enum(Status, name="ShipmentStatus")
strawberry.enum(Kind, name="CallKind")


@strawberry.type
class Address:
    street: str
    city: str
    postcode: str
    region: str
    country: str


@strawberry.type
class Customer:
    """The desk's copy of a customer, as of `position` of our log."""

    id: strawberry.ID
    name: str
    address: Address
    version: int
    position: Position


@strawberry.type
class Product:
    """The desk's copy of a product, as of `position` of our log."""

    id: strawberry.ID
    sku: str
    name: str
    version: int
    position: Position


@strawberry.type
class ShipmentLine:
    """`number` is that of the order's line."""

    number: int
    sku: str
    quantity: int


@strawberry.type
class Shipment:
    """`sent` and `arrived` are line numbers. Without `deliverTo` it goes to the customer's own."""

    id: strawberry.ID
    order_id: strawberry.ID
    customer_id: strawberry.ID
    status: Status
    lines: list[ShipmentLine]
    sent: list[int]
    arrived: list[int]
    deliver_to: Address | None
    booked_at: datetime


@strawberry.type
class LabelLine:
    number: int
    quantity: int
    sku: str
    name: str


@strawberry.type
class Label:
    """What is put on a parcel; `position` is that of the customer's last change we know of."""

    shipment_id: strawberry.ID
    order_id: strawberry.ID
    recipient: str
    address: Address
    lines: list[LabelLine]
    position: Position
    text: str


@strawberry.type
class Refusal:
    code: str
    message: str


@strawberry.type
class LabelAnswer:
    errors: list[Refusal]
    label: Label | None


@strawberry.type
class WaitingCall:
    """A question or a report that our API has not answered yet, or has refused."""

    id: strawberry.ID
    kind: Kind
    order_id: strawberry.ID
    lines: list[int]
    since: datetime
    tries: int
    error: str


@strawberry.type
class TopicFreshness:
    """The newest message of a topic that the copy holds, and when it was recorded."""

    topic: str
    position: Position
    at: datetime


@strawberry.type
class Freshness:
    """How far the copy has come. `hearing` and `calling` say what is wrong, if anything is."""

    topics: list[TopicFreshness]
    customers: Count
    products: Count
    waiting: Count = strawberry.field(description="Questions and reports without an answer.")
    unreadable: Count = strawberry.field(description="Messages that could not be read, and wait.")
    hearing: str | None
    calling: str | None
