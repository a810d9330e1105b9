"""The schema: all areas put together, and who may use what."""

import asyncio
from operator import itemgetter
from typing import Any, Final, cast

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from api.branches import BranchMutation, BranchQuery
from api.catalogue import PREFIX as PRODUCT_PREFIX
from api.catalogue import CatalogueMutation, CatalogueQuery, product_of
from api.command_errors import TYPES
from api.context import Info
from api.customers import CustomerMutation, CustomerQuery
from api.differences import DifferencesQuery
from api.errors import ApiError, ErrorCode
from api.flow import FlowQuery
from api.generations import GenerationsMutation, GenerationsQuery, GenerationsSubscription
from api.history import HistoryQuery
from api.inbox import InboxQuery, InboxSubscription
from api.inputs import prepare_inputs
from api.ledger import LedgerQuery
from api.node import Node
from api.operations import OperationsQuery, OperationsSubscription
from api.orders import OrderQuery, OrderSubscription, own_order
from api.payments import PaymentQuery, own_payment
from api.placing import PlacingMutation
from api.preview import PreviewQuery
from api.reading import reading
from api.reports import ReportQuery
from api.rights import EVERYONE, rights
from api.scalars import SCALARS
from api.shipping import ShippingMutation, ShippingQuery, own_shipment
from api.stock import PREFIX as STOCK_PREFIX
from api.stock import StockMutation, StockQuery
from readmodels.customer_directory import CUSTOMER_DIRECTORY
from readmodels.page import MOST_ITEMS
from readmodels.stock_levels import STOCK_LEVELS


async def _node(info: Info, id: str) -> Any:
    """What has this id, if the caller may see it; None for what is not an id of ours."""
    category = id.partition("-")[0]
    match category:
        case "order":
            return await own_order(info, id)
        case "payment":
            return await own_payment(info, id)
        case "shipment":
            return await own_shipment(info, id)
        case "customer":
            info.context.require_own(id)
            return await info.context.load(CUSTOMER_DIRECTORY, id)
        case "product":
            return await product_of(info, id.removeprefix(PRODUCT_PREFIX))
        case "stock_item" if info.context.is_staff():
            return await info.context.load(STOCK_LEVELS, id.removeprefix(STOCK_PREFIX))
    return None


@strawberry.type
class NodeQuery:
    @reading(EVERYONE, stream=itemgetter("id"))
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:
        return cast("Node | None", await _node(info, id))

    @reading(EVERYONE, "At most 100.")
    async def nodes(self, info: Info, ids: list[strawberry.ID]) -> list[Node | None]:
        if len(ids) > MOST_ITEMS:
            raise ApiError(ErrorCode.BAD_REQUEST, f"At most {MOST_ITEMS} ids at once.")
        asked = (_node(info, one) for one in ids)
        # A refused one is null with an error at its place; the others are answered.
        return cast("list[Node | None]", await asyncio.gather(*asked, return_exceptions=True))


Query: Final = merge_types(
    "Query",
    (
        NodeQuery,
        OrderQuery,
        CustomerQuery,
        CatalogueQuery,
        StockQuery,
        PaymentQuery,
        ShippingQuery,
        LedgerQuery,
        ReportQuery,
        InboxQuery,
        OperationsQuery,
        DifferencesQuery,
        GenerationsQuery,
        FlowQuery,
        HistoryQuery,
        BranchQuery,
        PreviewQuery,
    ),
)
Mutation: Final = merge_types(
    "Mutation",
    (
        CustomerMutation,
        CatalogueMutation,
        StockMutation,
        PlacingMutation,
        ShippingMutation,
        GenerationsMutation,
        BranchMutation,
    ),
)
Subscription: Final = merge_types(
    "Subscription",
    (OrderSubscription, InboxSubscription, OperationsSubscription, GenerationsSubscription),
)

RIGHTS: Final = rights((Query, Mutation, Subscription))

SCHEMA: Final = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=list(TYPES.values()),
    config=StrawberryConfig(scalar_map=SCALARS),
)
prepare_inputs(SCHEMA)
