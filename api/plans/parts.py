"""What a compiled operation consists of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphql import GraphQLSchema

from api.joins import ReadModel
from api.plans.sources import Resolver

Complete: TypeAlias = Callable[[Any, Any], Any]
"""From a field's value, and the run, to what stands in the answer."""


@dataclass(frozen=True, eq=False)
class Later:
    """A field whose value has to be waited for."""

    key: str
    source: Resolver
    complete: Complete


@dataclass(frozen=True, eq=False)
class Joined:
    """Fields that are read off one other document: `fill(document, answer, run)` puts their values
    into the object of the answer. None: there is no such document."""

    projection: ReadModel
    key: Callable[[Any], str]
    fill: Callable[[Any, dict[str, Any], Any], None]


@dataclass(frozen=True, eq=False)
class Constant:
    """A root field that needs no looking up: `__typename`."""

    key: str
    value: Any


@dataclass(frozen=True, eq=False)
class Given:
    """A root field whose value is there at once: what happened, for a subscription; what the
    schema tells of itself."""

    key: str
    complete: Complete


RootField: TypeAlias = Later | Constant | Given


@dataclass(frozen=True, eq=False)
class Plan:
    """An operation, compiled. The fields of a `serial` one are resolved one after the other."""

    schema: GraphQLSchema
    fields: tuple[RootField, ...]
    serial: bool
