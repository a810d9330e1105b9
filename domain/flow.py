"""The flow: which command gives which events, and who reacts to them how.

1. Declared: read off the registries, so that it cannot drift from what runs.
2. Real: counted from causes in the log (see `readmodels/flow_edges.py`).
3. Compared: what nobody declared, what never happens, what runs in circles, and events that act
   as commands (Fowler's "passive-aggressive" ones): somebody reacts to an event, and its sender
   depends on the answer, but no process owns both ends.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from domain.decider import Decider, Joint, message
from domain.process import DeadlinePassed, Gateway, Process


@message
class Edge:
    """From a command to an event it gives (`by` the aggregate or "joint"), or from an event to a
    command that it leads to (`by` a process or gateway)."""

    source: str
    target: str
    by: str


@message
class Flow:
    """`doors` are the events that go outside, and `outside` the gateways that carry them there;
    `owner` tells the aggregate of each event and of each command of a single aggregate."""

    gives: tuple[Edge, ...]
    leads: tuple[Edge, ...]
    doors: frozenset[str]
    outside: frozenset[str]
    owner: dict[str, str]

    @property
    def edges(self) -> tuple[Edge, ...]:
        return (*self.gives, *self.leads)


def declared_flow(
    aggregates: Iterable[Decider[Any, Any, Any]],
    joints: Iterable[Joint[Any]],
    processes: Iterable[Process[Any]],
    gateways: Iterable[Gateway],
) -> Flow:
    """What the registries say."""
    aggregates, gateways = tuple(aggregates), tuple(gateways)
    gives = [
        edge
        for decider in aggregates
        for command, events in decider.gives.items()
        for edge in _edges(command.__name__, events, decider.category)
    ]
    alone = {(edge.source, edge.target) for edge in gives}
    gives += [
        edge
        for joint in joints
        for edge in _edges(joint.command.__name__, joint.gives, "joint")
        if (edge.source, edge.target) not in alone
    ]
    return Flow(
        gives=tuple(gives),
        leads=tuple(dict.fromkeys((*_steps(processes), *_answers(gateways)))),
        doors=frozenset(kind.__name__ for gateway in gateways for kind in gateway.requests),
        outside=frozenset(gateway.name for gateway in gateways),
        owner={
            kind.__name__: decider.category
            for decider in aggregates
            for kind in (*decider.events, *decider.commands)
        },
    )


def _steps(processes: Iterable[Process[Any]]) -> Iterator[Edge]:
    for process in processes:
        for step in process.steps:
            source = _deadline(step.deadline) if step.on is DeadlinePassed else step.on.__name__
            yield from _edges(source, step.sends, process.name)
            for name in step.sets:
                yield Edge(source=source, target=_deadline(name), by=process.name)


def _answers(gateways: Iterable[Gateway]) -> Iterator[Edge]:
    for gateway in gateways:
        for request, answers in gateway.answers.items():
            yield from _edges(request.__name__, answers, gateway.name)


def _deadline(name: str | None) -> str:
    return f"deadline {name}"


def _edges(source: str, targets: Iterable[type], by: str) -> Iterator[Edge]:
    for target in targets:
        yield Edge(source=source, target=target.__name__, by=by)


def mermaid(flow: Flow) -> str:
    """The flow as a Mermaid flowchart: commands in boxes, events rounded, ways outside dotted."""
    lines = ["flowchart LR"]
    commands = {edge.source for edge in flow.gives} | {edge.target for edge in flow.leads}
    for name in sorted({end for edge in flow.edges for end in (edge.source, edge.target)}):
        if name.startswith("deadline "):
            lines.append(f'    {_id(name)}{{{{"{name}"}}}}')
        else:
            lines.append(f"    {name}[{name}]" if name in commands else f"    {name}([{name}])")
    arrows = {
        f"    {_id(edge.source)} {'-.->' if edge.by in flow.outside else '-->'} {_id(edge.target)}"
        for edge in flow.edges
    }
    lines += sorted(arrows, key=lambda arrow: arrow.replace("-.->", "-->"))
    return "\n".join(lines) + "\n"


def _id(name: str) -> str:
    return name.replace(" ", "_")


# -- compared with what happens


@message
class Report:
    """Where the real flow and the declared one differ, and what is doubtful in either."""

    undeclared: tuple[Edge, ...]
    unused: tuple[Edge, ...]
    cycles: tuple[tuple[str, ...], ...]
    disguised: tuple[str, ...]


def compare(declared: Flow, real: Sequence[Edge]) -> Report:
    """The real edges name their `by` as who sent the command, or the aggregate of the event.

    A step is declared for who takes it. An event is known by its aggregate, whoever decides.
    """
    commands = {edge.source for edge in declared.gives}
    known, seen = (
        {_compared(edge, commands) for edge in edges} for edges in (declared.edges, real)
    )
    undeclared = tuple(edge for edge in real if _compared(edge, commands) not in known)
    leads = (*declared.leads, *(edge for edge in undeclared if edge.source not in commands))
    unused = tuple(
        edge
        for edge in declared.edges
        if _compared(edge, commands) not in seen and not edge.target.startswith("deadline ")
    )
    return Report(
        undeclared=undeclared,
        unused=unused,
        cycles=tuple(_cycles([*declared.gives, *leads])),
        disguised=tuple(sorted(_disguised(declared, leads))),
    )


def _compared(edge: Edge, commands: set[str]) -> tuple[str, ...]:
    """What makes two edges the same."""
    if edge.source in commands:
        return edge.source, edge.target
    return edge.source, edge.target, edge.by


def _disguised(flow: Flow, leads: Iterable[Edge]) -> set[str]:
    """Events with one listener whose command's outcome is answered to their own aggregate by
    somebody else: nobody owns the conversation."""
    by_event: Mapping[str, list[Edge]] = _by_source(leads)
    outcomes = _by_source(flow.gives)
    found = set()
    for event, reactions in by_event.items():
        if event in flow.doors or len({edge.by for edge in reactions}) != 1:
            continue
        for reaction in reactions:
            answers = (
                answer
                for outcome in outcomes.get(reaction.target, ())
                for answer in by_event.get(outcome.target, ())
            )
            if any(
                answer.by != reaction.by and flow.owner.get(answer.target) == flow.owner.get(event)
                for answer in answers
            ):
                found.add(event)
    return found


def _by_source(edges: Iterable[Edge]) -> dict[str, list[Edge]]:
    found: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        found[edge.source].append(edge)
    return found


def _cycles(edges: Iterable[Edge]) -> list[tuple[str, ...]]:
    """The strongly connected parts with more than one name (Kosaraju, without recursion)."""
    after = {source: [edge.target for edge in found] for source, found in _by_source(edges).items()}
    order: list[str] = []
    seen: set[str] = set()
    for start in sorted(after):
        _finish(start, after, seen, order)
    before: dict[str, list[str]] = defaultdict(list)
    for source, targets in after.items():
        for target in targets:
            before[target].append(source)
    seen = set()
    found = []
    for start in reversed(order):
        part: list[str] = []
        _finish(start, before, seen, part)
        if len(part) > 1:
            found.append(tuple(sorted(part)))
    return sorted(found)


def _finish(
    start: str, after: Mapping[str, Sequence[str]], seen: set[str], order: list[str]
) -> None:
    """Depth first from `start`; names are appended when everything after them has been."""
    if start in seen:
        return
    seen.add(start)
    stack = [(start, iter(after.get(start, ())))]
    while stack:
        name, rest = stack[-1]
        following = next((one for one in rest if one not in seen), None)
        if following is None:
            order.append(name)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(after.get(following, ()))))
