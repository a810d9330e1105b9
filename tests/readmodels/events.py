"""Events of one customer, one product and one order, for the examples of the read models."""

from dataclasses import replace
from datetime import timedelta

from domain.account import Account, EntryPosted, Posting
from domain.address import Address
from domain.customer import (
    CustomerAddressChanged,
    CustomerContactChanged,
    CustomerRegistered,
    CustomerReinstated,
    CustomerSuspended,
)
from domain.money import Money
from domain.order import (
    OrderCancelled,
    OrderConfirmed,
    OrderLinesDelivered,
    OrderLinesDispatched,
    OrderLinesReturned,
    OrderNotReserved,
    OrderPlaced,
    OrderReserved,
    Shortage,
)
from domain.order_line import Line
from domain.payment import (
    AuthorisationRequested,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentVoided,
)
from domain.product import ProductAdded, ProductDiscontinued, ProductPriced, ProductRenamed
from domain.shipment import ShipmentArrived, ShipmentBooked, ShipmentCalledOff, ShipmentSent
from tests.readmodels.given import NOON

DAY = timedelta(days=1)

BERLIN = Address(street="Torstr. 1", city="Berlin", country="Germany", region="EU")
PARIS = Address(street="Rue de Rivoli 2", city="Paris", country="France", region="EU")

REGISTERED = CustomerRegistered(
    customer_id="customer-1",
    name="Zoë Ångström-Smith",
    email="zoe@example.org",
    phone="1",
    segment="RETAIL",
    address=BERLIN,
    at=NOON,
)
MOVED = CustomerAddressChanged(customer_id="customer-1", address=PARIS, at=NOON + DAY)
REACHED = CustomerContactChanged(customer_id="customer-1", email="z@x.org", phone="2", at=NOON)
SUSPENDED = CustomerSuspended(customer_id="customer-1", reason="unpaid", at=NOON)
REINSTATED = CustomerReinstated(customer_id="customer-1", at=NOON)

ADDED = ProductAdded(sku="tea", name="Green Tea", brand="Leaf", tax=700, at=NOON)
PRICED = ProductPriced(sku="tea", price=Money(amount=500, currency="EUR"), was=None, at=NOON)
REPRICED = ProductPriced(
    sku="tea",
    price=Money(amount=600, currency="EUR"),
    was=Money(amount=500, currency="EUR"),
    at=NOON,
)
RENAMED = ProductRenamed(sku="tea", name="Sencha", was="Green Tea", at=NOON)
DISCONTINUED = ProductDiscontinued(sku="tea", reason="sold out", at=NOON)

TEA = Line(number=1, sku="tea", name="Tea", quantity=3, unit_price=333, discount=500, tax=700)
CUP = Line(number=2, sku="cup", name="Cup", quantity=1, unit_price=1000, discount=0, tax=1900)
MORE_TEA = replace(TEA, number=3, name="Best tea", quantity=1)

PLACED = OrderPlaced(
    order_id="order-1",
    customer_id="customer-1",
    currency="EUR",
    lines=(TEA, CUP, MORE_TEA),
    net=2265,
    tax=279,
    total=2544,
    deliver_to=BERLIN,
    region="EU",
    segment="RETAIL",
    at=NOON,
)
RESERVED = OrderReserved(order_id="order-1", customer_id="customer-1", at=NOON)
NOT_RESERVED = OrderNotReserved(
    order_id="order-1",
    customer_id="customer-1",
    shortages=(Shortage(sku="tea", requested=4, available=3),),
    at=NOON,
)
CONFIRMED = OrderConfirmed(order_id="order-1", customer_id="customer-1", at=NOON + DAY)
CANCELLED = OrderCancelled(
    order_id="order-1",
    customer_id="customer-1",
    currency="EUR",
    lines=PLACED.lines,
    placed_on=NOON.date(),
    region="EU",
    reason="changed my mind",
    at=NOON + 2 * DAY,
)


def dispatched(*lines: int, rest: int = 0, days: int = 1) -> OrderLinesDispatched:
    return OrderLinesDispatched(
        order_id="order-1",
        customer_id="customer-1",
        lines=lines,
        rest=rest,
        at=NOON + days * DAY,
    )


def delivered(*lines: int, rest: int = 0, days: int = 3) -> OrderLinesDelivered:
    return OrderLinesDelivered(
        order_id="order-1",
        customer_id="customer-1",
        lines=lines,
        rest=rest,
        at=NOON + days * DAY,
    )


def returned(*lines: Line, days: int = 9) -> OrderLinesReturned:
    return OrderLinesReturned(
        order_id="order-1",
        customer_id="customer-1",
        currency="EUR",
        lines=lines,
        placed_on=NOON.date(),
        reason="too bitter",
        at=NOON + days * DAY,
    )


# -- the payment of that order

ASKED = AuthorisationRequested(
    payment_id="payment-1",
    order_id="order-1",
    customer_id="customer-1",
    amount=2544,
    currency="EUR",
    card="ok",
    at=NOON,
)
AUTHORISED = PaymentAuthorised(
    payment_id="payment-1",
    order_id="order-1",
    customer_id="customer-1",
    reference="p-7",
    at=NOON + DAY,
)
DECLINED = PaymentDeclined(
    payment_id="payment-1",
    order_id="order-1",
    customer_id="customer-1",
    reason="insufficient funds",
    at=NOON + DAY,
)
VOIDED = PaymentVoided(
    payment_id="payment-1", order_id="order-1", customer_id="customer-1", at=NOON + 2 * DAY
)


def captured(amount: int) -> PaymentCaptured:
    return PaymentCaptured(
        payment_id="payment-1",
        order_id="order-1",
        customer_id="customer-1",
        capture_id=f"capture-{amount}",
        amount=amount,
        currency="EUR",
        at=NOON + 2 * DAY,
    )


def refunded(amount: int) -> PaymentRefunded:
    return PaymentRefunded(
        payment_id="payment-1",
        order_id="order-1",
        customer_id="customer-1",
        refund_id=f"refund-{amount}",
        amount=amount,
        currency="EUR",
        at=NOON + 9 * DAY,
    )


# -- its shipment

BOOKED = ShipmentBooked(
    shipment_id="shipment-1", order_id="order-1", lines=(1, 2, 3), deliver_to=BERLIN, at=NOON
)
CALLED_OFF = ShipmentCalledOff(shipment_id="shipment-1", order_id="order-1", at=NOON + DAY)


def sent(*lines: int, days: int = 1) -> ShipmentSent:
    return ShipmentSent(
        shipment_id="shipment-1", order_id="order-1", lines=lines, at=NOON + days * DAY
    )


def arrived(*lines: int, days: int = 3) -> ShipmentArrived:
    return ShipmentArrived(
        shipment_id="shipment-1", order_id="order-1", lines=lines, at=NOON + days * DAY
    )


# -- what is posted for it


def posted(what: str, currency: str = "EUR", **amounts: int) -> EntryPosted:
    """`posted("capture", cash=5, receivables=-5)`."""
    return EntryPosted(
        entry_id=f"entry-1-{what}",
        order_id="order-1",
        text=what.capitalize(),
        currency=currency,
        postings=tuple(
            Posting(account=Account(name), amount=amount) for name, amount in amounts.items()
        ),
        at=NOON,
    )
