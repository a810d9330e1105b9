"""The contract with other systems as a document (AsyncAPI 3), a file that reviewers see change."""

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from graphql import parse, validate
from graphql.execution.values import get_variable_values
from graphql.language import OperationDefinitionNode
from jsonschema import Draft7Validator

from api.auth import Principal, Role
from api.contract import contract, contract_text
from api.execution import Executor
from api.schema import RIGHTS, SCHEMA
from domain.published_messages import PUBLISHED, Link, Notice
from infra.cloud_events import Encoded, type_name
from infra.relaying.records import marker_record
from infra.settings import Limits
from tests.contracts.told import Told, log_records, told

GOLDEN: Final = Path(__file__).with_name("asyncapi.json")
HOME: Final = Path(os.environ.get("TIDINGS_HOME", ".tidings")).resolve()
SPECIFICATION: Final = HOME / "asyncapi" / "schema.json"
"""The schema of AsyncAPI 3.0 documents, from the npm package of those who make the standard."""

WHAT_TO_DO: Final = f"""What is told to other systems is not what {GOLDEN.name} says.

They rely on that file. When the change is meant:
  1. pytest tests/contracts --update-contracts
  2. look at the difference: `test_published_messages` tells what breaks recipients
  3. commit the file with the change
"""


@cache
def document() -> dict[str, Any]:
    return contract()


def test_the_contract_is_the_one_that_was_agreed(request: pytest.FixtureRequest) -> None:
    text = contract_text()
    if request.config.getoption("--update-contracts"):
        GOLDEN.write_text(text)
    if not GOLDEN.exists() or text != GOLDEN.read_text():
        pytest.fail(WHAT_TO_DO, pytrace=False)


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="no AsyncAPI schema: run `make asyncapi`")
def test_the_contract_is_an_asyncapi_document() -> None:
    official = Draft7Validator(json.loads(SPECIFICATION.read_text()))
    assert [f"{e.json_path}: {e.message}" for e in official.iter_errors(document())] == []
    broken = {**document(), "operations": {"tell": {"action": "shout"}}}
    assert list(official.iter_errors(broken)), "the schema would tell"


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(found := part.get("$ref"), str):
            yield found
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_every_reference_leads_somewhere_and_every_part_is_referred_to() -> None:
    found = set(references(document()))
    for reference in found:
        part: Any = document()
        for step in reference.removeprefix("#/").split("/"):
            part = part[step]
    components = document()["components"]
    parts = {f"#/components/{kind}/{name}" for kind in components for name in components[kind]}
    assert parts <= found


def test_every_message_is_on_its_channel() -> None:
    for kind in PUBLISHED:
        channels = [
            topic
            for topic, channel in document()["channels"].items()
            if type_name(kind) in channel["messages"]
        ]
        assert channels == [kind.topic]


def problems(record: Encoded, topic: str) -> list[str]:
    """How a record is not what the document says of its type."""
    headers = {name: value.decode() for name, value in record.headers}
    assert headers["ce_type"] in document()["channels"][topic]["messages"]
    message = document()["components"]["messages"][headers["ce_type"]]
    value = None if record.value is None else json.loads(record.value)
    return [
        error.message
        for schema, instance in ((message["headers"], headers), (message["payload"], value))
        for error in Draft7Validator(
            {**schema, "components": document()["components"]}
        ).iter_errors(instance)
    ]


@pytest.mark.parametrize("one", told(), ids=lambda one: one.message.type)
def test_what_is_told_is_as_the_document_says(one: Told) -> None:
    assert problems(one.record, one.message.topic) == []
    broken = one.record._replace(value=b'{"id": 1}')
    assert problems(broken, one.message.topic)


def test_what_is_stored_is_told_as_the_document_says() -> None:
    for record in log_records():
        assert problems(record, "tidings.events") == []


def test_a_marker_is_as_the_document_says() -> None:
    marker = marker_record(3, 1_042, "/tidings")
    assert problems(Encoded(b"", marker.value, marker.headers), "tidings.events") == []


RECIPIENT: Final = Principal("shipping", frozenset({Role.STAFF}), None, 2**40)

LINKS: Final = {
    (one.message.data.link.operation, one.recorded.stream): one.message.data.link
    for one in told()
    if isinstance(one.message.data, Notice)
}


@pytest.mark.parametrize("link", LINKS.values(), ids=lambda link: link.variables.id)
def test_a_link_is_an_operation_that_our_graphql_lets_in(link: Link) -> None:
    document = parse(link.operation)
    assert validate(SCHEMA._schema, document) == []
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    sent = {"id": link.variables.id, "position": link.variables.position}
    defined = operation.variable_definitions or ()
    assert not isinstance(get_variable_values(SCHEMA._schema, defined, sent), list)
    executor = Executor(SCHEMA, Limits(), introspection=False, allowed=RIGHTS)
    assert executor.check(executor.prepare(link.operation, None), sent, RECIPIENT) < 50
