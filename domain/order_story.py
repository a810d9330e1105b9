"""What the process from order to cash remembers of an order, and what it works out from that."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from domain.address import Address
from domain.decider import message
from domain.money import gross, net
from domain.order import (
    OrderCancelled,
    OrderLinesDispatched,
    OrderLinesReturned,
    OrderPlaced,
    OrderReserved,
)
from domain.order_line import Line
from domain.payment import AuthorisationRequested, PaymentDeclined
from domain.shipment import ShipmentBooked


@message
class Story:
    """What the process remembers of an order. `sent` and `returned` are line numbers."""

    order_id: str = ""
    customer_id: str = ""
    currency: str = ""
    card: str = ""
    total: int = 0
    lines: tuple[Line, ...] = ()
    deliver_to: Address | None = None
    reserved: bool = False
    cancelled: bool = False
    asked_payment: bool = False
    declined: bool = False
    booked: bool = False
    sent: tuple[int, ...] = ()
    returned: tuple[int, ...] = ()

    @property
    def payment_id(self) -> str:
        return self.order_id.replace("order-", "payment-", 1)

    @property
    def shipment_id(self) -> str:
        return self.order_id.replace("order-", "shipment-", 1)

    def entry_id(self, what: str) -> str:
        """The id of a ledger entry of this order."""
        return f"{self.order_id.replace('order-', 'entry-', 1)}-{what}"

    def sums(self, numbers: Iterable[int]) -> tuple[int, int]:
        """Gross and net of these lines together, rounded once."""
        lines = [self.lines[number - 1] for number in numbers]
        exact = [(line.net_exact, line.tax) for line in lines]
        return gross(exact), net(exact)

    def difference(self, before: tuple[int, ...], more: tuple[int, ...]) -> tuple[int, int]:
        """Gross and net that `more` lines add to those `before`."""
        (gross_all, net_all), (gross_before, net_before) = (
            self.sums((*before, *more)),
            self.sums(before),
        )
        return gross_all - gross_before, net_all - net_before


def evolve(story: Story, event: Any) -> Story:
    if not story.order_id and not isinstance(event, OrderPlaced):
        return story  # it has not begun
    match event:
        case OrderPlaced():
            return Story(
                order_id=event.order_id,
                customer_id=event.customer_id,
                currency=event.currency,
                card=event.card,
                total=event.total,
                lines=event.lines,
                deliver_to=event.deliver_to,
            )
        case OrderReserved():
            return replace(story, reserved=True)
        case OrderCancelled():
            return replace(story, cancelled=True)
        case AuthorisationRequested():
            return replace(story, asked_payment=True)
        case PaymentDeclined():
            return replace(story, declined=True)
        case ShipmentBooked():
            return replace(story, booked=True)
        case OrderLinesDispatched():
            return replace(story, sent=(*story.sent, *event.lines))
        case OrderLinesReturned():
            numbers = tuple(line.number for line in event.lines)
            return replace(story, returned=(*story.returned, *numbers))
        case _:
            return story
