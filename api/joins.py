"""Fields that are read off another document: declared, so that many of them are one call.

`joined(PROJECTION, key, pick)` is a field whose value is what `pick` makes of the document that
`key(parent)` names; null where there is none. A parent that is that document already is asked
itself. A plan (see `api.plans`) loads the documents of a whole list at once; elsewhere it is an
ordinary resolver.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import strawberry
from strawberry.types.field import StrawberryField

Info: TypeAlias = strawberry.Info[Any, None]

_JOIN: Final = "join"


class ReadModel(Protocol):
    """As much of a read model as a join knows (`readmodels.projection.Projection`); the context
    loads the documents with its `load_many`."""

    @property
    def name(self) -> str: ...
    @property
    def view(self) -> type: ...


@dataclass(frozen=True)
class Join:
    projection: ReadModel
    key: Callable[[Any], str]
    pick: Callable[[Any], Any]

    def resolve(self, parent: Any, info: Info) -> Any | Awaitable[Any]:
        """The value where the parent has it, else an awaitable of it."""
        if isinstance(parent, self.projection.view):
            return self.pick(parent)
        return self._loaded(parent, info)

    async def _loaded(self, parent: Any, info: Info) -> Any:
        [found] = await info.context.load_many(self.projection, (self.key(parent),))
        return None if found is None else self.pick(found)


def itself(document: Any) -> Any:
    return document


def joined(
    projection: ReadModel,
    key: Callable[[Any], str],
    pick: Callable[[Any], Any] = itself,
    description: str | None = None,
) -> Any:
    """A field of a type; its annotation says what it answers with."""
    join = Join(projection, key, pick)

    def resolver(root: Any, info: Info) -> Any:
        return join.resolve(root, info)

    return strawberry.field(resolver=resolver, metadata={_JOIN: join}, description=description)


def join_of(field: StrawberryField) -> Join | None:
    """What the field was declared with; None where it is no such field."""
    return field.metadata.get(_JOIN)
