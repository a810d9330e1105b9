"""The reactions of this process: every process of the domain, and the gateways it may call."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from domain.registry import AGGREGATES, GATEWAYS, JOINT_DECISIONS, PROCESSES
from infra.commands import CommandHandler
from infra.following import Follower, gateway_follower, process_follower
from infra.gateways import CALLS_AT_ONCE, Call, caller
from infra.log import Log
from infra.mongo import once_available
from infra.moving.marks import why_no_reactions
from infra.reactions import follow
from infra.sending import sender
from infra.tail import wake_on_others

logger = logging.getLogger("tidings.reactor")

COMMANDS: Final = (
    *(command for decider in AGGREGATES for command in decider.commands),
    *(joint.command for joint in JOINT_DECISIONS),
)

FOLLOWERS: Final[Mapping[str, Follower]] = {
    follower.name: follower
    for follower in (*map(process_follower, PROCESSES), *map(gateway_follower, GATEWAYS))
}


async def react_to_events(log: Log, handler: CommandHandler, calls: Mapping[str, Call]) -> None:
    """React until cancelled; requests to a gateway without a call wait. Where a log is not to be
    reacted to, the reason is logged."""
    if reason := await once_available(lambda: why_no_reactions(log)):
        logger.warning("no reactions: %s", reason)
        return
    send = sender(handler, COMMANDS)
    parts = [(FOLLOWERS[f"process/{process.name}"], send, 64) for process in PROCESSES]
    parts += [
        (
            FOLLOWERS[f"gateway/{gateway.name}"],
            caller(handler, gateway, call, log.codec),
            CALLS_AT_ONCE,
        )
        for gateway in GATEWAYS
        if (call := calls.get(gateway.name))
    ]
    wakes = [asyncio.Event() for _ in parts]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wake_on_others(log, *wakes))
        for (follower, carry, at_once), wake in zip(parts, wakes, strict=True):
            tasks.create_task(follow(log, follower, carry, wake, at_once))
