"""Sales, backlog, returns: what things are worth."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from domain.money import rounded
from readmodels.backlog import BACKLOG, BacklogLine, BacklogOrder
from readmodels.page import FilterInvalid
from readmodels.returns import RETURNS, CustomerReturns, returns, returns_of_orders
from readmodels.sales import (
    MOST_DAYS,
    SALES_BY_DAY,
    SALES_BY_PRODUCT,
    DailySales,
    ProductSales,
    sales_by_day,
    sales_by_product,
)
from tests.readmodels.events import (
    CANCELLED,
    CUP,
    DAY,
    MORE_TEA,
    PLACED,
    TEA,
    dispatched,
    returned,
)
from tests.readmodels.given import NOON, given

TODAY = NOON.date()
TEA_EXACT = 333 * 3 * 9500
MORE_TEA_EXACT = 333 * 9500
CUP_EXACT = 1000 * 10000
ORDER_EXACT = TEA_EXACT + CUP_EXACT + MORE_TEA_EXACT
LATER = replace(PLACED, order_id="order-2", at=NOON + DAY)


# -- sales


def test_sales_count_on_the_day_of_the_order() -> None:
    sales = given(SALES_BY_DAY, PLACED, replace(PLACED, order_id="order-3"), LATER)
    sales.then_keys("2026-03-14:EUR", "2026-03-15:EUR")
    sales.then(
        "2026-03-14:EUR",
        DailySales(
            day=TODAY, currency="EUR", orders=2, units=10, revenue_exact=2 * ORDER_EXACT
        ),
    )  # fmt: skip


def test_a_cancelled_order_is_taken_off_the_day_it_was_placed_on() -> None:
    given(SALES_BY_DAY, PLACED, CANCELLED).then(
        "2026-03-14:EUR", DailySales(day=TODAY, currency="EUR", cancelled_orders=1)
    )


def test_cancelling_what_was_never_placed_takes_nothing_off() -> None:
    given(SALES_BY_DAY, CANCELLED).then_none("2026-03-14:EUR")
    given(SALES_BY_PRODUCT, CANCELLED).then_none("tea:EUR:EU")


def test_all_lines_of_a_product_count_together() -> None:
    sales = given(SALES_BY_PRODUCT, PLACED, LATER)
    sales.then_keys("tea:EUR", "tea:EUR:EU", "cup:EUR", "cup:EUR:EU")
    tea = ProductSales(
        sku="tea",
        region="EU",
        currency="EUR",
        everywhere=False,
        name="Best tea",
        units=8,
        revenue_exact=2 * (TEA_EXACT + MORE_TEA_EXACT),
    )
    sales.then("tea:EUR:EU", tea)
    sales.then("tea:EUR", replace(tea, region=None, everywhere=True))


def test_regions_are_told_apart_and_together() -> None:
    elsewhere = replace(PLACED, region="")
    sales = given(SALES_BY_PRODUCT, PLACED, elsewhere)
    assert [sales.document(f"tea:EUR{key}").units for key in ("", ":EU", ":")] == [8, 4, 4]


def test_a_cancelled_order_is_taken_off_its_products() -> None:
    cup = given(SALES_BY_PRODUCT, PLACED, LATER, CANCELLED).document("cup:EUR:EU")
    assert (cup.units, cup.revenue_exact) == (1, CUP_EXACT)


def test_a_colon_in_a_sku_confuses_nothing() -> None:
    odd = replace(PLACED, lines=(replace(TEA, sku="tea:100%"),))
    sales = given(SALES_BY_PRODUCT, odd).document("tea%3A100%25:EUR:EU")
    assert (sales.sku, sales.units) == ("tea:100%", 3)


def test_revenue_is_rounded_once() -> None:
    sales = given(SALES_BY_DAY, PLACED, LATER).document("2026-03-14:EUR")
    assert rounded(sales.revenue_exact) == 2265


def test_days_are_asked_for_in_order() -> None:
    query = sales_by_day(date(2026, 1, 1), date(2026, 1, 31), "EUR")
    assert query.filter == {
        "$and": [
            {"day": {"$gte": "2026-01-01", "$lte": "2026-01-31"}},
            {"currency": {"$eq": "EUR"}},
        ]
    }
    assert query.sort == [("day", 1), ("currency", 1), ("_id", 1)]
    assert query.limit == 0


def test_days_of_all_currencies_may_be_asked_for() -> None:
    query = sales_by_day(TODAY, TODAY)
    assert query.filter == {"$and": [{"day": {"$gte": "2026-03-14", "$lte": "2026-03-14"}}]}


def test_ten_years_of_days_are_enough() -> None:
    with pytest.raises(FilterInvalid):
        sales_by_day(TODAY, TODAY + timedelta(days=MOST_DAYS))


def test_the_best_products_come_first() -> None:
    assert sales_by_product().sort == [("revenue_exact", -1), ("_id", -1)]


# -- backlog

WAITING = BacklogOrder(
    order_id="order-1",
    customer_id="customer-1",
    segment="RETAIL",
    region="EU",
    placed_on=TODAY,
    currency="EUR",
    lines=(
        BacklogLine(number=1, sku="tea", quantity=3, revenue_exact=TEA_EXACT),
        BacklogLine(number=2, sku="cup", quantity=1, revenue_exact=CUP_EXACT),
        BacklogLine(number=3, sku="tea", quantity=1, revenue_exact=MORE_TEA_EXACT),
    ),
    open_lines=3,
)


def test_a_placed_order_waits_for_dispatch() -> None:
    given(BACKLOG, PLACED).then("order-1", WAITING)


def test_a_dispatched_line_keeps_its_day() -> None:
    tea, cup, more = WAITING.lines
    sent = replace(tea, dispatched_on=TODAY + DAY), cup, replace(more, dispatched_on=TODAY + DAY)
    given(BACKLOG, PLACED, dispatched(1, 3, rest=1)).then(
        "order-1", replace(WAITING, lines=sent, open_lines=1)
    )


def test_an_order_sent_whole_knows_its_last_day() -> None:
    order = given(BACKLOG, PLACED, dispatched(1, 3, days=5), dispatched(2, days=2))
    assert order.document("order-1").open_lines == 0
    assert order.document("order-1").last_dispatched_on == TODAY + 5 * DAY


def test_a_cancelled_order_waits_no_more() -> None:
    given(BACKLOG, PLACED, CANCELLED).then_none("order-1")
    given(BACKLOG, CANCELLED, dispatched(1)).then_none("order-1")


# -- returns


def test_returns_add_up_per_customer_and_currency() -> None:
    old = replace(returned(TEA, days=0), placed_on=date(2025, 12, 31))
    given(RETURNS, returned(CUP, MORE_TEA), old).then(
        "customer-1:EUR",
        CustomerReturns(
            customer_id="customer-1",
            currency="EUR",
            returned_lines=3,
            returned_exact=ORDER_EXACT,
            last_returned_at=NOON + 9 * DAY,
            months=("2025-12", "2026-03"),
            by_month={"2025-12": TEA_EXACT, "2026-03": CUP_EXACT + MORE_TEA_EXACT},
        ),
    )


def test_the_most_returns_come_first() -> None:
    assert returns().sort == [("returned_exact", -1), ("_id", -1)]


def test_months_run_over_the_end_of_the_year() -> None:
    wanted = returns_of_orders((2025, 11))[0]
    assert wanted == {"$match": {"months": {"$in": ["2025-11", "2025-12", "2026-01"]}}}
