"""The ledger, for staff: statements of accounts, and what all accounts come to."""

from datetime import datetime
from typing import Any, cast

import strawberry

from api.connections import Connection, connect
from api.context import Info
from api.reading import reading
from api.rights import STAFF
from api.scalars import CurrencyCode
from api.values import Money
from domain.account import Account
from readmodels.account_statement import (
    ACCOUNT_STATEMENT,
    TRIAL_BALANCE,
    AccountBalance,
    account_statement,
    trial_balance,
)
from readmodels.page import Page


@strawberry.type
class StatementLine:
    """One posting of an account, with the entry that it is part of."""

    account: Account
    entry_id: strawberry.ID
    order_id: strawberry.ID
    text: str
    at: datetime

    @strawberry.field(description="A debit above zero, a credit below.")
    @staticmethod
    def amount(root: strawberry.Parent[Any]) -> Money:
        return Money.of(root.amount, root.currency)


@strawberry.type
class TrialBalanceLine:
    """What an account comes to in one currency. The balances of a currency sum to zero."""

    account: Account
    currency: CurrencyCode
    debit: Money
    credit: Money
    balance: Money = strawberry.field(description="Debit less credit.")
    entries: int = strawberry.field(description="How many entries moved the account.")

    @classmethod
    def of(cls, view: AccountBalance) -> "TrialBalanceLine":
        return cls(
            account=view.account,
            currency=CurrencyCode(view.currency),
            debit=Money.of(view.debit, view.currency),
            credit=Money.of(view.credit, view.currency),
            balance=Money.of(view.balance, view.currency),
            entries=view.entries,
        )


@strawberry.type
class LedgerQuery:
    @reading(STAFF, "What moved an account, the oldest first.")
    async def account_statement(
        self,
        info: Info,
        page: Page,
        account: Account,
        currency: CurrencyCode,
    ) -> Connection[StatementLine]:
        query = account_statement(account, currency, page)
        return cast(Connection[StatementLine], await connect(info, ACCOUNT_STATEMENT, query))

    @reading(STAFF, "All accounts that were ever moved, by currency.")
    async def trial_balance(
        self, info: Info, currency: CurrencyCode | None = None
    ) -> list[TrialBalanceLine]:
        query = trial_balance(currency)
        rows = await info.context.select(TRIAL_BALANCE, query)
        return [TrialBalanceLine.of(row.view) for row in rows]
