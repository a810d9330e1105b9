"""A small tea shop for a first look: orders at every stage of their life, and stock that is low.

1. The ids of customers and orders can be told from one another by eye, and are stable: the
   playground's ready operations name them (`api.examples`).
2. Tea and what goes with it is taxed at 7 %, cups and pots at 19 %.
3. What the playground orders is in stock after all of this.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Final
from uuid import UUID

import strawberry

from api.catalogue import AddProductInput
from api.commands import Input, new_id
from api.customers import RegisterCustomerInput
from api.loading.stories import Source, Stage, Story, command_id
from api.placing import (
    CancelOrderInput,
    DispatchLinesInput,
    MarkLinesDeliveredInput,
    OrderLineInput,
    PlaceOrderInput,
    ReturnLinesInput,
)
from api.scalars import CurrencyCode
from api.stock import ReceiveStockInput, ReserveOrderInput, SetReorderLevelInput
from api.values import AddressInput, MoneyInput

OPENED: Final = datetime(2026, 10, 1, 8, tzinfo=UTC)

_EUR: Final = CurrencyCode("EUR")
_REDUCED, _FULL = Decimal("0.07"), Decimal("0.19")


@dataclass(frozen=True)
class _Customer:
    name: str
    segment: str
    street: str
    city: str
    postal_code: str
    country: str
    region: str = "EUROPE"


@dataclass(frozen=True)
class _Product:
    sku: str
    name: str
    brand: str
    price: str
    tax_rate: Decimal
    stock: int
    reorder_level: int = 10


@dataclass(frozen=True)
class _Order:
    """`lines` are quantities by sku. Each step is a day of October, a verb and line numbers."""

    customer: int
    day: int
    lines: Mapping[str, int]
    steps: Sequence[tuple[int, str, list[int]]] = ()
    discount: str | None = None


_CUSTOMERS: Final = (
    _Customer("Ann Archer", "HOUSEHOLD", "3 Mill Lane", "Canterbury", "CT1 2AB", "United Kingdom"),
    _Customer("Café Blume", "BUSINESS", "Lindenallee 12", "Leipzig", "04105", "Germany"),
    _Customer("Chidi Okafor", "HOUSEHOLD", "41 Marina Road", "Lagos", "", "Nigeria", "AFRICA"),
    _Customer("Dana Levin", "HOUSEHOLD", "7 Harbour Street", "Halifax", "", "Canada", "AMERICA"),
    _Customer("Étoile Hôtel", "BUSINESS", "18 rue des Lilas", "Lyon", "69003", "France"),
)

_PRODUCTS: Final = (
    _Product("TEA-GREEN", "Green tea, 100 g", "Leafline", "6.90", _REDUCED, 240, 40),
    _Product("TEA-BLACK", "Black tea, 100 g", "Leafline", "5.90", _REDUCED, 310, 40),
    _Product("TEA-MINT", "Mint tea, 50 g", "Leafline", "4.20", _REDUCED, 24, 30),
    _Product("HONEY-LIME", "Lime honey, 250 g", "Beeswell", "7.50", _REDUCED, 60),
    _Product("CUP-BLUE", "Blue cup", "Kiln & Co", "11.00", _FULL, 85),
    _Product("CUP-WHITE", "White cup", "Kiln & Co", "9.50", _FULL, 120),
    _Product("POT-CLAY", "Clay teapot, 0.8 l", "Kiln & Co", "38.00", _FULL, 12, 5),
    _Product("SIEVE-STEEL", "Steel tea sieve", "Kiln & Co", "8.40", _FULL, 45),
)

_ORDERS: Final = (
    _Order(
        1,
        2,
        {"TEA-GREEN": 2, "POT-CLAY": 1},
        [(3, "dispatch", [1, 2]), (6, "deliver", [1, 2]), (9, "return", [2])],
    ),
    _Order(
        2,
        4,
        {"TEA-BLACK": 40, "TEA-GREEN": 20, "CUP-WHITE": 24},
        [(4, "reserve", []), (6, "dispatch", [1, 2]), (8, "deliver", [1, 2])],
        discount="0.10",
    ),
    _Order(3, 7, {"HONEY-LIME": 3}, [(8, "dispatch", [1]), (15, "deliver", [1])]),
    _Order(4, 9, {"CUP-BLUE": 2, "TEA-MINT": 1}, [(10, "cancel", [])]),
    _Order(1, 13, {"TEA-MINT": 4, "SIEVE-STEEL": 1}, [(14, "dispatch", [1, 2])]),
    _Order(5, 14, {"TEA-BLACK": 30, "POT-CLAY": 4}, [(14, "reserve", [])], discount="0.075"),
    _Order(4, 15, {"CUP-BLUE": 2}),
    _Order(2, 16, {"TEA-GREEN": 10, "HONEY-LIME": 6}, discount="0.10"),
)


def demo() -> Source:
    """The shop."""
    contents = f"{len(_CUSTOMERS)} customers, {len(_PRODUCTS)} products, {len(_ORDERS)} orders"
    numbered = enumerate(_CUSTOMERS, start=1)
    return Source(
        "The demo",
        contents,
        (
            Stage("customers", len(_CUSTOMERS), ([_register(n, c)] for n, c in numbered)),
            Stage("products", len(_PRODUCTS), map(_stocked, _PRODUCTS)),
            Stage("orders", 1, [_history(_ORDERS)]),
        ),
    )


def customer_id(number: int) -> str:
    return new_id("customer", _readable("a", number))


def order_id(number: int) -> str:
    return new_id("order", _readable("b", number))


def _readable(kind: str, number: int) -> UUID:
    return UUID(f"{kind}0000000-0000-4000-8000-{number:012}")


def _register(number: int, customer: _Customer) -> RegisterCustomerInput:
    mailbox = customer.name.split()[0].lower().encode("ascii", "ignore").decode()
    return RegisterCustomerInput(
        command_id=_readable("a", number),
        at=OPENED,
        name=customer.name,
        email=f"{mailbox}@shop.example",
        segment=customer.segment,
        address=AddressInput(
            street=customer.street,
            city=customer.city,
            postal_code=customer.postal_code,
            country=customer.country,
            region=customer.region,
        ),
    )


def _stocked(product: _Product) -> Story:
    """In the catalogue, with its reorder level and its first delivery."""
    sku = product.sku
    return [
        AddProductInput(
            command_id=command_id("demo", "product", sku),
            at=OPENED,
            sku=sku,
            name=product.name,
            brand=product.brand,
            price=MoneyInput(amount=Decimal(product.price), currency=_EUR),
            tax_rate=product.tax_rate,
        ),
        SetReorderLevelInput(
            command_id=command_id("demo", "level", sku),
            at=OPENED,
            sku=sku,
            level=product.reorder_level,
        ),
        ReceiveStockInput(
            command_id=command_id("demo", "stock", sku),
            at=OPENED,
            sku=sku,
            quantity=product.stock,
            source=product.brand,
        ),
    ]


def _history(orders: Iterable[_Order]) -> Story:
    """All that happened, in the order in which it happened."""
    happened: list[Input] = []
    for number, order in enumerate(orders, start=1):
        happened += [_place(number, order), *_steps(number, order)]
    return sorted(happened, key=attrgetter("at"))


def _place(number: int, order: _Order) -> PlaceOrderInput:
    discount = None if order.discount is None else Decimal(order.discount)
    return PlaceOrderInput(
        command_id=_readable("b", number),
        at=_noon(order.day),
        customer_id=strawberry.ID(customer_id(order.customer)),
        imported=True,
        lines=[
            OrderLineInput(sku=sku, quantity=quantity, discount=discount)
            for sku, quantity in order.lines.items()
        ],
    )


def _steps(number: int, order: _Order) -> Iterator[Input]:
    of = strawberry.ID(order_id(number))
    for day, verb, lines in order.steps:
        command, at = command_id("demo", "order", number, verb), _noon(day)
        match verb:
            case "reserve":
                yield ReserveOrderInput(command_id=command, at=at, order_id=of)
            case "dispatch":
                yield DispatchLinesInput(command_id=command, at=at, order_id=of, lines=lines)
            case "deliver":
                yield MarkLinesDeliveredInput(command_id=command, at=at, order_id=of, lines=lines)
            case "return":
                why = "The lid was chipped."
                yield ReturnLinesInput(
                    command_id=command, at=at, order_id=of, lines=lines, reason=why
                )
            case _:
                why = "Ordered twice by mistake."
                yield CancelOrderInput(command_id=command, at=at, order_id=of, reason=why)


def _noon(day: int) -> datetime:
    return datetime(2026, 10, day, 12, tzinfo=UTC)
