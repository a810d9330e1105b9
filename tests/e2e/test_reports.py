"""Reports: sales, backlog and returns, and what they say at their edges."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.client import Client
from tests.e2e.shop import ADDRESS, Shop, money, new_sku

REPORTS = """query ($at: Position, $sku: String!, $region: String!, $segment: String!, $who: ID!) {
  salesByDay(from: "1999-12-31", to: "1999-12-31", currency: "EUR", atLeast: $at) {
    day orders units cancelledOrders revenue { amount currency } }
  salesByProduct(where: { sku: { eq: $sku }, region: { eq: $region } }) {
    nodes { sku region name units revenue { amount } } totalCount }
  backlog(on: "1999-12-31", segment: $segment) {
    orderId customerId placedOn lines revenue { amount } }
  returns(where: { customerId: { eq: $who } }) {
    nodes { customerId returnedLines returned { amount } customer { name } } }
  returnsOfOrders(from: "1999-12-01", months: 1) { customerId returned { amount } }
}"""


@dataclass(frozen=True)
class Past:
    """A day with three orders of one customer: one came back, one waits, one was cancelled."""

    sku: str
    region: str
    segment: str
    customer: str
    waiting: str
    position: str


async def some_past(shop: Shop) -> Past:
    region, segment, sku = uuid4().hex, uuid4().hex[:12], new_sku()
    staff = shop.staff
    await staff.done("addProduct", sku=sku, name="Pot", price=money("20.00"), taxRate="0.2")
    await staff.done("receiveStock", sku=sku, quantity=10)
    who = {"name": "Ann", "email": "a@b", "segment": segment}
    address = {**ADDRESS, "region": region}
    registered = await staff.done("registerCustomer", "", **who, address=address)
    customer = registered["receipt"]["aggregateId"]
    day: dict[str, Any] = {"at": "1999-12-31T10:00:00Z"}
    first = (await shop.order(customer, sku, quantity=2, **day))["aggregateId"]
    waiting = (await shop.order(customer, sku, quantity=3, **day))["aggregateId"]
    gone = (await shop.order(customer, sku, **day))["aggregateId"]
    await staff.done("cancelOrder", orderId=gone, reason="no")
    await staff.done("dispatchLines", orderId=first, lines=[1], **day)
    await staff.done("markLinesDelivered", orderId=first, lines=[1])
    last = await staff.done("returnLines", orderId=first, lines=[1], reason="cracked")
    return Past(sku, region, segment, customer, waiting, last["receipt"]["position"])


async def test_sales_backlog_and_returns_are_reported(shop: Shop) -> None:
    past = await some_past(shop)
    found = await shop.staff.run(
        REPORTS,
        at=past.position,
        sku=past.sku,
        region=past.region,
        segment=past.segment,
        who=past.customer,
    )
    sales = {"sku": past.sku, "region": past.region, "name": "Pot", "units": 5}
    assert found["salesByDay"] == [
        {
            "day": "1999-12-31",
            "orders": 2,
            "units": 5,
            "cancelledOrders": 1,
            "revenue": {"amount": "100.00", "currency": "EUR"},
        }
    ]
    assert found["salesByProduct"]["nodes"] == [{**sales, "revenue": {"amount": "100.00"}}]
    assert found["backlog"] == [
        {
            "orderId": past.waiting,
            "customerId": past.customer,
            "placedOn": "1999-12-31",
            "lines": 1,
            "revenue": {"amount": "60.00"},
        }
    ]
    returned = {"customerId": past.customer, "returned": {"amount": "40.00"}}
    assert found["returns"]["nodes"] == [
        {**returned, "returnedLines": 1, "customer": {"name": "Ann"}}
    ]
    assert found["returnsOfOrders"] == [returned]


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ('backlog(on: "9999-12-31") { lines }', None),
        ('backlog(on: "0001-01-01", first: 101) { lines }', "BAD_REQUEST"),
        ('returnsOfOrders(from: "9999-12-01", months: 120) { customerId }', None),
        ('returnsOfOrders(from: "2020-01-01", months: 121) { customerId }', "BAD_REQUEST"),
        ('salesByDay(from: "0001-01-01", to: "9999-12-31") { day }', "BAD_REQUEST"),
        ('salesByDay(from: "2020-01-02", to: "2020-01-01") { day }', None),
        ('salesByDay(from: "2020-02-30", to: "2020-03-01") { day }', "VALIDATION_FAILED"),
    ],
)
async def test_reports_answer_or_refuse_at_their_edges(
    staff: Client, field: str, code: str | None
) -> None:
    assert (await staff.answer(f"{{ {field} }}")).codes == ([code] if code else [])


async def test_sums_of_pieces_may_be_more_than_32_bits_hold(shop: Shop) -> None:
    customer, sku = await shop.customer(), await shop.product(price="0.01")
    for _ in range(22):
        day: dict[str, Any] = {"at": "1998-07-01T10:00:00Z"}
        order = await shop.order(customer, *[sku] * 100, quantity=1_000_000, **day)
    found = await shop.staff.run(
        """query ($at: Position, $sku: String) {
          salesByDay(from: "1998-07-01", to: "1998-07-01", atLeast: $at) { units }
          salesByProduct(where: { sku: { eq: $sku } }) { nodes { units } } }""",
        at=order["position"],
        sku=sku,
    )
    assert found["salesByDay"] == [{"units": 2_200_000_000}]
    assert found["salesByProduct"]["nodes"] == [{"units": 2_200_000_000}]
