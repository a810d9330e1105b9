"""The rules of the ledger."""

from dataclasses import replace
from datetime import UTC, datetime

from domain.account import (
    ACCOUNT,
    Account,
    EntryAlreadyPosted,
    EntryPosted,
    EntryUnbalanced,
    PostEntry,
    Posting,
)
from domain.money import MOST_MINOR_UNITS, AmountOutOfRange, TextInvalid, UnknownCurrency
from tests.scenario import given

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
DEBIT = Posting(account=Account.RECEIVABLES, amount=1_190)
REVENUE = Posting(account=Account.REVENUE, amount=-1_000)
TAX = Posting(account=Account.TAX, amount=-190)
POST = PostEntry(
    entry_id="entry-1-invoice",
    order_id="order-1",
    text="Invoice",
    currency="EUR",
    postings=(DEBIT, REVENUE, TAX),
    at=AT,
)
POSTED = EntryPosted(
    entry_id="entry-1-invoice",
    order_id="order-1",
    text="Invoice",
    currency="EUR",
    postings=(DEBIT, REVENUE, TAX),
    at=AT,
)


def test_an_entry_that_balances_is_posted_once() -> None:
    given(ACCOUNT).when(POST).then(POSTED)
    given(ACCOUNT, POSTED).when(POST).then_nothing()


def test_another_entry_under_the_same_id_is_refused() -> None:
    other = replace(POST, postings=(DEBIT, replace(REVENUE, amount=-1_190)))
    given(ACCOUNT, POSTED).when(other).then_refused(EntryAlreadyPosted(entry_id="entry-1-invoice"))


def test_an_entry_that_does_not_balance_is_refused() -> None:
    given(ACCOUNT).when(replace(POST, postings=(DEBIT, REVENUE))).then_refused(
        EntryUnbalanced(entry_id="entry-1-invoice", difference=190)
    )


def test_nothing_is_posted_to_an_account_that_does_not_move() -> None:
    free = (replace(DEBIT, amount=0), replace(REVENUE, amount=0))
    given(ACCOUNT).when(replace(POST, postings=free)).then_nothing()
    untaxed = (replace(DEBIT, amount=1_000), REVENUE, replace(TAX, amount=0))
    given(ACCOUNT).when(replace(POST, postings=untaxed)).then(replace(POSTED, postings=untaxed[:2]))
    given(ACCOUNT, replace(POSTED, postings=untaxed[:2])).when(
        replace(POST, postings=untaxed)
    ).then_nothing()


def test_an_entry_says_what_it_is_and_moves_amounts_that_are_accepted() -> None:
    given(ACCOUNT).when(replace(POST, text="")).then_refused(TextInvalid(most=200, path=("text",)))
    given(ACCOUNT).when(replace(POST, currency="XXX", postings=(DEBIT,))).then_refused(
        UnknownCurrency(currency="XXX", path=("postings", "0"))
    )
    huge = replace(REVENUE, amount=-MOST_MINOR_UNITS - 1)
    given(ACCOUNT).when(replace(POST, postings=(huge,))).then_refused(AmountOutOfRange)
