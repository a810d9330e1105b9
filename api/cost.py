"""What an operation costs, before it runs.

1. cost(field) = weight + size * cost(its selections), summed over a selection set:
   * weight is 10 for a root field of a mutation, 1 for any other field that answers with objects,
     0 for scalars;
   * size is `first` or `last` (variables resolved, the larger one, 20 when neither is said), or
     the number of `ids`; 20 for a list without such an argument; 1 for what is no list. A
     connection's size is that of the lists in it: its `pageInfo` and `totalCount` count once.
2. Type conditions and `@skip` are not looked into: all branches count. Introspection is free.
3. Compiled once per document; per request only what depends on variables is calculated.
4. Only for documents that are valid and within their limits: that is what bounds the work here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final, TypeAlias, cast

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLField,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NamedTypeNode,
    NullValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
)

PAGE: Final = 20
"""How many items a list is taken to have when nothing says so."""

SIZES: Final = ("first", "last", "ids")
"""Arguments that say how many items a field answers with."""

Variables: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Size:
    """The larger of what is known and what variables say (with what each stands for if unsaid)."""

    known: int = 0
    variables: tuple[tuple[str, int], ...] = ()

    def of(self, values: Variables) -> int:
        said = (_count(values.get(name), unsaid) for name, unsaid in self.variables)
        return max(self.known, *said) if self.variables else self.known


@dataclass(frozen=True)
class Cost:
    """`known`, and parts whose size depends on variables."""

    known: int = 0
    parts: tuple[tuple[Size, "Cost"], ...] = ()

    def of(self, values: Variables) -> int:
        return self.known + sum(size.of(values) * part.of(values) for size, part in self.parts)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.known + other.known, self.parts + other.parts)

    def times(self, size: Size) -> "Cost":
        if self == FREE:
            return FREE
        if size.variables:
            return Cost(0, ((size, self),))
        if not self.parts:
            return Cost(self.known * size.known)
        return Cost(0, ((size, self),))


FREE: Final = Cost(0)
COMMAND: Final = Cost(10)
_OBJECT: Final = Cost(1)
_ONE: Final = Size(1)
_LIST: Final = Size(PAGE)


def cost_of(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: Mapping[str, FragmentDefinitionNode],
) -> Cost:
    """The cost of `operation`, to be asked with the variables of each request."""
    root = cast(GraphQLCompositeType, schema.get_root_type(operation.operation))
    defaults = {
        variable.variable.name.value: variable.default_value
        for variable in operation.variable_definitions or ()
    }
    if operation.operation is OperationType.MUTATION:
        compiler = _Compiler(schema, fragments, defaults, root, COMMAND, COMMAND)
    else:
        compiler = _Compiler(schema, fragments, defaults, root, _OBJECT, FREE)
    return compiler.selections(operation.selection_set, root, None)


@dataclass(frozen=True)
class _Compiler:
    """What stays the same while walking one operation."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    defaults: Mapping[str, ValueNode | None]
    root: GraphQLCompositeType
    root_object: Cost
    root_scalar: Cost
    spreads: dict[tuple[str, Size | None], Cost] = field(default_factory=dict)

    def selections(
        self, selection_set: SelectionSetNode, parent: GraphQLCompositeType, page: Size | None
    ) -> Cost:
        """`page` is the size of the lists in here, when `parent` is a connection."""
        costs = []
        for selection in selection_set.selections:
            if isinstance(selection, FieldNode):
                costs.append(self._field(selection, parent, page))
            elif isinstance(selection, FragmentSpreadNode):
                costs.append(self._spread(selection.name.value, page))
            elif isinstance(selection, InlineFragmentNode):
                on = self._type(selection.type_condition) or parent
                costs.append(self.selections(selection.selection_set, on, page))
        return reduce(Cost.__add__, costs, FREE)

    def _spread(self, name: str, page: Size | None) -> Cost:
        """Each fragment once (per kind of page), however often it is spread."""
        if (name, page) not in self.spreads:
            fragment = self.fragments[name]
            on = self._type(fragment.type_condition)
            assert on, "a fragment definition has a type condition"
            self.spreads[name, page] = self.selections(fragment.selection_set, on, page)
        return self.spreads[name, page]

    def _type(self, condition: NamedTypeNode | None) -> GraphQLCompositeType | None:
        found = self.schema.get_type(condition.name.value) if condition else None
        return cast(GraphQLCompositeType | None, found)

    def _field(self, node: FieldNode, parent: GraphQLCompositeType, page: Size | None) -> Cost:
        definition = self.schema.get_field(parent, node.name.value)
        if definition is None or node.name.value.startswith("__"):
            return FREE
        if node.selection_set is None:
            return self.root_scalar if parent is self.root else FREE
        said = self._size(node, definition)
        is_list = is_list_type(get_nullable_type(definition.type))
        size = (said or page or _LIST) if is_list else _ONE
        answer = cast(GraphQLCompositeType, get_named_type(definition.type))
        inner = self.selections(node.selection_set, answer, None if is_list else said)
        weight = self.root_object if parent is self.root else _OBJECT
        return weight + inner.times(size)

    def _size(self, node: FieldNode, definition: GraphQLField) -> Size | None:
        """What the arguments say; None when the field has no argument that could."""
        names = [name for name in SIZES if name in definition.args]
        if not names:
            return None
        unsaid = max(_count(definition.args[name].default_value, 0) for name in names) or PAGE
        values = [a.value for a in node.arguments or () if a.name.value in names]
        said = [self._said(value, unsaid) for value in values if not _is_null(value)]
        if not said:
            return Size(unsaid)
        return Size(max(s.known for s in said), tuple(v for s in said for v in s.variables))

    def _said(self, value: ValueNode, unsaid: int) -> Size:
        if isinstance(value, VariableNode):
            name = value.name.value
            default = self.defaults.get(name)
            if default is not None and not _is_null(default):
                unsaid = self._said(default, unsaid).known
            return Size(0, ((name, unsaid),))
        if isinstance(value, IntValueNode):
            return Size(max(0, int(value.value)))
        return Size(len(value.values) if isinstance(value, ListValueNode) else 1)


def _is_null(value: ValueNode) -> bool:
    return isinstance(value, NullValueNode)


def _count(value: Any, unsaid: int) -> int:
    """The number of items that a JSON value asks for; 0 for what coercion will refuse anyway."""
    if isinstance(value, list):
        return len(value)
    if isinstance(value, int | float):
        return max(0, int(value))
    return unsaid if value is None else 0
