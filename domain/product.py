"""A product: what can be ordered, at which price.

1. A product is added once; adding it again with the same facts changes nothing.
2. It is known once it has a price, which keeps its currency.
3. A discontinued product keeps its history, and cannot be ordered or changed.
"""

from dataclasses import replace
from datetime import datetime
from typing import ClassVar, TypeAlias, assert_never, get_args

from domain.decider import Decider, DomainError, domain_error, message, refuse_if_any
from domain.money import Money, price_errors, rate_errors, text_errors

# -- commands


@message
class AddProduct:
    """`tax` in basis points."""

    sku: str
    name: str
    brand: str = ""
    price: Money
    tax: int = 0
    at: datetime


@message
class RepriceProduct:
    sku: str
    price: Money
    at: datetime


@message
class RenameProduct:
    sku: str
    name: str
    at: datetime


@message
class DiscontinueProduct:
    sku: str
    reason: str
    at: datetime


Command: TypeAlias = AddProduct | RepriceProduct | RenameProduct | DiscontinueProduct


# -- events: names and fields are storage format


@message
class ProductAdded:
    """Its first price follows. Shape 1 held it too."""

    SCHEMA: ClassVar[int] = 2

    sku: str
    name: str
    brand: str
    tax: int
    at: datetime


@message
class ProductPriced:
    """`was` is None for the first price."""

    sku: str
    price: Money
    was: Money | None
    at: datetime


@message
class ProductRenamed:
    sku: str
    name: str
    was: str
    at: datetime


@message
class ProductDiscontinued:
    sku: str
    reason: str
    at: datetime


Event: TypeAlias = ProductAdded | ProductPriced | ProductRenamed | ProductDiscontinued


# -- errors


@domain_error
class ProductUnknown(DomainError):
    text = "There is no product {sku}."
    sku: str
    path: tuple[str, ...] = ("sku",)


@domain_error
class ProductAlreadyAdded(DomainError):
    text = "The product {sku} is in the catalogue already, with other details."
    sku: str
    path: tuple[str, ...] = ("sku",)


@domain_error
class ProductIsDiscontinued(DomainError):
    text = "The product {sku} is discontinued."
    sku: str
    path: tuple[str, ...] = ("sku",)


@domain_error
class PriceCurrencyDiffers(DomainError):
    text = "The product {sku} is priced in {currency}."
    sku: str
    currency: str
    path: tuple[str, ...] = ("price", "currency")


# -- state


@message
class Product:
    name: str = ""
    brand: str = ""
    price: Money | None = None
    tax: int = 0
    discontinued: bool = False


def evolve(product: Product, event: Event) -> Product:
    match event:
        case ProductAdded():
            return replace(product, name=event.name, brand=event.brand, tax=event.tax)
        case ProductPriced():
            return replace(product, price=event.price)
        case ProductRenamed():
            return replace(product, name=event.name)
        case ProductDiscontinued():
            return replace(product, discontinued=True)
        case _:
            assert_never(event)


# -- decisions


def add(command: AddProduct, product: Product) -> list[Event]:
    sku, at = command.sku, command.at
    added = ProductAdded(sku=sku, name=command.name, brand=command.brand, tax=command.tax, at=at)
    priced = ProductPriced(sku=sku, price=command.price, was=None, at=at)
    if product.price is not None:
        if evolve(evolve(Product(), added), priced) == replace(product, discontinued=False):
            return []
        raise ProductAlreadyAdded(sku=sku)
    refuse_if_any(
        text_errors(sku, "sku", most=64)
        + text_errors(command.name, "name")
        + (text_errors(command.brand, "brand") if command.brand else [])
        + price_errors(command.price, "price")
        + rate_errors(command.tax, "taxRate")
    )
    return [added, priced]


def reprice(command: RepriceProduct, price: Money) -> list[Event]:
    if command.price.currency != price.currency:
        raise PriceCurrencyDiffers(sku=command.sku, currency=price.currency)
    refuse_if_any(price_errors(command.price, "price"))
    if command.price == price:
        return []
    return [ProductPriced(sku=command.sku, price=command.price, was=price, at=command.at)]


def rename(command: RenameProduct, product: Product) -> list[Event]:
    refuse_if_any(text_errors(command.name, "name"))
    if command.name == product.name:
        return []
    return [ProductRenamed(sku=command.sku, name=command.name, was=product.name, at=command.at)]


def discontinue(command: DiscontinueProduct) -> list[Event]:
    refuse_if_any(text_errors(command.reason, "reason"))
    return [ProductDiscontinued(sku=command.sku, reason=command.reason, at=command.at)]


def decide(command: Command, product: Product) -> list[Event]:
    if isinstance(command, AddProduct):
        return add(command, product)
    if product.price is None:
        raise ProductUnknown(sku=command.sku)
    if product.discontinued:
        if isinstance(command, DiscontinueProduct):
            return []
        raise ProductIsDiscontinued(sku=command.sku)
    match command:
        case RepriceProduct():
            return reprice(command, product.price)
        case RenameProduct():
            return rename(command, product)
        case DiscontinueProduct():
            return discontinue(command)
        case _:
            assert_never(command)


def stream(sku: str) -> str:
    """The stream of the product with this stock keeping unit."""
    return f"product-{sku}"


PRODUCT: Decider[Command, Product, Event] = Decider(
    "product",
    lambda command: stream(command.sku),
    Product(),
    decide,
    evolve,
    get_args(Command),
    get_args(Event),
    (ProductUnknown, ProductAlreadyAdded, ProductIsDiscontinued, PriceCurrencyDiffers),
    {
        AddProduct: (ProductAdded, ProductPriced),
        RepriceProduct: (ProductPriced,),
        RenameProduct: (ProductRenamed,),
        DiscontinueProduct: (ProductDiscontinued,),
    },
)
