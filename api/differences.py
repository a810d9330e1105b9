"""For operators: documents that were not what the log makes of them, as the sampler found them."""

from datetime import datetime

import strawberry

from api.context import Info
from api.errors import ApiError, ErrorCode
from api.rights import OPERATOR
from api.scalars import Position
from infra.differences import FieldDifference
from infra.found import Found, found_lately
from readmodels.page import MOST_ITEMS


@strawberry.type(
    description="What was stored in a field and what should have been, null where there is none; "
    "`setBy` is the last event that should have set it."
)
class DifferingField:
    name: str
    stored: str | None
    expected: str | None
    set_by: str | None
    set_at: Position | None

    @classmethod
    def of(cls, field: FieldDifference) -> "DifferingField":
        setter = field.setter
        return cls(
            name=field.name,
            stored=field.stored,
            expected=field.expected,
            set_by=setter.event if setter else None,
            set_at=Position(setter.position) if setter else None,
        )


@strawberry.type(
    description="A document that differed, was missing, or was not explained by the log."
)
class DifferingDocument:
    projection: str
    key: str
    position: Position
    what: str
    fields: list[DifferingField]
    found_at: datetime
    repaired: bool

    @classmethod
    def of(cls, found: Found) -> "DifferingDocument":
        difference = found.difference
        return cls(
            projection=difference.projection,
            key=difference.key,
            position=Position(difference.position),
            what=difference.what,
            fields=[DifferingField.of(field) for field in difference.fields],
            found_at=found.at,
            repaired=found.repaired,
        )


@strawberry.type
class DifferencesQuery:
    @strawberry.field(
        metadata=OPERATOR,
        description="Documents that were not what the log makes of them, the latest first; at "
        "most 100. They are made anew where that can be.",
    )
    async def differences(self, info: Info, first: int = 20) -> list[DifferingDocument]:
        if not 0 < first <= MOST_ITEMS:
            raise ApiError(ErrorCode.BAD_REQUEST, f"`first` must be 1 to {MOST_ITEMS}.")
        found = await found_lately(info.context.log.mongo, first)
        return [DifferingDocument.of(each) for each in found]
