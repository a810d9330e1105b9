"""The command handler: decisions that hold where they are committed, and answers that arrive."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from domain.address import Address
from domain.customer import RegisterCustomer
from domain.money import Money
from domain.order import PlaceOrder
from domain.order_line import LineWanted
from domain.product import AddProduct, DiscontinueProduct, ProductIsDiscontinued
from domain.registry import AGGREGATES, ERRORS, JOINT_DECISIONS
from domain.stock_item import InsufficientStock, ReceiveStock, ReserveStock
from infra import commands
from infra import mongo as mongo_module
from infra.answers import Accepted, Rejected, VersionConflict
from infra.codec import EventCodec
from infra.commands import CommandHandler
from infra.embedded import embedded_mongod
from infra.log import Behind, Head, Log
from infra.mongo import Mongo, Unavailable, open_mongo
from tests.infra import toy
from tests.infra.parts import a_log, asked, handle_all, handler_on, running

AT = datetime(2026, 3, 1, tzinfo=UTC)


@asynccontextmanager
async def two_handlers(log: Log) -> AsyncIterator[tuple[CommandHandler, CommandHandler]]:
    """As two processes would have them: each knows what the other did only from the log."""
    one, two = handler_on(log), handler_on(log)
    async with running(one.run(), two.run()):
        yield one, two


async def marbles(log: Log, jar: str) -> int:
    events = (await log.streams([toy.stream(jar)]))[toy.stream(jar)]
    return toy.JAR.fold(recorded.event for recorded in events).marbles


# -- decisions hold as of their position


async def test_a_joint_decision_sees_all_its_streams(log: Log, handler: CommandHandler) -> None:
    await handle_all(handler, [toy.Put(jar="a", marbles=4), toy.Put(jar="b", marbles=3)])
    await handler.handle(asked(toy.Match(jar="a", other="b")))
    assert await marbles(log, "a") == 7


async def test_commands_of_one_group_are_decided_one_on_the_other(
    log: Log, handler: CommandHandler
) -> None:
    answers = await handle_all(
        handler,
        [
            toy.Put(jar="a", marbles=2),
            toy.Move(jar="a", to="b", marbles=2),
            toy.Take(jar="a"),
            toy.Match(jar="c", other="b"),
        ],
    )
    assert [type(answer) for answer in answers] == [Accepted, Accepted, Rejected, Accepted]
    assert await marbles(log, "c") == 2


async def test_a_decision_overtaken_on_a_stream_that_it_only_reads_is_made_again(log: Log) -> None:
    async with two_handlers(log) as (one, two):
        await one.handle(asked(toy.Put(jar="b", marbles=3)))
        await one.handle(asked(toy.Match(jar="a", other="b")))  # `one` remembers both jars
        await two.handle(asked(toy.Put(jar="b", marbles=10)))
        await one.handle(asked(toy.Match(jar="a", other="b")))
    assert await marbles(log, "a") == 3 + 13


async def test_an_order_overtaken_by_the_end_of_its_product_is_refused(mongo: Mongo) -> None:
    log = Log(mongo, EventCodec(event for decider in AGGREGATES for event in decider.events))
    await log.prepare()
    shop, office = (CommandHandler(log, AGGREGATES, JOINT_DECISIONS, ERRORS) for _ in range(2))
    home = Address(street="1 High Street", city="York", country="GB")
    registered = RegisterCustomer(
        customer_id="customer-1", name="Ada", email="ada@example.org", address=home, at=AT
    )
    added = AddProduct(sku="A", name="Ant", price=Money(amount=100, currency="EUR"), at=AT)
    lines = (LineWanted(sku="A", quantity=1),)
    place = PlaceOrder(order_id="order-1", customer_id="customer-1", lines=lines, at=AT)
    async with running(shop.run(), office.run()):
        assert isinstance(await shop.handle(asked(registered)), Accepted)
        assert isinstance(await shop.handle(asked(added)), Accepted)
        assert isinstance(await shop.handle(asked(place)), Accepted)
        await office.handle(asked(DiscontinueProduct(sku="A", reason="sold out", at=AT)))
        refused = await shop.handle(asked(replace(place, order_id="order-2")))
    assert isinstance(refused, Rejected)
    assert refused.errors == (ProductIsDiscontinued(sku="A", path=("lines", "0", "sku")),)


async def test_two_hundred_clients_reserve_the_last_fifty_pieces(mongo: Mongo) -> None:
    log = Log(mongo, EventCodec(event for decider in AGGREGATES for event in decider.events))
    await log.prepare()
    handlers = [CommandHandler(log, AGGREGATES, JOINT_DECISIONS, ERRORS) for _ in range(2)]
    async with running(*(handler.run() for handler in handlers)):
        await handlers[0].handle(asked(ReceiveStock(sku="A", quantity=50, at=AT)))
        answers = await asyncio.gather(
            *(
                handlers[n % 2].handle(
                    asked(ReserveStock(sku="A", order_id=f"order-{n}", quantity=1, at=AT))
                )
                for n in range(200)
            )
        )
    refusals = [answer.errors for answer in answers if isinstance(answer, Rejected)]
    assert len(answers) - len(refusals) == 50
    assert set(refusals) == {(InsufficientStock(sku="A", requested=1, available=0),)}


async def test_remembered_states_follow_what_others_append(log: Log) -> None:
    async with two_handlers(log) as (one, two):
        await one.handle(asked(toy.Put(jar="a")))
        await two.handle(asked(toy.Take(jar="a")))
        refused = await one.handle(asked(toy.Take(jar="a")))
        await two.handle(asked(toy.Put(jar="a", marbles=5)))
        taken = await one.handle(asked(toy.Take(jar="a", marbles=5)))
    assert isinstance(refused, Rejected)
    assert isinstance(taken, Accepted)


async def test_a_handler_that_is_far_behind_begins_anew(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "FAR_BEHIND", 5)
    async with two_handlers(log) as (one, two):
        await one.handle(asked(toy.Put(jar="a")))
        for _ in range(10):
            await two.handle(asked(toy.Put(jar="a")))
        answer = await one.handle(asked(toy.Take(jar="a", marbles=11)))
    assert isinstance(answer, Accepted)
    assert answer.version == 12


async def test_a_version_that_the_memory_does_not_know_of_is_loaded(
    log: Log, handler: CommandHandler
) -> None:
    """A state in memory that is wrong is found out by the log and not insisted on."""
    await handler.handle(asked(toy.Put(jar="a", marbles=2)))
    kept = handler._aggregates._kept
    kept["jar-a"] = replace(kept["jar-a"], version=0)
    answer = await handler.handle(asked(toy.Take(jar="a", marbles=2)))
    assert isinstance(answer, Accepted)
    assert answer.version == 2
    assert await marbles(log, "a") == 0


async def test_a_handler_that_always_loses_gives_up(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any) -> None:
        raise Behind

    handler = handler_on(log)
    monkeypatch.setattr(commands, "ATTEMPTS", 3)
    async with running(handler.run()):
        with monkeypatch.context() as patched:
            patched.setattr(log, "append", never)
            with pytest.raises(Unavailable, match="other writers"):
                await handler.handle(asked(toy.Put(jar="a")))
        assert isinstance(await handler.handle(asked(toy.Put(jar="a"))), Accepted)


# -- what surrounds a command


async def test_an_expected_version_must_be_the_present_one(handler: CommandHandler) -> None:
    await handler.handle(asked(toy.Put(jar="a")))
    right = await handler.handle(asked(toy.Put(jar="a"), expected_version=1))
    wrong = await handler.handle(asked(toy.Put(jar="a"), expected_version=1))
    assert isinstance(right, Accepted)
    assert isinstance(wrong, Rejected)
    assert wrong.errors == (VersionConflict(stream="jar-a", expected=1, actual=2),)


async def test_an_expected_version_holds_within_a_group(handler: CommandHandler) -> None:
    answers = await asyncio.gather(
        *(handler.handle(asked(toy.Put(jar="a"), expected_version=0)) for _ in range(10))
    )
    assert sum(isinstance(answer, Accepted) for answer in answers) == 1


async def test_events_know_where_they_came_from(log: Log, handler: CommandHandler) -> None:
    await handler.handle(asked(toy.Put(jar="a"), "c-1"))
    await handler.handle(
        asked(
            toy.Move(jar="a", to="b"),
            "c-2",
            actor="eve",
            correlation_id="story",
            causation_id="cause",
            reason="because",
            trace="00-1-2-01",
        )
    )
    first, taken, put = (recorded.meta for recorded in await log.read(0))
    assert (first.correlation_id, first.causation_id) == ("c-1", "c-1")
    assert (first.actor, first.command, first.reason) == ("ada", "Put", None)
    assert (taken.event_id, put.event_id) == ("c-2:0", "c-2:1")
    for meta in (taken, put):
        assert (meta.command_id, meta.command, meta.actor) == ("c-2", "Move", "eve")
        assert (meta.correlation_id, meta.causation_id) == ("story", "cause")
        assert (meta.reason, meta.trace) == ("because", "00-1-2-01")


async def test_nothing_to_do_is_accepted_where_the_log_ends(
    log: Log, handler: CommandHandler
) -> None:
    await handler.handle(asked(toy.Put(jar="a")))
    answer = await handler.handle(asked(toy.Put(jar="b", marbles=0)))
    assert isinstance(answer, Accepted)
    assert (answer.position, answer.version) == (1, 0)
    assert len(await log.read(0)) == 1


# -- commands that break


@dataclass(frozen=True)
class Unheard:
    """No decider knows this command."""

    jar: str = "a"


@pytest.mark.parametrize(
    "broken", [Unheard(), toy.Put(jar="a", marbles=2**70)], ids=["unknown", "not to be stored"]
)
async def test_a_command_that_breaks_breaks_alone(
    log: Log, handler: CommandHandler, broken: Any
) -> None:
    ended = await asyncio.gather(
        handler.handle(asked(toy.Put(jar="a"))),
        handler.handle(asked(broken)),
        handler.handle(asked(toy.Take(jar="a"))),
        return_exceptions=True,
    )
    assert [isinstance(end, Accepted) for end in ended] == [True, False, True]
    assert isinstance(ended[1], Exception)
    assert not isinstance(ended[1], Unavailable)
    assert await marbles(log, "a") == 0
    assert handler.waiting == 0


# -- what comes while a group is written


class SlowLog(Log):
    """Writes when it is let; fails first with what it is told to."""

    def __init__(self, log: Log) -> None:
        super().__init__(log.mongo, log.codec)
        self.may_write = asyncio.Event()
        self.failures: list[Exception] = []
        self.sizes: list[int] = []

    async def append(self, head: Head, events: Any, commands: Any = ()) -> Head:
        await self.may_write.wait()
        self.sizes.append(len(events))
        if self.failures:
            raise self.failures.pop(0)
        return await super().append(head, events, commands)


@asynccontextmanager
async def takers_waiting(log: Log) -> AsyncIterator[tuple[SlowLog, list[asyncio.Task[Any]]]]:
    """Marbles are being put while those who take them wait already."""
    slow = SlowLog(log)
    handler = handler_on(slow)
    async with running(handler.run()):
        put = asyncio.create_task(handler.handle(asked(toy.Put(jar="a", marbles=2))))
        await asyncio.sleep(0.05)
        takers = [
            asyncio.create_task(handler.handle(asked(toy.Take(jar="a")))),
            asyncio.create_task(handler.handle(asked(toy.Take(jar="a", marbles=5)))),
            asyncio.create_task(handler.handle(asked(toy.Take(jar="a")))),
        ]
        await asyncio.sleep(0.05)
        assert not put.done()
        yield slow, [put, *takers]


async def test_what_comes_while_a_group_is_written_is_one_group_on_top_of_it(log: Log) -> None:
    async with takers_waiting(log) as (slow, sent):
        slow.may_write.set()
        answers = await asyncio.gather(*sent)
    assert [type(answer) for answer in answers] == [Accepted, Accepted, Rejected, Accepted]
    assert [answer.position for answer in answers] == [1, 2, 2, 3]
    assert slow.sizes == [1, 2]


async def test_what_waits_while_others_append_is_decided_on_what_they_did(log: Log) -> None:
    other = handler_on(log)
    async with takers_waiting(log) as (slow, sent), running(other.run()):
        await other.handle(asked(toy.Put(jar="a", marbles=7)))
        slow.may_write.set()
        answers = await asyncio.gather(*sent)
    assert [type(answer) for answer in answers] == [Accepted] * 4
    assert await marbles(log, "a") == 2
    assert slow.sizes[0] == 1


async def test_a_group_that_fails_for_good_takes_nothing_along_that_came_after_it(
    log: Log,
) -> None:
    async with takers_waiting(log) as (slow, sent):
        slow.failures.append(Unavailable("just now"))
        slow.may_write.set()
        ended = await asyncio.gather(*sent, return_exceptions=True)
    assert [type(end) for end in ended] == [Unavailable, Rejected, Rejected, Rejected]
    assert await marbles(log, "a") == 0


# -- callers that go, and servers that stop


async def test_a_caller_that_goes_does_not_take_its_command_along(
    log: Log, handler: CommandHandler
) -> None:
    put = asked(toy.Put(jar="a"))
    caller = asyncio.create_task(handler.handle(put))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    again = await handler.handle(put)
    assert again == Accepted(
        command_id=put.command_id, stream="jar-a", version=1, position=1, replayed=True
    )
    assert len(await log.read(0)) == 1


async def test_stopping_finishes_the_group_under_way_and_tells_the_others(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "MOST_IN_GROUP", 4)
    handler = handler_on(log)
    run = asyncio.create_task(handler.run())
    sent = [asyncio.create_task(handler.handle(asked(toy.Put(jar=f"{n}")))) for n in range(10)]
    while not handler._aggregates._kept:  # noqa: ASYNC110 until the first group has been decided
        await asyncio.sleep(0)
    run.cancel()
    ended = await asyncio.gather(*sent, return_exceptions=True)
    assert run.done()
    assert [type(end) for end in ended] == [Accepted] * 4 + [Unavailable] * 6
    assert len(await log.read(0)) == 4
    with pytest.raises(Unavailable):
        await handler.handle(asked(toy.Put(jar="late")))


# -- a MongoDB that is away


async def test_unavailable_while_mongodb_does_not_answer_and_well_again_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_module, "SECONDS_TO_GIVE_UP", 0.5)
    async with embedded_mongod(tmp_path) as mongod, open_mongo(mongod.uri, "test") as mongo:
        log = await a_log(mongo)
        handler = handler_on(log)
        pid = int((tmp_path / "mongod" / "mongod.lock").read_text())
        lost = asked(toy.Put(jar="a"))
        async with running(handler.run()):
            await handler.handle(asked(toy.Put(jar="a")))
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(Unavailable):
                    await handler.handle(lost)
            finally:
                os.kill(pid, signal.SIGCONT)
            monkeypatch.setattr(mongo_module, "SECONDS_TO_GIVE_UP", 10)
            answer = await handler.handle(lost)  # whether it took place was open: it does once
            after = await handler.handle(asked(toy.Take(jar="a", marbles=2)))
        assert isinstance(answer, Accepted)
        assert isinstance(after, Accepted)
        assert len(await log.read(0)) == 3


async def test_commands_survive_a_kill_of_mongod(tmp_path: Path) -> None:
    async with embedded_mongod(tmp_path) as mongod, open_mongo(mongod.uri, "test") as mongo:
        log = await a_log(mongo)
        handler = handler_on(log)
        pid = int((tmp_path / "mongod" / "mongod.lock").read_text())
        puts = [asked(toy.Put(jar="a")) for _ in range(40)]

        async def stubborn(put: Any) -> Any:
            while True:
                try:
                    return await handler.handle(put)
                except Unavailable:
                    await asyncio.sleep(0.05)

        async with running(handler.run()):
            first = await handler.handle(asked(toy.Put(jar="a")))
            sent = [asyncio.create_task(stubborn(put)) for put in puts[:20]]
            await asyncio.sleep(0.001)
            os.kill(pid, signal.SIGKILL)
            sent += [asyncio.create_task(stubborn(put)) for put in puts[20:]]
            answers = [first, *await asyncio.gather(*sent)]
        events = await log.read(0)
    assert sorted(answer.position for answer in answers) == [e.position for e in events]
    assert len({event.meta.command_id for event in events}) == 41
