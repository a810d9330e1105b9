"""Who may: every root field states it where it is declared, as metadata.

`rights(schema types)` collects the statements and refuses to start without one.
"""

from collections.abc import Iterable
from typing import Any, Final

from strawberry.types.base import get_object_definition

from api.auth import Role

EVERYONE: Final = {"may": frozenset(Role)}
"""Anyone signed in; customers see their own data only (`Context.require_own`)."""

STAFF: Final = {"may": frozenset({Role.STAFF, Role.OPERATOR})}
OPERATOR: Final = {"may": frozenset({Role.OPERATOR})}


def rights(roots: Iterable[type[Any]]) -> dict[str, frozenset[Role]]:
    """`Query.order` → the roles that may use it, for every field of the root types."""
    allowed: dict[str, frozenset[Role]] = {}
    for root in roots:
        definition = get_object_definition(root, strict=True)
        for field in definition.fields:
            name = field.graphql_name or _camel(field.python_name)
            if "may" not in field.metadata:
                raise TypeError(f"{definition.name}.{name} does not say who may use it")
            allowed[f"{definition.name}.{name}"] = field.metadata["may"]
    return allowed


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
