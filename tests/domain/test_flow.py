"""The flow as it is declared, drawn, and compared with what happens."""

from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from domain.decider import Decider
from domain.flow import Edge, Flow, Report, compare, declared_flow, mermaid
from domain.order import OrderPlaced, OrderReserved
from domain.process import Gateway, Process, Step
from domain.registry import AGGREGATES, GATEWAYS, JOINT_DECISIONS, PROCESSES

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/contracts/flow.mmd"
DECLARED = declared_flow(AGGREGATES, JOINT_DECISIONS, PROCESSES, GATEWAYS)

WHAT_TO_DO = """The declared flow is not what tests/contracts/flow.mmd says.

When the change is meant:
  1. pytest tests/domain/test_flow.py --update-contracts, which draws it anew there and in README
  2. look at the difference: somebody reacts who did not, or no longer does
  3. commit the files with the change
"""


# -- declared


@pytest.mark.parametrize(
    "edge",
    [
        Edge(source="PlaceOrder", target="OrderPlaced", by="order"),
        Edge(source="ReserveOrder", target="StockReserved", by="joint"),
        Edge(source="OrderPlaced", target="ReserveOrder", by="order_to_cash"),
        Edge(source="CaptureRequested", target="RecordCapture", by="payment_provider"),
        Edge(source="OrderReserved", target="deadline authorisation", by="order_to_cash"),
        Edge(source="deadline authorisation", target="CancelOrder", by="order_to_cash"),
    ],
    ids=lambda edge: f"{edge.source}-{edge.target}",
)
def test_commands_give_events_and_events_lead_to_commands(edge: Edge) -> None:
    assert edge in DECLARED.edges


def test_every_command_and_event_of_the_domain_is_in_the_flow() -> None:
    drawn = {end for edge in DECLARED.edges for end in (edge.source, edge.target)}
    commands = {kind.__name__ for decider in AGGREGATES for kind in decider.commands}
    events = {kind.__name__ for decider in AGGREGATES for kind in decider.events}
    assert commands | events <= drawn


def test_the_declared_flow_runs_in_no_circle_and_has_no_event_that_is_a_command() -> None:
    report = compare(DECLARED, DECLARED.edges)
    assert report == Report(undeclared=(), unused=(), cycles=(), disguised=())


# -- drawn


def in_readme(text: str) -> tuple[str, str, str]:
    """What comes before the drawing, the drawing, and what comes after."""
    before, opened, rest = text.partition("```mermaid\n")
    drawn, closed, after = rest.partition("```\n")
    return before + opened, drawn, closed + after


def test_the_drawing_is_the_one_that_was_agreed_here_and_in_readme(
    request: pytest.FixtureRequest,
) -> None:
    text, readme = mermaid(DECLARED), ROOT / "README.md"
    before, drawn, after = in_readme(readme.read_text())
    if request.config.getoption("--update-contracts"):
        GOLDEN.write_text(text)
        readme.write_text(before + text + after)
        drawn = text
    if not GOLDEN.exists() or GOLDEN.read_text() != text or drawn != text:
        pytest.fail(WHAT_TO_DO, pytrace=False)


def test_commands_are_boxes_events_are_round_and_doors_are_dotted() -> None:
    flow = Flow(
        gives=(Edge(source="Ask", target="Asked", by="errand"),),
        leads=(
            Edge(source="Asked", target="Tell", by="world"),
            Edge(source="Asked", target="Remind", by="process"),
            Edge(source="Asked", target="deadline answer", by="process"),
            Edge(source="deadline answer", target="GiveUp", by="process"),
        ),
        doors=frozenset({"Asked"}),
        outside=frozenset({"world"}),
        owner={},
    )
    assert mermaid(flow).splitlines() == [
        "flowchart LR",
        "    Ask[Ask]",
        "    Asked([Asked])",
        "    GiveUp[GiveUp]",
        "    Remind[Remind]",
        "    Tell[Tell]",
        '    deadline_answer{{"deadline answer"}}',
        "    Ask --> Asked",
        "    Asked --> Remind",
        "    Asked -.-> Tell",
        "    Asked --> deadline_answer",
        "    deadline_answer --> GiveUp",
    ]


# -- compared


def real(source: str, target: str, by: str) -> Edge:
    return Edge(source=source, target=target, by=by)


def test_what_nobody_declared_is_reported_with_who_did_it() -> None:
    hidden = real("ProductPriced", "CountStock", "hidden")
    report = compare(DECLARED, [*DECLARED.edges, hidden])
    assert report.undeclared == (hidden,)
    assert not report.cycles
    assert not report.disguised


def test_who_sends_what_is_declared_for_somebody_else_is_reported_too() -> None:
    """An edge is declared for one process: the same one by a stranger is none of its steps."""
    stranger = real("OrderPlaced", "ReserveOrder", "hidden")
    assert compare(DECLARED, [*DECLARED.edges, stranger]).undeclared == (stranger,)


def test_what_was_declared_and_never_happens_is_reported() -> None:
    dead = [edge for edge in DECLARED.edges if edge.target == "VoidPayment"]
    seen = [edge for edge in DECLARED.edges if edge not in dead]
    assert compare(DECLARED, seen).unused == tuple(dead)


def test_a_deadline_that_is_set_is_not_seen_in_the_log_and_not_missed() -> None:
    seen = [edge for edge in DECLARED.edges if not edge.target.startswith("deadline ")]
    assert compare(DECLARED, seen).unused == ()


def test_what_runs_in_a_circle_is_reported_once_whoever_closes_it() -> None:
    closing = real("OrderReserved", "ReserveOrder", "hidden")
    report = compare(DECLARED, [*DECLARED.edges, closing])
    assert report.cycles == (("OrderReserved", "ReserveOrder"),)


def test_a_long_circle_is_found_and_what_hangs_on_it_is_not_part_of_it() -> None:
    closing = real("EntryPosted", "CapturePayment", "hidden")
    (cycle,) = compare(DECLARED, [*DECLARED.edges, closing]).cycles
    assert {"CapturePayment", "CaptureRequested", "RecordCapture", "PaymentCaptured"} < set(cycle)
    assert "OrderPlaced" not in cycle


# -- events that act as commands


@dataclass(frozen=True)
class Asked:
    """Says that something has happened, and means "do it"."""


@dataclass(frozen=True)
class Tell:
    """What the only listener sends."""


@dataclass(frozen=True)
class Told:
    """What comes of that."""


@dataclass(frozen=True)
class GoOn:
    """What the asker was waiting for."""


@dataclass(frozen=True)
class Ask:
    """Where it begins."""


def decider(
    category: str, gives: dict[type, tuple[type, ...]], events: tuple[type, ...]
) -> Decider[Any, Any, Any]:
    return Decider(
        category,
        attrgetter("at"),
        None,
        lambda _command, _state: [],
        lambda state, _: state,
        tuple(gives),
        events,
        (),
        gives,
    )


ASKER = decider("asker", {Ask: (Asked,), GoOn: ()}, (Asked,))
TELLER = decider("teller", {Tell: (Told,)}, (Told,))


def process(name: str, *steps: tuple[type, type]) -> Process[None]:
    return Process(
        name,
        attrgetter("at"),
        None,
        lambda state, _: state,
        tuple(Step(on, lambda _state, _event: (), (sends,)) for on, sends in steps),
        tuple(on for on, _ in steps),
    )


def disguised(*processes: Process[None], gateways: tuple[Gateway, ...] = ()) -> tuple[str, ...]:
    flow = declared_flow((ASKER, TELLER), (), processes, gateways)
    return compare(flow, flow.edges).disguised


def test_an_event_whose_sender_waits_for_the_only_listener_is_a_command_in_disguise() -> None:
    assert disguised(process("listener", (Asked, Tell)), process("asker", (Told, GoOn))) == (
        "Asked",
    )


def test_a_process_that_owns_both_ends_says_so_and_is_none() -> None:
    assert disguised(process("conversation", (Asked, Tell), (Told, GoOn))) == ()


def test_an_event_with_several_listeners_is_none() -> None:
    waiting = process("asker", (Told, GoOn))
    others = process("other", (Asked, GoOn))
    assert disguised(process("listener", (Asked, Tell)), waiting, others) == ()


def test_a_request_to_the_outside_says_that_it_is_one() -> None:
    door = Gateway("world", {Asked: (Tell,)})
    assert disguised(process("asker", (Told, GoOn)), gateways=(door,)) == ()


def test_a_hidden_listener_makes_an_event_a_command_in_disguise() -> None:
    flow = declared_flow((ASKER, TELLER), (), (process("asker", (Told, GoOn)),), ())
    assert compare(flow, flow.edges).disguised == ()
    hidden = real("Asked", "Tell", "hidden")
    report = compare(flow, [*flow.edges, hidden])
    assert (report.undeclared, report.disguised) == ((hidden,), ("Asked",))


def test_a_step_that_is_taken_away_is_undeclared_from_then_on() -> None:
    (flow,) = PROCESSES
    steps = tuple(step for step in flow.steps if step.on is not OrderPlaced)
    fewer = declared_flow(AGGREGATES, JOINT_DECISIONS, (replace(flow, steps=steps),), GATEWAYS)
    (undeclared,) = compare(fewer, DECLARED.edges).undeclared
    assert undeclared.source == "OrderPlaced"
    assert not any(step.on is OrderPlaced for step in steps)
    assert any(step.on is OrderReserved for step in steps)
