"""Plans cover what we show: every operation of README, and all that the playground sends."""

from typing import Any, Final

import pytest
import strawberry
from graphql import (
    OperationDefinitionNode,
    get_introspection_query,
    is_enum_type,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
    parse,
    type_from_ast,
)
from graphql.execution.values import VariableValues

from api.examples import EXAMPLES
from api.execution import Executor
from api.schema import RIGHTS, SCHEMA
from api.shipping_desk.schema import RIGHTS as DESK_RIGHTS
from api.shipping_desk.schema import SCHEMA as DESK_SCHEMA
from infra.settings import Limits
from tests.e2e.test_readme import blocks, section

AT_THE_DESK: Final = blocks("graphql", section("On Kafka"))
OURS: Final = [one for one in blocks("graphql") if one not in AT_THE_DESK]

OF_GRAPHIQL: Final = get_introspection_query(input_value_deprecation=True)
"""As the page asks for it (`api/playground/page.js`)."""

OF_ALL: Final = get_introspection_query(
    specified_by_url=True,
    directive_is_repeatable=True,
    schema_description=True,
    one_of=True,
    input_value_deprecation=True,
)

SCALARS: Final = {
    "Boolean": True,
    "Int": 1,
    "ID": "order-1",
    "String": "text",
    "Position": "0:1",
    "DateTime": "2026-10-05T00:00:00Z",
    "Date": "2026-10-05",
    "Decimal": "1.5",
    "CurrencyCode": "EUR",
    "UUID": "11111111-1111-4111-8111-111111111111",
    "JSON": {},
}


def a_value(kind: Any) -> Any:
    """Something of this type, as JSON."""
    if is_non_null_type(kind):
        return a_value(kind.of_type)
    if is_list_type(kind):
        return [a_value(kind.of_type)]
    if is_enum_type(kind):
        return next(iter(kind.values))
    if is_input_object_type(kind):
        required = {name: f for name, f in kind.fields.items() if is_required_input_field(f)}
        return {name: a_value(field.type) for name, field in required.items()}
    return SCALARS[kind.name]


def are_planned(document: str, schema: strawberry.Schema, rights: Any) -> list[bool]:
    """Whether each operation has a plan, with the limits that there are."""
    executor = Executor(schema, Limits(), introspection=True, allowed=rights)
    found = []
    for definition in parse(document).definitions:
        if not isinstance(definition, OperationDefinitionNode):
            continue
        prepared = executor.prepare(document, definition.name.value if definition.name else None)
        sent = {}
        for variable in definition.variable_definitions or ():
            kind = type_from_ast(schema._schema, variable.type)
            sent[variable.variable.name.value] = a_value(kind)
        values = prepared.variables.values(sent, 5, hide_suggestions=False)
        assert isinstance(values, VariableValues), values
        found.append(prepared.plans.plan(values) is not None)
    return found


@pytest.mark.parametrize("document", OURS)
def test_every_operation_of_readme_has_a_plan(document: str) -> None:
    assert all(are_planned(document, SCHEMA, RIGHTS))


@pytest.mark.parametrize("document", AT_THE_DESK)
def test_and_those_at_the_shipping_desk(document: str) -> None:
    assert all(are_planned(document, DESK_SCHEMA, DESK_RIGHTS))


@pytest.mark.parametrize(
    "document", [OF_GRAPHIQL, OF_ALL, *(example.query for example in EXAMPLES)]
)
def test_all_that_the_playground_sends_has_a_plan(document: str) -> None:
    assert are_planned(document, SCHEMA, RIGHTS) == [True]


def test_there_are_as_many_as_we_believe() -> None:
    assert len(OURS) >= 5
    assert len(AT_THE_DESK) >= 1
