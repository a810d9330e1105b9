"""Where the value of a field comes from, read off the schema once per field of an operation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Final, TypeAlias, cast

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    VariableNode,
    Visitor,
    get_argument_values,
    visit,
)
from graphql.execution.values import VariableValues
from strawberry.schema.name_converter import NameConverter
from strawberry.types.field import StrawberryField

from api.inputs import converter
from api.joins import Join, join_of

_DEFINITION: Final = "strawberry-definition"
_NAMES: Final = NameConverter()


class NotCovered(Exception):
    """The operation has something in it that plans are not made for."""


@dataclass(frozen=True)
class Attribute:
    """An attribute of the parent."""

    name: str


@dataclass(frozen=True)
class Function:
    """What a function makes of the parent, at once."""

    call: Callable[[Any], Any]


@dataclass(frozen=True)
class Introspection:
    """What graphql-core tells of the schema, at once: `resolve(parent, info, **arguments)`."""

    resolve: Callable[..., Any]
    arguments: Mapping[str, Any]


class Resolver:
    """What a resolver answers that takes arguments or `info`, or has to wait."""

    def __init__(self, field: StrawberryField, definition: GraphQLField, node: FieldNode) -> None:
        assert field.base_resolver is not None, "else it is an attribute"
        self.field, self.definition, self.node = field, definition, node
        self._function: Callable[..., Any] = cast(Any, field.base_resolver.wrapped_func)
        self._takes_self = field.base_resolver.self_parameter is not None
        named = (field.base_resolver.parent_parameter, field.base_resolver.root_parameter)
        self._parents = [parameter.name for parameter in named if parameter]
        info = field.base_resolver.info_parameter
        self._info = info.name if info else None
        self._arguments = arguments_of(field, definition, node)

    async def value(self, parent: Any, info: Any, variables: VariableValues) -> Any:
        """The value; an exception that is the value is raised, as graphql-core does."""
        given = self._arguments(variables)
        for name in self._parents:
            given[name] = parent
        if self._info:
            given[self._info] = info
        value = self._function(parent, **given) if self._takes_self else self._function(**given)
        if isawaitable(value):
            value = await value
        if isinstance(value, Exception):
            raise value
        return value


Source: TypeAlias = Attribute | Function | Introspection | Join | Resolver
Arguments: TypeAlias = Callable[[VariableValues], dict[str, Any]]


def source_of(parent: GraphQLObjectType, definition: GraphQLField, node: FieldNode) -> Source:
    """Raises `NotCovered`."""
    field = definition.extensions.get(_DEFINITION)
    if field is None:
        return _introspection(parent, definition, node)
    if field.extensions:
        raise NotCovered(f"{parent.name}.{node.name.value} has field extensions")
    if field.base_resolver is None:
        return Attribute(field.python_name)
    if (join := join_of(field)) is not None:
        return join
    resolver = field.base_resolver
    if resolver.is_async or field.arguments or resolver.info_parameter:
        return Resolver(field, definition, node)
    if resolver.self_parameter:
        return Function(resolver.wrapped_func)
    parameter = resolver.root_parameter or resolver.parent_parameter
    if parameter is None:
        return Resolver(field, definition, node)
    return Function(resolver.wrapped_func)


def _introspection(
    parent: GraphQLObjectType, definition: GraphQLField, node: FieldNode
) -> Introspection:
    if definition.resolve is None:
        raise NotCovered(f"{parent.name}.{node.name.value} has no resolver")
    if _has_variables(node):
        raise NotCovered("introspection with variables")
    return Introspection(definition.resolve, get_argument_values(definition, node))


def arguments_of(field: StrawberryField, definition: GraphQLField, node: FieldNode) -> Arguments:
    """What gives the resolver its arguments. Raises what graphql-core raises for wrong ones."""
    taken = [
        (_NAMES.from_argument(argument), argument.python_name, converter(argument.type))
        for argument in field.arguments
    ]
    if not taken:
        return lambda _: {}
    known = None if _has_variables(node) else get_argument_values(definition, node)

    def arguments(variables: VariableValues) -> dict[str, Any]:
        given = get_argument_values(definition, node, variables) if known is None else known
        return {
            python_name: given[name]
            if convert is None or given[name] is None
            else convert(given[name])
            for name, python_name, convert in taken
            if name in given
        }

    return arguments


def _has_variables(node: FieldNode) -> bool:
    found = _Variables()
    for argument in node.arguments or ():
        visit(argument, found)
    return found.any


class _Variables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.any = False

    def enter_variable(self, _: VariableNode, *__: Any) -> None:
        self.any = True
