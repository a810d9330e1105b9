"""What a read model is: documents, each a fold of the events that touch its key.

1. `keys(event)` names every document that an event touches; `evolve` changes no other.
2. `evolve(view, recorded, key)` answers with the document after the event; None means "none".
3. Pure: the same code runs in the projector, in a rebuild, in memory, in the past, in a branch.
4. A view's fields are stored as they are, plus `_id` (the key) and `position` (of the last event
   that touched it). Money is in minor units, `exact` amounts in 1/10,000 of one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from domain.recorded import Recorded

V = TypeVar("V")

Index: TypeAlias = tuple[tuple[str, int], ...]
"""Fields in order with their direction (1 or -1)."""


@dataclass(frozen=True)
class Projection(Generic[V]):
    """One read model. A changed fold or shape gets a new `version`, which starts a rebuild."""

    name: str
    version: int
    view: type[V]
    events: tuple[type, ...]
    keys: Callable[[Any], Iterable[str]]
    evolve: Callable[[V | None, Recorded, str], V | None]
    indexes: tuple[Index, ...] = ()

    def fold(self, key: str, events: Iterable[Recorded], view: V | None = None) -> V | None:
        """The document `key` after `events`, those that do not touch it passed over."""
        for recorded in events:
            if isinstance(recorded.event, self.events) and key in self.keys(recorded.event):
                view = self.evolve(view, recorded, key)
        return view
