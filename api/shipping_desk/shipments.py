"""A shipment as the desk knows it: what belongs to it, and how far it has come.

1. A line is sent once, and arrives after it was sent; a repeat changes nothing.
2. What the order was cancelled for is not sent any more.
3. It goes where the customer lives by the desk's copy, unless the order said another place.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Final

from domain.decider import message
from domain.published_messages import PostalAddress

MOST_LINES_ASKED: Final = 100


class Status(Enum):
    BOOKED = "booked"
    PARTLY_SENT = "partly_sent"
    SENT = "sent"
    ARRIVED = "arrived"
    CALLED_OFF = "called_off"


@message
class Line:
    """`number` is that of the order's line."""

    number: int
    sku: str
    quantity: int


@message
class Shipment:
    """`deliver_to` is None where the customer's own address is meant."""

    id: str
    order_id: str
    customer_id: str
    lines: tuple[Line, ...]
    deliver_to: PostalAddress | None
    booked_at: datetime
    sent: tuple[int, ...] = ()
    arrived: tuple[int, ...] = ()
    called_off: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(line.number for line in self.lines)

    @property
    def unsent(self) -> tuple[int, ...]:
        return tuple(number for number in self.numbers if number not in self.sent)

    @property
    def status(self) -> Status:
        if self.called_off:
            return Status.CALLED_OFF
        if not self.sent:
            return Status.BOOKED
        if self.unsent:
            return Status.PARTLY_SENT
        return Status.ARRIVED if set(self.arrived) == set(self.sent) else Status.SENT


class DeskRefusal(Exception):
    """What cannot be done at the desk; the code is stable, the text is for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def _wanted(shipment: Shipment, lines: Sequence[int], otherwise: Sequence[int]) -> tuple[int, ...]:
    """The lines that are meant, each once; raises `DeskRefusal` for one that is not there."""
    if len(lines) > MOST_LINES_ASKED:
        raise DeskRefusal("TOO_MANY_LINES", f"At most {MOST_LINES_ASKED} lines at once.")
    for number in lines:
        if number not in shipment.numbers:
            raise DeskRefusal("LINE_UNKNOWN", f"{shipment.id} has no line {number}.")
    return tuple(dict.fromkeys(lines or otherwise))


def send(shipment: Shipment, lines: Sequence[int]) -> tuple[Shipment, tuple[int, ...]]:
    """The shipment with these lines sent (none means all), and those that were not before; raises
    `DeskRefusal`."""
    if shipment.called_off:
        raise DeskRefusal("CALLED_OFF", f"The order of {shipment.id} is cancelled.")
    wanted = _wanted(shipment, lines, shipment.unsent)
    new = tuple(number for number in wanted if number not in shipment.sent)
    return replace(shipment, sent=(*shipment.sent, *new)), new


def arrive(shipment: Shipment, lines: Sequence[int]) -> tuple[Shipment, tuple[int, ...]]:
    """The shipment with these lines arrived (none means all that were sent), and those that had
    not before; raises `DeskRefusal`."""
    wanted = _wanted(shipment, lines, shipment.sent)
    for number in wanted:
        if number not in shipment.sent:
            raise DeskRefusal("LINE_NOT_SENT", f"Line {number} of {shipment.id} is still here.")
    new = tuple(number for number in wanted if number not in shipment.arrived)
    return replace(shipment, arrived=(*shipment.arrived, *new)), new


def call_off(shipment: Shipment) -> Shipment:
    """What has left the house stays sent."""
    return shipment if shipment.sent else replace(shipment, called_off=True)
