"""How far an order has come, in one word, from how many of its lines have come how far.

A line counts for every step it has taken: a returned line has been dispatched and delivered too.
"""

from enum import Enum


class OrderStatus(Enum):
    """The least advanced lines decide."""

    PLACED = "placed"
    """It is not confirmed, and no line has been dispatched."""
    CONFIRMED = "confirmed"
    """It is in stock and its payment is secured; no line has been dispatched."""
    PARTLY_DISPATCHED = "partly_dispatched"
    """Some lines have been dispatched, others not."""
    DISPATCHED = "dispatched"
    """All lines have been dispatched, none delivered."""
    PARTLY_DELIVERED = "partly_delivered"
    """All lines have been dispatched, some delivered."""
    DELIVERED = "delivered"
    """All lines have been delivered, and at least one was kept."""
    RETURNED = "returned"
    """All lines have been returned."""
    CANCELLED = "cancelled"


def status_of(
    lines: int, dispatched: int, delivered: int, returned: int, *, confirmed: bool
) -> OrderStatus:
    """The status of an order that stands, from the number of lines and of steps taken."""
    if returned == lines:
        return OrderStatus.RETURNED
    if delivered == lines:
        return OrderStatus.DELIVERED
    if dispatched == lines:
        return OrderStatus.PARTLY_DELIVERED if delivered else OrderStatus.DISPATCHED
    if dispatched:
        return OrderStatus.PARTLY_DISPATCHED
    return OrderStatus.CONFIRMED if confirmed else OrderStatus.PLACED
