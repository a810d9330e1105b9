"""The edges of the real flow: what gave what, what led to what, how often and how soon."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain.flow import Edge
from domain.order import OrderConfirmed, OrderPlaced
from domain.recorded import Recorded
from readmodels.flow_edges import FlowEdge, flow_edges
from readmodels.projection import joined
from tests.readmodels.events import CONFIRMED, REPRICED
from tests.readmodels.given import META, NOON

FLOW = flow_edges((OrderPlaced, OrderConfirmed))
GIVES = joined("gives", "ConfirmOrder", "OrderConfirmed", "order")
LEADS = joined("leads", "PaymentAuthorised", "ConfirmOrder", "order_to_cash")


def happened(event: Any = CONFIRMED, **meta: Any) -> Recorded:
    known = {"command": "ConfirmOrder", "event_id": "command-1:0", **meta}
    return Recorded(
        event=event, position=1, stream="order-1", version=1, meta=replace(META, **known)
    )


def caused(milliseconds: int = 7, **more: Any) -> Recorded:
    """As a process causes it, so long after what it reacted to."""
    known = {"actor": "process/order_to_cash", "cause": "PaymentAuthorised", **more}
    return happened(cause_at=NOON - timedelta(milliseconds=milliseconds), **known)


def test_an_event_counts_for_the_command_that_gave_it() -> None:
    assert list(FLOW.touched(happened())) == [GIVES]
    edge = FLOW.fold(GIVES, [happened(), happened()])
    assert edge == FlowEdge(
        source="ConfirmOrder", target="OrderConfirmed", by="order", leads=False, count=2
    )
    assert edge.delay(0.5) is None


def test_a_command_counts_for_the_event_that_led_to_it_with_who_sent_it() -> None:
    assert list(FLOW.touched(caused())) == [GIVES, LEADS]
    edge = FLOW.fold(LEADS, [caused()])
    assert edge is not None
    assert edge.edge == Edge(source="PaymentAuthorised", target="ConfirmOrder", by="order_to_cash")
    assert (edge.count, edge.delays) == (1, {"7": 1})


def test_a_command_with_several_events_counts_once() -> None:
    assert list(FLOW.touched(caused(event_id="command-1:1"))) == [GIVES]


def test_what_a_person_sent_was_led_to_by_nothing() -> None:
    assert LEADS not in FLOW.touched(happened(actor="process/order_to_cash"))


def test_what_is_not_of_the_domain_is_passed_over() -> None:
    assert list(FLOW.touched(happened(REPRICED))) == []


def test_names_with_colons_are_names() -> None:
    (gives, leads) = FLOW.touched(caused(cause="a:b", command="c%d"))
    edge = FLOW.fold(leads, [caused(cause="a:b", command="c%d")])
    assert edge is not None
    assert (edge.source, edge.target) == ("a:b", "c%d")
    assert gives != leads


@pytest.mark.parametrize(
    ("milliseconds", "kept"),
    [(-5, "0"), (0, "0"), (9, "9"), (10, "10"), (11, "20"), (91, "100"), (1_234, "2000")],
)
def test_delays_are_kept_to_one_digit_rounded_up_and_never_before_the_cause(
    milliseconds: int, kept: str
) -> None:
    edge = FLOW.fold(LEADS, [caused(milliseconds)])
    assert edge is not None
    assert edge.delays == {kept: 1}


def test_a_cause_without_a_time_is_counted_without_a_delay() -> None:
    edge = FLOW.fold(LEADS, [happened(actor="process/order_to_cash", cause="PaymentAuthorised")])
    assert edge is not None
    assert (edge.count, edge.delays, edge.delay(0.5)) == (1, {}, None)


def test_percentiles_are_the_delays_that_so_many_do_not_exceed() -> None:
    edge = FLOW.fold(LEADS, [caused(n) for n in (3, 3, 3, 50, 700)])
    assert edge is not None
    assert [edge.delay(share) for share in (0.5, 0.6, 0.8, 0.99, 1.0)] == [3, 3, 50, 700, 700]
