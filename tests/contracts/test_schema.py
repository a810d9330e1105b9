"""The contract with clients: the GraphQL schema, sorted, as a file that reviewers see change."""

from pathlib import Path

import pytest
from graphql import build_schema, find_breaking_changes, lexicographic_sort_schema, print_schema

from api.schema import SCHEMA

GOLDEN = Path(__file__).with_name("schema.graphql")

WHAT_TO_DO = f"""The schema is not what {GOLDEN.name} says.

Clients rely on that file. When the change is meant:
  1. pytest tests/contracts --update-contracts
  2. look at the difference: what was taken away or made stricter breaks clients
  3. commit the file with the change
"""


def test_the_schema_is_the_one_that_was_agreed(request: pytest.FixtureRequest) -> None:
    schema = lexicographic_sort_schema(SCHEMA._schema)
    text = f"{print_schema(schema)}\n"
    if request.config.getoption("--update-contracts"):
        GOLDEN.write_text(text)
    agreed = GOLDEN.read_text() if GOLDEN.exists() else ""
    if text != agreed:
        broken = find_breaking_changes(build_schema(agreed), schema) if agreed else []
        told = "\n".join(f"  breaks clients: {change.description}" for change in broken)
        pytest.fail(f"{WHAT_TO_DO}\n{told}", pytrace=False)


@pytest.mark.parametrize("words", ["Instances of the", "str ->", "namedtuple", "Enum("])
def test_the_schema_speaks_to_clients_and_not_of_python(words: str) -> None:
    assert words not in print_schema(SCHEMA._schema)
