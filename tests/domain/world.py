"""A world in which one order lives: commands wait in queues, are late, doubled or out of order."""

from collections import deque
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from domain.address import Address
from domain.decider import DomainError, DomainErrors
from domain.order import (
    CancelOrder,
    OrderPlaced,
    ReturnLines,
)
from domain.order_line import Line
from domain.order_to_cash import ORDER_TO_CASH
from domain.payment import (
    AuthorisationRequested,
    CaptureRequested,
    RecordAuthorisation,
    RecordCapture,
    RecordDecline,
    RecordRefund,
    RecordVoid,
    RefundRequested,
    VoidRequested,
)
from domain.process import DeadlinePassed, DropDeadline, SetDeadline
from domain.registry import AGGREGATES, JOINT_DECISIONS
from domain.shipment import (
    RecordArrival,
    SendShipment,
)
from domain.stock_item import StockReceived
from tests.scenario import DECIDERS, decided

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
HOME = Address(street="1 High St", city="Leeds", country="UK")
OF: dict[str, Any] = {"order_id": "order-1", "at": AT}
WHOSE: dict[str, Any] = {**OF, "customer_id": "customer-1"}
PAID: dict[str, Any] = {**WHOSE, "payment_id": "payment-1"}

LINES = tuple(
    Line(number=n, sku="A", name="Tea", quantity=1, unit_price=333, discount=0, tax=1_900)
    for n in (1, 2, 3)
)
PLACED = OrderPlaced(
    currency="EUR",
    lines=LINES,
    net=999,
    tax=190,
    total=1_189,
    deliver_to=HOME,
    region="",
    segment="",
    card="4242",
    **WHOSE,
)


JOINTS = {joint.command: joint for joint in JOINT_DECISIONS}
SINGLES = {command: decider for decider in AGGREGATES for command in decider.commands}


def assert_declared(event: Any, action: Any) -> None:
    """Some step for this event says that it asks for this."""
    steps = [step for step in ORDER_TO_CASH.steps if isinstance(event, step.on)]
    if isinstance(action, SetDeadline):
        assert any(action.name in step.sets for step in steps)
    elif not isinstance(action, DropDeadline):
        assert any(type(action) in step.sends for step in steps)


class World:
    """All aggregates, the process and a provider. What the process asks for is delivered in the
    order in which it asked; answers of the provider and wishes of people come in between."""

    def __init__(self, *, approves: bool) -> None:
        self.log: list[tuple[str, Any]] = []
        self.queues: dict[str, deque[Any]] = {
            name: deque() for name in ("process", "provider", "people")
        }
        self.story = ORDER_TO_CASH.initial
        self.deadline: DeadlinePassed | None = None
        self.delivered: list[Any] = []
        self._approves = approves

    def state(self, stream: str) -> Any:
        events = [event for name, event in self.log if name == stream]
        return DECIDERS[stream.partition("-")[0]].fold(events)

    def handle(self, command: Any) -> bool:
        """Whether it was accepted."""
        try:
            if joint := JOINTS.get(type(command)):
                changes = decided(joint, self.state, command)
            else:
                decider = SINGLES[type(command)]
                stream = decider.stream_of(command)
                events = decider.decide(command, self.state(stream))
                changes = [(stream, event) for event in events]
        except (DomainError, DomainErrors):
            return False
        self.log += changes
        for _, event in changes:
            self.tell(event)
            self._ask_provider(event)
        return True

    def tell(self, event: Any) -> None:
        if not isinstance(event, (*ORDER_TO_CASH.events, DeadlinePassed)):
            return
        self.story = ORDER_TO_CASH.evolve(self.story, event)
        for action in ORDER_TO_CASH.react(self.story, event):
            assert_declared(event, action)
            match action:
                case SetDeadline():
                    self.deadline = DeadlinePassed(name=action.name, story="order-1", at=action.at)
                case DropDeadline():
                    self.deadline = None
                case _:
                    self.queues["process"].append(action)

    def _ask_provider(self, event: Any) -> None:
        answer: Any
        match event:
            case AuthorisationRequested() if self._approves:
                answer = RecordAuthorisation(payment_id="payment-1", reference="ref-1", at=AT)
            case AuthorisationRequested():
                answer = RecordDecline(payment_id="payment-1", reason="no funds", at=AT)
            case CaptureRequested():
                answer = RecordCapture(payment_id="payment-1", capture_id=event.capture_id, at=AT)
            case RefundRequested():
                answer = RecordRefund(payment_id="payment-1", refund_id=event.refund_id, at=AT)
            case VoidRequested():
                answer = RecordVoid(payment_id="payment-1", at=AT)
            case _:
                return
        self.queues["provider"].append(answer)

    def take(self, step: Any) -> None:
        """A queue to deliver from, time that passes, a delivery that is doubled, or a wish."""
        match step:
            case "time":
                self.pass_time()
            case "double":
                if self.delivered:
                    self.handle(self.delivered[len(self.log) % len(self.delivered)])
            case str():
                if self.queues[step]:
                    self.deliver(step)
            case _:
                self.queues["people"].append(step)

    def pass_time(self) -> None:
        if self.deadline is not None:
            passed, self.deadline = self.deadline, None
            self.tell(passed)

    def deliver(self, queue: str) -> None:
        """The next of a queue. What people want and cannot have is forgotten, others try again."""
        command = self.queues[queue][0]
        if self.handle(command):
            self.delivered.append(command)
        elif queue != "people":
            return
        self.queues[queue].popleft()

    def settle(self, *queues: str) -> None:
        """Deliver all that there is in these queues; nothing may be refused for ever."""
        for _ in range(200):
            for queue in queues:
                if self.queues[queue]:
                    self.deliver(queue)
        assert not any(self.queues[queue] for queue in queues)


WISHES = st.sampled_from(
    [
        CancelOrder(reason="ordered twice", **OF),
        SendShipment(shipment_id="shipment-1", lines=(1,), at=AT),
        SendShipment(shipment_id="shipment-1", lines=(2, 3), at=AT),
        SendShipment(shipment_id="shipment-1", at=AT),
        RecordArrival(shipment_id="shipment-1", at=AT),
        ReturnLines(lines=(1,), reason="leaks", **OF),
        ReturnLines(lines=(1, 2, 3), reason="leaks", **OF),
    ]
)


STEPS = st.one_of(
    st.sampled_from(("process", "process", "provider", "people", "double", "time")), WISHES
)
DAYS = st.lists(st.lists(STEPS, max_size=30), min_size=1, max_size=4)
ALL = ("process", "provider", "people")
EVENINGS = st.sampled_from([ALL, ("process", "people"), ()])
"""Whose deliveries are made by every evening; on the last day all are."""


def lived(
    pieces: int,
    days: list[list[Any]],
    *,
    approves: bool,
    evening: tuple[str, ...],
    placed: OrderPlaced = PLACED,
) -> World:
    """A world with some pieces in stock and the order just placed, after some days."""
    world = World(approves=approves)
    received = StockReceived(sku="A", quantity=pieces, source="", at=AT)
    world.log += [("stock_item-A", received), ("order-1", placed)]
    world.tell(placed)
    for day in days:
        for step in day:
            world.take(step)
        world.settle(*evening)
    world.settle(*ALL)
    return world


WORLDS = st.builds(
    lived,
    st.sampled_from([2, 3, 9]),
    DAYS,
    approves=st.sampled_from([True, True, True, False]),
    evening=EVENINGS,
)
