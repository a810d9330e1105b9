"""One story: the tree of commands and events that came of one command, and the way back up.

Not a read model with documents: it is told from the events of one correlation id.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from domain.decider import message
from domain.recorded import Recorded
from readmodels.projection import Projection

MOST_DEEP = 50


@message
class StoryNode:
    """A command with the events it gave; under each, what that event led to."""

    command_id: str
    command: str
    actor: str
    reason: str | None
    events: tuple[Recorded, ...]
    followed_by: tuple["StoryNode", ...]


def story(events: Iterable[Recorded], correlation_id: str) -> StoryNode | None:
    """The tree under the command that began the story; None where it gave no events."""
    by_command: dict[str, list[Recorded]] = defaultdict(list)
    for recorded in events:
        by_command[recorded.meta.command_id].append(recorded)
    by_cause: dict[str, list[str]] = defaultdict(list)
    for command_id, given in by_command.items():
        by_cause[given[0].meta.causation_id].append(command_id)

    def node(command_id: str, depth: int) -> StoryNode:
        given = by_command[command_id]
        meta = given[0].meta
        causes = [recorded.meta.event_id for recorded in given] if depth < MOST_DEEP else []
        return StoryNode(
            command_id=command_id,
            command=meta.command,
            actor=meta.actor,
            reason=meta.reason,
            events=tuple(given),
            followed_by=tuple(
                node(following, depth + 1) for cause in causes for following in by_cause[cause]
            ),
        )

    return node(correlation_id, 0) if correlation_id in by_command else None


def last_change(
    projection: Projection[Any], key: str, events: Iterable[Recorded], path: Sequence[str]
) -> Recorded | None:
    """The last event that changed a field of a document. `path` goes into fields, positions in a
    tuple and keys of a dict; raises `LookupError` where the view never had such a field."""
    view: Any = None
    last: Recorded | None = None
    before: Any = None
    known = False
    for recorded in events:
        if key not in projection.touched(recorded):
            continue
        view = projection.evolve(view, recorded, key)
        try:
            value = _at(view, path)
            known = True
        except (LookupError, ValueError):
            value = None
        if value != before:
            before, last = value, recorded
    if not known:
        raise LookupError(".".join(path))
    return last


def _at(view: Any, path: Sequence[str]) -> Any:
    for name in path:
        if isinstance(view, tuple):
            view = view[int(name)]
        elif isinstance(view, dict):
            view = view[name]
        elif name in getattr(view, "__dataclass_fields__", ()):
            view = getattr(view, name)
        else:
            raise LookupError(name)
    return view


def chain(recorded: Recorded, events: Iterable[Recorded]) -> list[Recorded]:
    """The event, the one that caused its command, and so on up to the first."""
    by_id = {one.meta.event_id: one for one in events}
    links = [recorded]
    while (cause := by_id.get(links[-1].meta.causation_id)) is not None and len(links) < MOST_DEEP:
        links.append(cause)
    return links
