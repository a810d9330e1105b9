"""The sampler: a document that is not what the log makes of it is found, told and made anew."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from infra import sampler as sampler_module
from infra.commands import CommandHandler
from infra.found import found_lately, prepare_found
from infra.log import Log
from infra.mongo import SyncDatabase
from infra.parked import parked_keys, skip
from infra.projector import Projector
from infra.rebuild import prepare_read_models
from infra.sampler import Sampler
from infra.verify import verify
from tests.infra import toy
from tests.infra.parts import documents, handle_all, projecting, running

MADE_WRONG: Final[dict[str, Any]] = {"$set": {"marbles": 424242}}
A_BUSY_MACHINE: Final = 5.0
"""Seconds that things may take which are not the sampler's."""
JARS: Final = [f"{number:03}" for number in range(90)]


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler_module, "SECOND_LOOK", 0.01)
    monkeypatch.setattr(sampler_module, "EVENTS_AT_ONCE", 50)


@pytest_asyncio.fixture
async def sampler(log: Log, handler: CommandHandler, projector: Projector) -> Sampler:
    """Of the toy read models, over jars that have been filled twice."""
    await handle_all(handler, [toy.Put(jar=jar, marbles=n) for n in (1, 2) for jar in JARS])
    await projector.run_to_end()
    await prepare_found(log.mongo)
    return Sampler(log, toy.BOTH)


def make_wrong(jar: str, db: SyncDatabase) -> None:
    db["rm_contents_1"].update_one({"_id": jar}, MADE_WRONG)


async def everything(sampler: Sampler) -> None:
    """Once around, both ways."""
    async for _ in sampler.through_documents():
        pass
    async for _ in sampler.along_log():
        pass


def counted(what: str, projection: str) -> float:
    name = f"tidings_{what}_documents_total"
    return REGISTRY.get_sample_value(name, {"projection": projection}) or 0.0


async def test_where_all_is_well_all_is_looked_at_and_nothing_found(
    log: Log, sampler: Sampler
) -> None:
    before = counted("checked", "contents"), counted("differing", "contents")
    await everything(sampler)
    assert counted("checked", "contents") == before[0] + len(JARS)
    assert counted("differing", "contents") == before[1]
    assert await found_lately(log.mongo, 10) == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            lambda db: db["rm_contents_1"].update_one({"_id": "040"}, {"$set": {"marbles": 99}}),
            "contents/040 differs: marbles is 99, not 3 (MarblesPut at 131)",
        ),
        (
            lambda db: db["rm_contents_1"].delete_one({"_id": "000"}),
            "contents/000 is missing: position is not there, not 91 (MarblesPut at 91)",
        ),
        (
            lambda db: db["rm_contents_1"].insert_one(
                {"_id": "zzz", "position": 7, "marbles": 1, "history": []}
            ),
            "contents/zzz is not explained by the log: position is 7, not there (no event)",
        ),
        (
            lambda db: db["rm_tallies_1"].update_one({"_id": "b"}, {"$set": {"changes": 0}}),
            "tallies/b differs: changes is 0, not 180 (MarblesPut at 180)",
        ),
        (
            lambda db: db["rm_tallies_1"].delete_one({"_id": "c"}),
            "tallies/c is missing: position is not there, not 180 (MarblesPut at 180)",
        ),
    ],
    ids=["changed", "deleted", "made up", "changed, along the log", "deleted, along the log"],
)
async def test_what_was_done_by_hand_is_found_told_and_made_anew(
    log: Log,
    sampler: Sampler,
    damage: Callable[[SyncDatabase], object],
    told: str,
) -> None:
    name = told.partition("/")[0]
    before = {what: counted(what, name) for what in ("differing", "repaired")}
    await log.mongo.run(damage)
    assert len((await verify(log, toy.BOTH)).problems) == 1
    await everything(sampler)
    (found,) = await found_lately(log.mongo, 10)
    each = found.difference
    assert (f"{each.projection}/{each.key} {each}", found.repaired) == (told, True)
    assert {what: counted(what, name) for what in before} == {
        what: number + 1 for what, number in before.items()
    }
    assert (await verify(log, toy.BOTH)).problems == []


async def test_a_projector_that_holds_documents_in_memory_goes_on_with_those_made_anew(
    log: Log, handler: CommandHandler, projector: Projector, sampler: Sampler
) -> None:
    await log.mongo.run(partial(make_wrong, "040"))
    projector.forget()
    await handle_all(handler, [toy.Put(jar="040")])
    await projector.run_to_end()  # it has folded onto the wrong document, and holds it in memory
    await everything(sampler)
    await handle_all(handler, [toy.Put(jar="040")])
    await projector.run_to_end()
    assert (await verify(log, toy.BOTH)).problems == []


async def test_values_are_not_logged(
    log: Log, sampler: Sampler, caplog: pytest.LogCaptureFixture
) -> None:
    await log.mongo.run(partial(make_wrong, "040"))
    with caplog.at_level(logging.ERROR, "tidings.sampler"):
        await everything(sampler)
    assert caplog.messages == ["contents/040 differs: marbles (MarblesPut at 131); repaired"]


async def seconds(steps: AsyncIterator[int]) -> float:
    """How long it takes without a rest."""
    began = time.perf_counter()
    async for _ in steps:
        pass
    return time.perf_counter() - began


async def until_found(log: Log, number: int) -> None:
    while len(await found_lately(log.mongo, 10)) < number:  # noqa: ASYNC110 the sampler makes it so
        await asyncio.sleep(0.01)


async def test_a_change_is_found_within_the_stated_time_while_events_flow(
    log: Log, handler: CommandHandler, projector: Projector, sampler: Sampler
) -> None:
    share = 0.5
    once = await seconds(sampler.through_documents()), await seconds(sampler.along_log())
    stated = 2 / share * 2 * max(once)  # see `infra.sampler`

    async def commands() -> None:
        while True:
            await handle_all(handler, [toy.Put(jar=jar) for jar in ("000", "001")])
            await asyncio.sleep(0.05)

    async with projecting(log, projector), running(sampler.run(share), commands()):
        for number, jar in enumerate(("017", "055", "089"), start=1):
            await log.mongo.run(partial(make_wrong, jar))
            async with asyncio.timeout(stated + A_BUSY_MACHINE):
                await until_found(log, number)
    lately = await found_lately(log.mongo, 10)
    assert [each.difference.key for each in lately] == ["089", "055", "017"]
    assert {jar["marbles"] for jar in await documents(log, "contents") if jar["_id"] > "001"} == {3}
    assert (await verify(log, toy.BOTH)).problems == []


async def test_an_event_that_an_operator_skipped_is_left_out_for_good(
    log: Log, handler: CommandHandler
) -> None:
    contents = toy.contents(poison=["bad"])
    await prepare_read_models(log, (contents, toy.TALLIES))
    await prepare_found(log.mongo)
    projector = Projector(log, (contents, toy.TALLIES))
    puts = [toy.Put(jar="a"), toy.Put(jar="a", note="bad"), toy.Put(jar="a")]
    await handle_all(handler, puts)
    await projector.run_to_end()
    sampler = Sampler(log, (contents, toy.TALLIES))
    await everything(sampler)
    (parked,) = await parked_keys(log)
    await skip(log, contents, parked)
    await everything(sampler)
    assert await found_lately(log.mongo, 10) == []
    assert [d["marbles"] for d in await documents(log, "contents")] == [2]


@pytest.mark.usefixtures("sampler")
async def test_all_shares_come_in_turn(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a read model that cannot name streams, of which few keys are taken along at once."""
    monkeypatch.setattr(sampler_module, "KEYS", 20)
    unnamed = toy.contents()
    object.__setattr__(unnamed, "streams", None)
    along = Sampler(log, (unnamed,))
    await log.mongo.run(lambda db: db["rm_contents_1"].update_many({}, MADE_WRONG))
    shares = 0
    while len(await found_lately(log.mongo, 1_000)) < len(JARS):
        shares += 1
        assert shares <= len(JARS) // 20 + 2
        async for _ in along.along_log():
            pass
    assert (await verify(log, toy.BOTH)).problems == []
