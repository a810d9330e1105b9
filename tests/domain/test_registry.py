"""What must hold over all that the domain consists of."""

import pkgutil
from dataclasses import is_dataclass
from importlib import import_module
from inspect import getmembers, isclass
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis.strategies import DataObject, data

import domain
from domain.decider import Decider, DomainError, code_of
from domain.registry import AGGREGATES, ERRORS, JOINT_DECISIONS
from tests.domain.values import LAW, messages

MACHINERY = {
    "domain.decider",
    "domain.laws",
    "domain.process",
    "domain.upcasting",
    "domain.variant",
}
MODULES = [import_module(f"domain.{found.name}") for found in pkgutil.iter_modules(domain.__path__)]
MESSAGES = [
    kind
    for module in MODULES
    for _, kind in getmembers(module, is_dataclass)
    if isclass(kind) and kind.__module__ == module.__name__ not in MACHINERY
    if not issubclass(kind, DomainError)
]


def subclasses(kind: type[DomainError]) -> set[type[DomainError]]:
    found = set(kind.__subclasses__())
    return found.union(*map(subclasses, found))


def by_name(kind: type) -> str:
    return kind.__name__


def test_no_command_or_event_has_the_name_of_another() -> None:
    kinds = {kind for decider in AGGREGATES for kind in (*decider.commands, *decider.events)}
    kinds |= {joint.command for joint in JOINT_DECISIONS}
    names = [kind.__name__ for kind in kinds]
    assert sorted(set(names)) == sorted(names)


def test_no_event_is_a_command_or_belongs_to_two_aggregates() -> None:
    events = [event for decider in AGGREGATES for event in decider.events]
    commands = {command for decider in AGGREGATES for command in decider.commands}
    assert len(set(events)) == len(events)
    assert not commands.intersection(events)


def test_no_category_is_used_twice_or_has_a_hyphen() -> None:
    """The category is what a stream's name begins with, up to the first hyphen."""
    categories = [decider.category for decider in AGGREGATES]
    assert len(set(categories)) == len(categories)
    assert not any("-" in category for category in categories)


def test_every_joint_decision_is_for_a_command_of_its_own() -> None:
    commands = [joint.command for joint in JOINT_DECISIONS]
    assert len(set(commands)) == len(commands)


def test_every_error_of_the_domain_is_registered_once() -> None:
    declared = {e for e in subclasses(DomainError) if e.__module__.split(".")[0] == "domain"}
    assert sorted(map(by_name, ERRORS)) == sorted(map(by_name, declared))


def test_no_error_code_is_used_twice() -> None:
    codes = [code_of(error) for error in ERRORS]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", ERRORS, ids=by_name)
@LAW
@given(made_up=data())
def test_every_error_tells_all_its_facts_in_words(error: Any, made_up: DataObject) -> None:
    refusal = made_up.draw(messages(error))
    assert str(refusal)
    assert refusal.facts.keys() | {"path"} == set(error.__dataclass_fields__)
    assert refusal == error(**refusal.facts, path=refusal.path)


@pytest.mark.parametrize("kind", MESSAGES, ids=by_name)
def test_every_value_is_immutable_and_has_only_its_declared_fields(kind: Any) -> None:
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)
    assert all(field.kw_only for field in kind.__dataclass_fields__.values())


@pytest.mark.parametrize("decider", AGGREGATES, ids=lambda d: d.category)
def test_every_command_and_event_says_when(decider: Decider[Any, Any, Any]) -> None:
    for kind in (*decider.commands, *decider.events):
        assert "at" in get_type_hints(kind)
