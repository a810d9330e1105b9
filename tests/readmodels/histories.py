"""Histories that can really happen: commands in any order, those that the rules accept."""

from datetime import timedelta
from itertools import chain, pairwise
from typing import Any, TypeAlias, TypeVar

from hypothesis import strategies as st

from domain import customer, order, payment, product, shipment, stock_item
from domain.account import Account, Posting
from domain.checkout import RESERVE_ORDER, ReserveOrder
from domain.decider import Decider, DomainError, DomainErrors, Joint
from domain.money import Money
from domain.order_line import LineWanted
from domain.recorded import Recorded
from domain.registry import AGGREGATES
from tests.readmodels.events import BERLIN, PARIS
from tests.readmodels.given import NOON, recorded
from tests.scenario import decided

T = TypeVar("T")

States: TypeAlias = dict[str, Any]
"""The states at the end of a history, by stream."""

_CUSTOMERS = st.sampled_from(["customer-1", "customer-2"])
_SKUS = st.sampled_from(["tea", "cup", "a:b"])
_ORDERS = st.sampled_from(["order-1", "order-2", "order-3"])
_NAMES = st.sampled_from(["Tea", "Große Tasse", "Ångström"])
_ADDRESSES = st.sampled_from([BERLIN, PARIS])
_SMALL = st.integers(0, 9)
_PRICES = st.builds(Money, amount=st.sampled_from([5, 333]), currency=st.just("EUR"))
_NUMBERS = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)
_TIMES = st.integers(0, 100).map(lambda hours: NOON + timedelta(hours=hours))
_LINES = st.lists(
    st.builds(
        LineWanted,
        sku=_SKUS,
        quantity=st.integers(1, 3),
        unit_price=_PRICES,
        discount=st.sampled_from([0, 333]),
        tax=st.sampled_from([0, 700]),
    ),
    min_size=1,
    max_size=3,
).map(tuple)

_POSTINGS = st.builds(
    lambda amount, accounts: (
        Posting(account=accounts[0], amount=amount),
        Posting(account=accounts[1], amount=-amount),
    ),
    st.integers(-9, 9),
    st.tuples(st.sampled_from(Account), st.sampled_from(Account)),
)

_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "customer_id": _CUSTOMERS,
    "order_id": _ORDERS,
    "payment_id": st.sampled_from(["payment-1", "payment-2"]),
    "shipment_id": st.sampled_from(["shipment-1", "shipment-2"]),
    "entry_id": st.sampled_from([f"entry-{n}" for n in range(9)]),
    "capture_id": st.sampled_from(["capture-1", "capture-2"]),
    "refund_id": st.sampled_from(["refund-1", "refund-2"]),
    "amount": st.integers(1, 9),
    "currency": st.sampled_from(["EUR", "JPY"]),
    "card": st.just("ok"),
    "reference": st.just("p-7"),
    "text": st.just("Invoice"),
    "postings": _POSTINGS,
    "imported": st.booleans(),
    "sku": _SKUS,
    "name": _NAMES,
    "email": st.sampled_from(["a@example.org", "b@example.org"]),
    "address": _ADDRESSES,
    "deliver_to": _ADDRESSES,
    "region": st.sampled_from(["EU", "US:A"]),
    "segment": st.sampled_from(["RETAIL", "TRADE"]),
    "price": _PRICES,
    "quantity": _SMALL,
    "counted": _SMALL,
    "level": _SMALL,
    "reason": st.sampled_from(["unpaid", "too late"]),
    "at": _TIMES,
}


def _command(kind: type) -> st.SearchStrategy[Any]:
    names = set(kind.__dataclass_fields__)  # type: ignore[attr-defined] # commands are dataclasses
    fields = {name: values for name, values in _FIELDS.items() if name in names}
    if "lines" in names:
        fields["lines"] = _LINES if kind is order.PlaceOrder else _NUMBERS
    return st.builds(kind, **fields)


_BY_COMMAND: dict[type, Decider[Any, Any, Any]] = {
    command: decider for decider in AGGREGATES for command in decider.commands
}

_DECIDERS = {decider.category: decider for decider in AGGREGATES}

_JOINTS: dict[type, Joint[Any]] = {ReserveOrder: RESERVE_ORDER}
"""Joint decisions that lead to events which no aggregate comes to alone."""

_ANY = st.sampled_from((*_BY_COMMAND, *_JOINTS)).flatmap(_command)


@st.composite
def _order_life(draw: st.DrawFn) -> list[Any]:
    """An order that is placed, and sent, delivered and taken back to some extent."""
    placed = draw(_command(order.PlaceOrder))
    numbers = st.lists(st.integers(1, len(placed.lines)), min_size=1).map(tuple)
    known = {"order_id": st.just(placed.order_id), "at": _TIMES}
    life = [
        placed,
        *(draw(st.builds(kind, **known)) for kind in (ReserveOrder, order.ConfirmOrder)),
    ]
    for step in (order.MarkLinesDispatched, order.MarkLinesDelivered, order.ReturnLines):
        lines, reason = draw(numbers), {"reason": "too late"} if step is order.ReturnLines else {}
        life.append(step(order_id=placed.order_id, lines=lines, at=draw(_TIMES), **reason))
    return life[: draw(st.integers(1, len(life)))]


def _life_of(*kinds: type) -> st.SearchStrategy[list[Any]]:
    """One command of each kind, and some once more."""
    return st.tuples(*(st.lists(_command(kind), min_size=1, max_size=2) for kind in kinds)).map(
        lambda lists: list(chain(*lists))
    )


_PAYMENT_LIFE = _life_of(
    payment.AuthorisePayment,
    payment.RecordAuthorisation,
    payment.CapturePayment,
    payment.RecordCapture,
    payment.RefundPayment,
    payment.RecordRefund,
)
_SHIPMENT_LIFE = _life_of(shipment.BookShipment, shipment.SendShipment, shipment.RecordArrival)

# Commands drawn one by one seldom follow on from each other: let some do.
_PASSAGES = st.one_of(
    st.lists(_ANY, min_size=1, max_size=5),
    _order_life(),
    _PAYMENT_LIFE,
    _SHIPMENT_LIFE,
    st.tuples(*map(_command, (customer.RegisterCustomer, product.AddProduct))).map(list),
    st.tuples(*map(_command, (stock_item.ReceiveStock, stock_item.ReserveStock))).map(list),
)


def lived(commands: list[Any]) -> tuple[list[Recorded], States]:
    """What comes of the commands, one after the other."""
    events: list[Any] = []
    streams: list[str] = []
    states: States = {}
    for command in commands:
        try:
            new = _decided(command, states)
        except (DomainError, DomainErrors):
            continue
        for stream, event in new:
            decider = _decider(stream)
            states[stream] = decider.evolve(states.get(stream, decider.initial), event)
            events.append(event)
            streams.append(stream)
    return recorded(events, streams), states


def _decider(stream: str) -> Decider[Any, Any, Any]:
    return _DECIDERS[stream.partition("-")[0]]


def _decided(command: Any, states: States) -> list[tuple[str, Any]]:
    """What the command comes to, as (stream, event) pairs."""

    def state(stream: str) -> Any:
        return states.get(stream, _decider(stream).initial)

    if joint := _JOINTS.get(type(command)):
        return decided(joint, state, command)
    decider = _BY_COMMAND[type(command)]
    stream = decider.stream_of(command)
    return [(stream, event) for event in decider.decide(command, state(stream))]


HISTORIES = st.lists(_PASSAGES, max_size=12).map(lambda lists: lived(list(chain(*lists))))
LONG_HISTORIES = st.lists(_PASSAGES, min_size=20, max_size=30).map(
    lambda lists: lived(list(chain(*lists)))
)


@st.composite
def batches(draw: st.DrawFn, events: list[T]) -> list[list[T]]:
    """The events cut into batches, anyhow."""
    cuts = draw(st.sets(st.integers(0, len(events)), max_size=len(events)))
    edges = [0, *sorted(cuts), len(events)]
    return [events[low:high] for low, high in pairwise(edges)]
