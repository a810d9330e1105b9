"""Identical subscriptions: one execution and one serialisation of each change for all of them.

1. Identical are those of one operation, with the same variables and the same rights. Where they
   begin is no part of that: what a client has missed is told to it alone, by a source of its own.
   When nothing is known any more that it has not been told, it goes on together with the others.
2. Together, one source is executed, and its answers are handed to whoever can take them at once.
   A client that cannot goes on alone from where it is, and comes back when it has caught up: it
   holds up nobody, and nothing is kept for it.
3. Cursors (see `infra.cursors`) decide where one can take over from the other: no gap, no repeat.
4. One subscriber without company stays alone: nothing is begun twice for it.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final, Protocol, TypeAlias

import orjson

from api.answers import OpenContext
from api.auth import Principal
from api.execution import Executor, Prepared
from api.posted import new_trace_id
from api.resuming import beginning_of
from api.subscriptions import FOLLOWING
from infra.cursors import Cursor, Following
from infra.metrics import SUBSCRIBERS, SUBSCRIPTION_EXECUTIONS, SUBSCRIPTION_MESSAGES

AT_ONCE: Final = 100
"""Messages that are handed out before others have their turn: about a millisecond."""

Key: TypeAlias = tuple[object, ...]


class Subscriber(Protocol):
    """Whom the answers are for, each serialised."""

    def take(self, payload: bytes) -> bool:
        """At once; false, and never an exception, when that cannot be."""
        ...

    async def send(self, payload: bytes) -> None:
        """As soon as it can be; raises when it never will."""
        ...


@dataclass(frozen=True)
class Subscription:
    """A subscription that has been checked."""

    prepared: Prepared
    variables: Mapping[str, Any]
    principal: Principal
    trace_id: str


class Sharing:
    """All subscriptions of a process."""

    def __init__(self, executor: Executor, open_context: OpenContext) -> None:
        self._executor, self._open_context = executor, open_context
        self._groups: dict[Key, _Group] = {}

    async def tell(self, asked: Subscription, subscriber: Subscriber) -> None:
        """Until the subscription is over. Raises what its execution and the subscriber raise."""
        beginning = beginning_of(asked.prepared, asked.variables)
        key = _key(asked, beginning.rest)
        group = self._groups.setdefault(key, _Group())
        group.enter()
        try:
            cursor = await group.present() if beginning.is_now else None
            while True:
                if cursor is not None and group.takes(cursor):
                    cursor = await self._tell_together(group, asked, subscriber, cursor)
                else:
                    cursor = await self._tell_alone(group, asked, subscriber, cursor)
                if cursor is None:
                    return
        finally:
            group.size -= 1
            if not group.size:
                del self._groups[key]

    async def _tell_alone(
        self, group: "_Group", asked: Subscription, subscriber: Subscriber, cursor: Cursor | None
    ) -> Cursor | None:
        """Until the source is over (None), or until the others can be joined at the cursor."""
        following = Following(cursor, ends=group.takes)
        group.alone.add(following)
        try:
            async with aclosing(self._payloads(asked, following)) as payloads:
                async for payload in payloads:
                    if not subscriber.take(payload):
                        await subscriber.send(payload)
                    SUBSCRIPTION_MESSAGES.inc()
                    # A source that always has more must not keep the loop to itself.
                    await asyncio.sleep(0)
            return following.take() if following.ended else None
        finally:
            group.alone.discard(following)
            following.close()

    async def _tell_together(
        self, group: "_Group", asked: Subscription, subscriber: Subscriber, cursor: Cursor
    ) -> Cursor | None:
        """Until the source is over (None), or until there was an answer that the subscriber could
        not take at once, and has been sent now; the cursor is at what comes next."""
        if group.together is None:
            following = Following(cursor.fork(), counted=False)
            group.begin(following, self._payloads(_by_rights(asked), following))
        assert group.together is not None, "it has begun"
        member, kind = group.together.join(subscriber, cursor), cursor.kind
        try:
            try:
                with SUBSCRIBERS.labels(kind).track_inprogress():
                    await member.left
                    if member.missed is not None:
                        await subscriber.send(member.missed)
                        SUBSCRIPTION_MESSAGES.inc()
            finally:
                await group.part(member)
            return member.following.take()
        finally:
            member.following.close()

    async def _payloads(
        self, asked: Subscription, following: Following
    ) -> AsyncGenerator[bytes, None]:
        executor = self._executor
        FOLLOWING.set(following)
        async with self._open_context(asked.principal, asked.trace_id) as context:
            answers = await executor.subscribe(asked.prepared, asked.variables, context)
            async with aclosing(answers):
                async for answer in answers:
                    SUBSCRIPTION_EXECUTIONS.inc()
                    yield orjson.dumps(answer)


def _key(asked: Subscription, variables: Mapping[str, Any]) -> Key:
    """Equal for identical subscriptions. An operation is one object for as long as it is known, and
    lives as long as whoever has asked for it."""
    try:
        canonical = orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # nested too deep: like no other
        return (object(),)
    return (id(asked.prepared), canonical, asked.principal.roles, asked.principal.customer_id)


def _by_rights(asked: Subscription) -> Subscription:
    """For all who have the same rights, and as none of them."""
    principal = Principal("", asked.principal.roles, asked.principal.customer_id, inf)
    return replace(asked, principal=principal, trace_id=new_trace_id())


class _Group:
    """Those whose subscriptions are identical."""

    def __init__(self) -> None:
        self.size = 0
        self.alone: set[Following] = set()
        self.together: _Together | None = None

    def enter(self) -> None:
        self.size += 1
        if self.size == 2:
            for following in self.alone:
                following.wake()

    def takes(self, cursor: Cursor) -> bool:
        """Whether nothing is missed between the cursor and what will be told together."""
        return self.size > 1 and (self.together is None or self.together.takes(cursor))

    async def present(self) -> Cursor | None:
        """For what is told from now on, where there are some who are told together: whoever has
        the same rights may ask for it."""
        return await self.together.cursor.at_present() if self.together else None

    def begin(self, following: Following, payloads: AsyncGenerator[bytes, None]) -> None:
        assert following.cursor is not None, "it goes on from there"
        self.together = together = _Together(following.cursor)
        together.task = asyncio.create_task(self._run(together, payloads))
        together.task.add_done_callback(lambda _: following.close())

    async def _run(self, together: "_Together", payloads: AsyncGenerator[bytes, None]) -> None:
        error = None
        try:
            async with aclosing(payloads):
                async for payload in payloads:
                    await together.hand_out(payload)
                    if not together.members:
                        self._dissolve(together)
                        return
        except Exception as fault:  # noqa: BLE001 each member raises it
            error = fault
        finally:
            self._dissolve(together)
            for member in together.members:
                member.release(error)

    async def part(self, member: "_Member") -> None:
        """When nobody is left with whom it was, waits until their source is closed."""
        together = member.together
        together.members.pop(member, None)
        if not together.members:
            self._dissolve(together)
            together.task.cancel()
            await asyncio.wait({together.task})

    def _dissolve(self, together: "_Together") -> None:
        """Nobody joins what is being closed."""
        if self.together is together:
            self.together = None


class _Together:
    """Those who are told the same at the same time."""

    task: asyncio.Task[None]

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.members: dict[_Member, None] = {}
        self._told_of = cursor.handed_out

    def takes(self, cursor: Cursor) -> bool:
        return self.cursor.position <= cursor.position

    def join(self, subscriber: Subscriber, cursor: Cursor) -> "_Member":
        """From the cursor on, which is closed."""
        member = _Member(self, subscriber, cursor.position)
        self.members[member] = None
        cursor.close()
        return member

    async def hand_out(self, payload: bytes) -> None:
        of_a_change = self._told_of < self.cursor.handed_out  # or else the source has failed
        self._told_of = self.cursor.handed_out
        position, taken = self.cursor.position if of_a_change else inf, 0
        for number, member in enumerate(tuple(self.members), 1):
            if member in self.members and position > member.since:
                if member.subscriber.take(payload):
                    taken += 1
                else:
                    del self.members[member]
                    member.leave(self.cursor.fork(), payload)
            if not number % AT_ONCE:
                await asyncio.sleep(0)
        SUBSCRIPTION_MESSAGES.inc(taken)


class _Member:
    """One of those, told what comes after the position `since`."""

    def __init__(self, together: _Together, subscriber: Subscriber, since: int) -> None:
        self.together, self.subscriber, self.since = together, subscriber, since
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.following = Following()
        self.missed: bytes | None = None

    def leave(self, cursor: Cursor, missed: bytes) -> None:
        """Go on alone: at the cursor, once this has been sent."""
        self.following.cursor, self.missed = cursor, missed
        self.release(None)

    def release(self, error: Exception | None) -> None:
        if self.left.done():
            return
        if error is None:
            self.left.set_result(None)
        else:
            self.left.set_exception(error)
