"""What all subscriptions share: changes after a position, and the gap where there is one."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import strawberry

from api.context import Info
from api.scalars import Position
from infra.changes import EVERYTHING, Change


@strawberry.type
class Gap:
    """What happened between these positions cannot be told: ask for the present state."""

    since: Position
    to: Position


async def follow(
    info: Info, kind: str, topic: str | None, after: int | None
) -> AsyncGenerator[Change | Gap, None]:
    """Changes of a topic after a position, each with the operation's context made anew.

    A position that the log has not reached belongs to another log (a restored backup, another
    server): one `Gap`, then what happens from now on. One that only the read models have not
    reached yet, such as that of a receipt, is waited for.
    """
    reached = (await info.context.at()).position
    if after is not None and after > reached and after > (await info.context.log.head()).position:
        info.context.renew(reached)
        yield Gap(since=Position(after), to=Position(reached))
        after = reached
    changes = info.context.changes.follow(kind, topic or EVERYTHING, after)
    async with aclosing(changes):
        async for change in changes:
            info.context.renew(change.position)
            yield change
