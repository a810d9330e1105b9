"""What a branch differs by from real history: documents, money, stock, and what makes no sense."""

from typing import Any, Final

import strawberry

from api.context import Info
from api.errors import ApiError, ErrorCode
from api.preview import DocumentChange, document_change
from api.scalars import Count, CurrencyCode, Position
from api.values import Money
from domain.account import Account
from domain.money import rounded
from infra.branches import Branch, Difference, Refused
from infra.branching.record import Computed
from infra.preview import WouldChange
from readmodels.account_statement import TRIAL_BALANCE
from readmodels.comparing import (
    Pair,
    balance_differences,
    revenue_differences,
    stock_differences,
)
from readmodels.page import MOST_ITEMS
from readmodels.projection import Projection
from readmodels.registry import PROJECTIONS
from readmodels.sales import SALES_BY_DAY
from readmodels.stock_levels import STOCK_LEVELS

BY_NAME: Final = {projection.name: projection for projection in PROJECTIONS}
REVENUE: Final = ({"$group": {"_id": "$currency", "exact": {"$sum": "$revenue_exact"}}},)


@strawberry.type
class DocumentCounts:
    """How many documents of a read model differ."""

    projection: str
    changed: int
    added: int
    removed: int


@strawberry.type
class RevenueDifference:
    """Revenue before tax, each amount summed exactly and rounded once."""

    currency: CurrencyCode
    real: Money
    branch: Money
    difference: Money


@strawberry.type
class AccountDifference:
    """The balance of an account: debit less credit."""

    account: Account
    real: Money
    branch: Money
    difference: Money


@strawberry.type
class Pieces:
    real: Count
    branch: Count

    @classmethod
    def of(cls, both: tuple[int, int]) -> "Pieces":
        return cls(real=Count(both[0]), branch=Count(both[1]))


@strawberry.type
class StockChange:
    """The stock of a product that differs."""

    sku: str
    on_hand: Pieces
    reserved: Pieces
    available: Pieces


@strawberry.type
class Reason:
    """Why a decider would refuse it; `code` is one of a command's errors."""

    code: str
    message: str


@strawberry.type
class RefusedEvent:
    """A later event that makes no sense any more. `number` is its place among them."""

    number: int
    position: Position
    stream: strawberry.ID
    version: int
    type: str
    order_id: strawberry.ID | None
    errors: list[Reason]

    @classmethod
    def of(cls, found: Refused) -> "RefusedEvent":
        order_id = found.data.get("order_id")
        reasons = zip(found.codes, found.errors, strict=True)
        return cls(
            number=found.number,
            position=Position(found.position),
            stream=strawberry.ID(found.stream),
            version=found.version,
            type=found.type,
            order_id=None if order_id is None else strawberry.ID(order_id),
            errors=[Reason(code=code, message=message) for code, message in reasons],
        )


@strawberry.type
class BranchDiff:
    """Against real history up to `upto`."""

    found: strawberry.Private[Branch]
    computed: strawberry.Private[Computed]

    @strawberry.field
    def upto(self) -> Position:
        return Position(self.found.upto)

    @strawberry.field(description="Only the read models of which some differ.")
    def documents(self) -> list[DocumentCounts]:
        return [
            DocumentCounts(
                projection=name, changed=one.changed, added=one.added, removed=one.removed
            )
            for name, one in self.computed.documents.items()
            if one.all
        ]

    @strawberry.field(
        description="Documents of a read model that differ, by key; `after` is the last key seen."
    )
    async def changes(
        self, info: Info, projection: str, first: int = 20, after: str | None = None
    ) -> list[DocumentChange]:
        if projection not in BY_NAME:
            raise ApiError(ErrorCode.BAD_REQUEST, f"There is no read model {projection[:100]}.")
        found = await info.context.branches.differences(
            self.computed, BY_NAME[projection], after, _size(first)
        )
        return [document_change(_as_change(projection, one)) for one in found]

    @strawberry.field(description="By currency; only where it differs.")
    async def revenue(self, info: Info) -> list[RevenueDifference]:
        differences = revenue_differences(await self._pairs(info, SALES_BY_DAY))
        real = await info.context.branches.real(self.found)
        rows = await real.aggregate(SALES_BY_DAY, REVENUE)
        exact = {row["_id"]: row["exact"] for row in rows}
        return [
            RevenueDifference(
                currency=CurrencyCode(currency),
                real=Money.of(rounded(exact.get(currency, 0)), currency),
                branch=Money.of(rounded(exact.get(currency, 0) + by), currency),
                difference=Money.of(rounded(by), currency),
            )
            for currency, by in differences.items()
            if by
        ]

    @strawberry.field(description="The accounts that differ.")
    async def ledger(self, info: Info) -> list[AccountDifference]:
        return [
            AccountDifference(
                account=one.account,
                real=Money.of(one.before, one.currency),
                branch=Money.of(one.after, one.currency),
                difference=Money.of(one.after - one.before, one.currency),
            )
            for one in balance_differences(await self._pairs(info, TRIAL_BALANCE))
        ]

    @strawberry.field(description="Products whose stock differs, by sku; `after` is the last seen.")
    async def stock(
        self, info: Info, first: int = 20, after: str | None = None
    ) -> list[StockChange]:
        size, found = _size(first), stock_differences(await self._pairs(info, STOCK_LEVELS))
        return [
            StockChange(
                sku=one.sku,
                on_hand=Pieces.of(one.on_hand),
                reserved=Pieces.of(one.reserved),
                available=Pieces.of(one.available),
            )
            for one in found
            if after is None or one.sku > after
        ][:size]

    @strawberry.field(description="How many later events make no sense any more.")
    def refused_count(self) -> int:
        return self.computed.refused

    @strawberry.field(
        description="Later events that make no sense any more: a decider would have refused them, "
        "had those that it refused before not happened. `after` is the last number seen."
    )
    async def refused(self, info: Info, first: int = 20, after: int = 0) -> list[RefusedEvent]:
        found = await info.context.branches.refusals(self.computed, after, _size(first))
        return [RefusedEvent.of(one) for one in found]

    @strawberry.field(description="The orders that such events are about, each once.")
    async def refused_orders(self, info: Info) -> list[strawberry.ID]:
        found = await info.context.branches.refusals(self.computed)
        orders = dict.fromkeys(one.data.get("order_id") for one in found)
        return [strawberry.ID(order_id) for order_id in orders if order_id]

    async def _pairs(self, info: Info, projection: Projection[Any]) -> list[Pair]:
        found = await info.context.branches.differences(self.computed, projection)
        return [(one.before, one.after) for one in found]


def _size(first: int) -> int:
    if not 1 <= first <= MOST_ITEMS:
        raise ApiError(ErrorCode.BAD_REQUEST, f"A page has 1 to {MOST_ITEMS} items, not {first}.")
    return first


def _as_change(projection: str, one: Difference) -> WouldChange:
    return WouldChange(projection=projection, key=one.key, before=one.before, after=one.after)
