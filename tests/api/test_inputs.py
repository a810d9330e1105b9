"""Inputs built by `prepare_inputs` are those that Strawberry builds by itself."""

import json
from enum import Enum
from typing import Any

import pytest
import strawberry

from api.inputs import prepare_inputs


@strawberry.enum
class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@strawberry.input
class Part:
    part_name: str
    colours: list[Colour] | None = None


@strawberry.input
class Thing:
    parts: list[Part]
    main: Part | None
    tags: list[str | None] | None = None
    renamed: int | None = strawberry.field(name="in", default=7)
    others: "list[Thing | None] | None" = None
    hidden: strawberry.Private[str] = "hidden"


@strawberry.type
class Query:
    @strawberry.field
    def told(self, things: list[Thing] | None = None, thing: Thing | None = None) -> str:
        return repr((things, thing))


def told(values: dict[str, Any], *, prepared: bool) -> str:
    schema = strawberry.Schema(query=Query)
    try:
        if prepared:
            prepare_inputs(schema)
        query = "query($things: [Thing!], $thing: Thing) { told(things: $things, thing: $thing) }"
        result = schema.execute_sync(query, variable_values=values)
    finally:
        for kind in (Part, Thing):
            kind.__strawberry_definition__.from_input = None  # type: ignore[union-attr]  # set by Strawberry
    assert result.data is not None, result.errors
    return str(result.data["told"])


SMALL: dict[str, Any] = {"parts": []}
WHOLE = {
    "parts": [{"partName": "a", "colours": ["RED", "BLUE"]}, {"partName": "b", "colours": None}],
    "main": {"partName": "c"},
    "tags": ["x", None],
    "in": 3,
    "others": [SMALL, None],
}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"thing": None},
        {"thing": SMALL},
        {"thing": WHOLE},
        {"thing": {"parts": {"partName": "alone"}, "in": None}},
        {"things": [SMALL, WHOLE]},
    ],
    ids=json.dumps,
)
def test_the_same_values_come_out(values: dict[str, Any]) -> None:
    assert told(values, prepared=True) == told(values, prepared=False)


def test_what_only_strawberry_can_build_is_refused() -> None:
    @strawberry.input
    class Patch:
        name: strawberry.Maybe[str]

    @strawberry.type
    class Patching:
        @strawberry.field
        def told(self, patch: Patch) -> str:
            return repr(patch)

    with pytest.raises(TypeError, match="Maybe"):
        prepare_inputs(strawberry.Schema(query=Patching))
