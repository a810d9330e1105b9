"""The contract with the past: every shape in which an event was ever stored.

1. An entry is never changed and never taken away: logs hold events of that shape.
2. A changed event gets the next number, and reads what was stored in the shapes before.
"""

import json
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from api.runtime import CODEC
from domain.registry import AGGREGATES

GOLDEN = Path(__file__).with_name("events.json")

NEW = """{name} is not in {file}: it is new, or its shape has a new number.

  pytest tests/contracts --update-contracts   adds it; commit the file with the change
"""

CHANGED = """{name} is not what {file} says, and there are logs that hold it as it was.

Was:  {was}
Is:   {shape}

Either take the change back, or
  1. give the event the next number: SCHEMA: ClassVar[int] = {next} in its class
  2. see that the shape before can be read: new fields have defaults, or an upcaster fills them
  3. pytest tests/contracts --update-contracts, which adds the new shape beside the old one
"""

GONE = """{name} is in {file}, but no registry names the event any more.

Logs hold it. Put it back, or write an upcaster to the event that took its place.
"""

SCALARS = {bool: "boolean", int: "integer", str: "text", datetime: "time", date: "day"}


def shape_of(kind: Any) -> Any:
    """How a value of this type is stored: names and types, all the way down."""
    if kind in SCALARS:
        return SCALARS[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"one of": [member.value for member in kind]}
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: shape_of(hints[field.name]) for field in fields(kind)}
    if get_origin(kind) is tuple and get_args(kind)[1:] == (...,):
        return [shape_of(get_args(kind)[0])]
    if isinstance(kind, UnionType) and NoneType in get_args(kind):
        (present,) = (each for each in get_args(kind) if each is not NoneType)
        return {"or nothing": shape_of(present)}
    raise AssertionError(f"{kind} is no type for a stored event")


def number_of(event: type) -> int:
    return CODEC.schema(object.__new__(event))


EVENTS = [event for decider in AGGREGATES for event in decider.events]
SHAPES = {f"{event.__name__}/{number_of(event)}": shape_of(event) for event in EVENTS}


@pytest.fixture(scope="module")
def stored(request: pytest.FixtureRequest) -> Any:
    """All shapes ever stored; an update only adds to them."""
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if request.config.getoption("--update-contracts"):
        known = dict(sorted({**SHAPES, **known}.items()))
        GOLDEN.write_text(json.dumps(known, indent=2) + "\n")
    return known


@pytest.mark.parametrize("name", SHAPES)
def test_an_event_is_stored_as_it_was_agreed(name: str, stored: Any) -> None:
    if name not in stored:
        pytest.fail(NEW.format(name=name, file=GOLDEN.name), pytrace=False)
    was, shape = json.dumps(stored[name]), json.dumps(SHAPES[name])
    if was != shape:
        following = int(name.partition("/")[2]) + 1
        text = CHANGED.format(name=name, file=GOLDEN.name, was=was, shape=shape, next=following)
        pytest.fail(text, pytrace=False)


OLD = [name for name in json.loads(GOLDEN.read_text()) if name not in SHAPES]
SAMPLES = {
    "boolean": True,
    "integer": 1,
    "text": "x",
    "time": datetime(2026, 3, 1, tzinfo=UTC),
    "day": "2026-03-01",
}


def sample_of(shape: Any) -> Any:
    """Something that was stored in this shape."""
    if isinstance(shape, str):
        return SAMPLES[shape]
    if isinstance(shape, list):
        return [sample_of(shape[0])]
    for chosen in ("one of", "or nothing"):
        if chosen in shape:
            return shape[chosen][0] if chosen == "one of" else sample_of(shape[chosen])
    return {name: sample_of(part) for name, part in shape.items()}


@pytest.mark.parametrize("name", OLD)
def test_what_was_stored_in_an_older_shape_can_be_read(name: str, stored: Any) -> None:
    assert CODEC.decode(name.partition("/")[0], sample_of(stored[name]))


def test_no_event_that_was_stored_is_forgotten(stored: Any) -> None:
    present = {event.__name__ for event in EVENTS}
    gone = [name for name in stored if name.partition("/")[0] not in present]
    if gone:
        pytest.fail(GONE.format(name=gone[0], file=GOLDEN.name), pytrace=False)
