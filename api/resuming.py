"""What subscriptions have in common that differ only in where they begin, by `after`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    visit,
)

from api.documents import Prepared


@dataclass(frozen=True)
class Beginning:
    is_now: bool
    """For certain; false where that is not simply seen."""
    rest: Mapping[str, Any]
    """The variables without the one that says where to begin, if it says nothing else."""


def beginning_of(prepared: Prepared, variables: Mapping[str, Any]) -> Beginning:
    operation = _operation(prepared)
    [root, *_] = operation.selection_set.selections
    if not isinstance(root, FieldNode):
        return Beginning(is_now=False, rest=variables)
    after = next((each.value for each in root.arguments or () if each.name.value == "after"), None)
    if after is None:
        return Beginning(is_now=True, rest=variables)
    if not isinstance(after, VariableNode) or _Uses.count(prepared, after.name.value) != 1:
        return Beginning(is_now=False, rest=variables)
    name = after.name.value
    return Beginning(
        is_now=variables.get(name) is None and _may_be_left_out(operation, name),
        rest={key: value for key, value in variables.items() if key != name},
    )


def _operation(prepared: Prepared) -> OperationDefinitionNode:
    for definition in prepared.document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            name = definition.name.value if definition.name else None
            if name == prepared.operation_name:
                return definition
    raise LookupError(prepared.operation_name)


def _may_be_left_out(operation: OperationDefinitionNode, name: str) -> bool:
    return any(
        each.default_value is None and not isinstance(each.type, NonNullTypeNode)
        for each in operation.variable_definitions or ()
        if each.variable.name.value == name
    )


class _Uses(Visitor):
    """How often a variable is used, by any operation of the document."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.found = 0

    @classmethod
    def count(cls, prepared: Prepared, name: str) -> int:
        uses = cls(name)
        visit(prepared.document, uses)
        return uses.found

    def enter_variable(self, node: VariableNode, *where: Any) -> None:
        """Where it is declared is no use."""
        self.found += node.name.value == self._name and not isinstance(
            where[1], VariableDefinitionNode
        )
