"""The memory image: answers that are exactly the documents, without asking for them."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from domain.decider import message
from infra import image_checking, memory_image
from infra.commands import CommandHandler
from infra.image_checking import Difference, check_image, keep_image
from infra.log import Log
from infra.memory_image import MemoryImage
from infra.mongo import SyncDatabase, open_mongo
from infra.newest import Snapshot
from infra.projector import Projector
from infra.reads import Reads
from infra.rebuild import prepare_read_models
from tests.infra import toy
from tests.infra.parts import (
    Seen,
    a_log,
    asked,
    handle_all,
    handler_on,
    projecting,
    running,
)

JARS = [f"{number}" for number in range(8)]


@message
class Imaged:
    """A process with an image of the two toy read models, which is kept by hand."""

    log: Log
    handler: CommandHandler
    projector: Projector
    image: MemoryImage
    reads: Reads
    seen: Seen

    async def put(self, *commands: Any) -> Snapshot:
        """Have commands done and projected; the snapshot that shows them."""
        answers = await handle_all(self.handler, commands)
        await self.projector.run_to_end()
        return await self.reads.snapshot(max(answer.position for answer in answers))

    async def filled(self) -> None:
        """What `keep_image` does first."""
        await self.image.advance((await self.reads.snapshot()).position)
        self.image.following = True
        assert await check_image(self.image, self.reads) == []

    async def stored(self, keys: Sequence[str], at: Snapshot) -> dict[str, Any]:
        """The documents, as they are without an image."""
        found = await self.reads.find(toy.CONTENTS, {"_id": {"$in": list(keys)}}, (), 0, at)
        return {row.key: (row.position, row.view) for row in found}

    async def got(self, keys: Sequence[str], at: Snapshot) -> tuple[dict[str, Any], bool]:
        """What a keyed read answers, and whether it was from memory."""
        self.seen.clear()
        found = await self.reads.get(toy.CONTENTS, keys, at)
        asked_for = [sent for sent in self.seen.of("find") if sent["find"].startswith("rm_")]
        return {row.key: (row.position, row.view) for row in found.values()}, not asked_for

    async def answering(self, generation: int) -> Snapshot:
        """Wait until this generation is live and answered for from memory."""
        async with asyncio.timeout(10):
            while True:
                at = await self.reads.snapshot()
                if at.generations["contents"] == generation and (await self.got(JARS, at))[1]:
                    return at
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def imaged(seen: Seen, mongodb_uri: str, database_name: str) -> AsyncIterator[Imaged]:
    async with open_mongo(mongodb_uri, database_name) as mongo:
        log = await a_log(mongo)
        await prepare_read_models(log, toy.BOTH)
        handler, projector = handler_on(log), Projector(log, toy.BOTH)
        image = MemoryImage(log, toy.BOTH)
        reads = Reads(mongo, image=image)
        async with running(handler.run(), reads.follow()):
            yield Imaged(
                log=log, handler=handler, projector=projector, image=image, reads=reads, seen=seen
            )


# -- what it answers


async def test_keys_at_the_newest_snapshot_cost_no_call_and_are_the_documents(
    imaged: Imaged,
) -> None:
    old = await imaged.put(*(toy.Put(jar=jar, marbles=3) for jar in JARS))
    assert await imaged.got(["1"], old) == (await imaged.stored(["1"], old), False)  # not yet
    await imaged.filled()
    for number in range(5):
        new = await imaged.put(toy.Move(jar="1", to="2"), toy.Put(jar=f"new-{number}"))
        keys = ["1", "2", f"new-{number}", "unknown"]
        assert await imaged.got(keys, new) == (await imaged.stored(keys, new), True)
        assert len((await imaged.got(keys, new))[0]) == 3
    # an older snapshot is answered as it was, by the documents
    wanted = await imaged.stored(JARS, old)
    assert await imaged.got(JARS, old) == (wanted, False)
    assert {view.marbles for _, view in wanted.values()} == {3}


async def test_it_holds_while_events_pour_in(imaged: Imaged) -> None:
    await imaged.put(*(toy.Put(jar=jar, marbles=1_000) for jar in JARS))
    await imaged.filled()
    chosen = random.Random(7)
    from_memory = 0

    async def commands() -> None:
        while True:
            move = toy.Move(jar=chosen.choice(JARS), to=chosen.choice(JARS))
            await imaged.handler.handle(asked(move))

    async with projecting(imaged.log, imaged.projector), running(*(commands() for _ in range(4))):
        positions = set()
        for _ in range(200):
            at = await imaged.reads.snapshot()
            found, without_a_call = await imaged.got(JARS, at)
            assert found == await imaged.stored(JARS, at)
            assert sum(view.marbles for _, view in found.values()) == 8_000
            positions.add(at.position)
            from_memory += without_a_call
            await asyncio.sleep(0.003)  # time for the projector to move on
    assert len(positions) > 20
    assert from_memory > 100


async def test_a_snapshot_does_not_wait_for_an_image_that_is_slow(
    imaged: Imaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    await imaged.put(toy.Put(jar="1"))
    await imaged.filled()
    gate, step = threading.Event(), imaged.image._step

    def slow(after: int, upto: int, db: SyncDatabase) -> Any:
        gate.wait(10)
        return step(after, upto, db)

    monkeypatch.setattr(imaged.image, "_step", slow)
    at = await imaged.put(toy.Put(jar="1"))
    assert await imaged.got(["1"], at) == (await imaged.stored(["1"], at), False)
    gate.set()
    at = await imaged.put(toy.Put(jar="1"))
    assert await imaged.got(["1"], at) == (await imaged.stored(["1"], at), True)


async def test_a_process_fills_it_by_itself(
    imaged: Imaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_image, "STEP", 3)
    await imaged.put(*(toy.Put(jar=jar) for jar in JARS))
    async with running(keep_image(imaged.image, imaged.reads, rest=0.01)):
        at = await imaged.answering(generation=1)
        assert await imaged.got(JARS, at) == (await imaged.stored(JARS, at), True)
        await prepare_read_models(imaged.log, [toy.contents(version=2)])
        at = await imaged.answering(generation=2)
        assert await imaged.got(JARS, at) == (await imaged.stored(JARS, at), True)


# -- where it does not answer


async def test_what_differs_is_told_and_left_to_the_documents_until_it_is_healed(
    imaged: Imaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_checking, "PAGE", 3)
    at = await imaged.put(*(toy.Put(jar=jar, marbles=3) for jar in JARS))
    await imaged.filled()
    good = (await imaged.stored(["1"], at))["1"][1]

    def change(db: SyncDatabase) -> None:
        documents = db["rm_contents_1"]
        documents.update_one({"_id": "1"}, {"$set": {"marbles": 9}})
        documents.delete_one({"_id": "2"})
        documents.insert_one({"_id": "x", "position": 1, "marbles": 1, "history": [1]})

    await imaged.log.mongo.run(change)
    at = await imaged.put(toy.Put(jar="3"))
    found = {(d.key, d.held, d.stored) for d in await check_image(imaged.image, imaged.reads)}
    stored = await imaged.stored(["1", "x"], at)
    assert {key for key, _, _ in found} == {"1", "2", "x"}
    assert {("1", good, stored["1"][1]), ("x", None, stored["x"][1])} <= found
    assert await imaged.got(["1"], at) == (await imaged.stored(["1"], at), False)
    assert await imaged.got(["2"], at) == ({}, False)
    assert (await imaged.got(["3", "4"], at))[1]
    await imaged.log.mongo.run(
        lambda db: db["rm_contents_1"].update_one({"_id": "1"}, {"$set": {"marbles": 3}})
    )
    await imaged.put(toy.Put(jar="3"))
    again = await check_image(imaged.image, imaged.reads)
    assert {difference.key for difference in again} == {"2", "x"}
    assert isinstance(again[0], Difference)
    assert (await imaged.got(["1"], await imaged.reads.snapshot()))[1]


async def test_a_key_that_cannot_be_folded_is_left_to_the_documents(imaged: Imaged) -> None:
    poisoned = toy.contents(poison=["bad"])
    image = MemoryImage(imaged.log, [poisoned])
    reads = Reads(imaged.log.mongo, image=image)
    one = Imaged(
        log=imaged.log,
        handler=imaged.handler,
        projector=Projector(imaged.log, (poisoned, toy.TALLIES)),
        image=image,
        reads=reads,
        seen=imaged.seen,
    )
    async with running(reads.follow()):
        await one.put(toy.Put(jar="1"), toy.Put(jar="2"))
        await one.filled()
        at = await one.put(toy.Put(jar="1", note="bad"), toy.Put(jar="1"), toy.Put(jar="2"))
        assert await one.got(["1"], at) == (await one.stored(["1"], at), False)
        assert await one.got(["2"], at) == (await one.stored(["2"], at), True)
        assert await check_image(image, reads) == []
