"""What a branch is told to change: where it begins, events, commands and rules."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import strawberry

from api.preview import INPUTS
from api.scalars import Position
from api.values import basis_points
from domain.registry import AGGREGATES
from domain.variant import Variant
from domain.variants import REPRICED, TAX_FREE, Repriced, TaxFree
from infra.branches import BranchRefused, Refusal
from infra.branching.told import event_told

EVENTS: Final = {event.__name__: event for decider in AGGREGATES for event in decider.events}


@strawberry.input(one_of=True, description="From where on history may be another one.")
class BranchStart:
    position: Position | None = strawberry.field(
        default=strawberry.UNSET, description="From this event on."
    )
    time: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="From the first event on that was recorded later."
    )


@strawberry.input
class CreateBranchInput:
    """History is real up to `upto` (now), and may be another one from `at` (its end) on."""

    name: str
    at: BranchStart | None = None
    upto: Position | None = None


@strawberry.input
class BranchInput:
    branch: strawberry.ID


@strawberry.input
class InjectEventInput:
    """The event comes after the position `after`; unless told, after the first of the branch."""

    branch: strawberry.ID
    stream: strawberry.ID
    type: str
    data: strawberry.scalars.JSON
    after: Position | None = None


@strawberry.input
class DropEventsInput:
    branch: strawberry.ID
    positions: list[Position]


@strawberry.input
class ReplaceEventInput:
    """The other event is one of the same stream."""

    branch: strawberry.ID
    position: Position
    type: str
    data: strawberry.scalars.JSON


def _own_name(kind: type[Any]) -> str:
    """`PlaceOrderInput` → `place_order`."""
    name = kind.__name__.removesuffix("Input")
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


COMMANDS: Final = {_own_name(kind): kind for kind in INPUTS}

BranchCommand: Final[Any] = strawberry.input(
    type(
        "BranchCommand",
        (),
        {
            "__annotations__": {name: kind | None for name, kind in COMMANDS.items()},
            **dict.fromkeys(COMMANDS, strawberry.UNSET),
        },
    ),
    one_of=True,
    description="A command, as its own mutation takes it.",
)


@strawberry.input
class SendToBranchInput:
    """The command comes after the position `after`; unless told, after the first of the branch."""

    branch: strawberry.ID
    command: BranchCommand
    after: Position | None = None


@strawberry.input
class RepricedInput:
    """A product has cost `factor` times its price since a day: `"0.9"` is 10 % less."""

    sku: str
    factor: Decimal
    since: date


@strawberry.input
class TaxFreeInput:
    """Nothing has been taxed since a day."""

    since: date


@strawberry.input(one_of=True, description="A rule that is another one.")
class VariantInput:
    repriced: RepricedInput | None = strawberry.UNSET
    tax_free: TaxFreeInput | None = strawberry.UNSET


@strawberry.input
class UseVariantInput:
    branch: strawberry.ID
    variant: VariantInput


def command_of(input: Any) -> Any:
    """The one command that is told."""
    return next(one for name in COMMANDS if (one := getattr(input.command, name)))


def rule_of(input: VariantInput) -> tuple[Variant[Any], Any]:
    """The variant with its rule; raises `BranchRefused`, or `DomainError` for an odd factor."""
    if told := input.repriced:
        factor = basis_points(told.factor, "factor")
        if factor is None or factor < 0:
            raise BranchRefused(Refusal.RULE_INVALID, "A price is not below zero.")
        return REPRICED, Repriced(sku=told.sku, factor=factor, since=told.since)
    assert input.tax_free, "one of the two has been told"
    return TAX_FREE, TaxFree(since=input.tax_free.since)


def event_of(type: str, data: Any) -> Any:
    """The event of that name; raises `BranchRefused`."""
    if type not in EVENTS:
        raise BranchRefused(Refusal.EVENT_INVALID, f"No event is called {type[:100]}.")
    return event_told(EVENTS[type], data)
