"""Root fields that read documents: when they read them, and a page of how many.

1. `atLeast` waits for a position; `asOf` reads the past; `branch` reads another history. What is
   below the field reads from the same.
2. A resolver that takes a `page` gets the arguments of a Relay connection.
3. A query that a read model refuses is a BAD_REQUEST.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from functools import wraps
from typing import Annotated, Any, Final, TypeAlias

import strawberry

from api.context import Info, not_readable_yet
from api.errors import ApiError, ErrorCode
from api.scalars import Position
from domain.decider import message
from domain.recorded import position_text
from infra.branches import BranchRefused
from infra.documents import Documents
from infra.past import PositionUnknown, VersionUnknown
from infra.reads import ReadModelBehind
from readmodels.page import Page, QueryRefused

Resolver: TypeAlias = Callable[..., Awaitable[Any]]
StreamOf: TypeAlias = Callable[[Mapping[str, Any]], str]
"""The stream that a field's arguments name, so that `asOf` may give a version of it."""


@strawberry.input(one_of=True, description="A moment of the past.")
class AsOf:
    position: Position | None = strawberry.field(
        default=strawberry.UNSET, description="After this position of the log."
    )
    time: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="After all that was recorded up to this time."
    )
    version: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="After this version, of the one thing that the field asks for.",
    )


@message
class When:
    """What a field is asked to read from: at most one of them."""

    at_least: int | None = None
    as_of: AsOf | None = None
    branch: str | None = None


def _argument(name: str, kind: Any, text: str = "", default: Any = None) -> inspect.Parameter:
    annotation = Annotated[kind, strawberry.argument(description=text)] if text else kind
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=default, annotation=annotation)


WHEN: Final = (
    _argument("at_least", Position | None, "Wait (bounded) until the answer shows this position."),
    _argument("as_of", AsOf | None, "Answer as it would have been answered then."),
    _argument("branch", strawberry.ID | None, "Answer from this branch of history."),
)
PAGE: Final = (
    _argument("first", int | None, default=20),
    _argument("after", str | None),
    _argument("last", int | None),
    _argument("before", str | None),
)


def reading(
    metadata: Mapping[str, Any], description: str | None = None, stream: StreamOf | None = None
) -> Callable[[Resolver], Any]:
    """A root field that reads documents."""

    def field(resolver: Resolver) -> Any:
        signature = inspect.signature(resolver)
        paged = "page" in signature.parameters

        @wraps(resolver)
        async def chosen(root: Any, info: Info, **given: Any) -> Any:
            when = When(**_taken(WHEN, given))
            info.context.see(await _documents(info, when, stream, given))
            if paged:
                given["page"] = _page(
                    **{argument.name: given.pop(argument.name) for argument in PAGE}
                )
            try:
                return await resolver(root, info, **given)
            except QueryRefused as refused:
                raise ApiError(ErrorCode.BAD_REQUEST, str(refused)) from None

        own = [one for one in signature.parameters.values() if one.name != "page"]
        added = (*PAGE, *WHEN) if paged else WHEN
        chosen.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]  # what `inspect` reads
        return strawberry.field(resolver=chosen, metadata=metadata, description=description)

    return field


def _taken(arguments: Iterable[inspect.Parameter], given: dict[str, Any]) -> dict[str, Any]:
    """These arguments, taken out of what was given."""
    return {argument.name: given.pop(argument.name, argument.default) for argument in arguments}


def _page(first: int | None, after: str | None, last: int | None, before: str | None) -> Page:
    """`first` has a default, which `last` beats."""
    return Page(first=None if last is not None else first, after=after, last=last, before=before)


async def _documents(
    info: Info, when: When, stream: StreamOf | None, given: Mapping[str, Any]
) -> Documents | None:
    """What the field reads from; None for the live documents of the whole operation."""
    if when.as_of is None and when.branch is None:
        await info.context.at(when.at_least)
        return None
    if [when.at_least, when.as_of, when.branch].count(None) < 2:
        raise ApiError(ErrorCode.BAD_REQUEST, "Ask for one of `atLeast`, `asOf` and `branch`.")
    try:
        if when.branch is not None:
            info.context.require_staff()
            return await info.context.branches.documents(when.branch)
        assert when.as_of is not None, "it is asked for, since the two others are not"
        position = await _position(info, when.as_of, stream and stream(given))
        return await info.context.pasts.at(position)
    except PositionUnknown as beyond:
        wanted, head = position_text(beyond.position), position_text(beyond.head)
        text = f"Position {wanted} is not known: the log ends at {head}."
        raise ApiError(ErrorCode.BAD_REQUEST, text) from None
    except (VersionUnknown, BranchRefused) as unknown:
        raise ApiError(ErrorCode.BAD_REQUEST, str(unknown)) from None
    except ReadModelBehind as behind:
        raise not_readable_yet(behind) from behind


async def _position(info: Info, as_of: AsOf, stream: str | None) -> int:
    pasts = info.context.pasts
    if isinstance(as_of.position, int):
        return as_of.position
    if as_of.time:
        return await pasts.position_at(as_of.time)
    if stream is None or not as_of.version:
        raise ApiError(
            ErrorCode.BAD_REQUEST, "A version is one of a single thing; ask by position or time."
        )
    return await pasts.position_of(stream, as_of.version)
