"""The real flow: which commands gave which events, what led to which commands, and how soon.

1. An edge from a command to an event counts events; one from an event to a command counts
   commands that gave something, with the time between the two being recorded.
2. Delays are kept as a histogram of milliseconds, each rounded up to one significant digit.
"""

from dataclasses import field, replace
from typing import Final

from domain.decider import message
from domain.flow import Edge
from domain.recorded import Recorded
from readmodels.projection import Projection, index, joined, parted


@message
class FlowEdge:
    """`by` is the aggregate of an event, or who sent the command. `delays` by milliseconds."""

    source: str
    target: str
    by: str
    leads: bool
    count: int = 0
    delays: dict[str, int] = field(default_factory=dict)

    @property
    def edge(self) -> Edge:
        return Edge(source=self.source, target=self.target, by=self.by)

    def delay(self, share: float) -> int | None:
        """Milliseconds within which this share of the commands followed; None for given events."""
        left = share * sum(self.delays.values())
        for delay in sorted(map(int, self.delays)):
            left -= self.delays[str(delay)]
            if left <= 0:
                return delay
        return None


GIVES: Final = "gives"
LEADS: Final = "leads"


def keys(recorded: Recorded) -> list[str]:
    meta = recorded.meta
    event = type(recorded.event).__name__
    found = [joined(GIVES, meta.command, event, recorded.stream.partition("-")[0])]
    if meta.cause is not None and meta.event_id.endswith(":0"):
        found.append(joined(LEADS, meta.cause, meta.command, meta.actor.rpartition("/")[2]))
    return found


def evolve(edge: FlowEdge | None, recorded: Recorded, key: str) -> FlowEdge:
    if edge is None:
        kind, source, target, by = parted(key)
        edge = FlowEdge(source=source, target=target, by=by, leads=kind == LEADS)
    edge = replace(edge, count=edge.count + 1)
    meta = recorded.meta
    if not edge.leads or meta.cause_at is None:
        return edge
    delay = _rounded_up(int((meta.recorded_at - meta.cause_at).total_seconds() * 1000))
    return replace(edge, delays={**edge.delays, delay: edge.delays.get(delay, 0) + 1})


def _rounded_up(milliseconds: int) -> str:
    """To one significant digit. Clocks may disagree: nothing counts as before its cause."""
    milliseconds = max(milliseconds, 0)
    unit = 10 ** (len(str(milliseconds)) - 1)
    return str(-(-milliseconds // unit) * unit)


def flow_edges(events: tuple[type, ...]) -> Projection[FlowEdge]:
    """The read model over all events of a domain."""
    return Projection(
        name="flow_edges",
        version=2,
        view=FlowEdge,
        events=events,
        keys=keys,
        evolve=evolve,
        indexes=(index("source"),),
    )
