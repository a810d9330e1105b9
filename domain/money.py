"""Money and its one rounding rule.

1. Money is a whole number of minor units of a currency; never a float.
2. Rates (discount, tax) are whole basis points: 500 is 5 %.
3. A calculation stays exact, as a whole number of 1/10,000 minor units, until it is shown or
   charged; then it is rounded once, half away from zero. Sums are rounded after summing.
"""

import re
from decimal import Decimal
from typing import Final

from domain.decider import DomainError, domain_error, message

MINOR_DIGITS: Final = {"EUR": 2, "USD": 2, "GBP": 2, "CHF": 2, "SEK": 2, "JPY": 0, "KWD": 3}
"""Currencies accepted here, with the number of decimals of their minor unit (ISO 4217)."""

ONE: Final = 10_000
"""Basis points in one, and exact units in one minor unit."""

MOST_MINOR_UNITS: Final = 10**11
"""The largest amount of one price or order; keeps every sum of them far inside 64 bits."""


@message
class Money:
    """`amount` in minor units."""

    amount: int
    currency: str


@domain_error
class AmountOutOfRange(DomainError):
    text = "The amount {amount} {currency} is outside of what is accepted."
    amount: int
    currency: str
    path: tuple[str, ...] = ()


@domain_error
class AmountTooPrecise(DomainError):
    text = "The amount has more decimals than {currency} has."
    currency: str
    path: tuple[str, ...] = ()


@domain_error
class UnknownCurrency(DomainError):
    text = "The currency {currency} is not accepted."
    currency: str
    path: tuple[str, ...] = ()


@domain_error
class RateOutOfRange(DomainError):
    text = "A rate of {basis_points} basis points is not between 0 and 10000."
    basis_points: int
    path: tuple[str, ...] = ()


@domain_error
class RateTooPrecise(DomainError):
    text = "A rate is a whole number of basis points: it has at most 4 decimals."
    path: tuple[str, ...] = ()


@domain_error
class TextInvalid(DomainError):
    text = "The text must have 1 to {most} characters and no control characters."
    most: int
    path: tuple[str, ...] = ()


@domain_error
class QuantityOutOfRange(DomainError):
    text = "The quantity {quantity} is not between {least} and {most}."
    quantity: int
    least: int
    most: int
    path: tuple[str, ...] = ()


ERRORS: Final = (
    AmountOutOfRange,
    AmountTooPrecise,
    UnknownCurrency,
    RateOutOfRange,
    RateTooPrecise,
    TextInvalid,
    QuantityOutOfRange,
)

MOST_PIECES: Final = 1_000_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and halves of characters (lone surrogates), which no store can keep."""


def price_errors(price: Money, *path: str) -> list[DomainError]:
    """What is wrong with a price: its currency or its amount (0 is allowed)."""
    if price.currency not in MINOR_DIGITS:
        return [UnknownCurrency(currency=price.currency, path=path)]
    if not 0 <= price.amount <= MOST_MINOR_UNITS:
        return [AmountOutOfRange(amount=price.amount, currency=price.currency, path=path)]
    return []


def rate_errors(basis_points: int, *path: str) -> list[DomainError]:
    """A rate must lie between 0 and 100 %."""
    return (
        [] if 0 <= basis_points <= ONE else [RateOutOfRange(basis_points=basis_points, path=path)]
    )


def quantity_errors(quantity: int, *path: str, least: int = 1) -> list[DomainError]:
    """Pieces are counted from `least` to a million."""
    if least <= quantity <= MOST_PIECES:
        return []
    return [QuantityOutOfRange(quantity=quantity, least=least, most=MOST_PIECES, path=path)]


def text_errors(text: str, *path: str, most: int = 200) -> list[DomainError]:
    """Names and other short texts: something visible, not too long, no control characters."""
    fine = text.isprintable() or not _CONTROL.search(text)  # what prints holds none; that is cheap
    if fine and len(text) <= most and text.strip():
        return []
    return [TextInvalid(most=most, path=path)]


def rounded(exact: int, one: int = ONE) -> int:
    """Exact units to minor units, half away from zero."""
    sign = -1 if exact < 0 else 1
    return sign * ((2 * abs(exact) + one) // (2 * one))


def decimal_of(minor: int, currency: str) -> Decimal:
    """Minor units as a decimal of major units: 1234 EUR → 12.34."""
    return Decimal(minor).scaleb(-MINOR_DIGITS[currency])


def rate_of(basis_points: int) -> Decimal:
    """500 basis points → 0.0500."""
    return Decimal(basis_points).scaleb(-4)


def net_exact(unit_price: int, quantity: int, discount: int) -> int:
    """Price times quantity less discount (basis points), in exact units."""
    return unit_price * quantity * (ONE - discount)


def gross(parts: list[tuple[int, int]]) -> int:
    """What is charged for (net in exact units, tax in basis points) parts, in minor units."""
    return rounded(sum(net * (ONE + tax) for net, tax in parts), ONE * ONE)


def net(parts: list[tuple[int, int]]) -> int:
    """The same before tax, in minor units."""
    return rounded(sum(exact for exact, _ in parts))


def tax(parts: list[tuple[int, int]]) -> int:
    """The tax in `gross(parts)`: gross less rounded net, so that net + tax = gross."""
    return gross(parts) - net(parts)
