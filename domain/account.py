"""The ledger: double entry. An entry moves several accounts at once and is posted once.

1. An entry has at least two postings of one currency, and they sum to zero.
2. A posting is positive where the account is debited, negative where it is credited.
3. Posting the same entry again changes nothing; another one under its id is refused.
"""

from datetime import datetime
from enum import Enum
from operator import attrgetter
from typing import TypeAlias

from domain.decider import Decider, DomainError, domain_error, message, refuse_if_any
from domain.money import Money, price_errors, text_errors


class Account(Enum):
    """The accounts there are."""

    RECEIVABLES = "receivables"
    CASH = "cash"
    REVENUE = "revenue"
    TAX = "tax"
    REFUNDS = "refunds"


@message
class Posting:
    """`amount` in minor units: a debit above zero, a credit below."""

    account: Account
    amount: int


@message
class PostEntry:
    entry_id: str
    order_id: str
    text: str
    currency: str
    postings: tuple[Posting, ...]
    at: datetime


Command: TypeAlias = PostEntry


# -- events: names and fields are storage format


@message
class EntryPosted:
    entry_id: str
    order_id: str
    text: str
    currency: str
    postings: tuple[Posting, ...]
    at: datetime


Event: TypeAlias = EntryPosted


# -- errors


@domain_error
class EntryUnbalanced(DomainError):
    text = "The postings of {entry_id} sum to {difference} minor units, not to zero."
    entry_id: str
    difference: int
    path: tuple[str, ...] = ("postings",)


@domain_error
class EntryAlreadyPosted(DomainError):
    text = "The entry {entry_id} has been posted already, with other postings."
    entry_id: str
    path: tuple[str, ...] = ("entryId",)


# -- state


@message
class Entry:
    postings: tuple[Posting, ...] = ()


def evolve(_: Entry, event: Event) -> Entry:
    return Entry(postings=event.postings)


# -- decisions


def _amount_errors(command: PostEntry) -> list[DomainError]:
    return [
        error
        for index, posting in enumerate(command.postings)
        for error in price_errors(
            Money(amount=abs(posting.amount), currency=command.currency), "postings", str(index)
        )
    ]


def decide(command: Command, entry: Entry) -> list[Event]:
    moved = tuple(posting for posting in command.postings if posting.amount)
    if entry.postings:
        if entry.postings == moved:
            return []
        raise EntryAlreadyPosted(entry_id=command.entry_id)
    refuse_if_any(text_errors(command.text, "text") + _amount_errors(command))
    if difference := sum(posting.amount for posting in moved):
        raise EntryUnbalanced(entry_id=command.entry_id, difference=difference)
    if not moved:
        return []
    return [
        EntryPosted(
            entry_id=command.entry_id,
            order_id=command.order_id,
            text=command.text,
            currency=command.currency,
            postings=moved,
            at=command.at,
        )
    ]


ACCOUNT: Decider[Command, Entry, Event] = Decider(
    "entry",
    attrgetter("entry_id"),
    Entry(),
    decide,
    evolve,
    (PostEntry,),
    (EntryPosted,),
    (EntryUnbalanced, EntryAlreadyPosted),
    {PostEntry: (EntryPosted,)},
)
