"""Variables coerced by functions that are made once per input type.

Only what is right comes out of them: whatever is odd about a value is `Odd`, and graphql-core, that
walks type and value side by side each time, is asked instead. It has the words for what is wrong.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

from graphql import (
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
    get_variable_values,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
)
from graphql.execution.get_variable_signature import get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource
from graphql.utilities.coerce_input_value import coerce_default_value

Coerce: TypeAlias = Callable[[Any], Any]


class Odd(Exception):
    """A value that is not as it should be."""


class Variables:
    """The variables of one operation."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._definitions = operation.variable_definitions or ()
        signatures = [get_variable_signature(schema, each) for each in self._definitions]
        known = [each for each in signatures if not isinstance(each, GraphQLError)]
        assert len(known) == len(signatures), "validation knows their types"
        unsaid = get_variable_values(schema, self._unrequired(), {})
        self._unsaid = unsaid.coerced if isinstance(unsaid, VariableValues) else None
        self._variables = [(each.name, each, coercer(each.type)) for each in known]

    def _unrequired(self) -> list[Any]:
        return [each for each in self._definitions if each.type.kind != "non_null_type"]

    def values(
        self, given: Mapping[str, Any], most_errors: int, *, hide_suggestions: bool
    ) -> VariableValues | list[GraphQLError]:
        """The values, or what is wrong with them."""
        try:
            return self._coerced(given)
        except Odd:
            return get_variable_values(
                self._schema,
                self._definitions,
                dict(given),
                max_errors=most_errors,
                hide_suggestions=hide_suggestions,
            )

    def _coerced(self, given: Mapping[str, Any]) -> VariableValues:
        if self._unsaid is None:
            raise Odd("a default")
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for name, signature, coerce in self._variables:
            if name in given:
                sources[name] = VariableValueSource(signature, given[name])
                coerced[name] = coerce(given[name])
            elif name in self._unsaid:
                sources[name] = VariableValueSource(signature)
                coerced[name] = self._unsaid[name]
            elif is_non_null_type(signature.type):
                raise Odd(name)
            else:
                sources[name] = VariableValueSource(signature)
        return VariableValues(sources, coerced)


@cache
def coercer(kind: GraphQLInputType) -> Coerce:
    """What makes a value of this type of what was sent; raises `Odd`."""
    if is_non_null_type(kind):
        inner = coercer(kind.of_type)

        def required(value: Any) -> Any:
            if value is None:
                raise Odd(kind)
            return inner(value)

        return required
    if is_list_type(kind):
        item = coercer(kind.of_type)

        def listed(value: Any) -> Any:
            if value is None:
                return None
            return [item(each) for each in value] if isinstance(value, list) else [item(value)]

        return listed
    if is_input_object_type(kind):
        return _Object(kind)
    parse: Coerce = kind.coerce_input_value  # type: ignore[union-attr]  # the other kinds are done

    def leaf(value: Any) -> Any:
        if value is None:
            return None
        try:
            parsed = parse(value)
        except Exception:  # noqa: BLE001 scalars refuse in any way
            raise Odd(kind) from None
        if parsed is Undefined:
            raise Odd(kind)
        return parsed

    return leaf


class _Object:
    """Its fields are looked at when it is first asked: input types may name each other."""

    def __init__(self, kind: GraphQLInputObjectType) -> None:
        self._kind = kind
        self._fields: list[tuple[str, str, Coerce, Any]] | None = None

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise Odd(self._kind)
        if self._fields is None:
            self._fields = [self._field(name) for name in self._kind.fields]
        found: dict[str, Any] = {}
        seen = 0
        for name, out_name, coerce, unsaid in self._fields:
            if name in value:
                seen += 1
                found[out_name] = coerce(value[name])
            elif unsaid is Odd:
                raise Odd(name)
            elif unsaid is not Undefined:
                found[out_name] = unsaid
        if seen != len(value) or (self._kind.is_one_of and not _is_one(found)):
            raise Odd(self._kind)
        try:
            return self._kind.out_type(found)
        except GraphQLError:  # not one key of a type that takes one of several
            raise Odd(self._kind) from None

    def _field(self, name: str) -> tuple[str, str, Coerce, Any]:
        field = self._kind.fields[name]
        unsaid = coerce_default_value(field)
        if unsaid is Undefined and is_non_null_type(field.type):
            unsaid = Odd
        return name, field.out_name or name, coercer(field.type), unsaid


def _is_one(found: dict[str, Any]) -> bool:
    return len(found) == 1 and None not in found.values()
