"""What a query reads from: all documents of the read models, as one position made them.

Three things answer to it: the live generations (`infra.reads`), the past (`infra.past`) and a
branch of history (`infra.branches`). Whoever asks need not know which.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from infra.folding import Projection, as_read, document_of
from infra.mongo import Document

V = TypeVar("V")


class Row(Generic[V]):
    """A document as it is stored, and its view. `position` is that of the event that wrote it."""

    __slots__ = ("_document", "key", "position", "view")

    def __init__(self, document: Document, view: V) -> None:
        self._document: Document | None = document
        self.key = str(document["_id"])
        self.position = int(document["position"])
        self.view = view

    @property
    def document(self) -> Document:
        return self._document or as_read(document_of(self.key, self.view, self.position))

    def lean(self) -> "Row[V]":
        """The same in half the memory: the document is made of the view where it is asked for."""
        self._document = None
        return self


class Documents(Protocol):
    """The documents as of `position`, a position of the log."""

    @property
    def position(self) -> int: ...

    async def get(self, projection: Projection, keys: Sequence[str]) -> dict[str, Row[Any]]:
        """The documents with these keys."""
        ...

    async def find(
        self,
        projection: Projection,
        where: Mapping[str, Any],
        order: Iterable[tuple[str, int]],
        limit: int,
    ) -> list[Row[Any]]:
        """Documents that match, in order, at most `limit` of them (0: all)."""
        ...

    async def count(self, projection: Projection, where: Mapping[str, Any], most: int) -> int:
        """How many documents match, counted up to `most`."""
        ...

    async def aggregate(
        self, projection: Projection, pipeline: Sequence[Mapping[str, Any]]
    ) -> list[Document]:
        """What a pipeline makes of the documents."""
        ...


Base: TypeAlias = Callable[[int], Awaitable[Documents]]
"""The documents of real history as of a position."""
