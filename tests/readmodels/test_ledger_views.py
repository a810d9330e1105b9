"""Account statements and trial balance: each posting once, and all of them together."""

from dataclasses import replace

from domain.account import Account, Posting
from readmodels.account_statement import (
    ACCOUNT_STATEMENT,
    TRIAL_BALANCE,
    AccountBalance,
    StatementLine,
    account_statement,
    trial_balance,
)
from readmodels.page import Page
from tests.readmodels.events import posted
from tests.readmodels.given import NOON, given

INVOICE = posted("invoice", receivables=119, revenue=-100, tax=-19)
PAYMENT = posted("payment", cash=119, receivables=-119)
IN_YEN = posted("invoice", currency="JPY", receivables=7, revenue=-7)

FIRST = "0000000000000001"
SECOND = "0000000000000002"


def test_every_posting_is_a_line_of_its_own() -> None:
    statement = given(ACCOUNT_STATEMENT, INVOICE, PAYMENT)
    statement.then_keys(
        f"receivables:EUR:{FIRST}:000",
        f"revenue:EUR:{FIRST}:001",
        f"tax:EUR:{FIRST}:002",
        f"cash:EUR:{SECOND}:000",
        f"receivables:EUR:{SECOND}:001",
    )
    statement.then(
        f"receivables:EUR:{SECOND}:001",
        StatementLine(
            account=Account.RECEIVABLES,
            currency="EUR",
            entry_id="entry-1-payment",
            order_id="order-1",
            text="Payment",
            amount=-119,
            at=NOON,
        ),
    )


def test_a_statement_is_of_one_account_and_currency_in_the_order_of_the_log() -> None:
    query = account_statement(Account.CASH, "EUR", Page(last=3))
    assert query.filter == {"$and": [{"account": {"$eq": "cash"}, "currency": {"$eq": "EUR"}}]}
    assert account_statement(Account.CASH, "EUR").sort == [("position", 1), ("_id", 1)]
    assert query.sort == [("position", -1), ("_id", -1)]


def test_a_balance_is_what_was_debited_less_what_was_credited() -> None:
    books = given(TRIAL_BALANCE, INVOICE, PAYMENT, IN_YEN)
    books.then(
        "receivables:EUR",
        AccountBalance(
            account=Account.RECEIVABLES,
            currency="EUR",
            debit=119,
            credit=119,
            balance=0,
            entries=2,
        ),
    )
    assert books.document("revenue:EUR").balance == -100
    assert books.document("receivables:JPY").balance == 7


def test_an_entry_may_move_an_account_twice() -> None:
    parts = [Posting(account=Account.CASH, amount=amount) for amount in (7, -2)]
    entry = replace(PAYMENT, postings=(*parts, Posting(account=Account.TAX, amount=-5)))
    cash = given(TRIAL_BALANCE, entry).document("cash:EUR")
    assert (cash.debit, cash.credit, cash.balance, cash.entries) == (7, 2, 5, 1)
    given(ACCOUNT_STATEMENT, entry).then_keys(
        f"cash:EUR:{FIRST}:000", f"cash:EUR:{FIRST}:001", f"tax:EUR:{FIRST}:002"
    )


def test_the_trial_balance_is_of_all_currencies_or_of_one() -> None:
    assert trial_balance().filter == {}
    assert trial_balance("EUR").filter == {"$and": [{"currency": {"$eq": "EUR"}}]}
