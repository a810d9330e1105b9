"""Calls of our API, one after the other, until each has an answer.

1. Those of one order go in the order in which they came up. One that fails is put off, with all
   later ones of its order, and the others go on.
2. When our API is away, or does not take our token, all of them wait, and it is tried again.
3. Each call may be made twice: see `calls`.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

import orjson

from api.shipping_desk.calls import (
    Away,
    Call,
    CallRefused,
    Kind,
    booked,
    check_report,
    data_of,
    operation,
    order_of,
)
from api.shipping_desk.store import Store
from infra.codec import now
from infra.gateways import TryLater
from infra.http_gateway import HttpGateway, HttpRefused, HttpRequest
from infra.mongo import Unavailable

log = logging.getLogger("tidings.shipping")

PATH: Final = "/graphql"
_HOPELESS: Final = (400, 413, 422)
"""Refusals of one request; others, such as that of a token, are of all."""

AT_ONCE: Final = 2_000
"""Calls that are read together."""

LOOK_SECONDS: Final = 0.5
PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds until it is tried again: the last one for ever."""


class Caller:
    """`run` must be running; `wake` it when there is something to be called."""

    def __init__(self, store: Store, gateway: HttpGateway) -> None:
        self._store = store
        self._gateway = gateway
        self._wake = asyncio.Event()
        self.trouble: str | None = None
        """Why our API could not be asked the last time."""

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Make calls until cancelled."""
        failures = 0
        while True:
            self._wake.clear()
            try:
                await self.make_due()
                failures, self.trouble = 0, None
                await self._rest()
                continue
            except (Away, Unavailable) as away:
                if self.trouble is None:
                    log.warning("what is to be asked and reported has to wait: %s", away)
                self.trouble = str(away)
            except Exception as error:
                log.exception("calls failed; trying again")
                self.trouble = type(error).__name__
            await asyncio.sleep(_pause(failures))
            failures += 1

    async def _rest(self) -> None:
        """Until there is news, or something may be due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._wake.wait()

    async def make_due(self) -> None:
        """Make the calls that are due; raises `Away`, or `Unavailable`."""
        held: set[str] = set()
        for call in await self._store.unanswered(refused=False, limit=AT_ONCE):
            if call.order_id in held or (call.not_before and call.not_before > now()):
                held.add(call.order_id)
                continue
            try:
                await self._make(call)
            except CallRefused as refused:
                log.warning("%s of %s is refused: %s", call.kind.value, call.order_id, refused)
                await self._store.put_off(call, str(refused), None)
            except TryLater as later:
                held.add(call.order_id)
                until = now() + timedelta(seconds=_pause(call.tries))
                await self._store.put_off(call, str(later), until)

    async def _make(self, call: Call) -> None:
        """Raises `CallRefused`, `TryLater` for this one, or `Away` for all."""
        data = await self._answer(call)
        try:
            if call.kind is Kind.ASK:
                await self._book(call, data)
            else:
                check_report(call, data)
                await self._store.done(call)
        except (KeyError, TypeError) as error:
            raise TryLater(f"the answer cannot be understood: {error!r}") from error

    async def _answer(self, call: Call) -> Any:
        request = HttpRequest(PATH, orjson.dumps(operation(call)))
        try:
            answer = await self._gateway.send(request, call.id)
        except HttpRefused as refused:
            raise (CallRefused if refused.status in _HOPELESS else Away)(str(refused)) from refused
        except TryLater as trouble:
            raise Away(str(trouble)) from trouble
        return data_of(orjson.loads(answer))

    async def _book(self, call: Call, data: Any) -> None:
        order = order_of(call, data)
        customer = await self._store.customer(order["customerId"])
        if customer is None:
            raise TryLater(f"{order['customerId']} is not in the copy yet")
        await self._store.book(call, partial(booked, order=order, customer=customer, at=now()))


def _pause(failures: int) -> float:
    return PAUSES[min(failures, len(PAUSES) - 1)]
