"""What two histories differ by, in money and stock: from documents that differ.

A pair is a document in the one history and in the other; None where there is none.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, TypeAlias

from domain.account import Account
from domain.decider import message

Pair: TypeAlias = tuple[Any, Any]


def revenue_differences(pairs: Iterable[Pair]) -> dict[str, int]:
    """By currency, in exact units: of documents of `sales_by_day`."""
    found: dict[str, int] = defaultdict(int)
    for before, after in pairs:
        found[(before or after).currency] += _amount(after, "revenue_exact") - _amount(
            before, "revenue_exact"
        )
    return dict(sorted(found.items()))


@message
class BalanceDifference:
    """An account in one currency; `before` and `after` are its balances in minor units."""

    account: Account
    currency: str
    before: int
    after: int


def balance_differences(pairs: Iterable[Pair]) -> list[BalanceDifference]:
    """Of documents of `trial_balance`."""
    found = [
        BalanceDifference(
            account=(before or after).account,
            currency=(before or after).currency,
            before=_amount(before, "balance"),
            after=_amount(after, "balance"),
        )
        for before, after in pairs
    ]
    return [one for one in found if one.before != one.after]


@message
class StockDifference:
    """Pieces of a product: on hand, reserved of them, and free, in either history."""

    sku: str
    on_hand: tuple[int, int]
    reserved: tuple[int, int]
    available: tuple[int, int]


def stock_differences(pairs: Iterable[Pair]) -> list[StockDifference]:
    """Of documents of `stock_levels`."""
    names = ("on_hand", "reserved", "available")
    found = [
        StockDifference(
            sku=(before or after).sku,
            **{name: (_amount(before, name), _amount(after, name)) for name in names},
        )
        for before, after in pairs
    ]
    return [one for one in found if any(a != b for a, b in (one.on_hand, one.reserved))]


def _amount(view: Any, name: str) -> int:
    return 0 if view is None else int(getattr(view, name))
