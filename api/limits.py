"""What one operation may hold, and what a principal may spend.

1. The shape (depth, fields, aliases, directives) is measured before anything else looks at the
   document, over all of it: fragments count wherever they are spread, and each is measured once,
   so the time is linear in the text whatever the fragments do. Cycles end where they close.
2. Introspection (where it is allowed) has no depth: its own rule in graphql-core bounds it.
3. A budget is per process and principal; what an operation costs is told in `cost.py`.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    OperationDefinitionNode,
    SelectionNode,
)

from api.errors import ApiError, ErrorCode
from infra.settings import Limits

INTROSPECTION: Final = ("__schema", "__type")

_Definition: TypeAlias = OperationDefinitionNode | FragmentDefinitionNode


@dataclass(frozen=True)
class Shape:
    """How much of everything a selection holds, fragments included."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0

    def over(self, limits: Limits) -> tuple[str, int] | None:
        """The first limit that is exceeded, and its value."""
        for name in ("depth", "fields", "aliases", "directives"):
            if getattr(self, name) > getattr(limits, name):
                return name, getattr(limits, name)
        return None


def check_shape(document: DocumentNode, limits: Limits) -> None:
    """Raises `ApiError` LIMIT_EXCEEDED."""
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    if len(operations) > limits.operations:
        raise _exceeded("operations", limits.operations)
    fragments = _fragments(document)
    measured: dict[str, Shape] = {}
    whole = Shape()
    for operation in operations:
        whole = _with(whole, _shape_of(operation, fragments, measured))
    for name, fragment in fragments.items():
        if name not in measured:
            whole = _with(whole, _shape_of(fragment, fragments, measured))
    if over := whole.over(limits):
        raise _exceeded(*over)


def check_root_fields(names: Sequence[str], limits: Limits) -> None:
    """Raises `ApiError` LIMIT_EXCEEDED."""
    if len(names) > limits.root_fields:
        raise _exceeded("root_fields", limits.root_fields)


def check_cost(cost: int, limits: Limits) -> None:
    """Raises `ApiError` LIMIT_EXCEEDED."""
    if cost > limits.cost:
        raise ApiError(
            ErrorCode.LIMIT_EXCEEDED,
            f"This would cost {cost}, more than the {limits.cost} of one operation: "
            "ask for smaller pages or fewer fields.",
        )


def _exceeded(name: str, most: int) -> ApiError:
    what = name.replace("_", " ")
    return ApiError(ErrorCode.LIMIT_EXCEEDED, f"The {what} of the document exceed {most}.")


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}


def _with(a: Shape, b: Shape, under: int = 0) -> Shape:
    """`a`, and `b` below `under` levels of it."""
    return Shape(
        depth=max(a.depth, b.depth + under if b.depth else 0),
        fields=a.fields + b.fields,
        aliases=a.aliases + b.aliases,
        directives=a.directives + b.directives,
    )


def _shape_of(
    definition: _Definition,
    fragments: Mapping[str, FragmentDefinitionNode],
    measured: dict[str, Shape],
) -> Shape:
    if isinstance(definition, FragmentDefinitionNode):
        measured[definition.name.value] = Shape()  # what a spread that closes a cycle counts
    shape, spreads = _own_shape(definition)
    for name, under in spreads:
        if name not in fragments:
            continue
        if name not in measured:
            _shape_of(fragments[name], fragments, measured)
        shape = _with(shape, measured[name], under)
    if isinstance(definition, FragmentDefinitionNode):
        measured[definition.name.value] = shape
    return shape


def _own_shape(definition: _Definition) -> tuple[Shape, list[tuple[str, int]]]:
    """The shape without spreads, and the spreads with the level that they stand under."""
    depth = fields = aliases = 0
    directives = len(definition.directives or ())
    for variable in definition.variable_definitions or ():
        directives += len(variable.directives or ())
    spreads = []
    for selection, level in _selections(definition):
        directives += len(selection.directives or ())
        if isinstance(selection, FieldNode):
            fields += 1
            aliases += selection.alias is not None
            depth = max(depth, level)
        elif isinstance(selection, FragmentSpreadNode):
            spreads.append((selection.name.value, level - 1))
    return Shape(depth, fields, aliases, directives), spreads


def _selections(definition: _Definition) -> Iterator[tuple[SelectionNode, int]]:
    """Every selection within, with its level (from 1); below introspection levels do not grow."""
    stack = [(definition.selection_set, 1, 0 if _is_introspection(definition) else 1)]
    while stack:
        selection_set, level, step = stack.pop()
        for selection in selection_set.selections:
            yield selection, level
            nested = getattr(selection, "selection_set", None)
            if nested is None:
                continue
            if not isinstance(selection, FieldNode):
                stack.append((nested, level, step))
            elif selection.name.value in INTROSPECTION:
                stack.append((nested, level, 0))
            else:
                stack.append((nested, level + step, step))


def _is_introspection(definition: _Definition) -> bool:
    return isinstance(
        definition, FragmentDefinitionNode
    ) and definition.type_condition.name.value.startswith("__")


class Budget:
    """What each principal has spent in the current minute, in this process."""

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = now
        self._minute = 0
        self._spent: dict[str, int] = {}

    def spend(self, subject: str, cost: int) -> None:
        """Raises `ApiError` RATE_LIMITED. Nothing is free: an operation costs at least 1."""
        now = self._now()
        if int(now // 60) != self._minute:
            self._minute = int(now // 60)
            self._spent.clear()
        spent = self._spent.get(subject, 0) + max(cost, 1)
        if spent > self._most:
            raise ApiError(
                ErrorCode.RATE_LIMITED,
                "Too much was asked for in this minute.",
                retry_after=60 - int(now % 60),
            )
        self._spent[subject] = spent
