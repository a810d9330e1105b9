"""What people at the desk ask and enter. Everything is answered from the desk's own database.

What cannot be done is data (`errors`, each with a stable code); only trouble is a top-level error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import strawberry
from strawberry.schema.config import StrawberryConfig

from api.auth import Principal
from api.errors import ApiError, ErrorCode
from api.inputs import prepare_inputs
from api.rights import STAFF, rights
from api.scalars import SCALARS, Count
from api.shipping_desk import labels
from api.shipping_desk.calling import Caller
from api.shipping_desk.calls import Kind
from api.shipping_desk.freshness import by_topic
from api.shipping_desk.listening import Listener
from api.shipping_desk.shipments import DeskRefusal, Status
from api.shipping_desk.shipments import Shipment as ShipmentValue
from api.shipping_desk.store import CALLS, CUSTOMERS, PRODUCTS, UNREADABLE, Store
from api.shipping_desk.types import (
    Customer,
    Freshness,
    Label,
    LabelAnswer,
    Product,
    Refusal,
    Shipment,
    TopicFreshness,
    WaitingCall,
)

MOST_LISTED: Final = 100


@dataclass(frozen=True)
class Desk:
    """What is open while the desk runs."""

    store: Store
    caller: Caller
    listener: Listener


@dataclass(frozen=True)
class Context:
    """What resolvers get as `info.context`."""

    principal: Principal
    trace_id: str
    desk: Desk

    def extensions(self) -> dict[str, Any]:
        return {}


Info: TypeAlias = strawberry.Info[Context, None]


# -- queries


def _refusal(refused: DeskRefusal) -> Refusal:
    return Refusal(code=refused.code, message=str(refused))


def _few(first: int) -> int:
    if not 1 <= first <= MOST_LISTED:
        raise ApiError(ErrorCode.BAD_REQUEST, f"`first` is 1 to {MOST_LISTED}.")
    return first


async def _label_of(store: Store, shipment: ShipmentValue) -> labels.Label:
    """Raises `DeskRefusal`."""
    customer = await store.customer(shipment.customer_id)
    products = await store.products([line.sku for line in shipment.lines])
    return labels.label(shipment, customer, products)


@strawberry.type
class Query:
    @strawberry.field(metadata=STAFF)
    async def shipment(self, info: Info, id: strawberry.ID) -> Shipment | None:
        return cast("Shipment | None", await info.context.desk.store.shipment(id))

    @strawberry.field(metadata=STAFF, description="Null where there is no such shipment.")
    async def label(self, info: Info, shipment_id: strawberry.ID) -> LabelAnswer | None:
        store = info.context.desk.store
        shipment = await store.shipment(shipment_id)
        if shipment is None:
            return None
        try:
            return LabelAnswer(errors=[], label=cast(Label, await _label_of(store, shipment)))
        except DeskRefusal as refused:
            return LabelAnswer(errors=[_refusal(refused)], label=None)

    @strawberry.field(metadata=STAFF, description="What was booked first comes first.")
    async def queue(
        self, info: Info, statuses: list[Status] | None = None, first: int = 20
    ) -> list[Shipment]:
        wanted = statuses or [Status.BOOKED, Status.PARTLY_SENT]
        names = [status.value for status in wanted]
        return cast(list[Shipment], await info.context.desk.store.queue(names, _few(first)))

    @strawberry.field(metadata=STAFF, description="Those that have waited longest first.")
    async def calls(self, info: Info, refused: bool = False, first: int = 20) -> list[WaitingCall]:
        store = info.context.desk.store
        found = await store.unanswered(refused=refused, limit=_few(first))
        return cast(list[WaitingCall], found)

    @strawberry.field(metadata=STAFF)
    async def customer(self, info: Info, id: strawberry.ID) -> Customer | None:
        found = await info.context.desk.store.customer(id)
        return cast(Customer, found) if found and found.address else None

    @strawberry.field(metadata=STAFF)
    async def product(self, info: Info, sku: str) -> Product | None:
        found = await info.context.desk.store.products([sku])
        return cast("Product | None", found.get(sku))

    @strawberry.field(metadata=STAFF)
    async def copy_freshness(self, info: Info) -> Freshness:
        desk = info.context.desk
        topics = by_topic(await desk.store.reached())
        counts = await desk.store.counts()
        return Freshness(
            topics=cast(list[TopicFreshness], topics),
            customers=Count(counts[CUSTOMERS]),
            products=Count(counts[PRODUCTS]),
            waiting=Count(counts[CALLS]),
            unreadable=Count(counts[UNREADABLE]),
            hearing=desk.listener.trouble,
            calling=desk.caller.trouble,
        )


# -- what is entered


@strawberry.type
class Moved:
    """The shipment as it is now; null with errors."""

    errors: list[Refusal]
    shipment: Shipment | None


@strawberry.input
class MoveInput:
    """`lines` are line numbers of the order; none means all that there are to be moved."""

    shipment_id: strawberry.ID
    lines: list[int] = strawberry.field(default_factory=list)


async def _moved(info: Info, kind: Kind, id: str, lines: Sequence[int]) -> Moved:
    desk = info.context.desk
    try:
        shipment = await desk.store.move(kind, id, lines)
    except DeskRefusal as refused:
        return Moved(errors=[_refusal(refused)], shipment=None)
    desk.caller.wake()
    return Moved(errors=[], shipment=cast(Shipment, shipment))


@strawberry.type
class Mutation:
    @strawberry.mutation(metadata=STAFF, description="A parcel leaves the house.")
    async def send_parcel(self, info: Info, input: MoveInput) -> Moved:
        return await _moved(info, Kind.REPORT_SENT, input.shipment_id, input.lines)

    @strawberry.mutation(metadata=STAFF, description="A parcel has arrived.")
    async def record_arrival(self, info: Info, input: MoveInput) -> Moved:
        return await _moved(info, Kind.REPORT_ARRIVED, input.shipment_id, input.lines)


RIGHTS: Final = rights((Query, Mutation))

SCHEMA: Final = strawberry.Schema(
    query=Query, mutation=Mutation, config=StrawberryConfig(scalar_map=SCALARS)
)
prepare_inputs(SCHEMA)
