"""A line of an order: what it costs, and how far it has come.

1. An order has 1 to 100 lines of one currency, each complete and within bounds.
2. Lines are numbered from 1, in the order in which they were given.
3. A line without a name of its own is called by its stock keeping unit.
4. What becomes of a line comes in order: ordered, dispatched, delivered, returned.
"""

from enum import Enum
from typing import Final

from domain.decider import DomainError, domain_error, message, refuse_if_any
from domain.money import (
    MOST_MINOR_UNITS,
    AmountOutOfRange,
    Money,
    net_exact,
    price_errors,
    quantity_errors,
    rate_errors,
    text_errors,
)

MOST_LINES: Final = 100


@message
class LineWanted:
    """What is ordered; price, discount and tax may be left to the catalogue (see checkout)."""

    sku: str
    quantity: int
    name: str | None = None
    unit_price: Money | None = None
    discount: int | None = None
    tax: int | None = None


@message
class Line:
    """`unit_price` in minor units of the order's currency, rates in basis points."""

    number: int
    sku: str
    name: str
    quantity: int
    unit_price: int
    discount: int
    tax: int

    @property
    def net_exact(self) -> int:
        """Revenue of the line in exact units (1/10,000 minor unit), before tax."""
        return net_exact(self.unit_price, self.quantity, self.discount)


class Progress(Enum):
    """How far a line has come. The order of the members is the order of life."""

    ORDERED = "ordered"
    DISPATCHED = "dispatched"
    DELIVERED = "delivered"
    RETURNED = "returned"

    def is_before(self, step: "Progress") -> bool:
        steps = list(Progress)
        return steps.index(self) < steps.index(step)


# -- errors


@domain_error
class LineCountOutOfRange(DomainError):
    text = "An order has 1 to {most} lines, not {lines}."
    lines: int
    most: int
    path: tuple[str, ...] = ("lines",)


@domain_error
class LineIncomplete(DomainError):
    text = "The line for {sku} has no price."
    sku: str
    path: tuple[str, ...] = ("lines",)


@domain_error
class CurrenciesDiffer(DomainError):
    text = "The lines of an order must have one currency, not {currencies}."
    currencies: str
    path: tuple[str, ...] = ("lines",)


@domain_error
class LineUnknown(DomainError):
    text = "The order {order_id} has no line {line}."
    order_id: str
    line: int
    path: tuple[str, ...] = ("lines",)


@domain_error
class LineNotDispatched(DomainError):
    text = "Line {line} of the order {order_id} has not been dispatched."
    order_id: str
    line: int
    path: tuple[str, ...] = ("lines",)


@domain_error
class LineNotDelivered(DomainError):
    text = "Line {line} of the order {order_id} has not been delivered."
    order_id: str
    line: int
    path: tuple[str, ...] = ("lines",)


LINE_ERRORS: Final = (
    LineCountOutOfRange,
    LineIncomplete,
    CurrenciesDiffer,
    LineUnknown,
    LineNotDispatched,
    LineNotDelivered,
)


# -- what is ordered becomes lines


def _price_errors(line: LineWanted) -> list[DomainError]:
    """The price of a piece, and of all pieces before discount, must be given and in bounds."""
    if line.unit_price is None:
        return [LineIncomplete(sku=line.sku, path=())]
    errors = price_errors(line.unit_price, "unitPrice")
    undiscounted = line.unit_price.amount * line.quantity
    if not errors and undiscounted > MOST_MINOR_UNITS:
        return [AmountOutOfRange(amount=undiscounted, currency=line.unit_price.currency, path=())]
    return errors


def _line_errors(line: LineWanted, number: int) -> list[DomainError]:
    errors = (
        text_errors(line.sku, "sku", most=64)
        + (text_errors(line.name, "name") if line.name else [])
        + (quantity_errors(line.quantity, "quantity") or _price_errors(line))
        + (rate_errors(line.discount, "discount") if line.discount else [])
        + (rate_errors(line.tax, "taxRate") if line.tax else [])
    )
    for error in errors:
        error.path = ("lines", str(number), *error.path)
    return errors


def priced(lines: tuple[LineWanted, ...]) -> tuple[str, tuple[Line, ...]]:
    """The currency and the numbered lines of an order; every line must be complete."""
    if not 1 <= len(lines) <= MOST_LINES:
        raise LineCountOutOfRange(lines=len(lines), most=MOST_LINES)
    refuse_if_any(error for i, line in enumerate(lines) for error in _line_errors(line, i))
    prices = [line.unit_price for line in lines if line.unit_price is not None]
    currencies = {price.currency for price in prices}
    if len(currencies) > 1:
        raise CurrenciesDiffer(currencies=", ".join(sorted(currencies)))
    return currencies.pop(), tuple(
        Line(
            number=number,
            sku=line.sku,
            name=line.name or line.sku,
            quantity=line.quantity,
            unit_price=price.amount,
            discount=line.discount or 0,
            tax=line.tax or 0,
        )
        for number, (line, price) in enumerate(zip(lines, prices, strict=True), start=1)
    )


# -- lines that move on


_TOO_EARLY: Final = {Progress.DISPATCHED: LineNotDispatched, Progress.DELIVERED: LineNotDelivered}


def lines_at(
    step: Progress,
    order_id: str,
    numbers: tuple[int, ...],
    lines: tuple[Line, ...],
    progress: tuple[Progress, ...],
) -> tuple[Line, ...]:
    """Those of the numbered lines that are at `step`, each once, in order; none short of it."""
    if not numbers:
        raise LineCountOutOfRange(lines=0, most=MOST_LINES)
    known = sorted(set(numbers))
    refuse_if_any(LineUnknown(order_id=order_id, line=n) for n in known if not 1 <= n <= len(lines))
    steps = {n: progress[n - 1] for n in known}
    refuse_if_any(
        _TOO_EARLY[step](order_id=order_id, line=n) for n in known if steps[n].is_before(step)
    )
    return tuple(lines[n - 1] for n in known if steps[n] is step)
