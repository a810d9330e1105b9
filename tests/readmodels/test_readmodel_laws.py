"""What holds for every read model, over histories that can really happen."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from domain.account import Entry
from domain.customer import Customer
from domain.order import Order, Stage
from domain.order_line import Progress
from domain.payment import Payment
from domain.product import Product
from domain.recorded import Recorded
from domain.registry import AGGREGATES
from domain.shipment import Shipment
from domain.stock_item import StockItem
from infra.codec import from_stored, to_stored
from readmodels.account_statement import ACCOUNT_STATEMENT, TRIAL_BALANCE
from readmodels.backlog import BACKLOG
from readmodels.customer_directory import CUSTOMER_DIRECTORY
from readmodels.order_details import ORDER_DETAILS
from readmodels.order_list import ORDER_LIST
from readmodels.order_status import OrderStatus
from readmodels.payments import PAYMENTS
from readmodels.product_catalogue import PRODUCT_CATALOGUE
from readmodels.projection import Projection, joined, parted
from readmodels.registry import PROJECTIONS
from readmodels.returns import RETURNS
from readmodels.sales import SALES_BY_DAY, SALES_BY_PRODUCT
from readmodels.shipments import SHIPMENTS, ShipmentStatus
from readmodels.stock_levels import STOCK_LEVELS
from tests.readmodels.histories import HISTORIES, States, batches

History = tuple[list[Recorded], States]
EXAMPLES = settings(max_examples=50, deadline=None)

each_read_model = pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda each: each.name)


def projected(projection: Projection[Any], work: Iterable[list[Recorded]]) -> dict[str, Any]:
    """The stored documents after all batches, as a projector writes them."""
    stored: dict[str, Any] = {}
    for batch in work:
        for recorded in batch:
            for key in projection.touched(recorded):
                view = from_stored(projection.view, stored[key]) if key in stored else None
                view = projection.evolve(view, recorded, key)
                stored.pop(key, None)
                if view is not None:
                    stored[key] = to_stored(view)
    return stored


def documents(projection: Projection[Any], events: list[Recorded]) -> dict[str, Any]:
    """All documents, each folded on its own."""
    keys = {key for recorded in events for key in projection.touched(recorded)}
    folded = {key: projection.fold(key, events) for key in keys}
    return {key: view for key, view in folded.items() if view is not None}


@each_read_model
@EXAMPLES
@given(history=HISTORIES, data=st.data())
def test_any_batches_give_the_same_documents(
    projection: Projection[Any], history: History, data: st.DataObject
) -> None:
    events, _ = history
    cut = data.draw(batches(events))
    folded = {key: to_stored(view) for key, view in documents(projection, events).items()}
    assert projected(projection, cut) == folded


@each_read_model
@EXAMPLES
@given(history=HISTORIES, data=st.data())
def test_a_fold_may_be_gone_on_with_at_any_event(
    projection: Projection[Any], history: History, data: st.DataObject
) -> None:
    events, _ = history
    at = data.draw(st.integers(0, len(events)))
    for key, view in documents(projection, events).items():
        halfway = projection.fold(key, events[:at])
        assert projection.fold(key, events[at:], halfway) == view


@each_read_model
@EXAMPLES
@given(history=HISTORIES)
def test_views_come_back_from_storage_as_they_were(
    projection: Projection[Any], history: History
) -> None:
    for view in documents(projection, history[0]).values():
        assert from_stored(projection.view, to_stored(view)) == view


@each_read_model
@EXAMPLES
@given(history=HISTORIES, data=st.data())
def test_events_may_be_missing_in_a_branch(
    projection: Projection[Any], history: History, data: st.DataObject
) -> None:
    events, _ = history
    kept = data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    documents(projection, [event for event, keep in zip(events, kept, strict=True) if keep])


@each_read_model
@EXAMPLES
@given(history=HISTORIES)
def test_the_streams_of_a_document_hold_all_its_events(
    projection: Projection[Any], history: History
) -> None:
    if projection.streams is None:
        return
    for recorded in history[0]:
        for key in projection.touched(recorded):
            assert recorded.stream in projection.streams(key)


@each_read_model
def test_what_is_listened_to_exists(projection: Projection[Any]) -> None:
    known = {event for decider in AGGREGATES for event in decider.events}
    assert set(projection.events) <= known


def test_names_are_unique() -> None:
    assert len({projection.name for projection in PROJECTIONS}) == len(PROJECTIONS)


@given(st.lists(st.text(), min_size=1), st.lists(st.text(), min_size=1))
def test_no_two_lists_share_a_key(parts: list[str], others: list[str]) -> None:
    assert parted(joined(*parts)) == parts
    assume(parts != others)
    assert joined(*parts) != joined(*others)


# -- what documents say is what the aggregates know


def of_kind(states: States, kind: type) -> dict[str, Any]:
    return {stream: state for stream, state in states.items() if isinstance(state, kind)}


@EXAMPLES
@given(HISTORIES)
def test_customers_are_who_they_are(history: History) -> None:
    events, states = history
    listed = documents(CUSTOMER_DIRECTORY, events)
    known = of_kind(states, Customer)
    assert {
        key: (view.standing, view.email, view.phone, view.address) for key, view in listed.items()
    } == {key: (c.standing, c.email, c.phone, c.address) for key, c in known.items()}


@EXAMPLES
@given(HISTORIES)
def test_stock_and_products_agree_with_their_aggregates(history: History) -> None:
    events, states = history
    levels = documents(STOCK_LEVELS, events)
    catalogue = documents(PRODUCT_CATALOGUE, events)
    for sku in levels.keys() | catalogue.keys():
        item = states.get(f"stock_item-{sku}", StockItem())
        product = states.get(f"product-{sku}", Product())
        if sku in levels:
            level = levels[sku]
            assert (level.on_hand, level.reserved) == (item.on_hand, item.reserved)
            low = item.available <= item.reorder_level and not product.discontinued
            assert (level.low, level.name) == (low, product.name)
        if sku in catalogue:
            listed = catalogue[sku]
            assert (listed.on_hand, listed.available) == (item.on_hand, item.available)
            assert (listed.name, listed.price) == (product.name, product.price)
            assert listed.listed == (product.price is not None)


@EXAMPLES
@given(HISTORIES)
def test_order_views_agree_with_each_other_and_with_the_orders(history: History) -> None:
    events, states = history
    rows, details = documents(ORDER_LIST, events), documents(ORDER_DETAILS, events)
    orders = of_kind(states, Order)
    assert rows.keys() == details.keys() == orders.keys()
    for key, order in orders.items():
        assert tuple(line.progress for line in details[key].lines) == order.progress
        assert rows[key].status is details[key].status
        assert rows[key].version == details[key].version == len(details[key].timeline)
        cancelled = order.stage is Stage.CANCELLED
        assert (rows[key].status is OrderStatus.CANCELLED) == cancelled
        if all(progress is Progress.ORDERED for progress in order.progress):
            confirmed = order.stage is Stage.CONFIRMED
            assert (rows[key].status is OrderStatus.CONFIRMED) == confirmed


@EXAMPLES
@given(HISTORIES)
def test_every_amount_is_the_sum_over_the_orders(history: History) -> None:
    events, states = history
    standing = [o for o in of_kind(states, Order).values() if o.stage is not Stage.CANCELLED]
    worth = sum(line.net_exact for order in standing for line in order.lines)
    days, products = documents(SALES_BY_DAY, events), documents(SALES_BY_PRODUCT, events)
    assert sum(day.revenue_exact for day in days.values()) == worth
    assert sum(day.orders for day in days.values()) == len(standing)
    for everywhere in (True, False):
        sold = [p.revenue_exact for p in products.values() if p.everywhere is everywhere]
        assert sum(sold) == worth

    back: Counter[str] = Counter()
    for order in standing:
        for line, progress in zip(order.lines, order.progress, strict=True):
            back[order.customer_id] += line.net_exact * (progress is Progress.RETURNED)
    returns = documents(RETURNS, events)
    assert +back == {view.customer_id: view.returned_exact for view in returns.values()}
    assert all(sum(v.by_month.values()) == v.returned_exact for v in returns.values())


@EXAMPLES
@given(HISTORIES)
def test_the_backlog_is_what_has_not_been_dispatched(history: History) -> None:
    events, states = history
    waiting = documents(BACKLOG, events)
    for key, order in of_kind(states, Order).items():
        if order.stage is Stage.CANCELLED:
            assert key not in waiting
            continue
        ordered = [progress is Progress.ORDERED for progress in order.progress]
        assert [line.dispatched_on is None for line in waiting[key].lines] == ordered
        assert waiting[key].open_lines == sum(ordered)
        assert (waiting[key].last_dispatched_on is None) == any(ordered)


@EXAMPLES
@given(HISTORIES)
def test_payments_and_shipments_agree_with_their_aggregates(history: History) -> None:
    events, states = history
    paid, moved = documents(PAYMENTS, events), documents(SHIPMENTS, events)
    known = of_kind(states, Payment)
    assert paid.keys() == known.keys()
    for key, payment in known.items():
        refunded = sum(amount for name, amount in payment.refunds if name in payment.refunded)
        assert (paid[key].captured, paid[key].refunded) == (payment.captured_amount, refunded)
        assert (paid[key].amount, paid[key].reference or "") == (payment.amount, payment.reference)
    shipped = of_kind(states, Shipment)
    assert moved.keys() == shipped.keys()
    for key, shipment in shipped.items():
        assert set(moved[key].sent) == set(shipment.sent)
        assert set(moved[key].arrived) == set(shipment.arrived)
        assert (moved[key].status is ShipmentStatus.CALLED_OFF) == shipment.called_off


@EXAMPLES
@given(HISTORIES)
def test_the_ledger_balances_in_each_currency_and_statements_explain_it(history: History) -> None:
    events, states = history
    balances, lines = documents(TRIAL_BALANCE, events), documents(ACCOUNT_STATEMENT, events)
    sums: Counter[str] = Counter()
    explained: Counter[str] = Counter()
    for balance in balances.values():
        assert balance.balance == balance.debit - balance.credit
        sums[balance.currency] += balance.balance
    for line in lines.values():
        explained[joined(line.account.value, line.currency)] += line.amount
    assert not any(sums.values())
    assert explained == {key: balance.balance for key, balance in balances.items()}
    assert len(lines) == sum(len(entry.postings) for entry in of_kind(states, Entry).values())
