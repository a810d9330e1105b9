"""A story as it is told from its events, and the way back to why a field is what it is."""

from dataclasses import replace
from typing import Any

import pytest

from domain.recorded import Recorded
from readmodels.flow_edges import flow_edges
from readmodels.order_details import ORDER_DETAILS
from readmodels.story import MOST_DEEP, StoryNode, chain, last_change, story
from tests.readmodels.events import CANCELLED, CONFIRMED, PLACED, RESERVED
from tests.readmodels.given import META

ID: str = PLACED.order_id


def happened(event: Any, name: str, because: str, position: int, place: int = 0) -> Recorded:
    """An event of the command with this name, which a command or an event caused."""
    meta = replace(
        META,
        event_id=f"{name}:{place}",
        command_id=name,
        command=name,
        correlation_id="place",
        causation_id=because,
        actor=f"actor of {name}",
    )
    return Recorded(event=event, position=position, stream=ID, version=position, meta=meta)


EVENTS = [
    happened(PLACED, "place", "place", 1),
    happened(RESERVED, "reserve", "place:0", 2),
    happened(RESERVED, "reserve", "place:0", 3, place=1),
    happened(CONFIRMED, "confirm", "reserve:1", 4),
    happened(CANCELLED, "cancel", "reserve:0", 5),
]


def shape(node: StoryNode) -> Any:
    return (node.command, len(node.events), [shape(after) for after in node.followed_by])


# -- the tree


def test_a_story_is_the_tree_of_commands_under_the_first_with_their_events() -> None:
    node = story(EVENTS, "place")
    assert node is not None
    assert shape(node) == ("place", 1, [("reserve", 2, [("cancel", 1, []), ("confirm", 1, [])])])
    assert (node.command_id, node.actor, node.reason) == (
        "place",
        "actor of place",
        "asked by phone",
    )
    assert node.events == (EVENTS[0],)


def test_a_story_without_its_first_command_is_none() -> None:
    assert story([], "place") is None
    assert story(EVENTS[1:], "place") is None


def test_a_story_without_end_is_cut() -> None:
    """Each command caused by the one before, more often than anybody reads."""
    events = [happened(PLACED, "0", "0", 1)]
    events += [happened(RESERVED, f"{n}", f"{n - 1}:0", n + 1) for n in range(1, MOST_DEEP * 2)]
    node, deep = story(events, "0"), 0
    while node is not None and node.followed_by:
        (node,) = node.followed_by
        deep += 1
    assert deep == MOST_DEEP


# -- why


@pytest.mark.parametrize(
    ("field", "position"),
    [
        ("status", 4),
        ("customer_id", 1),
        ("lines", 1),
        ("lines.0.sku", 1),
        ("deliver_to.city", 1),
    ],
)
def test_a_field_is_what_the_last_event_that_changed_it_made_it(field: str, position: int) -> None:
    last = last_change(ORDER_DETAILS, ID, EVENTS[:4], field.split("."))
    assert last is not None
    assert last.position == position


def test_a_field_that_nothing_has_set_yet_was_made_by_nobody() -> None:
    assert last_change(ORDER_DETAILS, ID, EVENTS[:1], ["lines", "0", "sku"]) is not None
    assert last_change(ORDER_DETAILS, ID, EVENTS[:1], ["confirmed_at"]) is None


@pytest.mark.parametrize(
    "field",
    [
        "colour",
        "lines.99.sku",
        "lines.x",
        "status.colour",
        "status.value",
        "region.upper",
        "_private",
        "__class__",
        "",
    ],
)
def test_a_field_that_there_never_was_is_an_error(field: str) -> None:
    with pytest.raises(LookupError):
        last_change(ORDER_DETAILS, ID, EVENTS, field.split("."))


def test_a_path_goes_by_name_into_values_that_are_kept_by_name() -> None:
    edges = flow_edges((type(PLACED),))
    (key,) = edges.touched(EVENTS[0])
    with pytest.raises(LookupError):
        last_change(edges, key, EVENTS, ["delays", "7"])
    caused = replace(
        EVENTS[0], meta=replace(META, event_id="x:0", cause="Y", cause_at=META.recorded_at)
    )
    _, leads = edges.touched(caused)
    assert last_change(edges, leads, [caused], ["delays", "0"]) == caused


def test_events_of_other_documents_change_nothing() -> None:
    with pytest.raises(LookupError):
        last_change(ORDER_DETAILS, "order-other", EVENTS, ["status"])


def test_the_chain_leads_from_an_event_to_what_caused_it_up_to_the_first() -> None:
    assert [link.position for link in chain(EVENTS[3], EVENTS)] == [4, 3, 1]
    assert chain(EVENTS[0], EVENTS) == [EVENTS[0]]


def test_a_chain_whose_cause_is_not_known_ends_there() -> None:
    assert chain(EVENTS[3], EVENTS[2:]) == [EVENTS[3], EVENTS[2]]


def test_a_chain_that_bites_its_tail_is_cut() -> None:
    own = happened(PLACED, "place", "place:0", 1)
    assert len(chain(own, [own])) == MOST_DEEP
