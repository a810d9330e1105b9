"""What a command would do, without doing it: `preview<Command>` for every command listed here."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, cast

import strawberry

from api.catalogue import AddProductInput, DiscontinueProductInput, RepriceProductInput
from api.command_errors import CommandError, as_data
from api.commands import request_of
from api.context import Info, not_readable_yet
from api.customers import SuspendCustomerInput
from api.operations import plain
from api.placing import CancelOrderInput, PlaceOrderInput, ReturnLinesInput
from api.rights import STAFF
from api.shipping import SendShipmentInput
from api.stock import CountStockInput, ReceiveStockInput
from domain.decider import DomainError, DomainErrors
from domain.recorded import Recorded
from infra import preview as infra_preview
from infra.codec import now, to_stored
from infra.reads import ReadModelBehind

INPUTS: Final[tuple[type[Any], ...]] = (
    PlaceOrderInput,
    CancelOrderInput,
    ReturnLinesInput,
    SendShipmentInput,
    ReceiveStockInput,
    CountStockInput,
    AddProductInput,
    RepriceProductInput,
    DiscontinueProductInput,
    SuspendCustomerInput,
)


@strawberry.type
class WouldHappen:
    """An event that would be recorded."""

    stream: strawberry.ID
    version: int
    type: str
    data: strawberry.scalars.JSON


@strawberry.type
class WouldDo:
    """A command, so many reactions `deep`, sent `by` the asker or a process."""

    command: str
    by: str
    deep: int
    events: list[WouldHappen]
    errors: list[CommandError]


@strawberry.type
class FieldChange:
    name: str
    before: strawberry.scalars.JSON | None
    after: strawberry.scalars.JSON | None


@strawberry.type
class DocumentChange:
    """A document of a read model with the fields that would differ."""

    projection: str
    key: str
    fields: list[FieldChange]


@strawberry.type
class WouldWait:
    """A deadline that would be set."""

    name: str
    at: datetime


@strawberry.type
class Preview:
    """`askedOutside` are requests that would go out; behind the closed door they wait."""

    commands: list[WouldDo]
    asked_outside: list[WouldHappen]
    deadlines: list[WouldWait]
    changes: list[DocumentChange]


def would_happen(recorded: Recorded) -> WouldHappen:
    return WouldHappen(
        stream=strawberry.ID(recorded.stream),
        version=recorded.version,
        type=type(recorded.event).__name__,
        data=plain(to_stored(recorded.event)),
    )


def document_change(change: infra_preview.WouldChange) -> DocumentChange:
    before = {} if change.before is None else plain(to_stored(change.before))
    after = {} if change.after is None else plain(to_stored(change.after))
    return DocumentChange(
        projection=change.projection,
        key=change.key,
        fields=[
            FieldChange(name=name, before=before.get(name), after=after.get(name))
            for name in dict.fromkeys((*before, *after))
            if before.get(name) != after.get(name)
        ],
    )


def would_do(found: infra_preview.WouldDo) -> WouldDo:
    return WouldDo(
        command=found.command,
        by=found.by,
        deep=found.deep,
        events=[would_happen(recorded) for recorded in found.events],
        errors=[as_data(error) for error in found.errors],
    )


def _preview(found: infra_preview.Preview) -> Preview:
    return Preview(
        commands=[would_do(one) for one in found.commands],
        asked_outside=[would_happen(recorded) for recorded in found.asked_outside],
        deadlines=[WouldWait(name=one.name, at=one.at) for one in found.deadlines],
        changes=[document_change(change) for change in found.changes],
    )


async def _of(info: Info, input: Any) -> Preview:
    context = info.context
    try:
        command = input.command(input.at or now())
    except (DomainError, DomainErrors) as refusal:
        errors = [as_data(error) for error in refusal.errors]
        refused = WouldDo(
            command=type(input).__name__.removesuffix("Input"),
            by=context.principal.subject,
            deep=0,
            events=[],
            errors=errors,
        )
        return Preview(commands=[refused], asked_outside=[], deadlines=[], changes=[])
    request = request_of(input, command, context.principal.subject, context.trace_id)
    try:
        return _preview(await context.previewer.preview(request))
    except ReadModelBehind as behind:
        raise not_readable_yet(behind) from behind


def _field(kind: type[Any]) -> Any:
    async def resolve(info: Info, input: Any) -> Any:
        return await _of(info, input)

    resolve.__annotations__ = {"info": Info, "input": kind, "return": Preview}
    return strawberry.field(
        resolver=cast(Callable[..., Any], resolve),
        metadata=STAFF,
        description="What the command would do, several reactions deep; nothing is written.",
    )


PreviewQuery: Final = strawberry.type(
    type(
        "PreviewQuery",
        (),
        {f"preview{kind.__name__.removesuffix('Input')}": _field(kind) for kind in INPUTS},
    )
)
