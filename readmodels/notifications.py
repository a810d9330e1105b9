"""Notifications: what has a customer been told, and what since they last looked?

1. One document per event, written once. Its `position` is the place to resume after.
2. A parcel that was sent or has arrived is told once, by what became of the lines of the order.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Final

from domain.customer import CustomerAddressChanged, CustomerReinstated, CustomerSuspended
from domain.decider import message
from domain.order import (
    OrderCancelled,
    OrderConfirmed,
    OrderLinesDelivered,
    OrderLinesDispatched,
    OrderLinesReturned,
    OrderPlaced,
)
from domain.payment import PaymentDeclined, PaymentRefunded
from domain.recorded import Recorded
from readmodels.page import FIRST_PAGE, Condition, Field, Op, Page, Select, Sort, select
from readmodels.projection import Projection, index, joined
from readmodels.wording import sentence


class NotificationKind(Enum):
    ORDER_PLACED = "order_placed"
    ORDER_CONFIRMED = "order_confirmed"
    PAYMENT_DECLINED = "payment_declined"
    ORDER_CANCELLED = "order_cancelled"
    LINES_DISPATCHED = "lines_dispatched"
    LINES_DELIVERED = "lines_delivered"
    RETURN_RECEIVED = "return_received"
    REFUNDED = "refunded"
    ADDRESS_CHANGED = "address_changed"
    SUSPENDED = "suspended"
    REINSTATED = "reinstated"


KINDS: Final[Mapping[type, NotificationKind]] = {
    OrderPlaced: NotificationKind.ORDER_PLACED,
    OrderConfirmed: NotificationKind.ORDER_CONFIRMED,
    PaymentDeclined: NotificationKind.PAYMENT_DECLINED,
    OrderCancelled: NotificationKind.ORDER_CANCELLED,
    OrderLinesDispatched: NotificationKind.LINES_DISPATCHED,
    OrderLinesDelivered: NotificationKind.LINES_DELIVERED,
    OrderLinesReturned: NotificationKind.RETURN_RECEIVED,
    PaymentRefunded: NotificationKind.REFUNDED,
    CustomerAddressChanged: NotificationKind.ADDRESS_CHANGED,
    CustomerSuspended: NotificationKind.SUSPENDED,
    CustomerReinstated: NotificationKind.REINSTATED,
}


@message
class Notification:
    customer_id: str
    kind: NotificationKind
    order_id: str | None
    text: str
    at: datetime


def keys(recorded: Recorded) -> tuple[str, ...]:
    return (joined(recorded.event.customer_id, f"{recorded.position:016}"),)


def evolve(_: Notification | None, recorded: Recorded, __: str) -> Notification:
    event = recorded.event
    return Notification(
        customer_id=event.customer_id,
        kind=KINDS[type(event)],
        order_id=getattr(event, "order_id", None),
        text=sentence(event),
        at=event.at,
    )


FIELDS: Final = {"customer_id": Field(str, sortable=False), "position": Field(int)}

OLDEST_FIRST: Final = (Sort("position"),)


def inbox(customer_id: str | None, after: int = 0, page: Page = FIRST_PAGE) -> Select:
    """A page of the notifications after a position: of a customer, or of all (for staff)."""
    where = [Condition("position", Op.GT, after)]
    if customer_id is not None:
        where.append(Condition("customer_id", Op.EQ, customer_id))
    return select(FIELDS, where, OLDEST_FIRST, page)


NOTIFICATIONS: Final = Projection(
    name="notifications",
    version=2,
    view=Notification,
    events=tuple(KINDS),
    keys=keys,
    once=True,
    evolve=evolve,
    indexes=(index("customer_id", "position"), index("position")),
)
