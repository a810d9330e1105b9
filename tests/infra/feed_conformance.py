"""What a projector promises, however events reach it: each check is run on both ways of feeding.

Each command puts one marble into a jar. So the contents of all jars together are the position that
they are of, and any answer can be told from a lie.
"""

import asyncio
import random
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol

from infra.commands import CommandHandler
from infra.folding import PARKED, collection_of
from infra.log import Log
from infra.mongo import Document
from infra.newest import Snapshot
from infra.reads import Reads
from tests.infra import toy
from tests.infra.parts import handle_all, running

PATIENCE = 60.0
POISON = "poison"


class Fed(Protocol):
    """A log with `contents` and `tallies`; the contents are what is fed."""

    log: Log
    reads: Reads
    handler: CommandHandler

    def projecting(self) -> AbstractAsyncContextManager[None]:
        """One more that projects, as long as the block lasts."""

    def feeds(self, at: Snapshot) -> bool:
        """Whether the contents that are read at this snapshot were fed this way."""

    async def tell(self, *, again: int = 0) -> int:
        """Let it be known what has been appended, and the last events before that once more; the
        position of the last one."""


async def put(fed: Fed, number: int, seed: int = 0, note: str = "") -> None:
    """Marbles into thirty jars."""
    chance = random.Random(seed)
    jars = [f"jar {chance.randrange(30)}" for _ in range(number)]
    await handle_all(fed.handler, [toy.Put(jar=jar, note=note) for jar in jars])


async def come_to(fed: Fed, position: int) -> Snapshot:
    """The snapshot of all read models at a position or after it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            at = await fed.reads.snapshot(position, PATIENCE)
            if fed.feeds(at):
                return at
            await asyncio.sleep(0.02)


async def marbles(fed: Fed, at: Snapshot) -> tuple[int, int]:
    """In all jars together, and by the tally."""
    jars = await fed.reads.find(toy.CONTENTS, {}, (("_id", 1),), 0, at)
    tally = await fed.reads.get(toy.TALLIES, ["a"], at)
    return sum(row.view.marbles for row in jars), tally["a"].view.marbles if tally else 0


async def refolded(log: Log) -> list[Document]:
    """The contents as the log makes them."""
    views: dict[str, Any] = {}
    positions: dict[str, int] = {}
    for recorded in await log.read(0):
        if isinstance(recorded.event, toy.CONTENTS.events):
            [key] = toy.CONTENTS.keys(recorded)
            views[key] = toy.CONTENTS.evolve(views.get(key), recorded, key)
            positions[key] = recorded.position
    return [
        {
            "_id": key,
            "position": positions[key],
            "marbles": view.marbles,
            "history": list(view.history),
        }
        for key, view in sorted(views.items())
    ]


async def equal_a_refold(fed: Fed) -> None:
    """The documents, at the end of the log."""
    at = await come_to(fed, (await fed.log.head()).position)
    name = collection_of("contents", at.generations["contents"])
    stored = await fed.log.mongo.run(lambda db: list(db[name].find(sort=[("_id", 1)])))
    assert stored == await refolded(fed.log)


async def check_documents(fed: Fed) -> None:
    """What is there before it begins, and what comes while it projects."""
    await put(fed, 100)
    await fed.tell()
    async with fed.projecting():
        await put(fed, 200, seed=1)
        await fed.tell()
        await equal_a_refold(fed)


async def check_positions(fed: Fed) -> None:
    """Every answer is of exactly the position that it names, over both read models, and is never
    of an earlier one than was asked for."""
    async with fed.projecting(), fed.projecting():
        await put(fed, 10)
        await come_to(fed, await fed.tell())
        for turn in range(20):
            await put(fed, 1 + turn * 3, seed=turn)
            position = await fed.tell()
            at = await come_to(fed, position)
            assert at.position >= position
            assert await marbles(fed, at) == (at.position, at.position)


async def check_answers_under_way(fed: Fed) -> None:
    """The same, asked all the time while much is written."""
    stop = asyncio.Event()

    async def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            await put(fed, 25, seed=turn)
            await fed.tell()

    async with fed.projecting(), fed.projecting():
        await put(fed, 10)
        await come_to(fed, await fed.tell())
        seen: set[int] = set()
        async with running(write()) as writing, asyncio.timeout(PATIENCE):
            while len(seen) < 30:
                at = await fed.reads.snapshot()
                if "contents" in at.generations:
                    assert await marbles(fed, at) == (at.position, at.position)
                if fed.feeds(at):
                    seen.add(at.position)
                await asyncio.sleep(0.002)
            stop.set()
            await writing
        await equal_a_refold(fed)


async def check_repeats(fed: Fed) -> None:
    """An event that is told again changes nothing."""
    async with fed.projecting():
        for turn in range(5):
            await put(fed, 20, seed=turn)
            await come_to(fed, await fed.tell(again=30 * turn))
        await equal_a_refold(fed)


async def check_coming_and_going(fed: Fed) -> None:
    """Those who project come and go while events come."""
    chance = random.Random(5)
    stop = asyncio.Event()

    async def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            await put(fed, 10, seed=turn)
            await fed.tell()
            await asyncio.sleep(0.05)

    async with running(write()) as writing, AsyncExitStack() as always:
        await always.enter_async_context(fed.projecting())
        for _ in range(4):
            async with fed.projecting():
                await asyncio.sleep(chance.random() * 1.5)
        stop.set()
        await writing
        await equal_a_refold(fed)


async def check_parking(fed: Fed) -> None:
    """A key whose event cannot be folded waits at it, and all others go on."""
    async with fed.projecting():
        await put(fed, 50)
        await come_to(fed, await fed.tell())
        await handle_all(fed.handler, [toy.Put(jar="jar 1", note=POISON), toy.Put(jar="jar 2")])
        await put(fed, 50, seed=1)
        position = await fed.tell()
        at = await come_to(fed, position)
        [row] = await fed.log.mongo.run(lambda db: list(db[PARKED].find()))
        assert (row["projection"], row["key"], row["position"]) == ("contents", "jar 1", 51)
        rows = await fed.reads.find(toy.CONTENTS, {}, (("_id", 1),), 0, at)
        stored = {row.key: row.document for row in rows}
        for expected in await refolded(fed.log):
            if expected["_id"] != "jar 1":
                assert stored[expected["_id"]] == expected
        assert stored["jar 1"]["position"] <= 50


CHECKS = (
    check_documents,
    check_positions,
    check_answers_under_way,
    check_repeats,
    check_coming_and_going,
    check_parking,
)
