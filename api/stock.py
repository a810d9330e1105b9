"""Stock: what is there, what is kept for orders, and what must be ordered again."""

from datetime import datetime
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
from api.placing import OrderPayload
from api.reading import reading
from api.rights import STAFF
from api.scalars import Count
from domain.checkout import ReserveOrder
from domain.stock_item import (
    CountStock,
    DespatchStock,
    ReceiveStock,
    ReleaseStock,
    ReserveStock,
    SetReorderLevel,
    stream,
)
from readmodels.page import Page
from readmodels.stock_levels import STOCK_LEVELS, stock_levels
from readmodels.stock_levels import StockLevel as StockLevelView

PREFIX = stream("")


@strawberry.type
class StockLevel(Node):
    """The stock of one product."""

    sku: str
    name: str
    on_hand: Count
    reserved: Count
    available: Count
    reorder_level: int
    low: bool = strawberry.field(description="Whether it is time to order again.")
    version: int

    @classmethod
    def is_type_of(cls, value: object, _: Any) -> bool:
        return isinstance(value, StockLevelView)


# -- queries


@strawberry.enum
class StockLevelOrder(Enum):
    SKU_ASC = "sku_asc"
    SKU_DESC = "sku_desc"
    AVAILABLE_ASC = "available_asc"
    AVAILABLE_DESC = "available_desc"
    ON_HAND_ASC = "on_hand_asc"
    ON_HAND_DESC = "on_hand_desc"


@strawberry.input
class StockLevelWhere:
    sku: StringFilter | None = None
    low: BooleanFilter | None = None
    available: IntFilter | None = None
    on_hand: IntFilter | None = None


@strawberry.type
class StockQuery:
    @reading(STAFF, stream=lambda asked: PREFIX + asked["sku"])
    async def stock_level(self, info: Info, sku: str) -> StockLevel | None:
        return cast("StockLevel | None", await info.context.load(STOCK_LEVELS, sku))

    @reading(STAFF)
    async def stock_levels(
        self,
        info: Info,
        page: Page,
        where: StockLevelWhere | None = None,
        order_by: list[StockLevelOrder] | None = None,
    ) -> Connection[StockLevel]:
        query = stock_levels(conditions(where), sorts(order_by), page)
        return cast(Connection[StockLevel], await connect(info, STOCK_LEVELS, query))


# -- commands


@strawberry.type
class StockPayload(Payload):
    @strawberry.field(description="The stock as it is after the command.")
    async def stock_level(self, info: Info) -> StockLevel | None:
        found = await after_receipt(info, self.receipt, STOCK_LEVELS, PREFIX)
        return cast("StockLevel | None", found)


@strawberry.type
class ReceiveStockPayload(StockPayload):
    pass


@strawberry.type
class ReserveStockPayload(StockPayload):
    pass


@strawberry.type
class ReleaseStockPayload(StockPayload):
    pass


@strawberry.type
class DespatchStockPayload(StockPayload):
    pass


@strawberry.type
class CountStockPayload(StockPayload):
    pass


@strawberry.type
class SetReorderLevelPayload(StockPayload):
    pass


@strawberry.type
class ReserveOrderPayload(OrderPayload):
    pass


@strawberry.input
class ReceiveStockInput(CommandInput):
    sku: str
    quantity: int
    source: str = ""

    def command(self, at: datetime) -> ReceiveStock:
        return ReceiveStock(sku=self.sku, quantity=self.quantity, source=self.source, at=at)


@strawberry.input
class ReserveStockInput(CommandInput):
    sku: str
    order_id: strawberry.ID
    quantity: int

    def command(self, at: datetime) -> ReserveStock:
        return ReserveStock(sku=self.sku, order_id=self.order_id, quantity=self.quantity, at=at)


@strawberry.input
class ReleaseStockInput(CommandInput):
    sku: str
    order_id: strawberry.ID

    def command(self, at: datetime) -> ReleaseStock:
        return ReleaseStock(sku=self.sku, order_id=self.order_id, at=at)


@strawberry.input
class DespatchStockInput(CommandInput):
    sku: str
    order_id: strawberry.ID
    quantity: int

    def command(self, at: datetime) -> DespatchStock:
        return DespatchStock(sku=self.sku, order_id=self.order_id, quantity=self.quantity, at=at)


@strawberry.input
class CountStockInput(CommandInput):
    sku: str
    counted: int
    expected_version: int | None = None

    def command(self, at: datetime) -> CountStock:
        return CountStock(sku=self.sku, counted=self.counted, at=at)


@strawberry.input
class SetReorderLevelInput(CommandInput):
    sku: str
    level: int
    expected_version: int | None = None

    def command(self, at: datetime) -> SetReorderLevel:
        return SetReorderLevel(sku=self.sku, level=self.level, at=at)


@strawberry.input
class ReserveOrderInput(CommandInput):
    order_id: strawberry.ID

    def command(self, at: datetime) -> ReserveOrder:
        return ReserveOrder(order_id=self.order_id, at=at)


@strawberry.type
class StockMutation:
    @strawberry.mutation(metadata=STAFF)
    async def receive_stock(self, info: Info, input: ReceiveStockInput) -> ReceiveStockPayload:
        return await send(info, input, ReceiveStockPayload)

    @strawberry.mutation(metadata=STAFF)
    async def reserve_stock(self, info: Info, input: ReserveStockInput) -> ReserveStockPayload:
        return await send(info, input, ReserveStockPayload)

    @strawberry.mutation(metadata=STAFF)
    async def release_stock(self, info: Info, input: ReleaseStockInput) -> ReleaseStockPayload:
        return await send(info, input, ReleaseStockPayload)

    @strawberry.mutation(metadata=STAFF)
    async def despatch_stock(self, info: Info, input: DespatchStockInput) -> DespatchStockPayload:
        return await send(info, input, DespatchStockPayload)

    @strawberry.mutation(metadata=STAFF)
    async def count_stock(self, info: Info, input: CountStockInput) -> CountStockPayload:
        return await send(info, input, CountStockPayload)

    @strawberry.mutation(metadata=STAFF)
    async def set_reorder_level(
        self, info: Info, input: SetReorderLevelInput
    ) -> SetReorderLevelPayload:
        return await send(info, input, SetReorderLevelPayload)

    @strawberry.mutation(
        metadata=STAFF, description="Keep every line in stock, or none; the order says."
    )
    async def reserve_order(self, info: Info, input: ReserveOrderInput) -> ReserveOrderPayload:
        return await send(info, input, ReserveOrderPayload)
