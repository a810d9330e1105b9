"""What a read model is: documents, each a fold of the events that touch its key.

1. `keys(recorded)` names every document that an event touches; `evolve` changes no other.
2. `evolve(view, recorded, key)` answers with the document after the event; None means "none".
3. Pure: the same code runs in the projector, in a rebuild, in memory, in the past, in a branch.
4. Total: in a branch an order may be cancelled that was never placed; that is no document.
5. A view's fields are stored as they are, plus `_id` (the key) and `position` (of the last event
   that touched it). Money is in minor units, `exact` amounts in 1/10,000 of one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from domain.recorded import Recorded

V = TypeVar("V")

Index: TypeAlias = tuple[tuple[str, int], ...]
"""Fields in order with their direction (1 or -1)."""


@dataclass(frozen=True)
class Projection(Generic[V]):
    """One read model. A changed fold or shape gets a new `version`, which starts a rebuild.

    `streams(key)` names the streams that hold every event which touches the document; None where
    the key does not tell. They may hold other events, too. `once` says that each key is touched by
    one event only: nobody looks for a document before it.
    """

    name: str
    version: int
    view: type[V]
    events: tuple[type, ...]
    keys: Callable[[Recorded], Iterable[str]]
    evolve: Callable[[V | None, Recorded, str], V | None]
    indexes: tuple[Index, ...] = ()
    streams: Callable[[str], tuple[str, ...]] | None = None
    once: bool = False

    def touched(self, recorded: Recorded) -> Iterable[str]:
        """The keys that the event touches; none where it is not listened to."""
        return self.keys(recorded) if isinstance(recorded.event, self.events) else ()

    def fold(self, key: str, events: Iterable[Recorded], view: V | None = None) -> V | None:
        """The document `key` after `events`, those that do not touch it passed over."""
        for recorded in events:
            if key in self.touched(recorded):
                view = self.evolve(view, recorded, key)
        return view


def field_of(name: str) -> Callable[[Recorded], tuple[str, ...]]:
    """The `keys` of a read model whose documents are named by one field of the events."""

    return lambda recorded: (getattr(recorded.event, name),)


def own_stream(key: str) -> tuple[str, ...]:
    """The `streams` of a read model whose documents are named after an aggregate each."""
    return (key,)


def index(*fields: str) -> Index:
    """Ascending by `fields`, then by key: what a page sorted by them walks, either way."""
    return (*((field, 1) for field in fields), ("_id", 1))


def joined(*parts: str) -> str:
    """One key of several values. No two lists of values share a key."""
    key = ":".join(parts)
    if "%" not in key and key.count(":") < len(parts):
        return key
    return ":".join(part.replace("%", "%25").replace(":", "%3A") for part in parts)


def parted(key: str) -> list[str]:
    """The values that `joined` made a key of."""
    parts = key.split(":")
    if "%" not in key:
        return parts
    return [part.replace("%3A", ":").replace("%25", "%") for part in parts]
