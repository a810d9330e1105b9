"""What the gate says when a published message is changed: would somebody new know what to do?"""

import json
from pathlib import Path

import pytest

from domain.decider import message
from domain.published_messages import NOTIFICATIONS_TOPIC, MessageType
from tests.contracts.event_gate import Goldens, goldens
from tests.contracts.published_gate import changed, not_told, unreadable, update


@message
class Parcel:
    id: str
    grams: int


@message
class ParcelOfSomebody:
    id: str
    grams: int
    carrier: str = "post"


@message
class ParcelOfSomebodyAlways:
    id: str
    grams: int
    carrier: str


@message
class HeavyParcel:
    id: str
    kilograms: int


def told(data: type, version: int = 1) -> MessageType:
    return MessageType(
        name="ParcelSent", version=version, topic=NOTIFICATIONS_TOPIC, data=data, tells="Sent."
    )


@pytest.fixture
def known(tmp_path: Path) -> Goldens:
    """What the first release tells."""
    update(tmp_path, [told(Parcel)])
    return goldens(tmp_path)


def test_what_has_not_changed_passes(known: Goldens) -> None:
    kinds = [told(Parcel)]
    assert [*changed(kinds, known), *not_told(kinds, known), *unreadable(kinds, known)] == []


def test_a_changed_field_says_what_broke_and_how_to_mend_it(known: Goldens, tmp_path: Path) -> None:
    kinds = [told(HeavyParcel)]
    (problem,) = changed(kinds, known)
    assert problem.startswith("ParcelSent/1 has changed in a way that recipients cannot know of.")
    assert '  gone     grams: "integer"\n  new      kilograms: "integer"' in problem
    assert "add a message with version=2" in problem
    assert "adds ParcelSent.2.json" in problem
    update(tmp_path, kinds)
    assert goldens(tmp_path) == known, "an update does not hide it"


def test_the_next_version_beside_the_old_one_passes(known: Goldens, tmp_path: Path) -> None:
    kinds = [told(Parcel), told(HeavyParcel, version=2)]
    (problem,) = changed(kinds, known)
    assert problem.startswith("ParcelSent/2 has no file yet")
    update(tmp_path, kinds)
    known = goldens(tmp_path)
    assert [*changed(kinds, known), *not_told(kinds, known), *unreadable(kinds, known)] == []


def test_an_added_field_with_a_default_is_taken_up(known: Goldens, tmp_path: Path) -> None:
    kinds = [told(ParcelOfSomebody)]
    (problem,) = changed(kinds, known)
    assert problem.startswith("ParcelSent/1 tells more than ParcelSent.1.json says.")
    update(tmp_path, kinds)
    after = goldens(tmp_path)
    assert [*changed(kinds, after), *unreadable(kinds, after)] == []
    samples = [[golden.sample for golden in each.values()] for each in (known, after)]
    assert samples[0] == samples[1] == [{"id": "some id", "grams": 7}]


def test_an_added_field_without_a_default_cannot_read_what_was_told(known: Goldens) -> None:
    (problem,) = unreadable([told(ParcelOfSomebodyAlways)], known)
    assert problem.startswith("ParcelSent/1 can no longer be read: the sample in ParcelSent.1.json")
    assert "missing required field `carrier`" in problem


def test_a_message_that_is_gone_is_told(known: Goldens, tmp_path: Path) -> None:
    (problem,) = not_told([], known)
    assert problem.startswith("ParcelSent/1 is not told any more")
    (tmp_path / "ParcelSent.1.json").unlink()
    assert list(not_told([], goldens(tmp_path))) == []


def test_a_file_holds_what_is_on_the_wire(known: Goldens, tmp_path: Path) -> None:
    assert known
    assert json.loads((tmp_path / "ParcelSent.1.json").read_text()) == {
        "shape": {"id": "text", "grams": "integer"},
        "sample": {"id": "some id", "grams": 7},
    }
