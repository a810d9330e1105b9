"""Pages: a filter, an order and a keyset cursor, as one query; and its answer, as one page.

1. Pages go by place, not by number: the next page begins after a document, wherever it is now.
2. The key breaks ties, so that every document has one place.
3. Outside of what is allowed is an error, never a silent cut.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from readmodels.cursors import CursorInvalid, Sort, beyond, cursor_of
from readmodels.filters import (
    Condition,
    Document,
    Field,
    Fields,
    FilterInvalid,
    Op,
    QueryRefused,
    compiled,
)

__all__ = (
    "FIRST_PAGE",
    "Condition",
    "CursorInvalid",
    "Document",
    "Field",
    "FilterInvalid",
    "Op",
    "Page",
    "PageSizeInvalid",
    "QueryRefused",
    "Select",
    "Slice",
    "Sort",
    "SortInvalid",
    "every",
    "select",
    "slice_of",
)

T = TypeVar("T")

DEFAULT_SIZE: Final = 20
MOST_ITEMS: Final = 100
"""Documents of one page."""

MOST_SORTS: Final = 3


class SortInvalid(QueryRefused):
    pass


class PageSizeInvalid(QueryRefused):
    pass


@dataclass(frozen=True)
class Page:
    """The `first` documents, or the `last`, of those after `after` and before `before`."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None


FIRST_PAGE: Final = Page()


@dataclass(frozen=True)
class Select:
    """A query, ready to run: `find(filter).sort(sort).limit(limit)`, then `slice_of`."""

    filter: Document
    order: tuple[Sort, ...]
    size: int | None
    """None where all documents are wanted."""
    backwards: bool = False
    entered: bool = False
    """Whether the page begins at a cursor, so that there is something behind it."""
    matching: Document = field(default_factory=dict)
    """The filter of all pages together, for counting."""

    @property
    def sort(self) -> list[tuple[str, int]]:
        turn = -1 if self.backwards else 1
        return [(by.field, by.direction * turn) for by in self.order]

    @property
    def limit(self) -> int:
        """One more than wanted, to see whether there are more; 0 for no limit."""
        return 0 if self.size is None else self.size + 1


@dataclass(frozen=True)
class Slice(Generic[T]):
    """What was found, in reading order, each with its cursor. Cursors are made when they are asked
    for, of the documents as they are stored."""

    found: list[T]
    order: tuple[Sort, ...]
    document: Callable[[T], Document]
    has_next: bool
    has_previous: bool

    @property
    def cursors(self) -> list[str]:
        return [self._cursor(each) for each in self.found]

    @property
    def start_cursor(self) -> str | None:
        return self._cursor(self.found[0]) if self.found else None

    @property
    def end_cursor(self) -> str | None:
        return self._cursor(self.found[-1]) if self.found else None

    def _cursor(self, one: T) -> str:
        return cursor_of(self.order, self.document(one))


def select(
    fields: Fields,
    where: Sequence[Condition],
    order_by: Sequence[Sort],
    page: Page,
    always: Document | None = None,
) -> Select:
    """The query for one page. `always` is a filter of the read model's own."""
    backwards, size = _size(page)
    order = _order(fields, order_by)
    parts = [always] if always else []
    parts += [compiled(fields, condition) for condition in where]
    matching = _all_of(parts)
    if page.after is not None:
        parts.append(beyond(fields, order, page.after, 1))
    if page.before is not None:
        parts.append(beyond(fields, order, page.before, -1))
    entered = (page.before if backwards else page.after) is not None
    return Select(_all_of(parts), order, size, backwards, entered, matching)


def every(fields: Fields, where: Sequence[Condition], order_by: Sequence[Sort]) -> Select:
    """The query for all documents, where the conditions bound their number."""
    parts = [compiled(fields, condition) for condition in where]
    return Select(_all_of(parts), _order(fields, order_by), None)


def slice_of(query: Select, found: Sequence[T], document: Callable[[T], Document]) -> Slice[T]:
    """The page that is made of what was found; `document` is how each is stored."""
    more = query.size is not None and len(found) > query.size
    page = list(found[: query.size])
    if query.backwards:
        page.reverse()
    return Slice(
        page,
        query.order,
        document,
        has_next=query.entered if query.backwards else more,
        has_previous=more if query.backwards else query.entered,
    )


def _all_of(parts: Sequence[Document]) -> Document:
    return {"$and": list(parts)} if parts else {}


def _size(page: Page) -> tuple[bool, int]:
    """Whether the page is read from its end, and how many documents it has."""
    if page.first is not None and page.last is not None:
        raise PageSizeInvalid("Ask for the first or for the last, not for both.")
    backwards = page.last is not None
    wanted = page.last if backwards else page.first
    size = DEFAULT_SIZE if wanted is None else wanted
    if not 1 <= size <= MOST_ITEMS:
        raise PageSizeInvalid(f"A page has 1 to {MOST_ITEMS} items, not {size}.")
    return backwards, size


def _order(fields: Fields, order_by: Sequence[Sort]) -> tuple[Sort, ...]:
    """The order with the key as tie-break, in the direction in which an index can be walked."""
    names = [by.field for by in order_by]
    if not 1 <= len(names) <= MOST_SORTS or len(set(names)) < len(names):
        raise SortInvalid(f"Sort by 1 to {MOST_SORTS} different fields.")
    if not all(name in fields and fields[name].sortable for name in names):
        raise SortInvalid("This cannot be sorted by.")
    return (*order_by, Sort("_id", descending=order_by[0].descending))
