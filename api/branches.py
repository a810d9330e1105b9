"""Branches, for staff: what if? Nothing but the branch itself is ever changed.

1. What cannot be done is data, as with commands; nothing of this is a command of the domain.
2. A change answers at once; it is worked out in the background, and `share` says how far it is.
"""

from collections.abc import Awaitable
from datetime import datetime
from enum import Enum
from typing import Any

import strawberry

from api.branch_diff import BranchDiff
from api.branch_inputs import (
    BranchInput,
    BranchStart,
    CreateBranchInput,
    DropEventsInput,
    InjectEventInput,
    ReplaceEventInput,
    SendToBranchInput,
    UseVariantInput,
    command_of,
    event_of,
    rule_of,
)
from api.command_errors import CommandError, as_data
from api.commands import request_of
from api.context import Info
from api.errors import ApiError, ErrorCode
from api.operations import plain
from api.preview import WouldDo, WouldHappen, would_do, would_happen
from api.rights import STAFF
from api.scalars import Position
from domain.decider import DomainError, DomainErrors
from infra import branches as infra_branches
from infra.branches import BranchRefused, Refusal
from infra.codec import now

LONGEST_NAME = 200

strawberry.enum(Refusal, name="BranchErrorCode", description="Why it cannot be done.")


@strawberry.enum
class BranchState(Enum):
    WORKING = "working"
    READY = "ready"
    FAILED = "failed"


@strawberry.type
class InjectedEvent:
    """An event of the branch's own, after a position of real history."""

    after: Position
    stream: strawberry.ID
    type: str
    data: strawberry.scalars.JSON
    command: str = strawberry.field(description="What gave it; `InjectEvent` if somebody did.")


@strawberry.type
class ReplacedEvent:
    position: Position
    type: str
    data: strawberry.scalars.JSON


@strawberry.type
class UsedVariant:
    name: str
    rule: strawberry.scalars.JSON


@strawberry.type
class Branch:
    """Real history up to `upto`, with changes from `at` on."""

    id: strawberry.ID
    name: str
    owner: str
    created_at: datetime
    at: Position
    upto: Position
    injected: list[InjectedEvent]
    dropped: list[Position]
    replaced: list[ReplacedEvent]
    variants: list[UsedVariant]
    state: BranchState
    share: float = strawberry.field(description="How much is worked out, from 0 to 1.")
    failure: str | None

    @classmethod
    def of(cls, found: infra_branches.Branch, *, is_ready: bool) -> "Branch":
        working = BranchState.FAILED if found.failed else BranchState.WORKING
        return cls(
            id=strawberry.ID(found.id),
            name=found.name,
            owner=found.owner,
            created_at=found.created,
            at=Position(found.at),
            upto=Position(found.upto),
            injected=[
                InjectedEvent(
                    after=Position(one.after),
                    stream=strawberry.ID(one.stream),
                    type=one.type,
                    data=plain(one.data),
                    command=one.meta.command,
                )
                for one in found.injected
            ],
            dropped=[Position(position) for position in found.dropped],
            replaced=[
                ReplacedEvent(position=Position(one.position), type=one.type, data=plain(one.data))
                for one in found.replaced
            ],
            variants=[UsedVariant(name=one.name, rule=plain(one.rule)) for one in found.variants],
            state=BranchState.READY if is_ready else working,
            share=1.0 if is_ready else min(found.share, 1.0),
            failure=found.failed,
        )


@strawberry.type
class BranchError:
    code: Refusal
    message: str


@strawberry.type
class BranchPayload:
    errors: list[BranchError]
    branch: Branch | None


@strawberry.type
class SendToBranchPayload:
    """`refusals` are those of the command; `commands` are it and what processes asked for then.
    `askedOutside` are requests that wait at closed doors."""

    errors: list[BranchError]
    refusals: list[CommandError]
    branch: Branch | None
    commands: list[WouldDo]
    asked_outside: list[WouldHappen]


@strawberry.type
class RemoveBranchPayload:
    errors: list[BranchError]


def _error(refused: BranchRefused) -> BranchError:
    return BranchError(code=refused.code, message=str(refused))


def _branch(info: Info, found: infra_branches.Branch) -> Branch:
    return Branch.of(found, is_ready=info.context.branches.is_ready(found))


async def _payload(info: Info, work: Awaitable[infra_branches.Branch]) -> BranchPayload:
    """The branch as it is after a change, worked out if that is quick."""
    try:
        changed = await work
        branch = await info.context.branches.settled(changed.id)
    except BranchRefused as refused:
        return BranchPayload(errors=[_error(refused)], branch=None)
    return BranchPayload(errors=[], branch=_branch(info, branch))


@strawberry.type
class BranchQuery:
    @strawberry.field(metadata=STAFF, description="All branches, the newest first.")
    async def branches(self, info: Info) -> list[Branch]:
        return [_branch(info, found) for found in await info.context.branches.all()]

    @strawberry.field(metadata=STAFF)
    async def branch(self, info: Info, id: strawberry.ID) -> Branch | None:
        found = {branch.id: branch for branch in await info.context.branches.all()}
        return _branch(info, found[id]) if id in found else None

    @strawberry.field(
        metadata=STAFF,
        description="What a branch differs by from real history. Waits (bounded) until it is "
        "worked out.",
    )
    async def branch_diff(self, info: Info, branch: strawberry.ID) -> BranchDiff:
        try:
            found, computed = await info.context.branches.ready(branch)
        except BranchRefused as refused:
            raise ApiError(ErrorCode.BAD_REQUEST, str(refused)) from None
        return BranchDiff(found=found, computed=computed)


@strawberry.type
class BranchMutation:
    @strawberry.mutation(metadata=STAFF, description="Begin another history.")
    async def create_branch(self, info: Info, input: CreateBranchInput) -> BranchPayload:
        async def create() -> infra_branches.Branch:
            at = None if input.at is None else await _start(info, input.at)
            owner = info.context.principal.subject
            name = input.name[:LONGEST_NAME]
            return await info.context.branches.create(name, owner, at, input.upto)

        return await _payload(info, create())

    @strawberry.mutation(metadata=STAFF, description="Have one more event happen.")
    async def inject_event(self, info: Info, input: InjectEventInput) -> BranchPayload:
        async def inject() -> infra_branches.Branch:
            event, actor = event_of(input.type, input.data), info.context.principal.subject
            return await info.context.branches.inject(
                input.branch, input.stream, event, actor, input.after
            )

        return await _payload(info, inject())

    @strawberry.mutation(metadata=STAFF, description="Have events not happen.")
    async def drop_events(self, info: Info, input: DropEventsInput) -> BranchPayload:
        positions = [int(position) for position in input.positions]
        return await _payload(info, info.context.branches.drop(input.branch, positions))

    @strawberry.mutation(metadata=STAFF, description="Have another event happen instead of one.")
    async def replace_event(self, info: Info, input: ReplaceEventInput) -> BranchPayload:
        async def instead() -> infra_branches.Branch:
            event = event_of(input.type, input.data)
            return await info.context.branches.replace(input.branch, input.position, event)

        return await _payload(info, instead())

    @strawberry.mutation(metadata=STAFF, description="Have a rule be another one.")
    async def use_variant(self, info: Info, input: UseVariantInput) -> BranchPayload:
        async def use() -> infra_branches.Branch:
            try:
                variant, rule = rule_of(input.variant)
            except DomainError as error:
                raise BranchRefused(Refusal.RULE_INVALID, str(error)) from error
            return await info.context.branches.use(input.branch, variant.name, rule)

        return await _payload(info, use())

    @strawberry.mutation(
        metadata=STAFF,
        description="Have a command come: it is decided on what the branch knows, and so is what "
        "processes ask for in answer to it.",
    )
    async def send_to_branch(self, info: Info, input: SendToBranchInput) -> SendToBranchPayload:
        context, told = info.context, command_of(input)
        try:
            command = told.command(told.at or now())
        except (DomainError, DomainErrors) as refusal:
            return _unsent(refusals=[as_data(error) for error in refusal.errors])
        request = request_of(told, command, context.principal.subject, context.trace_id)
        try:
            _, sent = await context.branches.send(input.branch, request, input.after)
            branch = await context.branches.settled(input.branch)
        except BranchRefused as refused:
            return _unsent(errors=[_error(refused)])
        return SendToBranchPayload(
            errors=[],
            refusals=[as_data(error) for error in sent.commands[0].errors],
            branch=_branch(info, branch),
            commands=[would_do(one) for one in sent.commands],
            asked_outside=[would_happen(one) for one in sent.asked_outside],
        )

    @strawberry.mutation(metadata=STAFF, description="Forget a branch.")
    async def remove_branch(self, info: Info, input: BranchInput) -> RemoveBranchPayload:
        try:
            await info.context.branches.remove(input.branch)
        except BranchRefused as refused:
            return RemoveBranchPayload(errors=[_error(refused)])
        return RemoveBranchPayload(errors=[])


def _unsent(**why: Any) -> SendToBranchPayload:
    empty: dict[str, Any] = {"errors": [], "refusals": [], "commands": [], "asked_outside": []}
    return SendToBranchPayload(branch=None, **{**empty, **why})


async def _start(info: Info, start: BranchStart) -> int:
    if isinstance(start.position, int):
        return start.position
    assert start.time, "one of the two has been told"
    head = (await info.context.log.head()).position
    return min(await info.context.pasts.position_at(start.time) + 1, head)
