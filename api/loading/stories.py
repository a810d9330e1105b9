"""What is loaded: stories of commands, and the stages in which they are told.

1. Commands are inputs of mutations, so that both ways (handler, GraphQL) send the same command,
   and what was sent one way is a repeat the other way.
2. Their ids follow from what they are about: loading again sends the same commands, and nothing
   happens twice.
3. The commands of a story are sent one after the other. Stories of a stage do not need one
   another; they may need stages before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID, uuid5

from api.commands import Input

_NAMESPACE: Final = UUID("5b1d2c0e-6a57-4f0e-9d1c-7e1d9a0c4b11")

Story: TypeAlias = Sequence[Input]


@dataclass(frozen=True)
class Stage:
    name: str
    total: int
    """How many stories there are."""
    stories: Iterable[Story]


@dataclass(frozen=True)
class Source:
    """Some data under its name, with its contents in words."""

    name: str
    contents: str
    stages: Sequence[Stage]


def command_id(*about: object) -> UUID:
    """The same id for the same thing: `command_id("tpch", "0.01", "order", 1)`."""
    return uuid5(_NAMESPACE, "/".join(map(str, about)))
