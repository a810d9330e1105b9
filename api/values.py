"""Values that many types share, with their inputs: money, rates, addresses."""

from decimal import Decimal
from functools import lru_cache
from typing import Final, Self

import strawberry

from api.scalars import CurrencyCode
from domain.account import Account
from domain.address import Address as AddressValue
from domain.money import (
    MINOR_DIGITS,
    MOST_MINOR_UNITS,
    ONE,
    AmountOutOfRange,
    AmountTooPrecise,
    RateOutOfRange,
    RateTooPrecise,
    decimal_of,
)
from domain.money import Money as MoneyValue

_MOST_INT = 2**31 - 1

MOST_AMOUNTS: Final = 10_000
"""Kept ready: prices and totals come again and again."""

strawberry.enum(Account, description="The accounts of the ledger.")


@strawberry.type
class Money:
    """An amount of money in major units; never a float."""

    amount: Decimal
    currency: CurrencyCode

    @classmethod
    @lru_cache(MOST_AMOUNTS)
    def of(cls, minor: int, currency: str) -> Self:
        return cls(amount=decimal_of(minor, currency), currency=CurrencyCode(currency))


@strawberry.input
class MoneyInput:
    amount: Decimal
    currency: CurrencyCode

    def value(self, *path: str) -> MoneyValue:
        """Raises `AmountTooPrecise` for a fraction of a minor unit, `AmountOutOfRange` for what
        no price can be: such numbers are refused before they get anywhere."""
        minor = self.amount.scaleb(MINOR_DIGITS[self.currency])
        if minor != minor.to_integral_value():
            raise AmountTooPrecise(currency=self.currency, path=(*path, "amount"))
        if abs(minor) > MOST_MINOR_UNITS:
            raise AmountOutOfRange(amount=int(minor), currency=self.currency, path=path)
        return MoneyValue(amount=int(minor), currency=self.currency)


def basis_points(rate: Decimal | None, *path: str) -> int | None:
    """0.05 → 500; raises `RateTooPrecise` for a fraction of a basis point, and `RateOutOfRange`
    for rates of more than 100 times, with the nearest number that the API's `Int` can say."""
    if rate is None:
        return None
    points = rate * ONE
    if points != points.to_integral_value():
        raise RateTooPrecise(path=path)
    if abs(points) > 100 * ONE:
        raise RateOutOfRange(basis_points=max(-_MOST_INT, min(int(points), _MOST_INT)), path=path)
    return int(points)


@strawberry.type
class Address:
    street: str
    city: str
    postal_code: str
    country: str
    region: str


@strawberry.input
class AddressInput:
    street: str
    city: str
    postal_code: str = ""
    country: str
    region: str = ""

    def value(self) -> AddressValue:
        return AddressValue(
            street=self.street,
            city=self.city,
            postal_code=self.postal_code,
            country=self.country,
            region=self.region,
        )
