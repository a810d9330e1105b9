"""`given(PROJECTION, events…).then(key, document)`: how tests of read models read."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from domain.recorded import Meta, Recorded
from readmodels.projection import Projection

V = TypeVar("V")

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)

META = Meta(
    event_id="event-1",
    command_id="command-1",
    command="DoSomething",
    correlation_id="command-1",
    causation_id="command-1",
    actor="staff-1",
    recorded_at=NOON,
    reason="asked by phone",
)


def recorded(events: Iterable[Any], streams: Iterable[str] | None = None) -> list[Recorded]:
    """The events as a log has them: in one stream, or each in the one that is named for it."""
    versions: dict[str, int] = {}
    found = []
    events = list(events)
    names = list(streams) if streams else ["stream"] * len(events)
    for position, (event, stream) in enumerate(zip(events, names, strict=True), start=1):
        versions[stream] = versions.get(stream, 0) + 1
        found.append(
            Recorded(
                event=event, position=position, stream=stream, version=versions[stream], meta=META
            )
        )
    return found


class Given(Generic[V]):
    def __init__(self, projection: Projection[V], events: tuple[Any, ...]) -> None:
        self._projection = projection
        self._events = recorded(events)

    def document(self, key: str) -> V:
        found = self._projection.fold(key, self._events)
        assert found is not None, f"there is no document {key}"
        return found

    def then(self, key: str, expected: V) -> None:
        assert self._projection.fold(key, self._events) == expected

    def then_none(self, key: str) -> None:
        assert self._projection.fold(key, self._events) is None

    def then_keys(self, *expected: str) -> None:
        touched = {key for each in self._events for key in self._projection.touched(each)}
        assert touched == set(expected)


def given(projection: Projection[V], *events: Any) -> Given[V]:
    return Given(projection, events)
