"""What all subscriptions share: changes after a position, and the gap where there is one."""

from collections.abc import AsyncGenerator
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Final

import strawberry

from api.context import Info
from api.scalars import Position
from infra.changes import EVERYTHING
from infra.cursors import Change, Following
from infra.metrics import SUBSCRIBERS

FOLLOWING: Final[ContextVar[Following | None]] = ContextVar("following", default=None)
"""The cursor that this task's subscription goes along, where somebody else has to know it."""


@strawberry.type
class Gap:
    """What happened between these positions cannot be told: ask for the present state."""

    since: Position
    to: Position


async def follow(
    info: Info, kind: str, topic: str | None, after: int | None
) -> AsyncGenerator[Change | Gap, None]:
    """Changes of a topic after a position, each with the operation's context made anew; along the
    cursor of `FOLLOWING`, where there is one.

    A position that the log has not reached belongs to another log (a restored backup, another
    server): one `Gap`, then what happens from now on. One that only the read models have not
    reached yet, such as that of a receipt, is waited for.
    """
    given = FOLLOWING.get()
    following = given or Following()
    try:
        if following.cursor is None:
            if gap := await _gap(info, after):
                yield gap
                after = int(gap.to)
            following.cursor = await info.context.changes.open(kind, topic or EVERYTHING, after)
        gauge = SUBSCRIBERS.labels(kind)
        with gauge.track_inprogress() if following.counted else nullcontext():
            async for change in following.cursor.until(following.ends):
                info.context.renew(change.position)
                yield change
    finally:
        if given is None:
            following.close()


async def _gap(info: Info, after: int | None) -> Gap | None:
    if after is None:
        return None
    reached = (await info.context.at()).position
    if after <= reached or after <= (await info.context.log.head()).position:
        return None
    info.context.renew(reached)
    return Gap(since=Position(after), to=Position(reached))
