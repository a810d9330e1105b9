"""Returns: what has a customer sent back, and what was it worth?

1. One document per customer and currency; worth is exact revenue, before tax.
2. It is also told by the month in which the order had been placed, so that the returns of a
   quarter's orders can be asked for, whenever they came back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from datetime import datetime
from typing import Any, Final, TypeAlias

from domain.decider import message
from domain.order import OrderLinesReturned
from domain.recorded import Recorded
from readmodels.page import FIRST_PAGE, Condition, Field, Page, Select, Sort, select
from readmodels.projection import Projection, index, joined


@message
class CustomerReturns:
    """`by_month` has the exact worth by the order's month (`2026-03`), `months` these months."""

    customer_id: str
    currency: str
    returned_lines: int = 0
    returned_exact: int = 0
    last_returned_at: datetime
    months: tuple[str, ...] = ()
    by_month: dict[str, int] = field(default_factory=dict)


@message
class ReturnsWorth:
    """One row of `returns_of_orders`."""

    customer_id: str
    currency: str
    returned_exact: int


def keys(recorded: Recorded) -> tuple[str, ...]:
    event: OrderLinesReturned = recorded.event
    return (joined(event.customer_id, event.currency),)


def evolve(returns: CustomerReturns | None, recorded: Recorded, _: str) -> CustomerReturns:
    event: OrderLinesReturned = recorded.event
    returns = returns or CustomerReturns(
        customer_id=event.customer_id, currency=event.currency, last_returned_at=event.at
    )
    exact = sum(line.net_exact for line in event.lines)
    month = f"{event.placed_on:%Y-%m}"
    by_month = {**returns.by_month, month: returns.by_month.get(month, 0) + exact}
    return replace(
        returns,
        returned_lines=returns.returned_lines + len(event.lines),
        returned_exact=returns.returned_exact + exact,
        last_returned_at=max(returns.last_returned_at, event.at),
        months=tuple(sorted(by_month)),
        by_month=by_month,
    )


# -- queries

FIELDS: Final = {
    "customer_id": Field(str),
    "returned_exact": Field(int),
    "last_returned_at": Field(datetime),
}

MOST_FIRST: Final = (Sort("returned_exact", descending=True),)


def returns(
    where: Sequence[Condition] = (), order_by: Sequence[Sort] = (), page: Page = FIRST_PAGE
) -> Select:
    """A page of customers, those with the most returns first unless asked otherwise."""
    return select(FIELDS, where, order_by or MOST_FIRST, page)


Pipeline: TypeAlias = list[dict[str, Any]]


def returns_of_orders(first: tuple[int, int], months: int = 3, limit: int = 20) -> Pipeline:
    """The customers who sent back most of what they ordered in some months.

    `first` is the year and the month to begin with. Each row is a `ReturnsWorth`.
    """
    names = list(_months(first, months))
    return [
        {"$match": {"months": {"$in": names}}},
        {
            "$project": {
                "_id": 0,
                "customer_id": 1,
                "currency": 1,
                "returned_exact": {
                    "$sum": [f"$by_month.{name}" for name in names],
                },
            }
        },
        {"$sort": {"returned_exact": -1, "customer_id": 1, "currency": 1}},
        {"$limit": limit},
    ]


def _months(first: tuple[int, int], months: int) -> Iterable[str]:
    year, month = first
    for count in range(year * 12 + month - 1, year * 12 + month - 1 + months):
        yield f"{count // 12:04}-{count % 12 + 1:02}"


RETURNS: Final = Projection(
    name="returns",
    version=1,
    view=CustomerReturns,
    events=(OrderLinesReturned,),
    keys=keys,
    evolve=evolve,
    indexes=(*map(index, FIELDS), index("months")),
)
