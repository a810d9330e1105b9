"""What happened, as one plain sentence for the people whose order or account it is.

Nobody's address or name stands in it, so that it can be kept when a person is forgotten.
"""

from collections.abc import Iterable
from typing import TypeAlias, assert_never

from domain.customer import (
    CustomerAddressChanged,
    CustomerReinstated,
    CustomerSuspended,
)
from domain.money import MINOR_DIGITS
from domain.order import (
    OrderCancelled,
    OrderConfirmed,
    OrderLinesDelivered,
    OrderLinesDispatched,
    OrderLinesReturned,
    OrderNotReserved,
    OrderPlaced,
    OrderReserved,
    Shortage,
)
from domain.payment import PaymentDeclined, PaymentRefunded

Told: TypeAlias = (
    OrderPlaced
    | OrderReserved
    | OrderNotReserved
    | OrderConfirmed
    | OrderCancelled
    | OrderLinesDispatched
    | OrderLinesDelivered
    | OrderLinesReturned
    | PaymentDeclined
    | PaymentRefunded
    | CustomerAddressChanged
    | CustomerSuspended
    | CustomerReinstated
)


def sentence(event: Told) -> str:
    match event:
        case OrderPlaced():
            total = amount(event.total, event.currency)
            return f"The order was placed: {count(len(event.lines))}, {total} in all."
        case OrderReserved():
            return "All that was ordered is in stock, and kept for the order."
        case OrderNotReserved():
            return f"The order could not be reserved{missing(event.shortages)}."
        case OrderConfirmed():
            return "The order was confirmed: its payment is secured."
        case OrderCancelled():
            return f"The order was cancelled: {event.reason}"
        case OrderLinesDispatched():
            return f"{numbered(event.lines)} dispatched; {to_come(event.rest)}."
        case OrderLinesDelivered():
            return f"{numbered(event.lines)} delivered; {to_come(event.rest)}."
        case OrderLinesReturned():
            return f"{numbered(line.number for line in event.lines)} returned: {event.reason}"
        case PaymentDeclined():
            return f"The payment was declined: {event.reason}"
        case PaymentRefunded():
            return f"{amount(event.amount, event.currency)} were paid back."
        case CustomerAddressChanged():
            return "The address was changed."
        case CustomerSuspended():
            return f"The account was suspended: {event.reason}"
        case CustomerReinstated():
            return "The account was reinstated."
        case _:
            assert_never(event)


def amount(minor: int, currency: str) -> str:
    """`123.45 EUR`, with the decimals of the currency."""
    digits = MINOR_DIGITS[currency]
    if not digits:
        return f"{minor} {currency}"
    whole, part = divmod(minor, 10**digits)
    return f"{whole}.{part:0{digits}} {currency}"


def missing(shortages: Iterable[Shortage]) -> str:
    """`: tea (3 wanted, 1 there), cup (1 wanted, 0 there)`; nothing where nothing is known."""
    told = [f"{s.sku} ({s.requested} wanted, {s.available} there)" for s in shortages]
    return f": {', '.join(told)}" if told else ""


def count(lines: int) -> str:
    return "1 line" if lines == 1 else f"{lines} lines"


def numbered(lines: Iterable[int]) -> str:
    """`Line 2 was`; `Lines 1, 2 and 5 were`."""
    *others, last = map(str, lines)
    return f"Lines {', '.join(others)} and {last} were" if others else f"Line {last} was"


def to_come(rest: int) -> str:
    if not rest:
        return "that was all"
    return f"{count(rest)} still to come"
