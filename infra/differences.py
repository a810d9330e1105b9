"""Documents that are not what the log makes of them: the field, and the event that should set it.

To name the event the document's own events are folded one by one, and for each field the last one
that changed it is remembered. Where a read model can name the streams of a key, only these are
read, else all events that it listens to.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, Final, TypeAlias

from domain.decider import message
from domain.recorded import Recorded
from infra.folding import Projection, as_read, document_of, skipped_in
from infra.log import Log
from infra.mongo import Document

LONGEST_TEXT: Final = 60
"""Characters of a value that are told."""


@message
class Setter:
    """An event that set a field."""

    position: int
    event: str


@message
class FieldDifference:
    """What is stored in a field, as text, and what should be; None where there is no such field.
    `setter` is the last event that should have set it; None where no event did."""

    name: str
    stored: str | None
    expected: str | None
    setter: Setter | None = None

    @property
    def told_setter(self) -> str:
        """The event in words."""
        return f"{self.setter.event} at {self.setter.position}" if self.setter else "no event"

    def __str__(self) -> str:
        stored, expected = self.stored or "not there", self.expected or "there"
        return f"{self.name} is {stored}, not {expected} ({self.told_setter})"


@message
class Difference:
    """A document that is not what the log makes of it, at a position. One that is missing or that
    the log does not explain differs in its `position` field only."""

    projection: str
    key: str
    position: int
    what: str
    fields: tuple[FieldDifference, ...]

    def __str__(self) -> str:
        return f"{self.what}: " + "; ".join(map(str, self.fields))


def difference(
    projection: str, key: str, position: int, expected: Document | None, stored: Document | None
) -> Difference | None:
    """How the stored document differs from the expected one; None where it does not."""
    if expected == stored:
        return None
    what, names = "differs", sorted((expected or {}).keys() | (stored or {}).keys())
    if stored is None or expected is None:
        what = "is missing" if stored is None else "is not explained by the log"
        names = ["position"]
    fields = (_field(name, expected or {}, stored or {}) for name in names)
    return Difference(
        projection=projection,
        key=key,
        position=position,
        what=what,
        fields=tuple(field for field in fields if field.stored != field.expected),
    )


def _field(name: str, expected: Document, stored: Document) -> FieldDifference:
    return FieldDifference(name=name, stored=_text(name, stored), expected=_text(name, expected))


def _text(name: str, document: Document) -> str | None:
    return repr(document[name]) if name in document else None


def shortened(found: Difference) -> Difference:
    """The difference with values cut to what can be read."""
    fields = (
        replace(field, stored=_short(field.stored), expected=_short(field.expected))
        for field in found.fields
    )
    return replace(found, fields=tuple(fields))


def _short(text: str | None) -> str | None:
    if text is None or len(text) <= LONGEST_TEXT:
        return text
    return text[: LONGEST_TEXT - 1] + "…"


# -- which event should have set a field

Setters: TypeAlias = Mapping[str, Mapping[str, Setter]]
"""By key and field."""


async def events_of(
    log: Log, projection: Projection, keys: Iterable[str], upto: int
) -> AsyncIterator[list[Recorded]]:
    """In order, all events that touch these keys; others may be among them."""
    if projection.streams is None:
        types = log.codec.stored_names(projection.events)
        async for events in log.scan(0, upto, type={"$in": types}):
            yield events
    else:
        names = {name for key in keys for name in projection.streams(key)}
        found = await log.streams(names, upto)
        yield sorted(chain.from_iterable(found.values()), key=lambda event: event.position)


async def explained(
    log: Log, projection: Projection, found: Iterable[Difference]
) -> list[Difference]:
    """The differences of one read model, with the events that should have set the fields."""
    differences = list(found)
    if not differences:
        return []
    keys = [each.key for each in differences]
    upto = max(each.position for each in differences)
    setters = await _setters(log, projection, keys, upto)
    return [
        replace(
            each,
            fields=tuple(
                replace(field, setter=setters[each.key].get(field.name)) for field in each.fields
            ),
        )
        for each in differences
    ]


async def _setters(log: Log, projection: Projection, keys: list[str], upto: int) -> Setters:
    views: dict[str, Any] = dict.fromkeys(keys)
    documents: dict[str, Document] = {key: {} for key in keys}
    setters: dict[str, dict[str, Setter]] = {key: {} for key in keys}
    skipped = await log.mongo.run(lambda db: skipped_in(db, projection))
    async for events in events_of(log, projection, keys, upto):
        for recorded in events:
            if isinstance(recorded.event, projection.events):
                for key in documents.keys() & set(projection.keys(recorded)):
                    if recorded.position in skipped.get(key, ()):
                        continue
                    views[key] = projection.evolve(views[key], recorded, key)
                    after = _document(key, views[key], recorded.position)
                    _note(setters[key], documents[key], after, recorded)
                    documents[key] = after
    return setters


def _document(key: str, view: Any, position: int) -> Document:
    return {} if view is None else as_read(document_of(key, view, position))


def _note(
    setters: dict[str, Setter], before: Document, after: Document, recorded: Recorded
) -> None:
    """Remember the event for each field that it changed."""
    setter = Setter(position=recorded.position, event=type(recorded.event).__name__)
    for name in before.keys() | after.keys():
        if before.get(name) != after.get(name):
            setters[name] = setter
