"""A small domain for the tests of reactions, and a house that runs it on a real MongoDB.

An errand is begun, takes `steps` steps, asks the outside world once, and is finished when that has
answered. Every step is counted, so that one taken twice shows.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final
from uuid import uuid4

from domain.decider import Decider, DomainError, domain_error, message
from domain.process import DeadlinePassed, DropDeadline, Gateway, Process, SetDeadline, Step
from infra.answers import Accepted, Answer, Request
from infra.codec import EventCodec, now
from infra.commands import CommandHandler
from infra.following import Follower, gateway_follower, process_follower
from infra.gateways import Call, caller
from infra.log import Log
from infra.mongo import Mongo, open_mongo
from infra.outcomes import Carry
from infra.reactions import follow
from infra.sending import sender
from infra.tail import wake_on_others
from tests.infra.parts import running

AT: Final = now()
PATIENCE: Final = timedelta(hours=12)  # longer than any run of the tests


@message
class Begin:
    errand_id: str
    steps: int = 2
    at: datetime = AT


@message
class TakeStep:
    errand_id: str
    at: datetime = AT


@message
class Ask:
    errand_id: str
    at: datetime = AT


@message
class Tell:
    """What the outside world has said."""

    errand_id: str
    at: datetime = AT


@message
class Finish:
    errand_id: str
    at: datetime = AT


@message
class GiveUp:
    errand_id: str
    at: datetime = AT


@message
class Begun:
    errand_id: str
    steps: int
    at: datetime


@message
class StepTaken:
    errand_id: str
    at: datetime


@message
class Asked:
    errand_id: str
    at: datetime


@message
class Told:
    errand_id: str
    at: datetime


@message
class Finished:
    errand_id: str
    at: datetime


@message
class GivenUp:
    errand_id: str
    at: datetime


@domain_error
class NotBegun(DomainError):
    text = "{errand_id} has not been begun."
    errand_id: str


@message
class Errand:
    begun: bool = False
    steps: int = 0


EVENT_OF: Final[dict[type, type[Any]]] = {
    TakeStep: StepTaken,
    Ask: Asked,
    Tell: Told,
    Finish: Finished,
    GiveUp: GivenUp,
}


def evolve(errand: Errand, event: Any) -> Errand:
    match event:
        case Begun():
            return replace(errand, begun=True)
        case StepTaken():
            return replace(errand, steps=errand.steps + 1)
        case _:
            return errand


def decide(command: Any, errand: Errand) -> list[Any]:
    if isinstance(command, Begin):
        return [Begun(errand_id=command.errand_id, steps=command.steps, at=command.at)]
    if not errand.begun:
        raise NotBegun(errand_id=command.errand_id)
    return [EVENT_OF[type(command)](errand_id=command.errand_id, at=command.at)]


ERRAND: Final[Decider[Any, Errand, Any]] = Decider(
    "errand",
    attrgetter("errand_id"),
    Errand(),
    decide,
    evolve,
    (Begin, TakeStep, Ask, Tell, Finish, GiveUp),
    (Begun, StepTaken, Asked, Told, Finished, GivenUp),
    (NotBegun,),
)


# -- the process


@message
class Memory:
    steps: int = 0
    taken: int = 0


def remember(memory: Memory, event: Any) -> Memory:
    match event:
        case Begun():
            return Memory(steps=event.steps)
        case StepTaken():
            return replace(memory, taken=memory.taken + 1)
        case _:
            return memory


def begin(_: Memory, event: Begun) -> Iterable[Any]:
    yield SetDeadline(name="patience", at=event.at + PATIENCE)
    yield TakeStep(errand_id=event.errand_id, at=event.at)


def go_on(memory: Memory, event: StepTaken) -> Iterable[Any]:
    kind = TakeStep if memory.taken < memory.steps else Ask
    yield kind(errand_id=event.errand_id, at=event.at)


def finish(_: Memory, event: Told) -> Iterable[Any]:
    yield DropDeadline(name="patience")
    yield Finish(errand_id=event.errand_id, at=event.at)


def give_up(_: Memory, event: DeadlinePassed) -> Iterable[Any]:
    yield GiveUp(errand_id=event.story, at=event.at)


ERRANDS: Final[Process[Memory]] = Process(
    "errands",
    attrgetter("errand_id"),
    Memory(),
    remember,
    (
        Step(Begun, begin, (TakeStep,), sets=("patience",)),
        Step(StepTaken, go_on, (TakeStep, Ask)),
        Step(Told, finish, (Finish,)),
        Step(DeadlinePassed, give_up, (GiveUp,), deadline="patience"),
    ),
    (Begun, StepTaken, Told),
)
OUTSIDE: Final = Gateway("outside", {Asked: (Tell,)})

FOLLOWER: Final = process_follower(ERRANDS)
DOOR: Final = gateway_follower(OUTSIDE)


# -- a house


@dataclass(frozen=True)
class House:
    """One process with its own connection, log and handler."""

    mongo: Mongo
    log: Log
    handler: CommandHandler

    async def do(self, *commands: Any) -> list[Answer]:
        """Send commands at once; all are accepted."""
        answers = await asyncio.gather(
            *(
                self.handler.handle(Request(command=c, command_id=uuid4().hex, actor="tester"))
                for c in commands
            )
        )
        assert all(isinstance(answer, Accepted) for answer in answers)
        return list(answers)

    async def happened(self, errand_id: str) -> list[str]:
        """The names of the events of one errand."""
        found = await self.log.streams([errand_id])
        return [type(recorded.event).__name__ for recorded in found[errand_id]]

    async def rows(self, collection: str, **where: Any) -> list[dict[str, Any]]:
        return await self.mongo.run(lambda db: list(db[collection].find(where)))

    def send(self) -> Carry:
        return sender(self.handler, ERRAND.commands)

    def call(self, call: Call) -> Carry:
        return caller(self.handler, OUTSIDE, call, self.log.codec)


@asynccontextmanager
async def open_house(uri: str, database: str) -> AsyncIterator[House]:
    async with open_mongo(uri, database) as mongo:
        log = Log(mongo, EventCodec(ERRAND.events))
        await log.prepare()
        handler = CommandHandler(log, [ERRAND], [], ERRAND.errors)
        async with running(handler.run()):
            yield House(mongo, log, handler)


@asynccontextmanager
async def following(house: House, *parts: tuple[Follower, Carry]) -> AsyncIterator[None]:
    """Reactors and outboxes for these followers, as a process runs them."""
    wakes = [asyncio.Event() for _ in parts]
    follows = [
        follow(house.log, follower, carry, wake)
        for (follower, carry), wake in zip(parts, wakes, strict=True)
    ]
    async with running(wake_on_others(house.log, *wakes), *follows):
        yield


async def answered(event: Asked, _: str) -> Tell:
    """The outside world on a good day."""
    return Tell(errand_id=event.errand_id, at=event.at)


async def eventually(holds: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait until an async function answers true."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 others make it hold
            await asyncio.sleep(0.01)
