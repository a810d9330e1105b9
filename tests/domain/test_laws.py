"""What holds for every aggregate, whatever is asked of it, in whatever order."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from domain.checkout import DispatchLines, ReserveOrder
from domain.customer import RegisterCustomer
from domain.decider import Decider, DomainError, DomainErrors
from domain.order import (
    ORDER,
    CancelOrder,
    ConfirmOrder,
    MarkLinesDelivered,
    OrderPlaced,
    PlaceOrder,
    ReturnLines,
)
from domain.order_line import Line, Progress
from domain.product import AddProduct
from domain.registry import AGGREGATES, JOINT_DECISIONS
from domain.shipment import BookShipment, SendShipment
from domain.stock_item import (
    STOCK_ITEM,
    CountStock,
    DespatchStock,
    ReceiveStock,
    StockDispatched,
    StockItem,
)
from tests.domain.values import LAW, MOST_STORED, commands, lives, messages, stories
from tests.scenario import DECIDERS, decided

AnyDecider = Decider[Any, Any, Any]

for_every_aggregate = pytest.mark.parametrize("decider", AGGREGATES, ids=lambda d: d.category)

ONCE = settings(LAW, max_examples=5_000, phases=[Phase.generate], derandomize=True)
"""Look until it is found, the same way each time, and do not search for a smaller one."""

COUNTED_EACH_TIME = (ReceiveStock, DespatchStock)
"""Two deliveries of ten pieces are twenty pieces: only the command id, which the handler keeps,
tells a second delivery from a repeated message about the first."""


def decision(decider: AnyDecider, command: Any, state: Any) -> tuple[list[Any], list[DomainError]]:
    """Events or refusals; anything else raised is a mistake, and breaks the law."""
    if isinstance(command, decider.events):  # decided elsewhere
        return [command], []
    try:
        return decider.decide(command, state), []
    except (DomainError, DomainErrors) as refusal:
        return [], list(refusal.errors)


def decided_elsewhere(decider: AnyDecider) -> tuple[type, ...]:
    """Events that only a joint decision gives."""
    own = {event for events in decider.gives.values() for event in events}
    return tuple(event for event in decider.events if event not in own)


def asked(decider: AnyDecider) -> st.SearchStrategy[list[Any]]:
    """Stories of commands, and of events that are decided elsewhere."""
    first, *rest = decider.commands
    return stories((first, *decided_elsewhere(decider), *rest))


def events_of(decider: AnyDecider, command: Any, state: Any) -> list[Any]:
    return decision(decider, command, state)[0]


def told(decider: AnyDecider, story: list[Any]) -> list[Any]:
    """The events that a story comes to."""
    events: list[Any] = []
    for command in story:
        events += events_of(decider, command, decider.fold(events))
    return events


def leaves(value: Any) -> Iterator[Any]:
    """The texts, numbers and times that a value is made of."""
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def can_be_stored(value: Any) -> bool:
    """MongoDB keeps whole numbers of 64 bits, and texts that are Unicode."""
    try:
        return all(
            part.encode() is not None if isinstance(part, str) else abs(part) <= MOST_STORED
            for part in leaves(value)
            if isinstance(part, str | int)
        )
    except UnicodeEncodeError:
        return False


# -- one aggregate


@for_every_aggregate
@LAW
@given(made_up=st.data())
def test_any_command_on_any_state_gives_declared_events_or_is_refused(
    decider: AnyDecider, made_up: st.DataObject
) -> None:
    state = decider.initial
    for command in made_up.draw(asked(decider)):
        for event in events_of(decider, command, state):
            declared = decider.gives.get(type(command), decided_elsewhere(decider))
            assert isinstance(event, declared)
            assert decider.stream_of(event) == decider.stream_of(command)
            state = decider.evolve(state, event)
            assert type(state) is type(decider.initial)


@for_every_aggregate
@LAW
@given(made_up=st.data())
def test_an_accepted_command_repeated_adds_nothing_or_is_refused(
    decider: AnyDecider, made_up: st.DataObject
) -> None:
    state = decider.initial
    for command in made_up.draw(asked(decider)):
        state = decider.fold(events_of(decider, command, state), state)
        if not isinstance(command, (*COUNTED_EACH_TIME, *decider.events)):
            assert not events_of(decider, command, state)


@for_every_aggregate
@LAW
@given(made_up=st.data())
def test_no_event_is_ever_refused_even_in_a_past_that_was_changed(
    decider: AnyDecider, made_up: st.DataObject
) -> None:
    history = told(decider, made_up.draw(asked(decider)))
    happened = st.lists(st.one_of(*map(messages, decider.events)), min_size=1, max_size=5)
    changed = [*history, *made_up.draw(happened)]
    assert type(decider.fold(changed)) is type(decider.initial)


@for_every_aggregate
@LAW
@given(made_up=st.data())
def test_what_is_decided_can_be_stored_and_so_can_a_refusal(
    decider: AnyDecider, made_up: st.DataObject
) -> None:
    lived = decider.fold(told(decider, made_up.draw(lives(decider.commands))))
    for kind in decider.commands:
        command = made_up.draw(messages(kind))
        for state in (decider.initial, lived):
            events, errors = decision(decider, command, state)
            assert can_be_stored(events)
            assert can_be_stored(errors)


EVENTS = [(decider, event) for decider in AGGREGATES for event in decider.events]


@pytest.mark.parametrize(("decider", "event"), EVENTS, ids=[event.__name__ for _, event in EVENTS])
def test_the_laws_are_tried_on_every_event(decider: AnyDecider, event: type) -> None:
    find(
        asked(decider),
        lambda story: any(isinstance(e, event) for e in told(decider, story)),
        settings=ONCE,
    )


# -- stock and money


@LAW
@given(stories(STOCK_ITEM.commands, most=30))
def test_stock_is_never_below_what_is_reserved_and_that_never_below_nothing(
    story: list[Any],
) -> None:
    item: StockItem = STOCK_ITEM.initial
    for event in told(STOCK_ITEM, story):
        item = STOCK_ITEM.evolve(item, event)
        assert 0 <= item.reserved <= item.on_hand
        assert item.reserved == sum(item.reservations.values())
        assert all(kept > 0 for kept in item.reservations.values())


def charged(lines: tuple[Line, ...], *, tax: bool) -> int:
    """The same rule once more, with decimal fractions."""
    exact = sum(
        Decimal(line.unit_price)
        * line.quantity
        * (1 - Decimal(line.discount) / 10_000)
        * (1 + Decimal(line.tax if tax else 0) / 10_000)
        for line in lines
    )
    return int(Decimal(exact).quantize(Decimal(1), ROUND_HALF_UP))


@LAW
@given(commands([PlaceOrder]))
def test_an_order_is_charged_by_the_rounding_rule(command: PlaceOrder) -> None:
    for event in events_of(ORDER, command, ORDER.initial):
        assert isinstance(event, OrderPlaced)
        assert event.total == charged(event.lines, tax=True)
        assert event.net == charged(event.lines, tax=False)
        assert event.net + event.tax == event.total
        assert event.tax >= 0


# -- all aggregates together

JOINTS = {joint.command: joint for joint in JOINT_DECISIONS}
SINGLES = {command: decider for decider in AGGREGATES for command in decider.commands}
SHOP = (RegisterCustomer, *(AddProduct,) * 3, *(ReceiveStock,) * 5)
AFTER_SALES = (
    PlaceOrder,
    ReserveOrder,
    ConfirmOrder,
    CancelOrder,
    BookShipment,
    DispatchLines,
    SendShipment,
    ReserveOrder,
    ConfirmOrder,
    DispatchLines,
    MarkLinesDelivered,
    ReturnLines,
    ReceiveStock,
    CountStock,
)
"""What a shop is asked to do; pieces and lines leave it together only."""


def handled(command: Any, log: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The log after a command, as the handler would have it."""

    def state(stream: str) -> Any:
        return DECIDERS[stream.partition("-")[0]].fold(log.get(stream, ()))

    try:
        if joint := JOINTS.get(type(command)):
            changes = decided(joint, state, command)
        else:
            decider = SINGLES[type(command)]
            stream = decider.stream_of(command)
            changes = [(stream, event) for event in decider.decide(command, state(stream))]
    except (DomainError, DomainErrors):
        return log
    after = {stream: list(events) for stream, events in log.items()}
    for stream, event in changes:
        after.setdefault(stream, []).append(event)
    return after


def lived(story: list[Any]) -> dict[str, list[Any]]:
    log: dict[str, list[Any]] = {}
    for command in story:
        log = handled(command, log)
    return log


def days_of_a_shop() -> st.SearchStrategy[list[Any]]:
    opened = st.tuples(*(messages(kind, sound=True) for kind in SHOP))
    return st.tuples(opened, stories(AFTER_SALES, most=20)).map(lambda days: [*days[0], *days[1]])


@LAW
@given(days_of_a_shop())
def test_every_line_leaves_the_stock_once_and_no_more_is_kept_than_waits(story: list[Any]) -> None:
    log = lived(story)
    gone: Counter[tuple[str, str]] = Counter()
    left: Counter[tuple[str, str]] = Counter()
    waits: Counter[tuple[str, str]] = Counter()
    for stream, events in log.items():
        if stream.startswith("order-"):
            order = ORDER.fold(events)
            for line, step in zip(order.lines, order.progress, strict=True):
                (waits if step is Progress.ORDERED else gone)[stream, line.sku] += line.quantity
        for event in events:
            if isinstance(event, StockDispatched):
                left[event.order_id, event.sku] += event.quantity
    assert left == gone
    for sku in ("A", "B"):
        kept = STOCK_ITEM.fold(log.get(f"stock_item-{sku}", ())).reservations
        assert all(pieces <= waits[order, sku] for order, pieces in kept.items())


@LAW
@given(days_of_a_shop(), st.data())
def test_a_joint_decision_gives_the_events_that_it_declares(
    story: list[Any], made_up: st.DataObject
) -> None:
    before = lived(story)
    command = made_up.draw(commands(JOINTS))
    after = handled(command, before)
    for stream, events in after.items():
        for event in events[len(before.get(stream, ())) :]:
            assert isinstance(event, JOINTS[type(command)].gives)


@LAW
@given(days_of_a_shop(), st.data())
def test_a_joint_decision_repeated_adds_nothing_or_is_refused(
    story: list[Any], made_up: st.DataObject
) -> None:
    command = made_up.draw(commands(JOINTS))
    log = handled(command, lived(story))
    assert handled(command, log) == log


def test_the_law_of_lines_is_tried_on_lines_that_leave() -> None:
    find(
        days_of_a_shop(),
        lambda story: any(isinstance(e, StockDispatched) for s in lived(story).values() for e in s),
        settings=ONCE,
    )
