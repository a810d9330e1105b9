"""Global ids: the interface that everything with a stream of its own implements."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final, cast

import strawberry

from api.commands import Receipt
from api.context import Info
from domain.product import stream as product_stream
from domain.stock_item import stream as stock_stream
from readmodels.customer_directory import CustomerListed
from readmodels.order_details import OrderDetails
from readmodels.order_list import OrderListed
from readmodels.payments import PaymentListed
from readmodels.product_catalogue import ProductListed
from readmodels.projection import Projection
from readmodels.shipments import ShipmentListed
from readmodels.stock_levels import StockLevel

_IDS: Final[Mapping[type, Callable[[Any], str]]] = {
    OrderListed: attrgetter("order_id"),
    OrderDetails: attrgetter("order_id"),
    PaymentListed: attrgetter("payment_id"),
    ShipmentListed: attrgetter("shipment_id"),
    CustomerListed: attrgetter("customer_id"),
    ProductListed: lambda product: product_stream(product.sku),
    StockLevel: lambda level: stock_stream(level.sku),
}


@strawberry.interface
class Node:
    """Something with an id that is unique in the whole system: its stream's name."""

    @strawberry.field
    @staticmethod
    def id(root: strawberry.Parent[Any]) -> strawberry.ID:
        return cast(strawberry.ID, _IDS[type(root)](root))


async def after_receipt(
    info: Info, receipt: Receipt | None, projection: Projection[Any], prefix: str = ""
) -> Any:
    """The aggregate's document, at or after its receipt; None where there is no receipt."""
    if receipt is None:
        return None
    await info.context.at(receipt.position)
    return await info.context.load(projection, receipt.aggregate_id.removeprefix(prefix))
