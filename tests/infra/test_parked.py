"""Keys whose fold fails: they wait, the rest goes on, and operators get them going again."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from infra.commands import CommandHandler
from infra.log import Log
from infra.parked import (
    NoLongerParked,
    StillFailing,
    parked_keys,
    retry,
    skip,
)
from infra.projector import Projector
from infra.rebuild import prepare_read_models
from infra.repair import repair
from infra.verify import Problem, Verification
from tests.infra import toy
from tests.infra.parts import asked, documents, handle_all, projected, projecting, running


async def problems(log: Log, projections: Sequence[toy.Toy] = toy.BOTH) -> list[Problem]:
    return await Verification(log, projections).run()


async def poisoned(log: Log, handler: CommandHandler) -> tuple[toy.Toy, Projector]:
    """Jar a: 1, then poison, then 1 more; jar b is sound."""
    contents = toy.contents(poison=["bad"])
    await prepare_read_models(log, (contents, toy.TALLIES))
    projector = Projector(log, (contents, toy.TALLIES))
    await handle_all(
        handler,
        [
            toy.Put(jar="a"),
            toy.Put(jar="b"),
            toy.Put(jar="a", marbles=10, note="bad"),
            toy.Put(jar="b"),
            toy.Put(jar="a", marbles=100),
        ],
    )
    return contents, projector


async def content(log: Log) -> dict[str, int]:
    return {d["_id"]: d["marbles"] for d in await documents(log, "contents")}


@pytest.mark.parametrize("size", [1, 2, 1000])
async def test_what_cannot_be_folded_parks_its_key_and_the_rest_goes_on(
    log: Log, handler: CommandHandler, size: int
) -> None:
    _, projector = await poisoned(log, handler)
    while await projector.run_once(size):
        pass
    assert await content(log) == {"a": 1, "b": 2}
    assert {d["marbles"] for d in await documents(log, "tallies")} == {113}
    (parked,) = await parked_keys(log)
    assert (parked.projection, parked.key, parked.position) == ("contents", "a", 3)
    assert parked.error == "ValueError: bad is poison"


async def test_what_cannot_be_stored_parks_its_key_too(log: Log, handler: CommandHandler) -> None:
    await prepare_read_models(log, (toy.CONTENTS,))
    most = 2**62
    puts = [toy.Put(jar="a", marbles=most), toy.Put(jar="b")]
    await handle_all(handler, [*puts, toy.Put(jar="a", marbles=most), toy.Put(jar="b")])
    await Projector(log, (toy.CONTENTS,)).run_to_end()
    assert await content(log) == {"a": most, "b": 2}
    (parked,) = await parked_keys(log)
    assert (parked.key, parked.position) == ("a", 3)
    assert parked.error.startswith("OverflowError")


async def test_later_events_of_a_parked_key_wait_also_for_a_new_process(
    log: Log, handler: CommandHandler
) -> None:
    contents, projector = await poisoned(log, handler)
    await projector.run_to_end()
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="b")])
    await Projector(log, (contents, toy.TALLIES)).run_to_end()
    assert await content(log) == {"a": 1, "b": 3}
    assert len(await parked_keys(log)) == 1


async def test_a_retry_after_the_cure_makes_the_document_whole(
    log: Log, handler: CommandHandler
) -> None:
    contents, projector = await poisoned(log, handler)
    await projector.run_to_end()
    (parked,) = await parked_keys(log)
    with pytest.raises(StillFailing, match="position 3"):
        await retry(log, contents, parked)
    assert len(await parked_keys(log)) == 1
    contents.poison.clear()
    await retry(log, contents, parked)
    assert await parked_keys(log) == []
    assert await content(log) == {"a": 111, "b": 2}
    await handler.handle(asked(toy.Put(jar="a")))
    await projector.run_to_end()  # the projector that has been running all the time
    assert await content(log) == {"a": 112, "b": 2}
    assert await problems(log, (contents, toy.TALLIES)) == []


async def test_a_second_retry_folds_nothing_twice(log: Log, handler: CommandHandler) -> None:
    contents, projector = await poisoned(log, handler)
    await projector.run_to_end()
    (parked,) = await parked_keys(log)
    contents.poison.clear()
    ended = await asyncio.gather(
        *(retry(log, contents, parked) for _ in range(3)), return_exceptions=True
    )
    assert sorted(type(end).__name__ for end in ended) == [
        "NoLongerParked",
        "NoLongerParked",
        "NoneType",
    ]
    with pytest.raises(NoLongerParked):
        await retry(log, contents, parked)
    assert await problems(log, (contents, toy.TALLIES)) == []


async def test_a_skip_leaves_one_event_out_and_goes_on(log: Log, handler: CommandHandler) -> None:
    contents, projector = await poisoned(log, handler)
    await projector.run_to_end()
    (parked,) = await parked_keys(log)
    await skip(log, contents, parked)
    assert await parked_keys(log) == []
    await handler.handle(asked(toy.Put(jar="a")))
    await projector.run_to_end()
    assert await content(log) == {"a": 102, "b": 2}


async def test_a_skip_comes_as_far_as_the_next_event_that_fails(
    log: Log, handler: CommandHandler
) -> None:
    contents, projector = await poisoned(log, handler)
    await handler.handle(asked(toy.Put(jar="a", note="bad")))
    await projector.run_to_end()
    (parked,) = await parked_keys(log)
    with pytest.raises(StillFailing, match="position 6"):
        await skip(log, contents, parked)
    assert await content(log) == {"a": 101, "b": 2}
    (parked,) = await parked_keys(log)
    assert parked.position == 6
    await skip(log, contents, parked)
    assert await parked_keys(log) == []


async def test_what_comes_during_a_retry_is_not_left_out(
    log: Log, handler: CommandHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents, projector = await poisoned(log, handler)
    await projector.run_to_end()
    (parked,) = await parked_keys(log)
    contents.poison.clear()
    transaction = log.mongo.transaction

    async def later(work: Any) -> Any:
        with monkeypatch.context() as as_it_was:
            as_it_was.setattr(log.mongo, "transaction", transaction)
            await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="b")])
            await projector.run_to_end()
            return await log.mongo.transaction(work)

    with monkeypatch.context() as patched:
        patched.setattr(log.mongo, "transaction", later)
        await retry(log, contents, parked)
    assert await content(log) == {"a": 112, "b": 3}
    await handler.handle(asked(toy.Put(jar="a")))
    await projector.run_to_end()
    assert await problems(log, (contents, toy.TALLIES)) == []


async def test_a_retry_while_events_flow(log: Log, handler: CommandHandler) -> None:
    contents, projector = await poisoned(log, handler)
    async with projecting(log, projector):
        await projected(log, 5)
        waiting = await parked_keys(log)
        contents.poison.clear()
        stop = asyncio.Event()

        async def commands() -> None:
            while not stop.is_set():
                await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="b")])

        async with running(commands()) as writing:
            await asyncio.wait_for(retry(log, contents, waiting[0]), 20)
            await asyncio.sleep(0.1)
            stop.set()
            await writing
        await asyncio.sleep(0.1)
    await projector.run_to_end()
    assert await problems(log, (contents, toy.TALLIES)) == []


async def test_repair_mends_documents_changed_by_hand(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handle_all(handler, [toy.Put(jar=jar) for jar in "abcabc"])
    await projector.run_to_end()

    def spoil(db: Any) -> None:
        db["rm_contents_1"].update_one({"_id": "a"}, {"$set": {"marbles": -1}})
        db["rm_contents_1"].delete_one({"_id": "b"})
        db["rm_contents_1"].insert_one({"_id": "x", "marbles": 1, "history": [], "position": 1})

    await log.mongo.run(spoil)
    assert len(await problems(log)) == 3
    assert await repair(log, toy.CONTENTS, "abx") == {*"abx"}
    assert await problems(log) == []
    await handle_all(handler, [toy.Put(jar="a"), toy.Put(jar="x")])
    await projector.run_to_end()
    assert await problems(log) == []
