"""From a validated operation to Python functions, one for each place that selects from an object.

What goes out at once is an expression. What needs another document, or has to wait, is null at
first, and put down in `run.later` with its place in the answer: `api.plans.running` fills it in.
README.md in this folder shows such functions.
"""

from collections import defaultdict
from itertools import count
from typing import Any, NoReturn, TypeAlias

from graphql import (
    FragmentDefinitionNode,
    GraphQLAbstractType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    default_type_resolver,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)
from graphql.execution.collect_fields import (
    FieldDetailsList,
    FragmentDetails,
    GroupedFieldSet,
    collect_fields,
    collect_subfields,
)
from graphql.execution.values import VariableValues

from api.joins import Join
from api.plans.kept import KEPT, NUMBERS, keep
from api.plans.leaves import Unfit, leaf
from api.plans.parts import Complete, Constant, Given, Joined, Later, Plan, RootField
from api.plans.sources import (
    Attribute,
    Function,
    Introspection,
    NotCovered,
    Resolver,
    source_of,
)

JoinedField: TypeAlias = tuple[str, Join, GraphQLOutputType, FieldDetailsList]
"""Its key in the answer, how it is joined, and what is selected."""


class Compiler:
    """Compiles one operation. It is kept: an object of a type that was not met before is compiled
    for when it comes."""

    def __init__(
        self,
        schema: GraphQLSchema,
        operation: OperationDefinitionNode,
        fragments: dict[str, FragmentDefinitionNode],
        variables: VariableValues,
    ) -> None:
        self._schema, self._operation, self._variables = schema, operation, variables
        self._fragments = {name: FragmentDetails(node) for name, node in fragments.items()}
        self._globals: dict[str, Any] = {"unfit": _unfit, "KEPT": KEPT, "keep": keep}
        self._open = 0
        """Places in the code where something may have to wait."""
        self._count = count(1)

    def plan(self) -> Plan:
        """Raises `NotCovered`, and what graphql-core raises for wrong arguments."""
        kind = self._schema.get_root_type(self._operation.operation)
        assert kind is not None, "validation refuses operations that the schema does not have"
        fields = collect_fields(
            self._schema, self._fragments, self._variables, kind, self._operation
        )
        roots = [self._root_field(kind, *field) for field in fields.grouped_field_set.items()]
        serial = self._operation.operation is OperationType.MUTATION
        return Plan(self._schema, tuple(roots), serial)

    def _root_field(
        self, kind: GraphQLObjectType, key: str, details: FieldDetailsList
    ) -> RootField:
        node = details[0].node
        if node.name.value == "__typename":
            return Constant(key, kind.name)
        definition = self._schema.get_field(kind, node.name.value)
        assert definition is not None, "validation knows the field"
        complete = self._complete(definition.type, details, key)
        if kind is self._schema.subscription_type:
            return Given(key, complete)
        source = source_of(kind, definition, node)
        if isinstance(source, Resolver):
            return Later(key, source, complete)
        if kind is self._schema.query_type and isinstance(source, Function | Introspection):
            return Given(key, _told_at_once(source, complete))
        raise NotCovered(f"{kind.name}.{node.name.value} is no resolver")

    # -- functions

    def _complete(self, kind: GraphQLOutputType, details: FieldDetailsList, key: str) -> Complete:
        """A function that completes the value of a field."""
        name = self._fresh(key)
        code = self._completed(kind, details, "value")
        self._define(name, f"def {name}(value, run):\n    return {code}\n")
        complete: Complete = self._globals[name]
        return complete

    def _object(self, kind: GraphQLObjectType, fields: GroupedFieldSet) -> str:
        """The name of a function that selects from an object."""
        name, before = self._fresh(kind.name), self._open
        entries, statements = [], []
        joins: dict[tuple[str, int], list[JoinedField]] = defaultdict(list)
        for key, details in fields.items():
            node = details[0].node
            if node.name.value == "__typename":
                entries.append(f"{key!r}: {kind.name!r}")
                continue
            definition = self._schema.get_field(kind, node.name.value)
            assert definition is not None, "validation knows the field"
            source, value = source_of(kind, definition, node), "None"
            if isinstance(source, Join):
                field = (key, source, definition.type, details)
                joins[source.projection.name, id(source.key)].append(field)
            elif isinstance(source, Resolver):
                later = Later(key, source, self._complete(definition.type, details, key))
                statements.append(f"run.later.append(({self._named('later', later)}, o, d))")
            else:
                value = self._completed(definition.type, details, self._value(source))
            entries.append(f"{key!r}: {value}")
        made = f"{{{', '.join(entries)}}}"
        if joins:  # it is a document
            made = f"{self._kept(made, before)}.copy()"
        statements += [self._joined(those) for those in joins.values()]
        self._open += len(statements)
        lines = (f"def {name}(o, run):", f"d = {made}", *statements, "return d")
        self._define(name, "\n    ".join(lines) + "\n")
        return name

    def _joined(self, fields: list[JoinedField]) -> str:
        """The statement for fields that are read off one document."""
        fill, first, before = self._fresh("fill"), fields[0][1], self._open
        values = [
            self._completed(
                kind, details, f"(None if o is None else {self._named('pick', join.pick)}(o))"
            )
            for _, join, kind, details in fields
        ]
        places = "".join(f"d[{key!r}], " for key, *_ in fields)
        made = self._kept(f"({', '.join(values)},)", before)
        self._define(fill, f"def {fill}(o, d, run):\n    {places}= {made}\n")
        view = self._named("view", first.projection.view)
        joined = self._named("joined", Joined(first.projection, first.key, self._globals[fill]))
        here, put_down = f"{fill}(o, d, run)", f"run.later.append(({joined}, o, d))"
        return f"if isinstance(o, {view}): {here}\n    else: {put_down}"

    def _kept(self, code: str, before: int) -> str:
        """The expression for what is made of the document `o`, which is made once, unless something
        in it has to wait: `before` is how much was open before its code was written."""
        if self._open != before:
            return code
        place, known = next(NUMBERS), self._fresh("known")
        found = f"({known} := KEPT.get(({place}, id(o)))) is not None and {known}[0] is o"
        return f"({known}[1] if {found} else keep({place}, o, {code}))"

    def _value(self, source: Attribute | Function | Introspection) -> str:
        match source:
            case Attribute(name):
                return f"o.{name}"
            case Function(call):
                return f"{self._named('of', call)}(o)"
            case Introspection(resolve, arguments):
                return f"{self._named('of', resolve)}(o, run, **{self._named('given', arguments)})"

    # -- expressions

    def _completed(self, kind: GraphQLOutputType, details: FieldDetailsList, code: str) -> str:
        """The expression that completes the value of the expression `code`."""
        inner = kind.of_type if is_non_null_type(kind) else kind
        otherwise = "unfit()" if is_non_null_type(kind) else "None"
        name, test = code, code
        if not code.isidentifier():
            name = self._fresh("v")
            test = f"({name} := {code})"
        return f"{self._there(inner, details, name)} if {test} is not None else {otherwise}"

    def _there(self, kind: Any, details: FieldDetailsList, name: str) -> str:
        """The expression that completes a value which is not null."""
        if is_leaf_type(kind):
            return leaf(kind, name, self._named)
        if is_list_type(kind):
            item = self._fresh("item")
            return f"[{self._completed(kind.of_type, details, item)} for {item} in {name}]"
        if is_abstract_type(kind):
            self._open += 1  # what is selected from is known only when it comes
            return f"{self._named(kind.name, self._by_type(kind, details))}({name}, run)"
        assert is_object_type(kind), "there are no other kinds of output types"
        return f"{self._object(kind, self._subfields(kind, details))}({name}, run)"

    def _subfields(self, kind: GraphQLObjectType, details: FieldDetailsList) -> GroupedFieldSet:
        return collect_subfields(
            self._schema, self._fragments, self._variables, self._operation, kind, details
        ).grouped_field_set

    def _by_type(self, kind: GraphQLAbstractType, details: FieldDetailsList) -> Complete:
        """A function that completes objects of an interface or union, by their Python class."""
        known: dict[type, Complete] = {}
        resolve_type = kind.resolve_type or default_type_resolver

        def select(value: Any, run: Any) -> Any:
            function = known.get(value.__class__)
            if function is None:
                name = resolve_type(value, run, kind)
                found = self._schema.get_type(name) if isinstance(name, str) else None
                if not is_object_type(found) or not self._schema.is_sub_type(kind, found):
                    raise Unfit(kind.name)
                selects = self._object(found, self._subfields(found, details))
                function = known[value.__class__] = self._globals[selects]
            return function(value, run)

        return select

    # -- names

    def _fresh(self, hint: str) -> str:
        return f"{hint}_{next(self._count)}"

    def _named(self, hint: str, value: Any) -> str:
        name = self._fresh(hint)
        self._globals[name] = value
        return name

    def _define(self, name: str, code: str) -> None:
        exec(compile(code, f"<plan {name}>", "exec"), self._globals)  # noqa: S102 made of the schema's names


def _told_at_once(source: Function | Introspection, complete: Complete) -> Complete:
    def told(_: Any, run: Any) -> Any:
        if isinstance(source, Function):
            return complete(source.call(None), run)
        return complete(source.resolve(None, run, **source.arguments), run)

    return told


def _unfit() -> NoReturn:
    """Null where the schema promises a value."""
    raise Unfit("null")
