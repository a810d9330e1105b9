"""The queries of the read models, asked of a real MongoDB: right answers, by way of an index."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from domain.order import OrderPlaced
from domain.recorded import Recorded
from infra.codec import from_stored, to_stored
from readmodels import (
    account_statement,
    customer_directory,
    notifications,
    order_list,
    payments,
    product_catalogue,
    returns,
    sales,
    shipments,
    stock_levels,
)
from readmodels.backlog import BACKLOG, BacklogOrder, BacklogWorth, backlog_on
from readmodels.cursors import cursor_of
from readmodels.customer_directory import CUSTOMER_DIRECTORY, customers, named
from readmodels.filters import Field
from readmodels.page import FIRST_PAGE, Page, Select, Sort, select, slice_of
from readmodels.projection import Projection
from readmodels.returns import RETURNS, CustomerReturns, ReturnsWorth, returns_of_orders
from tests.readmodels.events import (
    CUP,
    MORE_TEA,
    PLACED,
    REGISTERED,
    TEA,
    dispatched,
    returned,
)
from tests.readmodels.given import NOON, recorded

Documents = Collection[dict[str, Any]]
TODAY = NOON.date()
DAY = timedelta(days=1)


@pytest.fixture
def collection(mongodb_uri: str, database_name: str) -> Iterator[Documents]:
    with MongoClient[dict[str, Any]](mongodb_uri, tz_aware=True) as client:
        yield client[database_name]["documents"]


def fill(collection: Documents, projection: Projection[Any], events: list[Recorded]) -> list[Any]:
    """Write all documents of the events, with their indexes; answer with the views."""
    keys = {key for each in events for key in projection.touched(each)}
    views = {key: projection.fold(key, events) for key in sorted(keys)}
    collection.insert_many(
        {"_id": key, "position": at, **to_stored(view)}
        for at, (key, view) in enumerate(views.items())
    )
    for fields in projection.indexes:
        collection.create_index(list(fields))
    return list(views.values())


def ask(collection: Documents, query: Select) -> list[dict[str, Any]]:
    return list(collection.find(query.filter, sort=query.sort, limit=query.limit))


# -- pages


def test_pages_of_a_real_collection_make_the_whole(collection: Documents) -> None:
    orders = [
        replace(PLACED, order_id=f"order-{n}", at=NOON + n % 3 * DAY, total=n % 4)
        for n in range(25)
    ]
    listed = fill(collection, order_list.ORDER_LIST, recorded(orders))
    order_by = (Sort("placed_at", descending=True), Sort("total"))
    read: list[str] = []
    after = None
    while True:
        query = order_list.orders((), order_by, Page(first=4, after=after))
        page = slice_of(query, ask(collection, query), dict)
        read += [document["order_id"] for document in page.found]
        if not page.has_next:
            break
        after = page.cursors[-1]
    by_id = sorted(listed, key=lambda order: order.order_id, reverse=True)
    by_total = sorted(by_id, key=lambda order: order.total)
    latest_first = sorted(by_total, key=lambda order: order.placed_at, reverse=True)
    assert read == [order.order_id for order in latest_first]


def test_customers_are_found_by_every_word(collection: Documents) -> None:
    names = ("Zoë Ångström", "Zora Smith", "Anna Zobel", "Zo 😀")
    events = [replace(REGISTERED, customer_id=f"customer-{n}", name=n) for n in names]
    fill(collection, CUSTOMER_DIRECTORY, recorded(events))
    found = {text: ask(collection, customers(named(text))) for text in ("ZO", "zo an", "x")}
    assert {text: [d["name"] for d in documents] for text, documents in found.items()} == {
        "ZO": ["Anna Zobel", "Zo 😀", "Zoë Ångström", "Zora Smith"],
        "zo an": ["Anna Zobel", "Zoë Ångström"],
        "x": [],
    }


# -- indexes

LISTINGS: tuple[tuple[Projection[Any], Mapping[str, Field], dict[str, Any] | None], ...] = (
    (order_list.ORDER_LIST, order_list.FIELDS, None),
    (CUSTOMER_DIRECTORY, customer_directory.FIELDS, None),
    (
        product_catalogue.PRODUCT_CATALOGUE,
        product_catalogue.FIELDS,
        {"listed": {"$eq": True}},
    ),
    (stock_levels.STOCK_LEVELS, stock_levels.FIELDS, None),
    (sales.SALES_BY_PRODUCT, sales.PRODUCT_FIELDS, {"everywhere": {"$eq": True}}),
    (RETURNS, returns.FIELDS, None),
    (notifications.NOTIFICATIONS, notifications.FIELDS, None),
    (payments.PAYMENTS, payments.FIELDS, None),
    (shipments.SHIPMENTS, shipments.FIELDS, None),
    (
        account_statement.ACCOUNT_STATEMENT,
        account_statement.LINE_FIELDS,
        {"account": {"$eq": "cash"}, "currency": {"$eq": "EUR"}},
    ),
    (account_statement.TRIAL_BALANCE, account_statement.BALANCE_FIELDS, None),
)


def stages(plan: Any) -> set[str]:
    """The names of all stages of a query plan."""
    if isinstance(plan, dict):
        own = {plan["stage"]} if "stage" in plan else set()
        return own.union(*map(stages, plan.values()))
    if isinstance(plan, list):
        return set().union(*map(stages, plan))
    return set()


def plan_of(collection: Documents, wanted: dict[str, Any], sort: list[tuple[str, int]]) -> set[str]:
    explained = collection.find(wanted, sort=sort).explain()
    return stages(explained["queryPlanner"]["winningPlan"])


@pytest.mark.parametrize(("projection", "fields", "always"), LISTINGS)
def test_every_filter_and_every_order_has_an_index(
    collection: Documents,
    projection: Projection[Any],
    fields: Mapping[str, Field],
    always: dict[str, Any] | None,
) -> None:
    for index in projection.indexes:
        collection.create_index(list(index))
    for name, field in fields.items():
        wanted = {**(always or {}), name: {"$elemMatch": {"$gte": "a"}} if field.many else "a"}
        assert "COLLSCAN" not in plan_of(collection, wanted, [])
        for descending in (False, True) if field.sortable else ():
            first = select(fields, (), (Sort(name, descending),), FIRST_PAGE, always)
            place = cursor_of(first.order, {name: VALUES.get(field.kind, "a"), "_id": "a"})
            for page in (FIRST_PAGE, Page(after=place), Page(last=5, before=place)):
                query = select(fields, (), (Sort(name, descending),), page, always)
                plan = plan_of(collection, query.filter, query.sort)
                assert "IXSCAN" in plan
                assert not plan & {"COLLSCAN", "SORT"}


VALUES = {int: 1, bool: True, datetime: NOON}


def test_days_are_read_from_an_index(collection: Documents) -> None:
    for index in sales.SALES_BY_DAY.indexes:
        collection.create_index(list(index))
    query = sales.sales_by_day(TODAY, TODAY + DAY, "EUR")
    assert not plan_of(collection, query.filter, query.sort) & {"COLLSCAN", "SORT"}


# -- backlog


def orders_and_dispatches() -> list[Recorded]:
    """Orders of three days and two segments, dispatched not at all, in part or on several days."""
    sent = (
        (),
        (dispatched(1, rest=2, days=3),),
        (dispatched(1, 3, rest=1, days=4), dispatched(2, days=6)),
        (dispatched(1, 2, 3, days=2),),
    )
    events: list[Any] = []
    for number, (day, segment, moves) in enumerate(product(range(3), "AB", sent)):
        name = f"order-{number}"
        lines = (replace(TEA, quantity=number + 1), CUP, MORE_TEA)
        placed: OrderPlaced = replace(
            PLACED, order_id=name, segment=segment, lines=lines, at=NOON + day * DAY
        )
        events += [placed, *(replace(move, order_id=name) for move in moves)]
    return recorded(events)


def waiting(
    orders: list[BacklogOrder], day: date, before: date, segment: str | None
) -> list[BacklogWorth]:
    """What `backlog_on` answers, worked out one order after the other."""
    rows = []
    for order in orders:
        open_lines = [
            line for line in order.lines if line.dispatched_on is None or line.dispatched_on > day
        ]
        if open_lines and order.placed_on < before and segment in (None, order.segment):
            row = BacklogWorth(
                order_id=order.order_id,
                customer_id=order.customer_id,
                placed_on=order.placed_on,
                currency=order.currency,
                lines=len(open_lines),
                revenue_exact=sum(line.revenue_exact for line in open_lines),
            )
            rows.append(row)
    return sorted(rows, key=lambda row: (-row.revenue_exact, row.placed_on, row.order_id))


def test_the_backlog_of_any_day(collection: Documents) -> None:
    orders = fill(collection, BACKLOG, orders_and_dispatches())
    for days, before, segment in product(range(-1, 8), range(4), (None, "A", "C")):
        day, placed_before = TODAY + days * DAY, TODAY + before * DAY
        rows = list(collection.aggregate(backlog_on(day, placed_before, segment, limit=10)))
        expected = waiting(orders, day, placed_before, segment)[:10]
        assert [from_stored(BacklogWorth, row) for row in rows] == expected


# -- returns


def test_what_came_back_of_the_orders_of_a_quarter(collection: Documents) -> None:
    events = [
        replace(
            returned(TEA, CUP) if n % 2 else returned(MORE_TEA),
            customer_id=f"customer-{n % 5}",
            placed_on=date(2025, 10 + n % 3, 9) if n % 4 else date(2026, 1, 1),
        )
        for n in range(30)
    ]
    views: list[CustomerReturns] = fill(collection, RETURNS, recorded(events))
    for first, months in (
        ((2025, 10), ("2025-10", "2025-11", "2025-12")),
        ((2026, 1), ("2026-01",)),
    ):
        sums = {view.customer_id: sum(view.by_month.get(m, 0) for m in months) for view in views}
        best = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
        pipeline = returns_of_orders(first, len(months), limit=3)
        rows = [from_stored(ReturnsWorth, row) for row in collection.aggregate(pipeline)]
        assert [(row.customer_id, row.returned_exact) for row in rows] == [
            pair for pair in best if pair[1]
        ][:3]
