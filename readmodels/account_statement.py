"""The ledger as it is read: what moved an account, and what all accounts come to.

1. A statement has one document per posting, written once, in the order of the log.
2. Both are told per account and currency: amounts of two currencies are never summed.
3. A debit counts above zero, a credit below; so the balances of a currency sum to zero.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from domain.account import Account, EntryPosted
from domain.decider import message
from domain.recorded import Recorded
from readmodels.page import FIRST_PAGE, Condition, Field, Op, Page, Select, Sort, every, select
from readmodels.projection import Projection, index, joined, parted

# -- statements


@message
class StatementLine:
    """One posting, with the entry that it is part of. `amount` in minor units."""

    account: Account
    currency: str
    entry_id: str
    order_id: str
    text: str
    amount: int
    at: datetime


def keys_of_postings(recorded: Recorded) -> list[str]:
    """Padded, so that keys have the order of the log."""
    entry: EntryPosted = recorded.event
    place = f"{recorded.position:016}"
    return [
        joined(posting.account.value, entry.currency, place, f"{number:03}")
        for number, posting in enumerate(entry.postings)
    ]


def evolve_line(_: StatementLine | None, recorded: Recorded, key: str) -> StatementLine:
    entry: EntryPosted = recorded.event
    posting = entry.postings[int(parted(key)[-1])]
    return StatementLine(
        account=posting.account,
        currency=entry.currency,
        entry_id=entry.entry_id,
        order_id=entry.order_id,
        text=entry.text,
        amount=posting.amount,
        at=entry.at,
    )


LINE_FIELDS: Final = {"position": Field(int)}

OLDEST_FIRST: Final = (Sort("position"),)


def account_statement(account: Account, currency: str, page: Page = FIRST_PAGE) -> Select:
    """A page of the postings of an account, the oldest first."""
    whose = {"account": {"$eq": account.value}, "currency": {"$eq": currency}}
    return select(LINE_FIELDS, (), OLDEST_FIRST, page, always=whose)


ACCOUNT_STATEMENT: Final = Projection(
    name="account_statement",
    version=1,
    view=StatementLine,
    events=(EntryPosted,),
    keys=keys_of_postings,
    once=True,
    evolve=evolve_line,
    indexes=(index("account", "currency", "position"),),
)


# -- balances


@message
class AccountBalance:
    """`debit` and `credit` are totals in minor units, both counted up; `entries` moved it."""

    account: Account
    currency: str
    debit: int = 0
    credit: int = 0
    balance: int = 0
    entries: int = 0


def keys_of_accounts(recorded: Recorded) -> Iterable[str]:
    entry: EntryPosted = recorded.event
    accounts = dict.fromkeys(posting.account for posting in entry.postings)
    return [joined(account.value, entry.currency) for account in accounts]


def evolve_balance(balance: AccountBalance | None, recorded: Recorded, key: str) -> AccountBalance:
    entry: EntryPosted = recorded.event
    account = Account(parted(key)[0])
    amounts = [posting.amount for posting in entry.postings if posting.account is account]
    balance = balance or AccountBalance(account=account, currency=entry.currency)
    return replace(
        balance,
        debit=balance.debit + sum(amount for amount in amounts if amount > 0),
        credit=balance.credit - sum(amount for amount in amounts if amount < 0),
        balance=balance.balance + sum(amounts),
        entries=balance.entries + 1,
    )


BALANCE_FIELDS: Final = {"currency": Field(str)}


def trial_balance(currency: str | None = None) -> Select:
    """All accounts that were ever moved, by currency and account; there are few of either."""
    where = () if currency is None else (Condition("currency", Op.EQ, currency),)
    return every(BALANCE_FIELDS, where, (Sort("currency"),))


TRIAL_BALANCE: Final = Projection(
    name="trial_balance",
    version=1,
    view=AccountBalance,
    events=(EntryPosted,),
    keys=keys_of_accounts,
    evolve=evolve_balance,
    indexes=(index("currency"),),
)
