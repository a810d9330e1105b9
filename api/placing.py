"""The commands of an order's life."""

from datetime import datetime
from decimal import Decimal
from typing import Final, cast

import strawberry

from api.commands import CommandInput, Payload, few_lines, new_id, send
from api.context import Info
from api.errors import ApiError, ErrorCode
from api.node import after_receipt
from api.orders import Order
from api.rights import EVERYONE, STAFF
from api.values import AddressInput, MoneyInput, basis_points
from domain.checkout import DispatchLines
from domain.order import CancelOrder, MarkLinesDelivered, PlaceOrder, ReturnLines
from domain.order_line import LineWanted
from readmodels.order_details import ORDER_DETAILS

CARD_ON_FILE: Final = "on-file"
"""The card that the payment provider knows of the customer."""


@strawberry.type
class OrderPayload(Payload):
    @strawberry.field(description="The order as it is after the command.")
    async def order(self, info: Info) -> Order | None:
        return cast("Order | None", await after_receipt(info, self.receipt, ORDER_DETAILS))


@strawberry.type
class PlaceOrderPayload(OrderPayload):
    pass


@strawberry.type
class CancelOrderPayload(OrderPayload):
    pass


@strawberry.type
class DispatchLinesPayload(OrderPayload):
    pass


@strawberry.type
class MarkLinesDeliveredPayload(OrderPayload):
    pass


@strawberry.type
class ReturnLinesPayload(OrderPayload):
    pass


@strawberry.input
class OrderLineInput:
    """Price, discount and tax come from the catalogue; staff may give them."""

    sku: str
    quantity: int
    unit_price: MoneyInput | None = None
    discount: Decimal | None = None
    tax_rate: Decimal | None = None

    def wanted(self, index: int) -> LineWanted:
        path = ("lines", str(index))
        return LineWanted(
            sku=self.sku,
            quantity=self.quantity,
            unit_price=self.unit_price.value(*path, "unitPrice") if self.unit_price else None,
            discount=basis_points(self.discount, *path, "discount"),
            tax=basis_points(self.tax_rate, *path, "taxRate"),
        )

    def is_from_catalogue(self) -> bool:
        return self.unit_price is None and self.discount is None and self.tax_rate is None


@strawberry.input
class PlaceOrderInput(CommandInput):
    customer_id: strawberry.ID
    lines: list[OrderLineInput]
    deliver_to: AddressInput | None = None
    card: str = strawberry.field(
        default=CARD_ON_FILE,
        description="The provider's name for the card that is charged, never its number. The "
        "sandbox has test cards: `ok`, `declined`, `slow`, `timeout`, `error-500`, `lost-answer` "
        "and `duplicate-callback`.",
    )
    imported: bool = strawberry.field(
        default=False,
        description="Staff only: an order of the past, told from elsewhere. Nothing is reserved, "
        "charged or posted for it, and its lines can be dispatched without being confirmed.",
    )

    def command(self, at: datetime) -> PlaceOrder:
        return PlaceOrder(
            order_id=new_id("order", self.command_id),
            customer_id=self.customer_id,
            lines=tuple(line.wanted(index) for index, line in enumerate(few_lines(self.lines))),
            deliver_to=self.deliver_to.value() if self.deliver_to else None,
            card=self.card,
            imported=self.imported,
            at=at,
        )

    def is_for_customers(self) -> bool:
        """Whether it says nothing that only staff may say."""
        return not self.imported and all(line.is_from_catalogue() for line in self.lines)


@strawberry.input
class CancelOrderInput(CommandInput):
    order_id: strawberry.ID
    reason: str
    expected_version: int | None = None
    customer_id: strawberry.Private[str | None] = None

    def command(self, at: datetime) -> CancelOrder:
        return CancelOrder(
            order_id=self.order_id, reason=self.reason, customer_id=self.customer_id, at=at
        )


@strawberry.input
class DispatchLinesInput(CommandInput):
    """`lines` are line numbers."""

    order_id: strawberry.ID
    lines: list[int]

    def command(self, at: datetime) -> DispatchLines:
        return DispatchLines(order_id=self.order_id, lines=few_lines(self.lines), at=at)


@strawberry.input
class MarkLinesDeliveredInput(CommandInput):
    """`lines` are line numbers."""

    order_id: strawberry.ID
    lines: list[int]

    def command(self, at: datetime) -> MarkLinesDelivered:
        return MarkLinesDelivered(order_id=self.order_id, lines=few_lines(self.lines), at=at)


@strawberry.input
class ReturnLinesInput(CommandInput):
    """`lines` are line numbers."""

    order_id: strawberry.ID
    lines: list[int]
    reason: str

    def command(self, at: datetime) -> ReturnLines:
        return ReturnLines(
            order_id=self.order_id, lines=few_lines(self.lines), reason=self.reason, at=at
        )


@strawberry.type
class PlacingMutation:
    @strawberry.mutation(metadata=EVERYONE, description="Place an order; customers for themselves.")
    async def place_order(self, info: Info, input: PlaceOrderInput) -> PlaceOrderPayload:
        info.context.require_own(input.customer_id)
        if not info.context.is_staff() and not input.is_for_customers():
            message = "Only staff may give prices, discounts and taxes, or import orders."
            raise ApiError(ErrorCode.FORBIDDEN, message)
        return await send(info, input, PlaceOrderPayload)

    @strawberry.mutation(metadata=EVERYONE, description="Cancel an order; customers their own.")
    async def cancel_order(self, info: Info, input: CancelOrderInput) -> CancelOrderPayload:
        if not info.context.is_staff():
            input.customer_id = info.context.principal.customer_id or ""
        return await send(info, input, CancelOrderPayload)

    @strawberry.mutation(metadata=STAFF, description="Take lines out of stock and send them.")
    async def dispatch_lines(self, info: Info, input: DispatchLinesInput) -> DispatchLinesPayload:
        return await send(info, input, DispatchLinesPayload)

    @strawberry.mutation(metadata=STAFF)
    async def mark_lines_delivered(
        self, info: Info, input: MarkLinesDeliveredInput
    ) -> MarkLinesDeliveredPayload:
        return await send(info, input, MarkLinesDeliveredPayload)

    @strawberry.mutation(metadata=STAFF)
    async def return_lines(self, info: Info, input: ReturnLinesInput) -> ReturnLinesPayload:
        return await send(info, input, ReturnLinesPayload)
