"""Operational records as Beanie documents: what operators look at, not what commands wait for.

Read models are written as plain BSON by the projector instead: a fold through pydantic would cost
several times as much, and their collections change with the generation.
"""

from typing import Any, TypeVar, cast

from beanie import Document, init_beanie

from infra.folding import PARKED
from infra.log import COMMANDS
from infra.mongo import Mongo

D = TypeVar("D", bound=Document)


class ParkedKey(Document):
    """A document that waits since `position`; `error` is what was said there."""

    id: str  # type: ignore[assignment]  # Beanie's own ids are ObjectIds
    projection: str
    key: str
    position: int
    error: str
    deadline: str | None = None

    class Settings:
        name = PARKED
        indexes = ("position",)


class CommandRecord(Document):
    """A command that has been answered: with a stream and version, or with errors."""

    id: str  # type: ignore[assignment]  # Beanie's own ids are ObjectIds
    identity: str
    position: int
    stream: str | None = None
    version: int | None = None
    errors: list[dict[str, Any]] | None = None

    class Settings:
        name = COMMANDS


async def bound(model: type[D], mongo: Mongo) -> type[D]:
    """The model for this database. Beanie keeps the database in the class: each gets its own."""
    own = cast(type[D], type(model.__name__, (model,), {"__module__": model.__module__}))
    await init_beanie(mongo.db, document_models=[own])
    return own
