"""Variants: what would have happened under another rule is what does happen under that rule."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account import Account, EntryPosted, Posting
from domain.money import rounded
from domain.order import OrderCancelled, OrderPlaced
from domain.payment import CaptureRequested
from domain.variant import Variant
from domain.variants import REPRICED, TAX_FREE, VARIANTS, Repriced, TaxFree
from tests.domain.test_order_to_cash import READY, dispatched
from tests.domain.values import LAW
from tests.domain.world import AT, DAYS, EVENINGS, LINES, OF, PLACED, lived

TODAY = AT.date()
TENTH_OFF = Repriced(sku="A", factor=9_000, since=TODAY)


def rewritten(variant: Variant[Any], rule: Any, events: Iterable[Any]) -> list[Any]:
    """What has happened instead of these events; None where nothing has."""
    states: dict[str, Any] = {}
    found = []
    for event in events:
        instead = event
        if isinstance(event, variant.events):
            story = variant.story_of(event)
            states[story], instead = variant.rewrite(rule, states.get(story), event)
        found.append(instead)
    return found


@pytest.mark.parametrize(
    ("variant", "rule"),
    [
        (REPRICED, TENTH_OFF),
        (REPRICED, replace(TENTH_OFF, factor=3_333)),
        (REPRICED, replace(TENTH_OFF, factor=25_000)),
        (TAX_FREE, TaxFree(since=TODAY)),
    ],
    ids=lambda case: getattr(case, "name", ""),
)
@LAW
@given(
    pieces=st.sampled_from([2, 3, 9]),
    days=DAYS,
    approves=st.sampled_from([True, True, True, False]),
    evening=EVENINGS,
)
def test_it_is_what_happens_under_that_rule(variant: Variant[Any], rule: Any, **life: Any) -> None:
    """The same life, of an order that was placed under the rule from the beginning."""
    real = lived(**life)
    [placed] = rewritten(variant, rule, [PLACED])
    expected = lived(**life, placed=placed)
    instead = rewritten(variant, rule, (event for _, event in real.log))
    told = [(stream, event) for (stream, _), event in zip(real.log, instead, strict=True)]
    assert told == expected.log
    assert placed.total != PLACED.total


def test_a_price_is_rounded_once_and_what_is_charged_follows_from_it() -> None:
    [placed] = rewritten(REPRICED, TENTH_OFF, [PLACED])
    assert [line.unit_price for line in placed.lines] == [300, 300, 300]  # of 333: 299.7
    assert (placed.net, placed.tax, placed.total) == (900, 171, 1_071)


def test_other_products_and_earlier_orders_stay_as_they_were() -> None:
    for rule in (replace(TENTH_OFF, sku="B"), replace(TENTH_OFF, since=TODAY + timedelta(1))):
        assert rewritten(REPRICED, rule, READY) == list(READY)


def test_only_lines_of_the_product_are_others() -> None:
    other = replace(LINES[1], sku="B")
    placed = replace(PLACED, lines=(LINES[0], other, LINES[2]))
    [instead] = rewritten(REPRICED, TENTH_OFF, [placed])
    assert [line.unit_price for line in instead.lines] == [300, 333, 300]


def test_an_order_placed_before_the_branch_begins_stays_as_it_was() -> None:
    rest = [*READY[1:], dispatched(1, 2, 3, rest=0)]
    assert rewritten(REPRICED, TENTH_OFF, rest) == rest


def test_what_people_have_posted_themselves_stays_as_it_was() -> None:
    goodwill = EntryPosted(
        entry_id="entry-goodwill",
        text="Goodwill",
        currency="EUR",
        postings=(
            Posting(account=Account.REFUNDS, amount=100),
            Posting(account=Account.CASH, amount=-100),
        ),
        **OF,
    )
    own = CaptureRequested(
        payment_id="payment-1",
        capture_id="by-hand",
        reference="ref-1",
        amount=100,
        currency="EUR",
        **OF,
    )
    assert rewritten(REPRICED, TENTH_OFF, [*READY, goodwill, own])[-2:] == [goodwill, own]


def test_what_costs_nothing_is_neither_captured_nor_posted() -> None:
    free = replace(TENTH_OFF, factor=0)
    captured = CaptureRequested(
        payment_id="payment-1",
        capture_id="capture-1-2-3",
        reference="ref-1",
        amount=PLACED.total,
        currency="EUR",
        **OF,
    )
    posted = EntryPosted(
        entry_id="entry-1-invoice-1-2-3",
        text="Invoice",
        currency="EUR",
        postings=(
            Posting(account=Account.RECEIVABLES, amount=PLACED.total),
            Posting(account=Account.REVENUE, amount=-PLACED.total),
        ),
        **OF,
    )
    events = [*READY, dispatched(1, 2, 3, rest=0), posted, captured]
    assert rewritten(REPRICED, free, events)[-2:] == [None, None]


def test_a_cancelled_order_takes_off_what_it_had_come_to() -> None:
    cancelled = OrderCancelled(
        customer_id="customer-1",
        currency="EUR",
        lines=LINES,
        placed_on=TODAY,
        region="",
        reason="ordered twice",
        **OF,
    )
    placed, taken_off = rewritten(REPRICED, TENTH_OFF, [PLACED, cancelled])
    assert isinstance(placed, OrderPlaced)
    assert taken_off.lines == placed.lines


def test_every_variant_has_a_name_of_its_own() -> None:
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)


@given(st.integers(0, 10**11), st.integers(0, 10_000))
def test_a_factor_rounds_as_all_money_does(price: int, factor: int) -> None:
    line = replace(LINES[0], unit_price=price)
    rule = replace(TENTH_OFF, factor=factor)
    placed = replace(PLACED, lines=(line,))
    [instead] = rewritten(REPRICED, rule, [placed])
    assert instead.lines[0].unit_price == rounded(price * factor)
