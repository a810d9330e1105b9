"""Seeing the flow: declared, real, and the difference; one story, and why a field is so."""

from datetime import datetime
from typing import Any, Final

import strawberry
from strawberry.utils.str_converters import to_snake_case

from api.context import Info
from api.errors import ApiError, ErrorCode
from api.reading import reading
from api.rights import OPERATOR, STAFF
from api.scalars import Position
from domain import flow as domain_flow
from domain.flow import Edge
from domain.recorded import Recorded
from domain.registry import AGGREGATES, GATEWAYS, JOINT_DECISIONS, PROCESSES
from infra.audit import story_events
from readmodels.customer_directory import CUSTOMER_DIRECTORY
from readmodels.flow_edges import FlowEdge
from readmodels.order_details import ORDER_DETAILS
from readmodels.projection import Projection
from readmodels.registry import FLOW_EDGES
from readmodels.story import StoryNode, chain, last_change, story

DECLARED: Final = domain_flow.declared_flow(AGGREGATES, JOINT_DECISIONS, PROCESSES, GATEWAYS)

EXPLAINED: Final[dict[str, Projection[Any]]] = {
    "order": ORDER_DETAILS,
    "customer": CUSTOMER_DIRECTORY,
}
"""The documents whose fields can be explained, by the category of their one stream."""


# -- the flow as a whole


@strawberry.type
class DeclaredEdge:
    """From a command to an event it gives, or from an event to a command it leads to."""

    source: str
    target: str
    by: str


@strawberry.type
class RealEdge:
    """An edge as it happened: how often, and how long it took (milliseconds)."""

    source: str
    target: str
    by: str
    count: int
    delay_p50: int | None
    delay_p99: int | None


@strawberry.type
class DeclaredFlow:
    edges: list[DeclaredEdge]
    mermaid: str = strawberry.field(description="The same as a Mermaid flowchart.")


@strawberry.type
class FlowReport:
    """Where the real flow and the declared one differ, and what is doubtful in either."""

    undeclared: list[DeclaredEdge] = strawberry.field(description="Happens, but nobody said so.")
    unused: list[DeclaredEdge] = strawberry.field(description="Was said, but never happened.")
    cycles: list[list[str]]
    disguised: list[str] = strawberry.field(
        description="Events that act as commands: their sender depends on the only listener."
    )


def _edge(edge: Edge) -> DeclaredEdge:
    return DeclaredEdge(source=edge.source, target=edge.target, by=edge.by)


def _real(edge: FlowEdge) -> RealEdge:
    return RealEdge(
        source=edge.source,
        target=edge.target,
        by=edge.by,
        count=edge.count,
        delay_p50=edge.delay(0.5),
        delay_p99=edge.delay(0.99),
    )


async def _real_edges(info: Info) -> list[FlowEdge]:
    return await info.context.every(FLOW_EDGES)


# -- one story


@strawberry.type
class StoryEvent:
    """An event of a story; what it led to names its `eventId`."""

    event_id: str
    position: Position
    stream: strawberry.ID
    version: int
    type: str
    recorded_at: datetime


@strawberry.type
class StoryCommand:
    """A command of a story with the events it gave, `deep` reactions after the first one.

    `causedBy` is the id of the event that led to it: null for the first.
    """

    command_id: str
    command: str
    actor: str
    reason: str | None
    deep: int
    caused_by: str | None
    events: list[StoryEvent]


def _story(node: StoryNode, deep: int = 0) -> list[StoryCommand]:
    """The tree, each command before those that it led to."""
    command = StoryCommand(
        command_id=node.command_id,
        command=node.command,
        actor=node.actor,
        reason=node.reason,
        deep=deep,
        caused_by=node.events[0].meta.causation_id if deep else None,
        events=[
            StoryEvent(
                event_id=event.meta.event_id,
                position=Position(event.position),
                stream=strawberry.ID(event.stream),
                version=event.version,
                type=type(event.event).__name__,
                recorded_at=event.meta.recorded_at,
            )
            for event in node.events
        ],
    )
    return [command, *(one for after in node.followed_by for one in _story(after, deep + 1))]


# -- why


@strawberry.type
class Because:
    """One link of the chain: an event, the command that gave it, and who sent that why."""

    position: Position
    stream: strawberry.ID
    event: str
    at: datetime
    command: str
    actor: str
    reason: str | None


def _because(recorded: Recorded) -> Because:
    event, meta = recorded.event, recorded.meta
    return Because(
        position=Position(recorded.position),
        stream=strawberry.ID(recorded.stream),
        event=type(event).__name__,
        at=event.at,
        command=meta.command,
        actor=meta.actor,
        reason=getattr(event, "reason", None) or meta.reason,
    )


async def _why(info: Info, id: str, field: str) -> list[Because]:
    projection = EXPLAINED.get(id.partition("-")[0])
    if projection is None:
        raise ApiError(ErrorCode.BAD_REQUEST, "This has no fields that can be explained.")
    events = (await info.context.log.streams([id]))[id]
    try:
        path = [to_snake_case(name) for name in field.split(".")]
        last = last_change(projection, id, events, path)
    except LookupError:
        raise ApiError(ErrorCode.BAD_REQUEST, f"There is no field {field!r}.") from None
    if last is None:
        return []
    together = await story_events(info.context.log, last.meta.correlation_id)
    return [_because(link) for link in chain(last, together)]


@strawberry.type
class FlowQuery:
    @strawberry.field(metadata=OPERATOR, description="Read off the registries.")
    def declared_flow(self) -> DeclaredFlow:
        return DeclaredFlow(
            edges=[_edge(edge) for edge in DECLARED.edges], mermaid=domain_flow.mermaid(DECLARED)
        )

    @reading(OPERATOR, "Counted from causes in the log.")
    async def real_flow(self, info: Info) -> list[RealEdge]:
        return [_real(edge) for edge in await _real_edges(info)]

    @reading(OPERATOR)
    async def flow_report(self, info: Info) -> FlowReport:
        real = [edge.edge for edge in await _real_edges(info)]
        report = domain_flow.compare(DECLARED, real)
        return FlowReport(
            undeclared=[_edge(edge) for edge in report.undeclared],
            unused=[_edge(edge) for edge in report.unused],
            cycles=[list(cycle) for cycle in report.cycles],
            disguised=list(report.disguised),
        )

    @strawberry.field(
        metadata=OPERATOR,
        description="What came of one command: the tree of commands and events that share its id.",
    )
    async def flow(self, info: Info, correlation_id: str) -> list[StoryCommand]:
        events = await story_events(info.context.log, correlation_id)
        node = story(events, correlation_id)
        return _story(node) if node else []

    @strawberry.field(
        metadata=STAFF,
        description="What made a field of an order or customer what it is, the last cause first. "
        "`field` goes into values: `status`, `deliverTo.city`, `lines.0.quantity`.",
    )
    async def why(self, info: Info, id: strawberry.ID, field: str) -> list[Because]:
        return await _why(info, id, field)
