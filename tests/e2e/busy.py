"""A shop at work: front ends that ask and write at a steady pace, and check every answer.

1. No query fails, and none is of a position older than what was known `LAG` seconds before.
2. Whoever has written sees it: a query at least at the receipt's position shows the stock.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from tests.e2e.client import Client

QUERIES_PER_SECOND: Final = 100
COMMANDS_PER_SECOND: Final = 50
LAG: Final = 5.0
"""Seconds; so much because the machine that tests run on is busy with other things."""

LEVEL: Final = "query ($s: String!, $p: Position) { stockLevel(sku: $s, atLeast: $p) { onHand } }"
LEVELS: Final = "{ stockLevels(first: 5) { nodes { sku onHand } } realFlow { count } }"


def number(position: str) -> int:
    """Position tokens of one partition, in order."""
    return int(position.partition(":")[2])


@dataclass
class Shop:
    """What its front ends have seen."""

    client: Client
    skus: list[str]
    on_hand: Counter[str] = field(default_factory=Counter)
    queries: int = 0
    commands: int = 0
    acknowledged: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 0)])

    async def ask(self) -> None:
        asked = time.monotonic()
        answer = await self.client.answer(LEVELS)
        assert len(answer.data["stockLevels"]["nodes"]) == 5
        known = [position for at, position in self.acknowledged if at < asked - LAG]
        assert number(answer.position) >= max(known, default=0)
        self.queries += 1

    async def receive(self) -> None:
        sku = random.choice(self.skus)
        payload = await self.client.done("receiveStock", sku=sku, quantity=1, source="test")
        self.on_hand[sku] += 1
        least = self.on_hand[sku]
        position = payload["receipt"]["position"]
        self.acknowledged.append((time.monotonic(), number(position)))
        answer = await self.client.answer(LEVEL, s=sku, p=position)
        assert answer.data["stockLevel"]["onHand"] >= least
        assert number(answer.position) >= number(position)
        self.commands += 1

    async def work(self) -> None:
        """Until cancelled; what fails ends it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(at_pace(QUERIES_PER_SECOND, self.ask))
            tasks.create_task(at_pace(COMMANDS_PER_SECOND, self.receive))


async def at_pace(per_second: float, what: Callable[[], Awaitable[None]]) -> None:
    """Begin one after the other at a steady pace, whether those before have ended or not."""
    async with asyncio.TaskGroup() as tasks:
        while True:
            tasks.create_task(_awaited(what))
            await asyncio.sleep(1 / per_second)


async def _awaited(what: Callable[[], Awaitable[None]]) -> None:
    await what()
