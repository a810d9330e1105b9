"""The catalogue: products with their prices and what is free of them."""

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, cast

import strawberry

from api.commands import CommandInput, Payload, send
from api.connections import (
    BooleanFilter,
    Connection,
    IntFilter,
    StringFilter,
    conditions,
    connect,
    sorts,
)
from api.context import Info
from api.node import Node, after_receipt
from api.reading import reading
from api.rights import EVERYONE, STAFF
from api.scalars import Count
from api.values import Money, MoneyInput, basis_points
from domain.money import rate_of
from domain.product import AddProduct, DiscontinueProduct, RenameProduct, RepriceProduct, stream
from readmodels.page import Page
from readmodels.product_catalogue import PRODUCT_CATALOGUE, ProductListed, named, products

PREFIX = stream("")


@strawberry.type
class Product(Node):
    """A product as the catalogue lists it."""

    sku: str
    name: str
    brand: str
    discontinued: bool
    available: Count = strawberry.field(description="Pieces that can be ordered now.")
    version: int

    @strawberry.field
    @staticmethod
    def price(root: strawberry.Parent[Any]) -> Money:
        return Money.of(root.price.amount, root.price.currency)

    @strawberry.field(description="0.19 is 19 %.")
    @staticmethod
    def tax_rate(root: strawberry.Parent[Any]) -> Decimal:
        return rate_of(root.tax)

    @classmethod
    def is_type_of(cls, value: object, _: Any) -> bool:
        return isinstance(value, ProductListed)


def listed(found: ProductListed) -> ProductListed | None:
    """The product, unless only its stock is known so far."""
    return found if found.listed else None


async def product_of(info: Info, sku: str) -> Product | None:
    found = await info.context.load(PRODUCT_CATALOGUE, sku)
    return cast("Product | None", found and listed(found))


# -- queries


@strawberry.enum
class ProductOrder(Enum):
    NAME_ASC = "sort_name_asc"
    NAME_DESC = "sort_name_desc"
    SKU_ASC = "sku_asc"
    SKU_DESC = "sku_desc"
    AVAILABLE_ASC = "available_asc"
    AVAILABLE_DESC = "available_desc"


@strawberry.input
class ProductWhere:
    sku: StringFilter | None = None
    brand: StringFilter | None = None
    discontinued: BooleanFilter | None = None
    available: IntFilter | None = None


@strawberry.type
class CatalogueQuery:
    @reading(EVERYONE, stream=lambda asked: PREFIX + asked["sku"])
    async def product(self, info: Info, sku: str) -> Product | None:
        return await product_of(info, sku)

    @reading(EVERYONE, "Products; `search` finds those with words that begin like its words.")
    async def products(
        self,
        info: Info,
        page: Page,
        search: str | None = None,
        where: ProductWhere | None = None,
        order_by: list[ProductOrder] | None = None,
    ) -> Connection[Product]:
        wanted = [*conditions(where), *(named(search) if search else ())]
        query = products(wanted, sorts(order_by), page)
        return cast(Connection[Product], await connect(info, PRODUCT_CATALOGUE, query))


# -- commands


@strawberry.type
class ProductPayload(Payload):
    @strawberry.field(description="The product as it is after the command.")
    async def product(self, info: Info) -> Product | None:
        found = await after_receipt(info, self.receipt, PRODUCT_CATALOGUE, PREFIX)
        return cast("Product | None", found)


@strawberry.type
class AddProductPayload(ProductPayload):
    pass


@strawberry.type
class RepriceProductPayload(ProductPayload):
    pass


@strawberry.type
class RenameProductPayload(ProductPayload):
    pass


@strawberry.type
class DiscontinueProductPayload(ProductPayload):
    pass


@strawberry.input
class AddProductInput(CommandInput):
    sku: str
    name: str
    brand: str = ""
    price: MoneyInput
    tax_rate: Decimal = Decimal(0)

    def command(self, at: datetime) -> AddProduct:
        return AddProduct(
            sku=self.sku,
            name=self.name,
            brand=self.brand,
            price=self.price.value("price"),
            tax=basis_points(self.tax_rate, "taxRate") or 0,
            at=at,
        )


@strawberry.input
class RepriceProductInput(CommandInput):
    sku: str
    price: MoneyInput
    expected_version: int | None = None

    def command(self, at: datetime) -> RepriceProduct:
        return RepriceProduct(sku=self.sku, price=self.price.value("price"), at=at)


@strawberry.input
class RenameProductInput(CommandInput):
    sku: str
    name: str
    expected_version: int | None = None

    def command(self, at: datetime) -> RenameProduct:
        return RenameProduct(sku=self.sku, name=self.name, at=at)


@strawberry.input
class DiscontinueProductInput(CommandInput):
    sku: str
    reason: str

    def command(self, at: datetime) -> DiscontinueProduct:
        return DiscontinueProduct(sku=self.sku, reason=self.reason, at=at)


@strawberry.type
class CatalogueMutation:
    @strawberry.mutation(metadata=STAFF)
    async def add_product(self, info: Info, input: AddProductInput) -> AddProductPayload:
        return await send(info, input, AddProductPayload)

    @strawberry.mutation(metadata=STAFF)
    async def reprice_product(
        self, info: Info, input: RepriceProductInput
    ) -> RepriceProductPayload:
        return await send(info, input, RepriceProductPayload)

    @strawberry.mutation(metadata=STAFF)
    async def rename_product(self, info: Info, input: RenameProductInput) -> RenameProductPayload:
        return await send(info, input, RenameProductPayload)

    @strawberry.mutation(metadata=STAFF)
    async def discontinue_product(
        self, info: Info, input: DiscontinueProductInput
    ) -> DiscontinueProductPayload:
        return await send(info, input, DiscontinueProductPayload)
