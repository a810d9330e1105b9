"""Laws: what must hold of all that has happened, beyond what one decision looks at.

A law is told every event, and says what is wrong: with an event, or in the end with all of them.
Whoever holds the log against it need not know what it is about.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from domain.account import EntryPosted

S = TypeVar("S")


@dataclass(frozen=True)
class Law(Generic[S]):
    """`breaches(event)` and, of the state after all events, `at_last(state)` say what is wrong."""

    name: str
    events: tuple[type, ...]
    initial: S
    evolve: Callable[[S, Any], S]
    breaches: Callable[[Any], Iterable[str]]
    at_last: Callable[[S], Iterable[str]]


# -- the ledger balances


def _difference(entry: EntryPosted) -> int:
    return sum(posting.amount for posting in entry.postings)


def _unbalanced(entry: EntryPosted) -> Iterable[str]:
    if difference := _difference(entry):
        yield f"{entry.entry_id} is out of balance by {difference} {entry.currency}"


def _posted(balances: Mapping[str, int], entry: EntryPosted) -> Mapping[str, int]:
    before = balances.get(entry.currency, 0)
    return {**balances, entry.currency: before + _difference(entry)}


def _out_of_balance(balances: Mapping[str, int]) -> Iterable[str]:
    for currency, difference in balances.items():
        if difference:
            yield f"all debits and credits in {currency} differ by {difference}"


NOTHING_POSTED: Final[Mapping[str, int]] = {}

BALANCE: Final = Law(
    "the ledger balances", (EntryPosted,), NOTHING_POSTED, _posted, _unbalanced, _out_of_balance
)
"""Every entry, and the trial balance of each currency, in minor units."""
