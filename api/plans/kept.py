"""What was made of documents, for when they are asked for again in the same way.

A document never changes: what has changed is another one. Those that are asked for often are the
same objects each time (`infra.hot_documents`), so what an operation has made of one is found by the
object itself. Bounded: when there is too much of it, everything is forgotten.
"""

from itertools import count
from typing import Any, Final

MOST: Final = 10_000
"""Parts of answers, of some hundred bytes to a few thousand each."""

NUMBERS: Final = count()
"""One for each place in a plan that makes something of documents."""

KEPT: Final[dict[tuple[int, int], tuple[Any, Any]]] = {}
"""By place, and by the document's `id`: the document, so that no other one gets its `id`, and what
was made of it."""


def keep(place: int, document: Any, made: Any) -> Any:
    """Keep it, and answer with it."""
    if len(KEPT) >= MOST:
        KEPT.clear()
    KEPT[place, id(document)] = (document, made)
    return made
