"""Reading: what one request sees is of one position, however many collections it reads."""

import asyncio
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domain.address import Address
from domain.customer import RegisterCustomer
from domain.money import Money
from domain.order import CancelOrder, PlaceOrder
from domain.order_line import LineWanted
from domain.product import AddProduct
from domain.registry import AGGREGATES, ERRORS, JOINT_DECISIONS
from infra import reads as reads_module
from infra.codec import EventCodec
from infra.commands import CommandHandler
from infra.embedded import embedded_mongod
from infra.log import Log
from infra.mongo import Mongo, Unavailable, open_mongo
from infra.projector import Projector
from infra.reads import ReadModelBehind, Reads
from infra.rebuild import prepare_read_models
from readmodels.order_list import ORDER_LIST
from readmodels.registry import PROJECTIONS
from readmodels.sales import SALES_BY_DAY
from tests.infra import toy
from tests.infra.parts import (
    Seen,
    a_log,
    asked,
    every,
    handle_all,
    handler_on,
    projecting,
    running,
    until,
)

AT = datetime(2026, 3, 1, tzinfo=UTC)


# -- one position


async def test_all_collections_are_read_at_one_position_while_the_projector_moves(
    log: Log, handler: CommandHandler, projector: Projector, reads: Reads
) -> None:
    stop = asyncio.Event()

    async def commands() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            await handle_all(handler, [toy.Put(jar=f"{number % 5}"), toy.Move(jar="1", to="2")])

    positions = set()
    async with projecting(log, projector), running(commands()) as writing:
        await reads.snapshot(10)
        for _ in range(100):
            at = await reads.snapshot()
            jars = await reads.find(toy.CONTENTS, {}, (), 0, at)
            await asyncio.sleep(0.002)  # time for the projector to move on
            tallies = await reads.find(toy.TALLIES, {}, (), 0, at)
            assert {t.view.marbles for t in tallies} == {sum(j.view.marbles for j in jars)}
            assert max(t.position for t in tallies) <= at.position
            positions.add(at.position)
        stop.set()
        await writing
    assert len(positions) > 20


async def test_orders_and_sales_agree_at_every_snapshot(mongo: Mongo) -> None:
    log = Log(mongo, EventCodec(event for decider in AGGREGATES for event in decider.events))
    await log.prepare()
    await prepare_read_models(log, PROJECTIONS)
    handler = CommandHandler(log, AGGREGATES, JOINT_DECISIONS, ERRORS)
    reads = Reads(mongo)
    projector = Projector(log, PROJECTIONS)
    home = Address(street="1 High Street", city="York", country="GB")
    customer = RegisterCustomer(
        customer_id="customer-1", name="Ada", email="ada@example.org", address=home, at=AT
    )
    product = AddProduct(sku="A", name="Ant", price=Money(amount=100, currency="EUR"), at=AT)
    lines = (LineWanted(sku="A", quantity=1),)

    async def story(number: int) -> None:
        order_id = f"order-{number}"
        place = PlaceOrder(order_id=order_id, customer_id="customer-1", lines=lines, at=AT)
        await handler.handle(asked(place))
        if number % 3 == 0:
            await handler.handle(asked(CancelOrder(order_id=order_id, reason="late", at=AT)))

    async def stories() -> None:
        for number in range(0, 200, 4):
            await asyncio.gather(*(story(number + more) for more in range(4)))

    async with projecting(log, projector), running(handler.run(), reads.follow()):
        await handle_all(handler, [customer, product])
        told = asyncio.create_task(stories())
        while not told.done():
            at = await reads.snapshot()
            orders = await reads.count(ORDER_LIST, {}, at, 10_000)
            standing = await reads.count(ORDER_LIST, {"status": "placed"}, at, 10_000)
            days = [row.view for row in await reads.find(SALES_BY_DAY, {}, (), 0, at)]
            assert sum(day.orders for day in days) == standing
            assert sum(day.orders + day.cancelled_orders for day in days) == orders
        await told


async def test_an_old_snapshot_shows_what_was(
    handler: CommandHandler, projector: Projector, reads: Reads
) -> None:
    await handler.handle(asked(toy.Put(jar="a")))
    await projector.run_to_end()
    old = await reads.snapshot(1)
    await handler.handle(asked(toy.Put(jar="a")))
    await projector.run_to_end()
    new = await reads.snapshot(2)
    for at, marbles in ((old, 1), (new, 2), (old, 1)):
        row = (await reads.get(toy.CONTENTS, ["a", "unknown"], at))["a"]
        assert (row.key, row.view.marbles, row.position) == ("a", marbles, marbles)


async def test_find_count_and_aggregate(
    handler: CommandHandler, projector: Projector, reads: Reads
) -> None:
    await handle_all(handler, [toy.Put(jar=f"{n}", marbles=n) for n in range(1, 9)])
    await projector.run_to_end()
    at = await reads.snapshot(8)
    most = await reads.find(toy.CONTENTS, {"marbles": {"$gt": 3}}, (("marbles", -1),), 2, at)
    assert [row.key for row in most] == ["8", "7"]
    assert await reads.count(toy.CONTENTS, {"marbles": {"$gt": 3}}, at, 100) == 5
    assert await reads.count(toy.CONTENTS, {"marbles": {"$gt": 3}}, at, 4) == 4
    assert await reads.count(toy.CONTENTS, {"marbles": 0}, at, 4) == 0
    total = [{"$group": {"_id": None, "n": {"$sum": "$marbles"}}}]
    assert await reads.aggregate(toy.CONTENTS, total, at) == [{"_id": None, "n": 36}]


async def test_an_answer_larger_than_one_batch_is_whole(log: Log, reads: Reads) -> None:
    """MongoDB ends a batch at 16 MB."""
    large = [0] * 250_000
    rows = [{"_id": f"{n:02}", "position": 1, "marbles": n, "history": large} for n in range(20)]
    await log.mongo.run(lambda db: db["rm_contents_1"].insert_many(rows[:10]))
    await log.mongo.run(lambda db: db["rm_contents_1"].insert_many(rows[10:]))
    at = await reads.take()
    found = await reads.find(toy.CONTENTS, {}, (("_id", 1),), 0, at)
    assert [row.view.marbles for row in found] == list(range(20))
    assert len(await reads.aggregate(toy.CONTENTS, [{"$match": {}}], at)) == 20


# -- waiting


async def test_at_least_waits_for_the_projector(
    handler: CommandHandler, projector: Projector, reads: Reads
) -> None:
    await handler.handle(asked(toy.Put(jar="a")))
    waiting = [asyncio.create_task(reads.snapshot(1, seconds=10)) for _ in range(20)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    await projector.run_to_end()
    assert {snapshot.position for snapshot in await asyncio.gather(*waiting)} == {1}


async def test_at_least_is_bounded(
    handler: CommandHandler, projector: Projector, reads: Reads
) -> None:
    await handler.handle(asked(toy.Put(jar="a")))
    await projector.run_to_end()
    await reads.snapshot(1)
    began = time.monotonic()
    with pytest.raises(ReadModelBehind) as behind:
        await reads.snapshot(7, seconds=0.1)
    assert 0.09 < time.monotonic() - began < 2
    assert (behind.value.wanted, behind.value.reached) == (7, 1)


async def test_what_is_reached_already_is_answered_without_a_call(
    seen: Seen, mongodb_uri: str, database_name: str
) -> None:
    async with open_mongo(mongodb_uri, database_name) as mongo:
        log = await a_log(mongo)
        await prepare_read_models(log, toy.BOTH)
        reads = Reads(mongo)
        async with running(reads.follow()):
            await until(lambda: reads._latest)
            seen.clear()
            for _ in range(10):
                await reads.snapshot()
            assert not seen.of("find")


async def test_a_database_without_read_models_is_unavailable(mongo: Mongo) -> None:
    with pytest.raises(Unavailable, match="no projector"):
        await Reads(mongo).snapshot()


async def test_without_a_follower_a_snapshot_is_taken(log: Log, projector: Projector) -> None:
    del projector
    assert (await Reads(log.mongo).snapshot()).position == 0


# -- age


async def test_a_snapshot_that_has_become_old_is_taken_anew(
    reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await reads.snapshot()
    assert (await reads.snapshot()) is first
    later = time.time() + reads_module.SECONDS_OF_USE + 1
    monkeypatch.setattr("infra.reads.time.time", lambda: later)
    again = await reads.snapshot()
    assert again.at >= first.at
    assert again is not first
    assert await reads.snapshot() is again


async def test_the_age_of_a_snapshot_counts_the_sleep_of_the_machine(
    reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop that wakes up: the monotonic clock of Linux has stood still."""
    first = await reads.snapshot()
    awake = time.time() + 3_600
    monkeypatch.setattr("infra.reads.time.time", lambda: awake)
    assert await reads.snapshot() is not first


async def test_listeners_are_told_of_each_newer_position(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    reads, told = Reads(log.mongo), list[int]()
    reads.listen(lambda snapshot: told.append(snapshot.position))
    async with running(reads.follow()):
        await until(lambda: told == [0])
        for number in range(1, 6):
            await handler.handle(asked(toy.Put(jar="a")))
            await projector.run_to_end()
            assert (await reads.snapshot(number)).position == number
    assert told == list(range(6))


# -- a MongoDB that dies


async def test_following_survives_the_death_of_mongod(tmp_path: Path) -> None:
    async with embedded_mongod(tmp_path) as mongod, open_mongo(mongod.uri, "test") as mongo:
        log = await a_log(mongo)
        await prepare_read_models(log, toy.BOTH)
        handler, reads, projector = handler_on(log), Reads(mongo), Projector(log, toy.BOTH)
        async with projecting(log, projector), running(handler.run(), reads.follow()):
            first = await handler.handle(asked(toy.Put(jar="a")))
            await reads.snapshot(first.position)
            os.kill(int((tmp_path / "mongod" / "mongod.lock").read_text()), signal.SIGKILL)
            second = await _stubborn(handler, toy.Put(jar="a"))
            at = await reads.snapshot(second, seconds=20)
            assert [v.marbles for v in await every(reads, toy.CONTENTS)] == [2]
            assert at.position == 2


async def _stubborn(handler: CommandHandler, command: toy.Put) -> int:
    request = asked(command)
    while True:
        try:
            return (await handler.handle(request)).position
        except Unavailable:
            await asyncio.sleep(0.05)
