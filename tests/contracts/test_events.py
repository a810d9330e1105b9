"""The contract with the past: every shape in which an event was ever stored (see `event_gate`)."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from domain.evolutions import UPCASTERS
from domain.order_to_cash import ORDER_TO_CASH
from domain.registry import AGGREGATES
from domain.upcasting import Shape
from infra.codec import EventCodec
from tests.contracts.event_gate import (
    Goldens,
    add_missing,
    changed,
    goldens,
    unread,
    unreadable,
)

DIRECTORY = Path(__file__).with_name("events")
EVENTS = [event for decider in AGGREGATES for event in decider.events]
CODEC = EventCodec(EVENTS, UPCASTERS)


@pytest.fixture(scope="module")
def known(request: pytest.FixtureRequest) -> Goldens:
    """All shapes ever stored; an update only adds to them."""
    if request.config.getoption("--update-contracts"):
        add_missing(DIRECTORY, EVENTS)
    return goldens(DIRECTORY)


def nothing_of(problems: Iterable[str]) -> None:
    if found := list(problems):
        pytest.fail("\n\n".join(found), pytrace=False)


def test_an_event_is_stored_as_it_was_agreed(known: Goldens) -> None:
    nothing_of(changed(EVENTS, known))


def test_no_shape_that_was_stored_is_forgotten(known: Goldens) -> None:
    nothing_of(unread(EVENTS, UPCASTERS, known))


def test_what_was_ever_stored_can_be_read(known: Goldens) -> None:
    nothing_of(unreadable(EVENTS, UPCASTERS, known))


def test_an_order_from_before_payments_is_reserved_and_charged_nowhere(known: Goldens) -> None:
    (placed,) = CODEC.decode("OrderPlaced", 1, known[Shape("OrderPlaced", 1)].sample)
    assert ORDER_TO_CASH.story_of(placed) is None
