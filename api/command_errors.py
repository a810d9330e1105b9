"""Refusals as GraphQL data: one type per domain error, made from the registry.

A new `DomainError` shows up in the schema by itself: its class name is the type's name, its facts
are the fields, its code is a value of the enum.
"""

from decimal import Decimal
from enum import Enum
from typing import Any, Final, cast, get_type_hints

import strawberry

from domain.decider import DomainError, code_of
from domain.money import decimal_of
from domain.registry import ERRORS as DOMAIN_ERRORS
from infra.answers import ERRORS as HANDLER_ERRORS

ERRORS: Final = (*DOMAIN_ERRORS, *HANDLER_ERRORS)

_names: Any = [code_of(error) for error in ERRORS]
_codes: Any = Enum("CommandErrorCode", _names)  # type: ignore[misc]  # from the registry
CommandErrorCode = strawberry.enum(_codes, description="Why a command was refused.")


@strawberry.interface
class CommandError:
    """A rule that refused the command, with its facts in the implementing type."""

    code: CommandErrorCode  # type: ignore[valid-type]  # an enum made from the registry
    message: str
    path: list[str]


def _facts(error: type[DomainError]) -> dict[str, Any]:
    """The fact's GraphQL types; amounts of money are decimals, as everywhere in the API."""
    hints = get_type_hints(error)
    names = [name for name in error.__dataclass_fields__ if name != "path"]  # type: ignore[attr-defined]  # made by domain_error
    return {name: Decimal if name == "amount" else hints[name] for name in names}


def _type(error: type[DomainError]) -> type[Any]:
    body = {"__annotations__": _facts(error), "__doc__": error.text}
    return cast(type[Any], strawberry.type(type(error.__name__, (CommandError,), body)))


TYPES: Final = {error: _type(error) for error in ERRORS}


def as_data(error: DomainError) -> CommandError:
    """The error as a value of its GraphQL type."""
    facts = dict(error.facts)
    if "amount" in facts:
        facts["amount"] = decimal_of(facts["amount"], facts["currency"])
    return cast(
        CommandError,
        TYPES[type(error)](
            code=CommandErrorCode[error.code],
            message=str(error),
            path=list(error.path),
            **facts,
        ),
    )
