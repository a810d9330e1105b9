"""The order of the benchmarks: an id, a customer, three lines and an address."""

from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

from domain.address import Address
from domain.customer import RegisterCustomer
from domain.money import Money
from domain.order import PlaceOrder
from domain.order_line import LineWanted
from domain.product import AddProduct
from domain.stock_item import ReceiveStock, ReserveStock
from infra.answers import Request
from infra.codec import now

LINES: Final = 3
CUSTOMERS: Final = tuple(f"customer-{number:04}" for number in range(50))
SKUS: Final = tuple(f"sku-{number:04}" for number in range(200))
ADDRESS: Final = Address(
    street="12 Harbour Road", city="Bristol", postal_code="BS1 4ST", country="United Kingdom"
)
PRICE: Final = Money(amount=1999, currency="EUR")
AT: Final = now()


def request(command: Any) -> Request:
    """As the API makes it: an order is named after the command that places it."""
    command_id = str(uuid4())
    if isinstance(command, PlaceOrder):
        command_id = command.order_id.removeprefix("order-")
    return Request(command=command, command_id=command_id, actor="bench")


def catalogue() -> list[Request]:
    """What orders need: customers and products."""
    customers = [
        RegisterCustomer(
            customer_id=customer,
            name=f"Buyer {customer[-4:]}",
            email=f"{customer}@example.com",
            address=ADDRESS,
            at=AT,
        )
        for customer in CUSTOMERS
    ]
    products = [
        AddProduct(sku=sku, name=f"Thing {sku}", price=PRICE, tax=2000, at=AT) for sku in SKUS
    ]
    return [request(command) for command in (*customers, *products)]


def skus_of(number: int) -> tuple[str, ...]:
    """The products of the order with this number."""
    return tuple(SKUS[(number * LINES + line) % len(SKUS)] for line in range(LINES))


def orders() -> Iterator[PlaceOrder]:
    """New orders, for ever."""
    number = 0
    while True:
        number += 1
        yield PlaceOrder(
            order_id=f"order-{uuid4()}",
            customer_id=CUSTOMERS[number % len(CUSTOMERS)],
            lines=tuple(LineWanted(sku=sku, quantity=2) for sku in skus_of(number)),
            deliver_to=ADDRESS,
            imported=True,
            at=now(),
        )


def stock_moves(sku: str) -> Iterator[ReceiveStock | ReserveStock]:
    """Enough for all who come first; then a piece comes in, a piece is kept, for ever."""
    yield ReceiveStock(sku=sku, quantity=1_000, source="bench", at=now())
    while True:
        yield ReceiveStock(sku=sku, quantity=1, source="bench", at=now())
        yield ReserveStock(sku=sku, order_id=f"order-{uuid4()}", quantity=1, at=now())


def order_document(number: int) -> dict[str, Any]:
    """The same order as a document of a program without events."""
    return {
        "_id": f"order-{uuid4()}",
        "customer_id": CUSTOMERS[number % len(CUSTOMERS)],
        "status": "PLACED",
        "placed_at": now(),
        "currency": "EUR",
        "lines": [
            {
                "number": line,
                "sku": sku,
                "name": f"Thing {sku}",
                "quantity": 2,
                "unit_price": 1999,
                "discount": 0,
                "tax": 2000,
            }
            for line, sku in enumerate(skus_of(number), start=1)
        ],
        "total": 14393,
        "deliver_to": {
            "street": ADDRESS.street,
            "city": ADDRESS.city,
            "postal_code": ADDRESS.postal_code,
            "country": ADDRESS.country,
            "region": ADDRESS.region,
        },
    }
