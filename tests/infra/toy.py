"""Jars of marbles: the smallest domain with rules, joint decisions and two read models that agree.

`note` travels in the events, so that a test can have one that a read model chokes on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from domain.decider import Decider, DomainError, Joint, States, domain_error, message
from domain.recorded import Recorded

# -- deciding


@message
class Put:
    jar: str
    marbles: int = 1
    note: str = ""


@message
class Take:
    jar: str
    marbles: int = 1


@message
class Seal:
    jar: str


@message
class MarblesPut:
    jar: str
    marbles: int
    note: str


@message
class MarblesTaken:
    jar: str
    marbles: int


@message
class JarSealed:
    jar: str


@domain_error
class TooFewMarbles(DomainError):
    text = "{wanted} marbles are wanted, {there} are there."
    wanted: int
    there: int


@domain_error
class JarIsSealed(DomainError):
    text = "The jar {jar} is sealed."
    jar: str
    path: tuple[str, ...] = ()


@message
class Jar:
    marbles: int = 0
    sealed: bool = False


Event: TypeAlias = MarblesPut | MarblesTaken | JarSealed


def evolve(jar: Jar, event: Event) -> Jar:
    match event:
        case MarblesPut():
            return replace(jar, marbles=jar.marbles + event.marbles)
        case MarblesTaken():
            return replace(jar, marbles=jar.marbles - event.marbles)
        case JarSealed():
            return replace(jar, sealed=True)


def decide(command: Put | Take | Seal, jar: Jar) -> list[Event]:
    if jar.sealed:
        raise JarIsSealed(jar=command.jar)
    match command:
        case Put():
            put = MarblesPut(jar=command.jar, marbles=command.marbles, note=command.note)
            return [put] if command.marbles else []
        case Take():
            if command.marbles > jar.marbles:
                raise TooFewMarbles(wanted=command.marbles, there=jar.marbles)
            return [MarblesTaken(jar=command.jar, marbles=command.marbles)]
        case Seal():
            return [JarSealed(jar=command.jar)]


def stream(jar: str) -> str:
    return f"jar-{jar}"


JAR: Final[Decider[Any, Jar, Any]] = Decider(
    "jar",
    lambda command: stream(command.jar),
    Jar(),
    decide,
    evolve,
    (Put, Take, Seal),
    (MarblesPut, MarblesTaken, JarSealed),
    (TooFewMarbles, JarIsSealed),
)


@message
class Move:
    """From one jar into another, both or neither."""

    jar: str
    to: str
    marbles: int = 1


@message
class Match:
    """Put as many as there are in `other`, which is only looked at."""

    jar: str
    other: str


def _move(command: Move, states: States) -> dict[str, list[Any]]:
    source, target = stream(command.jar), stream(command.to)
    if source == target:
        return {}
    taken = Take(jar=command.jar, marbles=command.marbles)
    put = Put(jar=command.to, marbles=command.marbles)
    return {
        source: decide(taken, states.of(JAR, source)),
        target: decide(put, states.of(JAR, target)),
    }


def _match(command: Match, states: States) -> dict[str, list[Any]]:
    there = states.of(JAR, stream(command.other)).marbles
    return {
        stream(command.jar): decide(
            Put(jar=command.jar, marbles=there), states.of(JAR, stream(command.jar))
        )
    }


JOINTS: Final[tuple[Joint[Any], ...]] = (
    Joint(Move, lambda c, _: (stream(c.jar), stream(c.to)), _move),
    Joint(Match, lambda c, _: (stream(c.jar), stream(c.other)), _match),
)


# -- reading


@dataclass(frozen=True)
class Toy:
    """A read model; its fold raises at notes that are in `poison`."""

    name: str
    view: type[Any]
    keys: Any
    fold: Any
    version: int = 1
    events: tuple[type, ...] = (MarblesPut, MarblesTaken)
    indexes: tuple[tuple[tuple[str, int], ...], ...] = ()
    streams: Any = None
    once: bool = False
    poison: set[str] = field(default_factory=set)

    def evolve(self, view: Any, recorded: Recorded, key: str) -> Any:
        if getattr(recorded.event, "note", "") in self.poison:
            raise ValueError(f"{recorded.event.note} is poison")
        return self.fold(view, recorded, key)


@message
class Content:
    """What is in a jar, and the events that made it so: each position once, in order."""

    marbles: int = 0
    history: tuple[int, ...] = ()


@message
class Tally:
    """What is in all jars together; three documents, each fed by every event."""

    marbles: int = 0
    changes: int = 0


def _change(recorded: Recorded) -> int:
    event = recorded.event
    return int(event.marbles if isinstance(event, MarblesPut) else -event.marbles)


def _content(view: Content | None, recorded: Recorded, _: str) -> Content | None:
    view = view or Content()
    marbles = view.marbles + _change(recorded)
    return Content(marbles=marbles, history=(*view.history, recorded.position)[-200:])


def _tally(view: Tally | None, recorded: Recorded, _: str) -> Tally | None:
    view = view or Tally()
    return Tally(marbles=view.marbles + _change(recorded), changes=view.changes + 1)


def contents(version: int = 1, poison: Iterable[str] = ()) -> Toy:
    return Toy(
        "contents",
        Content,
        lambda recorded: (recorded.event.jar,),
        _content,
        version,
        indexes=((("marbles", 1), ("_id", 1)),),
        streams=lambda key: (stream(key),),
        poison=set(poison),
    )


def tallies(version: int = 1) -> Toy:
    return Toy("tallies", Tally, lambda _: ("a", "b", "c"), _tally, version)


CONTENTS: Final = contents()
TALLIES: Final = tallies()
BOTH: Final = (CONTENTS, TALLIES)
