"""Gateways: requests (events) are carried out in the outside world, and the answers recorded.

1. Each call carries the id of its event as idempotency key: asked again, it is the same request.
2. Trouble (no answer, a broken one, an open circuit) is `TryLater`; an answer is a command.
3. A replay never calls: requests are followed once, from the gateway's own checkpoint; where that
   begins anew, with a log that was moved, those whose answer is recorded are not carried out.
4. A closed door calls nobody, and lists what would have been called.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from domain.process import Gateway
from infra.codec import EventCodec
from infra.commands import CommandHandler
from infra.following import Row
from infra.outcomes import Carry, Later, Outcome, Refused
from infra.sending import command_id_of, outcome, request

CALLS_AT_ONCE: Final = 256
"""Calls wait on others, not on us."""


class TryLater(Exception):
    """The outside world has not answered; the text says how that showed."""


Call: TypeAlias = Callable[[Any, str], Awaitable[Any]]
"""Carries out an event under an idempotency key; answers with a command, or raises `TryLater`."""


class ClosedDoor:
    """Calls nobody. `calls` are the requests that would have gone out, with their keys."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, str]] = []

    async def call(self, event: Any, key: str) -> Any:
        """Refuses."""
        self.calls.append((event, key))
        raise TryLater("the door is closed")


def caller(handler: CommandHandler, gateway: Gateway, call: Call, codec: EventCodec) -> Carry:
    """Carries out rows that hold requests of this gateway; `codec` reads all events, since a row
    may be older than the shape of its request."""

    async def carry(row: Row) -> Outcome:
        if recorded := await handler.recorded(command_id_of(row)):
            return outcome(recorded)
        events = codec.decode(row.kind, row.schema, row.data)
        (asked,) = (event for event in events if isinstance(event, gateway.requests))
        try:
            answer = await call(asked, row.cause.event_id)
        except TryLater as trouble:
            return Later(str(trouble))
        if not isinstance(answer, gateway.answers[type(asked)]):
            return Refused(f"{type(answer).__name__} is no answer to {row.kind}")
        return outcome(await handler.handle(request(row, answer, input_id=row.id)))

    return carry
