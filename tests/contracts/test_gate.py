"""What the gate says when an event is changed: would somebody new know what to do?"""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from domain.decider import message
from domain.upcasting import Data, Shape, Upcaster
from infra.codec import EventCodec
from tests.contracts.event_gate import (
    Goldens,
    add_missing,
    changed,
    differences,
    file_of,
    goldens,
    unread,
    unreadable,
)


def first_release() -> type:
    @message
    class ParcelSent:
        parcel: str
        grams: int
        at: datetime

    return ParcelSent


def with_a_carrier(number: int) -> type:
    @message
    class ParcelSent:
        SCHEMA: ClassVar[int] = number
        parcel: str
        kilograms: int
        carrier: str
        at: datetime

    return ParcelSent


@message
class ParcelPosted:
    """What it is called in the end."""

    parcel: str
    kilograms: int
    carrier: str
    at: datetime


def by_post(data: Data) -> tuple[Data]:
    kept = {name: value for name, value in data.items() if name != "grams"}
    return ({**kept, "kilograms": data["grams"] // 1000, "carrier": "post"},)


CARRIED = Upcaster(Shape("ParcelSent", 1), (Shape("ParcelSent", 2),), by_post)
POSTED = Upcaster(Shape("ParcelSent", 2), (Shape("ParcelPosted", 1),), lambda data: (data,))


@pytest.fixture
def known(tmp_path: Path) -> Goldens:
    """What the first release has stored."""
    add_missing(tmp_path, [first_release()])
    return goldens(tmp_path)


def test_what_has_not_changed_passes(known: Goldens) -> None:
    kinds = [first_release()]
    assert [*changed(kinds, known), *unread(kinds, [], known), *unreadable(kinds, [], known)] == []


def test_a_shape_changed_without_a_number_says_what_broke_and_how_to_mend_it(
    known: Goldens,
) -> None:
    (told,) = changed([with_a_carrier(1)], known)
    assert told.startswith("ParcelSent/1 has changed, but its number has not.")
    assert '  gone     grams: "integer"\n  new      kilograms: "integer"' in told
    assert '  new      carrier: "text"' in told
    steps = told.partition("If it was:")[2]
    assert "SCHEMA: ClassVar[int] = 2" in steps
    assert (
        'Upcaster(Shape("ParcelSent", 1), (Shape("ParcelSent", 2),), _what_has_changed),' in steps
    )
    assert "pytest tests/contracts --update-contracts adds ParcelSent.2.json" in steps
    assert "leave ParcelSent.1.json as it is" in steps


def test_a_changed_type_is_told_with_its_place() -> None:
    was = {"lines": [{"number": "integer"}], "by": {"one of": ["post", "bike"]}}
    now = {"lines": [{"number": "text"}], "by": {"one of": ["post"]}}
    assert list(differences(was, now)) == [
        'changed  lines[].number: it was "integer", and is "text"',
        'changed  by.one of: it was ["post", "bike"], and is ["post"]',
    ]


def test_following_the_steps_passes(known: Goldens, tmp_path: Path) -> None:
    kinds, upcasters = [with_a_carrier(2)], [CARRIED]
    add_missing(tmp_path, kinds)
    known = goldens(tmp_path)
    assert {file_of(shape) for shape in known} == {"ParcelSent.1.json", "ParcelSent.2.json"}
    problems = [
        *changed(kinds, known),
        *unread(kinds, upcasters, known),
        *unreadable(kinds, upcasters, known),
    ]
    assert problems == []


def test_a_new_number_without_a_file_is_told(known: Goldens) -> None:
    (told,) = changed([with_a_carrier(2)], known)
    assert told.startswith("ParcelSent/2 has no file yet")


def test_a_number_that_no_upcaster_leads_on_from_is_told(known: Goldens) -> None:
    first, second = unread([with_a_carrier(3)], [], known)
    assert first.startswith("ParcelSent/1 was stored once, and no upcaster reads it.")
    assert second.startswith("ParcelSent/2 was stored once")
    assert "ParcelSent has number 3 now." in first
    assert 'Upcaster(Shape("ParcelSent", 1), (Shape("ParcelSent", 2),), _what_has' in first


def test_an_event_that_is_gone_is_told(known: Goldens) -> None:
    (told,) = unread([ParcelPosted], [], known)
    assert "No event is called ParcelSent any more." in told
    assert 'Upcaster(Shape("ParcelSent", 1), (Shape("ItsNewName", 1),), _what_has' in told


def test_an_upcaster_that_cannot_read_the_sample_is_told(known: Goldens) -> None:
    wrong = Upcaster(CARRIED.old, CARRIED.new, lambda data: ({**data, "carrier": data["by"]},))
    (told,) = unreadable([with_a_carrier(2)], [wrong], known)
    assert told.startswith("ParcelSent/1 can no longer be read: the sample in ParcelSent.1.json")
    assert "ParcelSent/1 cannot be upcast: KeyError: 'by'" in told


def test_an_upcaster_that_gives_another_shape_is_told(known: Goldens) -> None:
    wrong = Upcaster(CARRIED.old, CARRIED.new, lambda data: (data,))
    (told,) = unreadable([with_a_carrier(2)], [wrong], known)
    assert "ParcelSent/1, read as ParcelSent/2: Object missing required field" in told


def test_a_chain_of_two_is_read(known: Goldens) -> None:
    kinds, upcasters = [ParcelPosted], [CARRIED, POSTED]
    assert [*unread(kinds, upcasters, known), *unreadable(kinds, upcasters, known)] == []
    sample = known[Shape("ParcelSent", 1)].sample
    (event,) = EventCodec(kinds, upcasters).decode("ParcelSent", 1, sample)
    at = datetime(2026, 3, 1, 12, 30, 15, 123_000, UTC)
    expected = {"parcel": "some parcel", "kilograms": 0, "carrier": "post", "at": at}
    assert asdict(event) == expected


def test_an_update_never_writes_a_file_again(known: Goldens, tmp_path: Path) -> None:
    add_missing(tmp_path, [with_a_carrier(1)])
    assert goldens(tmp_path) == known
