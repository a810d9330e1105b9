"""Plans are compiled when an operation is first run, and kept with it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)
from graphql.execution.values import VariableValues

from api.plans.compiler import Compiler
from api.plans.parts import Plan
from api.plans.sources import NotCovered

MOST_KEPT: Final = 16
"""Of one operation: one for each set of values of the variables in its `@include` and `@skip`."""

Fragments: TypeAlias = Mapping[str, FragmentDefinitionNode]


class Plans:
    """The plans of one operation."""

    def __init__(
        self, schema: GraphQLSchema, operation: OperationDefinitionNode, fragments: Fragments
    ) -> None:
        self._schema, self._operation, self._fragments = schema, operation, dict(fragments)
        sets = (operation.selection_set, *(f.selection_set for f in fragments.values()))
        self._switches = sorted({name for one in sets for name in _switches(one)})
        self._kept: dict[tuple[Any, ...], Plan | None] = {}

    def plan(self, variables: VariableValues) -> Plan | None:
        """The plan for these values; None where it is left to graphql-core, which is to say that
        something is not covered or an argument is wrong."""
        values = tuple(variables.coerced.get(name) for name in self._switches)
        if values not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[values] = self._compiled(variables)
        return self._kept[values]

    def _compiled(self, variables: VariableValues) -> Plan | None:
        try:
            return Compiler(self._schema, self._operation, self._fragments, variables).plan()
        except (NotCovered, GraphQLError):
            return None


def _switches(selection_set: SelectionSetNode) -> Iterator[str]:
    """The variables that decide what is selected."""
    for selection in selection_set.selections:
        for directive in selection.directives or ():
            for argument in directive.arguments or ():
                if isinstance(argument.value, VariableNode):
                    yield argument.value.name.value
        if isinstance(selection, FieldNode | InlineFragmentNode) and selection.selection_set:
            yield from _switches(selection.selection_set)
