"""What operators do with branches from the command line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.runtime import branch_parts, open_log
from domain.money import decimal_of, rounded
from domain.recorded import position_text
from infra.branches import Branches, BranchRefused
from infra.branching.record import Branch, Computed
from infra.past import Pasts
from infra.reads import Reads
from infra.settings import SettingInvalid, Settings
from readmodels.account_statement import TRIAL_BALANCE
from readmodels.comparing import (
    Pair,
    balance_differences,
    revenue_differences,
    stock_differences,
)
from readmodels.projection import Projection
from readmodels.sales import SALES_BY_DAY
from readmodels.stock_levels import STOCK_LEVELS

WAIT_SECONDS: Final = 3_600.0
"""Somebody looks on: they stop it when it takes too long."""

MOST_LINES: Final = 20
console = Console()


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Branches]:
    """The branches; what is refused inside becomes one clear line."""
    async with open_log(settings) as (events, _):
        pasts = Pasts(events, Reads(events.mongo), settings.past)
        branches = Branches(branch_parts(events, pasts), WAIT_SECONDS)
        try:
            yield branches
        except BranchRefused as refused:
            raise SettingInvalid(str(refused)) from refused


async def list_branches(settings: Settings) -> None:
    async with _opened(settings) as branches:
        table = Table("branch", "name", "owner", "from", "to", "changes", "state")
        for branch in await branches.all():
            table.add_row(*map(escape, _row(branch, is_ready=branches.is_ready(branch))))
        console.print(table)


def _row(branch: Branch, *, is_ready: bool) -> tuple[str, ...]:
    at, upto = position_text(branch.at), position_text(branch.upto)
    state = "ready" if is_ready else branch.failed or f"{branch.share:.0%}"
    return branch.id, branch.name, branch.owner, at, upto, str(branch.changes), state


async def remove_branch(settings: Settings, branch_id: str) -> None:
    async with _opened(settings) as branches:
        await branches.remove(branch_id)
    console.print(f"{escape(branch_id)} is removed", highlight=False)


async def print_diff(settings: Settings, branch_id: str) -> None:
    """Work it out, if need be, and say what it differs by."""
    async with _opened(settings) as branches:
        with console.status(f"{escape(branch_id)} is worked out"):
            _, computed = await branches.ready(branch_id)
        lines = [line async for line in _differences(branches, computed)]
    for line in lines or ["nothing differs"]:
        console.print(escape(line), highlight=False)


async def _differences(branches: Branches, computed: Computed) -> AsyncIterator[str]:
    async def pairs(projection: Projection[Any]) -> list[Pair]:
        found = await branches.differences(computed, projection)
        return [(one.before, one.after) for one in found]

    for name, counts in computed.documents.items():
        if counts.all:
            yield (
                f"{name}: {counts.changed:,} documents are others, {counts.added:,} more, "
                f"{counts.removed:,} fewer"
            )
    for currency, by in revenue_differences(await pairs(SALES_BY_DAY)).items():
        if by:
            yield f"revenue: {decimal_of(rounded(by), currency):+,} {currency}"
    for one in balance_differences(await pairs(TRIAL_BALANCE)):
        moved = decimal_of(one.after - one.before, one.currency)
        yield f"account {one.account.value}: {moved:+,} {one.currency}"
    for stock in stock_differences(await pairs(STOCK_LEVELS))[:MOST_LINES]:
        on_hand, reserved = stock.on_hand, stock.reserved
        yield (
            f"stock of {stock.sku}: {on_hand[0]} → {on_hand[1]} on hand, "
            f"{reserved[0]} → {reserved[1]} reserved"
        )
    if computed.refused:
        yield f"{computed.refused:,} later events make no sense any more:"
    for refused in await branches.refusals(computed, limit=MOST_LINES):
        order = refused.data.get("order_id", refused.stream)
        yield (
            f"  {position_text(refused.position)} {refused.type} of {order}: "
            f"{' '.join(refused.errors)}"
        )
