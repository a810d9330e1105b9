"""A log to be published: customers who move, products whose prices change, stock that comes in."""

from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from domain.address import Address
from domain.customer import CustomerAddressChanged, CustomerRegistered
from domain.money import Money
from domain.product import ProductAdded, ProductPriced
from domain.recorded import Meta
from domain.stock_item import StockReceived
from infra.codec import now
from infra.log import NewEvent

CUSTOMERS: Final = 200
PRODUCTS: Final = 100
STOCK_ITEMS: Final = 400


def history() -> Iterator[NewEvent]:
    """Events for ever, those of each stream from its first on."""
    versions: Counter[str] = Counter()
    for number in count():
        match number % 5:
            case 0:
                subject = f"customer-{number // 5 % CUSTOMERS}"
                event = _of_customer(subject, versions[subject])
            case 1:
                sku = f"sku-{number // 5 % PRODUCTS}"
                subject = f"product-{sku}"
                event = _of_product(sku, versions[subject])
            case _:
                sku = f"sku-{number % STOCK_ITEMS}"
                subject = f"stock_item-{sku}"
                event = StockReceived(sku=sku, quantity=1, source="supplier", at=now())
        versions[subject] += 1
        yield NewEvent(event=event, stream=subject, version=versions[subject], meta=_meta(event))


def _of_customer(customer_id: str, version: int) -> Any:
    address = Address(street=f"Street {version}", city="Hull", country="United Kingdom")
    if version:
        return CustomerAddressChanged(customer_id=customer_id, address=address, at=now())
    return CustomerRegistered(
        customer_id=customer_id,
        name="Ann Smith",
        email="ann@example.com",
        phone="",
        segment="",
        address=address,
        at=now(),
    )


def _of_product(sku: str, version: int) -> Any:
    if not version:
        return ProductAdded(sku=sku, name=f"Thing {sku}", brand="Leaf", tax=2000, at=now())
    was = None if version == 1 else Money(amount=version - 1, currency="EUR")
    return ProductPriced(sku=sku, price=Money(amount=version, currency="EUR"), was=was, at=now())


_numbers = count(1)


def _meta(event: Any) -> Meta:
    number = next(_numbers)
    return Meta(
        event_id=f"event-{number}",
        command_id=f"command-{number}",
        command=f"For{type(event).__name__}",
        correlation_id=f"story-{number}",
        causation_id=f"command-{number}",
        actor="history",
        recorded_at=now(),
    )
