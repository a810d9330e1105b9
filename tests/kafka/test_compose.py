"""What `compose.yaml` says of us is so; that is seen without containers."""

import re
from collections.abc import Mapping

import pytest
import typer

from api.__main__ import cli
from infra.settings import check_payment_settings, read_settings
from tests.kafka.brokers import ROOT

COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
OURS = re.findall(r"<<: \*tidings\n    command: \[(.+)\]", COMPOSE)
"""The command lines of our containers."""


def environment() -> Mapping[str, str]:
    """What our containers are told; the default where the file asks its own environment."""
    block = re.search(r"  environment:\n((?:    \w+: .+\n)+)", COMPOSE)
    assert block
    told = dict(line.strip().split(": ", 1) for line in block[1].splitlines())
    return {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for name, value in told.items()}


def test_all_parts_are_there() -> None:
    assert [words.partition(",")[0] for words in OURS] == [
        *("serve", "project", "project", "react", "relay", "sandbox", "shipping")
    ]


@pytest.mark.parametrize("words", OURS)
def test_its_command_lines_are_understood(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    group = typer.main.get_group(cli)
    command, *options = words.split(", ")
    with group.make_context("tidings", [command, *options]) as context:
        _, found, rest = group.resolve_command(context, [command, *options])
        assert found
        found.make_context(command, rest, parent=context).close()


def test_its_settings_are_understood() -> None:
    settings = read_settings(environment())
    check_payment_settings(settings, calls=True)
    assert settings.kafka is not None
    assert settings.payment_provider_url is not None
    assert settings.shipping.mongodb_uri != settings.mongodb_uri


def test_its_kafka_is_the_one_that_is_tested() -> None:
    pom = (ROOT / "tests/kafka/pom.xml").read_text(encoding="utf-8")
    tested = re.search(r"<artifactId>kafka_2.13</artifactId>\s*<version>(.+)</version>", pom)
    assert tested
    assert f"image: apache/kafka:{tested[1]}\n" in COMPOSE
