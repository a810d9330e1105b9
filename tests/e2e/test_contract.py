"""Nothing is in the schema that is not tried here: a new root field needs its test."""

import re
from pathlib import Path

import pytest

from api.schema import SCHEMA

HERE = Path(__file__).parent
TRIED_IN = {
    "Query": (
        "test_queries.py",
        "test_pages.py",
        "test_reports.py",
        "test_order_to_cash_api.py",
        "test_flow.py",
        "test_generations.py",
        "test_history.py",
        "test_branches.py",
        "test_differences.py",
    ),
    "Mutation": (
        "test_commands.py",
        "test_order_to_cash_api.py",
        "test_generations.py",
        "test_branches.py",
    ),
    "Subscription": ("test_subscriptions.py", "test_generations.py"),
}
FIELDS = [
    (kind, name)
    for kind in TRIED_IN
    for name in SCHEMA._schema.get_type(kind).fields  # type: ignore[union-attr]  # they are object types
]


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_every_root_field_has_a_test(kind: str, name: str) -> None:
    sources = [(HERE / file).read_text() for file in TRIED_IN[kind]]
    assert any(re.search(rf"\b{name}\b", source) for source in sources), (
        f"{kind}.{name} is not tried: add a test to tests/e2e/{TRIED_IN[kind][0]}, "
        "and who may use it to tests/e2e/test_rights.py"
    )
