"""The gate between a change and the logs that hold events as they were.

1. Every shape in which an event was ever stored has a file: the shape, and a sample of it. A file
   is never changed and never taken away.
2. Today's events are of the shapes that their files say: a changed one gets the next number.
3. Every older shape is read by an upcaster, and its sample becomes today's events.

Each function answers with what is wrong, told so that somebody new knows what to do.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, TypeAlias, get_args, get_origin, get_type_hints

from bson import json_util
from bson.json_util import JSONMode, JSONOptions

from domain.upcasting import Shape, Upcaster
from infra.codec import EventCodec, Unreadable, schema_of

NEW: Final = """{shape} has no file yet: the event is new, or its shape has a new number.

  pytest tests/contracts --update-contracts

adds {file} with a sample. Put values into it that could really be stored, and commit it with the
change. From then on it stays as it is.
"""

CHANGED: Final = """{shape} has changed, but its number has not.

{differences}

There are logs that hold {shape} as {file} says. After this change they cannot be read any more, or
are read wrongly, and nobody can tell which events were stored before it and which after.

If what is stored was not meant to change, take the change back. If it was:

  1. give the event the next number, in its class:

       SCHEMA: ClassVar[int] = {next}

  2. in domain/evolutions.py, write a function that makes the new data of the old, and its line in
     UPCASTERS:

       Upcaster(Shape("{name}", {number}), (Shape("{name}", {next}),), _what_has_changed),

  3. where documents come out differently, give the read model the next `version` in readmodels/
  4. pytest tests/contracts --update-contracts adds {name}.{next}.json: commit it with the change,
     and leave {file} as it is
"""

UNREAD: Final = """{shape} was stored once, and no upcaster reads it. {present}

Logs hold such events, and with this change they stop there. In domain/evolutions.py:

  1. write a function that makes of its data what would be stored today, or one step nearer to it
  2. add its line to UPCASTERS:

       Upcaster(Shape("{name}", {number}), (Shape("{next_name}", {next}),), _what_has_changed),

What has happened is not dropped: an event that is not wanted any more still becomes some event.
"""

UNREADABLE: Final = """{shape} can no longer be read: the sample in {file} becomes no event.

  {error}

Either its upcaster in domain/evolutions.py is wrong, or one that follows on from it, or the event
that they lead to has changed. Mend that. The sample is right, whatever it says: such events were
stored, and are in logs.
"""

_JSON: Final = JSONOptions(json_mode=JSONMode.RELAXED, tz_aware=True)
_SCALARS: Final = {bool: "boolean", int: "integer", str: "text", datetime: "time", date: "day"}


def shape_of(kind: Any) -> Any:
    """How a value of this type is stored: names and types, all the way down."""
    if kind in _SCALARS:
        return _SCALARS[kind]
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


def sample_of(shape: Any, name: str) -> Any:
    """Something that could be stored in this shape; `name` is that of the field."""
    if isinstance(shape, list):
        return [sample_of(shape[0], name)]
    if isinstance(shape, dict):
        if "one of" in shape:
            return shape["one of"][0]
        if "or nothing" in shape:
            return sample_of(shape["or nothing"], name)
        return {part: sample_of(kind, part) for part, kind in shape.items()}
    if shape == "text":
        return f"some {name}"
    at = datetime(2026, 3, 1, 12, 30, 15, 123_000, UTC)
    return {"boolean": True, "integer": 7, "time": at, "day": "2026-03-01"}[shape]


# -- the files


@dataclass(frozen=True)
class Golden:
    """What a file says of a shape."""

    shape: Any
    sample: Any


Goldens: TypeAlias = Mapping[Shape, Golden]


def file_of(shape: Shape) -> str:
    return f"{shape.type}.{shape.schema}.json"


def goldens(directory: Path) -> Goldens:
    """All that was ever stored."""
    found = {}
    for path in sorted(directory.glob("*.json")):
        name, number, _ = path.name.split(".")
        content = json_util.loads(path.read_text(), json_options=_JSON)
        found[Shape(name, int(number))] = Golden(content["shape"], content["sample"])
    return found


def add_missing(directory: Path, kinds: Iterable[type]) -> None:
    """Write a file for each new shape; one that is there is never written again."""
    for kind in kinds:
        path = directory / file_of(_present(kind))
        if not path.exists():
            shape = shape_of(kind)
            content = {"shape": shape, "sample": sample_of(shape, kind.__name__)}
            text = json_util.dumps(content, json_options=_JSON, indent=2)
            path.write_text(text + "\n")


def _present(kind: type) -> Shape:
    return Shape(kind.__name__, schema_of(kind))


# -- what is wrong


def changed(kinds: Iterable[type], known: Goldens) -> Iterator[str]:
    """Events that are not as their files say, or have none."""
    for kind in kinds:
        shape, is_now = _present(kind), shape_of(kind)
        golden = known.get(shape)
        if golden is None:
            yield NEW.format(shape=shape, file=file_of(shape))
        elif golden.shape != is_now:
            yield CHANGED.format(
                shape=shape,
                file=file_of(shape),
                differences="\n".join(f"  {one}" for one in differences(golden.shape, is_now)),
                name=shape.type,
                number=shape.schema,
                next=shape.schema + 1,
            )


def differences(was: Any, now: Any, path: str = "") -> Iterator[str]:
    """What is new, what is gone, what is of another type: a line each."""
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now) == 1:
        yield from differences(was[0], now[0], f"{path}[]")
    elif isinstance(was, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*was, *now)):
            place = f"{path}.{name}" if path else name
            if name not in now:
                yield f"gone     {place}: {json.dumps(was[name])}"
            elif name not in was:
                yield f"new      {place}: {json.dumps(now[name])}"
            else:
                yield from differences(was[name], now[name], place)
    elif was != now:
        yield f"changed  {path}: it was {json.dumps(was)}, and is {json.dumps(now)}"


def unread(kinds: Iterable[type], upcasters: Iterable[Upcaster], known: Goldens) -> Iterator[str]:
    """Shapes of the past that no upcaster reads: those with a file, and all numbers before."""
    numbers = {kind.__name__: schema_of(kind) for kind in kinds}
    before = {Shape(name, n) for name, present in numbers.items() for n in range(1, present)}
    read = {upcaster.old for upcaster in upcasters}
    for shape in sorted((before | known.keys()) - read, key=str):
        present = numbers.get(shape.type)
        if shape.schema != present:
            yield UNREAD.format(
                shape=shape,
                present=f"{shape.type} has number {present} now."
                if present
                else f"No event is called {shape.type} any more.",
                name=shape.type,
                number=shape.schema,
                next_name=shape.type if present else "ItsNewName",
                next=shape.schema + 1 if present else 1,
            )


def unreadable(
    kinds: Sequence[type], upcasters: Sequence[Upcaster], known: Goldens
) -> Iterator[str]:
    """Samples that do not become today's events, though something reads their shape."""
    codec = EventCodec(kinds, upcasters)
    present, read = set(map(_present, kinds)), {upcaster.old for upcaster in upcasters}
    for shape in sorted(known.keys() & (present | read), key=str):
        try:
            codec.decode(shape.type, shape.schema, known[shape].sample)
        except Unreadable as error:
            yield UNREADABLE.format(shape=shape, file=file_of(shape), error=error)
