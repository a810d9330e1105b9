"""Generated documents made to mean something, and to use all that GraphQL has; the same each time.

1. Most arguments name what is there (see `Known`), some stay as they were generated. Most of those
   that nobody has to give are left out.
2. Literals move into variables: with right values, wrong ones, or none.
3. Selections are repeated, aliased, switched by `@include` and `@skip`, and moved into inline
   fragments and named ones, each of which may be spread more than once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, cast

from graphql import (
    ArgumentNode,
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    NamedTypeNode,
    NameNode,
    NullValueNode,
    ObjectFieldNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    get_named_type,
    is_abstract_type,
    is_non_null_type,
    is_required_argument,
    is_required_input_field,
    parse_type,
    print_ast,
    value_from_ast_untyped,
)

from tests.api.meanings import Meanings

WRONG: Final[Sequence[Any]] = ({}, [], [None], "", "\u0000", 5, -1, 1.5, True, 2**40, {"$gt": ""})
"""JSON that is sent where something else was asked for."""

TIMES: Final = ("2026-10-20T08:00:00Z", "2026-10-28T12:00:00+02:00")
"""When a command is said to have happened."""

MOMENTS: Final = ("asOf", "atLeast", "branch")
"""A field takes one of them at most."""


@dataclass(frozen=True)
class Twisted:
    """What is sent."""

    text: str
    variables: dict[str, Any]
    root_fields: frozenset[str]

    def switched(self) -> "Twisted | None":
        """The same with every switch the other way, if there are any."""
        other = {
            name: not value if isinstance(value, bool) else value
            for name, value in self.variables.items()
        }
        return None if other == self.variables else replace(self, variables=other)


@dataclass
class Twister:
    """Makes one document of generated ones."""

    schema: GraphQLSchema
    random: Random
    meanings: Meanings
    variables: dict[str, Any] = field(default_factory=dict)
    definitions: dict[str, VariableDefinitionNode] = field(default_factory=dict)
    fragments: list[FragmentDefinitionNode] = field(default_factory=list)
    names: int = 0

    def twist(self, documents: Sequence[DocumentNode]) -> Twisted:
        """One operation with the root fields of all these documents."""
        operations = [document.definitions[0] for document in documents]
        (first, *_) = operations
        assert isinstance(first, OperationDefinitionNode)
        root = self.schema.get_root_type(first.operation)
        assert root is not None
        asked: list[SelectionNode] = []
        for number, operation in enumerate(operations):
            assert isinstance(operation, OperationDefinitionNode)
            for one in operation.selection_set.selections:
                assert isinstance(one, FieldNode)
                alias = NameNode(value=f"more{number}_{one.name.value}") if number else None
                asked.append(replace(one, alias=alias))
        if first.operation is OperationType.SUBSCRIPTION:  # of which there may be one, as it is
            one = replace(self._selection(root, asked[0], ()), directives=())
            selected = SelectionSetNode(selections=(one,))
        else:
            selected = self._selections(root, asked, ())
        definitions = (
            replace(
                first,
                selection_set=selected,
                variable_definitions=tuple(self.definitions.values()),
            ),
            *self.fragments,
        )
        names = frozenset(one.name.value for one in asked if isinstance(one, FieldNode))
        text = print_ast(DocumentNode(definitions=definitions))
        return Twisted(text, self.variables, names)

    # -- selections

    def _selections(
        self, kind: GraphQLNamedType, asked: Sequence[SelectionNode], path: tuple[str, ...]
    ) -> SelectionSetNode:
        made = [self._selection(kind, one, path) for one in asked]
        if self._happens(0.5 if is_abstract_type(kind) else 0.12):
            made.insert(self.random.randrange(len(made) + 1), self._typename())
        if self._happens(0.08):
            made.append(self.random.choice(made))  # once more, to be merged
        if self._happens(0.1):
            made = self._in_fragment(kind, made)
        return SelectionSetNode(selections=tuple(made))

    def _selection(
        self, kind: GraphQLNamedType, asked: SelectionNode, path: tuple[str, ...]
    ) -> SelectionNode:
        directives = self._switches()
        if isinstance(asked, InlineFragmentNode):
            assert asked.type_condition is not None
            inner = self.schema.get_type(asked.type_condition.name.value)
            assert inner is not None
            inside = self._selections(inner, asked.selection_set.selections, path)
            return replace(asked, selection_set=inside, directives=directives)
        assert isinstance(asked, FieldNode)
        name = asked.name.value
        definition = self.schema.get_field(kind, name)  # type: ignore[arg-type]
        assert definition is not None, name
        path = (*path, name)
        if path[0].startswith("preview") and path[-2:] == ("fields", "after"):
            # It holds how long reactions would have taken until now, and that passes.
            asked = replace(asked, name=NameNode(value="before"))
        below: SelectionSetNode | None = None
        if asked.selection_set:
            inner = get_named_type(definition.type)
            below = self._selections(inner, asked.selection_set.selections, path)
        alias = asked.alias
        if alias is None and self._happens(0.1):
            alias = NameNode(value=f"a{self._next()}")
        arguments = self._arguments(definition.args, asked.arguments or (), path)
        return replace(
            asked, alias=alias, selection_set=below, directives=directives, arguments=arguments
        )

    def _typename(self) -> FieldNode:
        alias = NameNode(value=f"kind{self._next()}") if self._happens(0.2) else None
        return FieldNode(
            name=NameNode(value="__typename"), alias=alias, directives=(), arguments=()
        )

    def _in_fragment(
        self, kind: GraphQLNamedType, made: list[SelectionNode]
    ) -> list[SelectionNode]:
        """Some of these in a fragment of their own; or both there and here."""
        start = self.random.randrange(len(made))
        moved = made[start : start + self.random.randint(1, 4)]
        kept = made[:start] + made[start + len(moved) :] if self._happens(0.7) else made
        selected = SelectionSetNode(selections=tuple(moved))
        on = NamedTypeNode(name=NameNode(value=kind.name))
        fragments: list[SelectionNode] = []
        if self._happens(0.4):
            condition = on if self._happens(0.5) else None
            fragments.append(
                InlineFragmentNode(
                    type_condition=condition, directives=self._switches(), selection_set=selected
                )
            )
        else:
            name = NameNode(value=f"F{self._next()}")
            self.fragments.append(
                FragmentDefinitionNode(
                    name=name, type_condition=on, directives=(), selection_set=selected
                )
            )
            fragments += [
                FragmentSpreadNode(name=name, directives=self._switches())
                for _ in range(self.random.choice((1, 1, 2)))
            ]
        return [*kept[:start], *fragments, *kept[start:]]

    def _switches(self) -> tuple[DirectiveNode, ...]:
        if not self._happens(0.06):
            return ()
        names = self.random.sample(("include", "skip"), self.random.choice((1, 1, 1, 2)))
        return tuple(
            DirectiveNode(
                name=NameNode(value=name),
                arguments=(ArgumentNode(name=NameNode(value="if"), value=self._switch()),),
            )
            for name in names
        )

    def _switch(self) -> ValueNode:
        literal = BooleanValueNode(value=self._happens(0.6))
        return self._variable("Boolean!", literal) if self._happens(0.6) else literal

    # -- arguments

    def _arguments(
        self, known: Any, given: Sequence[ArgumentNode], path: tuple[str, ...]
    ) -> tuple[ArgumentNode, ...]:
        moment = self.random.choice(MOMENTS) if self._happens(0.25) else None
        made = []
        for one in given:
            name = one.name.value
            argument = known[name]
            if not is_required_argument(argument) and not self._is_wanted(name, moment):
                continue
            if name == moment and isinstance(one.value, NullValueNode) and name != "asOf":
                value = self.meanings.value(argument.type, (*path, name), one.value, self.random)
            else:
                value = self._value(argument.type, one.value, (*path, name))
            made.append(replace(one, value=self._lifted(argument.type, value, 0.25)))
        return tuple(made)

    def _is_wanted(self, name: str, moment: str | None) -> bool:
        if name in MOMENTS:
            return name == moment or self._happens(0.01)
        return self._happens(0.35)

    def _value(self, kind: Any, value: ValueNode, path: tuple[str, ...]) -> ValueNode:
        named = get_named_type(kind)
        if isinstance(value, ObjectValueNode) and isinstance(named, GraphQLInputObjectType):
            return replace(value, fields=tuple(self._fields(named, value, path)))
        return self.meanings.value(kind, path, value, self.random)

    def _fields(
        self, kind: GraphQLInputObjectType, value: ObjectValueNode, path: tuple[str, ...]
    ) -> list[ObjectFieldNode]:
        made = []
        one_of = kind.extensions["strawberry-definition"].is_one_of
        given = [one for one in value.fields if one.name.value != "at" or one_of]
        if one_of:
            given = self.random.sample(given, 1) if given and self._happens(0.97) else given
        for one in given:
            name = one.name.value
            known = kind.fields[name]
            if not (is_required_input_field(known) or one_of) and self._happens(0.5):
                continue
            made_value = self._value(known.type, one.value, (*path, name))
            made_value = self._lifted(known.type, made_value, 0.06, must=one_of)
            made.append(replace(one, value=made_value))
        if "at" in kind.fields and not one_of:  # else it would be the present time, which passes
            at = StringValueNode(value=self.random.choice(TIMES), block=False)
            made.append(ObjectFieldNode(name=NameNode(value="at"), value=at))
        return made

    # -- variables

    def _lifted(
        self, kind: Any, value: ValueNode, share: float, *, must: bool = False
    ) -> ValueNode:
        """The value, or a variable that stands for it."""
        if not self._happens(share) or (must and isinstance(value, NullValueNode)):
            return value
        if _has_variables(value):
            return value
        text = str(kind)
        if not is_non_null_type(kind) and not isinstance(value, NullValueNode):
            text += "!" if must or self._happens(0.3) else ""
        return self._variable(text, value)

    def _variable(self, kind: str, value: ValueNode) -> VariableNode:
        """A new variable of this type; mostly it is sent with this value."""
        name = NameNode(value=f"v{self._next()}")
        variable = VariableNode(name=name)
        default = value if self._happens(0.2) and not isinstance(value, NullValueNode) else None
        if default is not None and self._happens(0.5):
            kind = kind.removesuffix("!")
        self.definitions[name.value] = VariableDefinitionNode(
            variable=variable,
            type=parse_type(kind),
            default_value=cast(Any, default),
            directives=(),
        )
        chance = self.random.random()
        if chance < 0.94 and not (default is not None and self._happens(0.5)):
            wrong = self._happens(0.02)
            self.variables[name.value] = (
                self.random.choice(WRONG) if wrong else value_from_ast_untyped(value)
            )
        elif self._happens(0.2):
            self.variables[name.value] = None
        return variable

    # -- chance

    def _happens(self, share: float) -> bool:
        return self.random.random() < share

    def _next(self) -> int:
        self.names += 1
        return self.names


def _has_variables(value: ValueNode) -> bool:
    return "$v" in print_ast(value)
