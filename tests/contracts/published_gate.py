"""The gate between a change and the recipients who rely on what we tell them.

1. Every version of a message that is published has a file: its shape, and a sample as it was told.
2. Within a version fields are only added, with a default: old messages stay readable, and who does
   not know the new field is not disturbed. A sample never changes.
3. A version is told until its file is taken away, on purpose.

Each function answers with what is wrong, told so that somebody new knows what to do.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from domain.published_messages import MessageType
from domain.upcasting import Shape
from infra.codec import from_json
from tests.contracts.event_gate import Goldens, differences, file_of, goldens, sample_of, shape_of

NEW: Final = """{shape} has no file yet: the message is new, or its version is.

  pytest tests/contracts --update-contracts

adds {file} with a sample. Put values into it that could really be told, and commit it with the
change. From then on the sample stays as it is.
"""

EXTENDED: Final = """{shape} tells more than {file} says.

{differences}

Recipients are not disturbed by that. When it is meant: pytest tests/contracts --update-contracts
"""

CHANGED: Final = """{shape} has changed in a way that recipients cannot know of.

{differences}

Others read {shape} as {file} says. If it was not meant to change, take the change back. If it was:

  1. in domain/published_messages.py, add a message with version={next} and data of its own, and
     leave the old one
  2. in domain/published.py, tell both
  3. pytest tests/contracts --update-contracts adds {name}.{next}.json: commit it with the change
  4. when the last recipient has moved, remove the old version with its file
"""

NOT_TOLD: Final = """{shape} is not told any more, and others may wait for it.

Tell it again. If its last recipient has moved, take {file} away with the change.
"""

UNREADABLE: Final = """{shape} can no longer be read: the sample in {file} is not understood.

  {error}

Such messages lie in topics, and recipients send what they have kept. A field that was added needs a
default.
"""


def _shapes(published: Iterable[MessageType]) -> dict[Shape, MessageType]:
    return {Shape(kind.name, kind.version): kind for kind in published}


def update(directory: Path, published: Iterable[MessageType]) -> None:
    """Write a file for each new message; of one that tells more, the shape alone."""
    known = goldens(directory)
    for shape, kind in _shapes(published).items():
        is_now = shape_of(kind.data)
        if (golden := known.get(shape)) is None:
            sample = msgspec.to_builtins(sample_of(is_now, kind.name))
        elif not list(_broken(golden.shape, is_now)):
            sample = golden.sample
        else:
            continue
        text = json.dumps({"shape": is_now, "sample": sample}, indent=2, ensure_ascii=False)
        (directory / file_of(shape)).write_text(f"{text}\n")


def _broken(was: object, is_now: object) -> Iterator[str]:
    """What is gone, or of another type."""
    return (told for told in differences(was, is_now) if not told.startswith("new"))


def changed(published: Iterable[MessageType], known: Goldens) -> Iterator[str]:
    """Messages that are not as their files say, or have none."""
    for shape, kind in _shapes(published).items():
        golden, is_now = known.get(shape), shape_of(kind.data)
        if golden is None:
            yield NEW.format(shape=shape, file=file_of(shape))
        elif golden.shape != is_now:
            text = CHANGED if list(_broken(golden.shape, is_now)) else EXTENDED
            yield text.format(
                shape=shape,
                file=file_of(shape),
                differences="\n".join(f"  {one}" for one in differences(golden.shape, is_now)),
                name=shape.type,
                next=shape.schema + 1,
            )


def not_told(published: Iterable[MessageType], known: Goldens) -> Iterator[str]:
    """Messages that were promised once."""
    for shape in sorted(known.keys() - _shapes(published).keys(), key=str):
        yield NOT_TOLD.format(shape=shape, file=file_of(shape))


def unreadable(published: Iterable[MessageType], known: Goldens) -> Iterator[str]:
    """Samples that are no data of today's types."""
    for shape, kind in _shapes(published).items():
        if (golden := known.get(shape)) is None:
            continue
        try:
            from_json(kind.data, golden.sample)
        except msgspec.ValidationError as error:
            yield UNREADABLE.format(shape=shape, file=file_of(shape), error=error)
