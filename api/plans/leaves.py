"""Scalars and enums as Python expressions, each with a short way for the value that is usual.

What is unusual (another class, None, a number that is too large) goes to `coerce_output_value` of
its GraphQL type, which decides as ever; what that refuses is raised.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from graphql import GraphQLEnumType, GraphQLLeafType, Undefined
from strawberry.schema.schema_converter import CustomGraphQLEnumType

Names: TypeAlias = Callable[[str, Any], str]
"""Gives a value a name in the generated code: a prefix and the value, the name in return."""

_USUAL: Final = {
    "String": "{v}.__class__ is str",
    "ID": "{v}.__class__ is str",
    "Boolean": "{v}.__class__ is bool",
    "Int": f"{{v}}.__class__ is int and {-(2**31)} <= {{v}} < {2**31}",
}
"""What holds of a value that goes out as it is."""


class Unfit(Exception):
    """A value that cannot be an answer: graphql-core says what is wrong with it."""


def leaf(kind: GraphQLLeafType, value: str, named: Names) -> str:
    """The expression for the leaf that the expression `value` (a name) stands for; not None."""
    careful = named(f"as_{kind.name}", _careful(kind))
    if (usual := _USUAL.get(kind.name)) is not None:
        return f"({value} if {usual.format(v=value)} else {careful}({value}))"
    if isinstance(kind, GraphQLEnumType):
        known = named(f"names_of_{kind.name}", _names_of(kind))
        return f"({known}.get({value}) or {careful}({value}))"
    serialized, serialize = f"{value}_out", named(f"out_{kind.name}", kind.coerce_output_value)
    fits = f"({serialized} := {serialize}({value})).__class__ is str"
    return f"({serialized} if {fits} else {careful}({value}))"


def _careful(kind: GraphQLLeafType) -> Callable[[Any], Any]:
    coerce = kind.coerce_output_value

    def careful(value: Any) -> Any:
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            raise Unfit(kind.name)
        return coerced

    return careful


def _names_of(kind: GraphQLEnumType) -> Mapping[Any, str]:
    if not isinstance(kind, CustomGraphQLEnumType):
        return {}
    members: Iterable[Any] = kind.wrapped_cls
    return {member: kind.coerce_output_value(member) for member in members}
