"""Relay connections over keyset pages, and typed filters compiled to allowed conditions."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

import strawberry

from api.context import Info
from api.errors import ApiError, ErrorCode
from api.scalars import CurrencyCode
from domain.money import MINOR_DIGITS
from infra.documents import Row
from readmodels.page import Condition, Op, Select, Slice, Sort, slice_of
from readmodels.projection import Projection

T = TypeVar("T")

MOST_COUNTED: Final = 10_000
"""`totalCount` is null beyond."""


@strawberry.type
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class Edge(Generic[T]):
    node: T
    cursor: str


@strawberry.type
class Connection(Generic[T]):
    """A page of a list."""

    nodes: list[T]
    edges: list[Edge[T]]
    page_info: PageInfo
    count: strawberry.Private[Callable[[], Any]]

    @strawberry.field(description="Null where there are more than 10,000.")
    async def total_count(self) -> int | None:
        found: int = await self.count()
        return found if found <= MOST_COUNTED else None


# -- filters


@strawberry.input
class StringFilter:
    eq: str | None = None
    in_: list[str] | None = strawberry.field(name="in", default=None)
    starts_with: str | None = None


@strawberry.input
class IdFilter:
    eq: strawberry.ID | None = None
    in_: list[strawberry.ID] | None = strawberry.field(name="in", default=None)


@strawberry.input
class IntFilter:
    eq: int | None = None
    gt: int | None = None
    gte: int | None = None
    lt: int | None = None
    lte: int | None = None
    between: list[int] | None = None


@strawberry.input
class BooleanFilter:
    eq: bool | None = None


@strawberry.input
class DateFilter:
    eq: date | None = None
    gt: date | None = None
    gte: date | None = None
    lt: date | None = None
    lte: date | None = None
    between: list[date] | None = None


@strawberry.input
class DateTimeFilter:
    eq: datetime | None = None
    gt: datetime | None = None
    gte: datetime | None = None
    lt: datetime | None = None
    lte: datetime | None = None
    between: list[datetime] | None = None


@strawberry.input
class MoneyFilter:
    """Amounts of one currency."""

    currency: CurrencyCode
    eq: Decimal | None = None
    gt: Decimal | None = None
    gte: Decimal | None = None
    lt: Decimal | None = None
    lte: Decimal | None = None

    def minor(self, amount: Decimal) -> int:
        minor = amount.scaleb(MINOR_DIGITS[self.currency])
        if minor != minor.to_integral_value():
            message = f"The amount has more decimals than {self.currency} has."
            raise ApiError(ErrorCode.BAD_REQUEST, message)
        return int(minor)


_OPS: Final = {op.value: op for op in Op}
_NAMES: Final = {"in_": "in", "starts_with": "startsWith"}


def conditions(where: Any) -> list[Condition]:
    """The conditions that a filter input states: all of them must hold."""
    found: list[Condition] = []
    for field in fields(where) if where is not None else ():
        wanted = getattr(where, field.name)
        if wanted is None:
            continue
        if isinstance(wanted, MoneyFilter):
            found.append(Condition("currency", Op.EQ, str(wanted.currency)))
        found += _compared(field.name, wanted)
    return found


def _compared(name: str, wanted: Any) -> list[Condition]:
    found = []
    for field in fields(wanted):
        value = getattr(wanted, field.name)
        op = _OPS.get(_NAMES.get(field.name, field.name))
        if value is None or op is None:
            continue
        if isinstance(wanted, MoneyFilter):
            value = wanted.minor(value)
        found.append(Condition(name, op, value))
    return found


def sorts(order_by: Sequence[Enum] | None) -> list[Sort]:
    """`PLACED_AT_DESC` → by `placed_at`, descending. The enum's values are the field names."""
    found = []
    for by in order_by or ():
        name, _, direction = str(by.value).rpartition("_")
        found.append(Sort(name, descending=direction == "desc"))
    return found


# -- pages


class Paged:
    """What a connection is made of; edges and cursors only where they are selected."""

    def __init__(self, page: Slice[Row[Any]], count: Callable[[], Awaitable[int]]) -> None:
        self.nodes = [row.view for row in page.found]
        self._page, self.count = page, count

    @property
    def edges(self) -> list[Edge[Any]]:
        pairs = zip(self.nodes, self._page.cursors, strict=True)
        return [Edge(node=node, cursor=cursor) for node, cursor in pairs]

    @property
    def page_info(self) -> PageInfo:
        return PageInfo(
            has_next_page=self._page.has_next,
            has_previous_page=self._page.has_previous,
            start_cursor=self._page.start_cursor,
            end_cursor=self._page.end_cursor,
        )


async def connect(info: Info, projection: Projection[Any], query: Select) -> Any:
    """The connection over the documents of a query; the nodes are the views."""
    rows = await info.context.select(projection, query)
    page = slice_of(query, rows, attrgetter("document"))

    async def count() -> int:
        return await info.context.count(projection, query.matching, MOST_COUNTED + 1)

    return Paged(page, count)
