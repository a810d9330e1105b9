"""Verification: whatever is not as it must be is found, and named so that it can be mended.

(What is done to the chain of the log is in `test_log`.)
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from domain.account import Account, PostEntry, Posting
from domain.address import Address
from domain.customer import ChangeCustomerContact, RegisterCustomer, SuspendCustomer
from domain.registry import AGGREGATES, ERRORS, JOINT_DECISIONS, LAWS
from domain.stock_item import ReceiveStock
from infra.chain import chained
from infra.codec import EventCodec, now
from infra.commands import CommandHandler
from infra.log import COUNTERS, EVENTS, Log
from infra.mongo import Document, Mongo, SyncDatabase
from infra.projector import Projector
from infra.rebuild import prepare_read_models
from infra.verify import Verification, verify
from readmodels.registry import PROJECTIONS
from tests.infra import toy
from tests.infra.parts import asked, handle_all, running


async def history(handler: CommandHandler, projector: Projector) -> None:
    puts = [toy.Put(jar=jar, marbles=n) for n, jar in enumerate("abcabc", start=1)]
    await handle_all(handler, puts)
    await projector.run_to_end()


async def found(log: Log) -> list[str]:
    problems = await Verification(log, toy.BOTH).run()
    return [f"{problem.where}: {problem.what}" for problem in problems]


async def test_all_is_well(log: Log, handler: CommandHandler, projector: Projector) -> None:
    await history(handler, projector)
    verification = await verify(log, toy.BOTH)
    assert verification.problems == []
    assert (verification.events, verification.documents) == (6, 6)


async def test_all_is_well_with_what_is_not_projected_yet(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await history(handler, projector)
    await handler.handle(asked(toy.Put(jar="a")))
    assert await found(log) == []


async def test_an_empty_log_is_well(log: Log, projector: Projector) -> None:
    del projector
    assert await found(log) == []


@pytest_asyncio.fixture
async def real(mongo: Mongo) -> AsyncIterator[tuple[Log, CommandHandler]]:
    """The real domain, with its read models prepared."""
    log = Log(mongo, EventCodec(event for decider in AGGREGATES for event in decider.events))
    await log.prepare()
    await prepare_read_models(log, PROJECTIONS)
    handler = CommandHandler(log, AGGREGATES, JOINT_DECISIONS, ERRORS)
    async with running(handler.run()):
        yield log, handler


async def test_the_real_read_models_are_well(real: tuple[Log, CommandHandler]) -> None:
    log, handler = real
    await handler.handle(asked(ReceiveStock(sku="A", quantity=50, at=now())))
    await Projector(log, PROJECTIONS).run_to_end()
    assert (await verify(log, PROJECTIONS)).problems == []


def changed(collection: str, key: Any, change: Document) -> Callable[[SyncDatabase], object]:
    return lambda db: db[collection].update_one({"_id": key}, change)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (
            changed("rm_contents_1", "b", {"$set": {"marbles": 70}}),
            "contents/b: differs: marbles is 70, not 7 (MarblesPut at 5)",
        ),
        (
            changed("rm_contents_1", "b", {"$unset": {"marbles": 1}, "$set": {"extra": 1}}),
            (
                "contents/b: differs: extra is 1, not there (no event); "
                "marbles is not there, not 7 (MarblesPut at 5)"
            ),
        ),
        (
            changed("rm_tallies_1", "c", {"$set": {"position": 5}}),
            "tallies/c: differs: position is 5, not 6 (MarblesPut at 6)",
        ),
        (
            lambda db: db["rm_contents_1"].delete_one({"_id": "c"}),
            "contents/c: is missing: position is not there, not 6 (MarblesPut at 6)",
        ),
        (
            lambda db: db["rm_contents_1"].insert_one({"_id": "z", "position": 3}),
            "contents/z: is not explained by the log: position is 3, not there (no event)",
        ),
    ],
    ids=["changed", "fields", "position", "missing", "extra"],
)
async def test_a_document_that_is_not_what_the_log_makes_of_it(
    log: Log,
    handler: CommandHandler,
    projector: Projector,
    damage: Callable[[SyncDatabase], object],
    problem: str,
) -> None:
    await history(handler, projector)
    await log.mongo.run(damage)
    assert await found(log) == [problem]


def rechained(db: SyncDatabase, change: Callable[[Document], Document]) -> None:
    """Put a changed log in place of the log, with hashes that are right."""
    events, previous = list(db[EVENTS].find(sort=[("_id", 1)])), b"\0" * 32
    db[EVENTS].delete_many({})
    for event in events:
        del event["hash"]
        body = change(event)
        _, previous = chained(previous, body)
        db[EVENTS].insert_one({**body, "hash": previous})
    db[COUNTERS].update_one({"_id": "log"}, {"$set": {"hash": previous}})


def at(position: int, path: str, value: Any) -> Callable[[Document], Document]:
    """Change one field of one event."""

    def change(event: Document) -> Document:
        if event["_id"] == position:
            *parents, name = path.split(".")
            place = event
            for parent in parents:
                place = place[parent]
            place[name] = value
        return event

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (at(6, "type", "MarblesLost"), "cannot be decoded: nothing is called 'MarblesLost'"),
        (
            at(6, "data", {"jar": "c", "marbles": "6", "note": ""}),
            "cannot be decoded: MarblesPut: Expected `int`, got `str` - at `$.marbles`",
        ),
        (
            at(6, "meta", {}),
            "cannot be decoded: meta: Object missing required field `event_id`",
        ),
        (at(6, "stream", "jar-b"), "jar-b has version 2, not 3"),
        (at(6, "version", 9), "jar-c has version 9, not 2"),
    ],
    ids=["type", "data", "meta", "stream", "version"],
)
async def test_an_event_that_is_wrong_though_its_hash_is_right(
    log: Log,
    handler: CommandHandler,
    projector: Projector,
    change: Callable[[Document], Document],
    problem: str,
) -> None:
    await history(handler, projector)
    drop = lambda db: db[EVENTS].drop_index("stream_1_version_1")  # noqa: E731 two cases repeat a version
    await log.mongo.run(drop)
    await log.mongo.run(lambda db: rechained(db, change))
    assert (await found(log))[0] == f"6: {problem}"


async def test_a_version_that_is_no_number_ends_nothing(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await history(handler, projector)
    await log.mongo.run(changed(EVENTS, 1, {"$set": {"version": "1"}}))
    assert "1: jar-a has version 1, not 1" in await found(log)


async def test_a_parked_key_is_told_and_not_compared(log: Log, handler: CommandHandler) -> None:
    poisoned = toy.contents(poison=["bad"])
    await prepare_read_models(log, (poisoned, toy.TALLIES))
    puts = [toy.Put(jar="a"), toy.Put(jar="a", note="bad"), toy.Put(jar="a"), toy.Put(jar="b")]
    await handle_all(handler, puts)
    await Projector(log, (poisoned, toy.TALLIES)).run_to_end()
    assert await found(log) == ["contents/a: parked: ValueError: bad is poison"]


async def test_an_event_that_cannot_be_folded_is_told(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await handle_all(handler, [toy.Put(jar="a", note="bad")])
    await projector.run_to_end()
    told = await verify(log, (toy.contents(poison=["bad"]), toy.TALLIES))
    assert [(p.where, p.what) for p in told.problems] == [
        ("contents/a", "cannot be folded at 1: ValueError: bad is poison")
    ]


async def test_a_projector_that_moves_meanwhile_does_no_harm(
    log: Log, handler: CommandHandler, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await history(handler, projector)
    await log.mongo.run(changed("rm_contents_1", "c", {"$set": {"marbles": 70}}))
    verification = Verification(log, toy.BOTH)
    finish = verification._check.finish

    async def meanwhile() -> None:
        await handle_all(handler, [toy.Put(jar=jar) for jar in "aab"])
        await projector.run_to_end()
        await finish()

    monkeypatch.setattr(verification._check, "finish", meanwhile)
    (problem,) = await verification.run()
    assert problem.what == "differs: marbles is 70, not 9 (MarblesPut at 6)"


async def test_read_models_beyond_the_end_of_the_log_are_told(
    log: Log, handler: CommandHandler, projector: Projector
) -> None:
    await history(handler, projector)

    def cut(db: SyncDatabase) -> None:
        last = db[EVENTS].find_one({"_id": 3})
        assert last is not None
        db[EVENTS].delete_many({"_id": {"$gt": 3}})
        db[COUNTERS].update_one({"_id": "log"}, {"$set": {"position": 3, "hash": last["hash"]}})

    await log.mongo.run(cut)
    assert (await found(log))[0] == "beyond the end of the log: the read models are at 6"


async def test_the_event_is_named_that_should_have_set_the_field_not_the_last_one(
    real: tuple[Log, CommandHandler],
) -> None:
    log, handler = real
    address = Address(street="Mint Lane 1", city="Hull", country="United Kingdom")
    customer: dict[str, Any] = {"customer_id": "customer-1", "at": now()}
    for command in (
        RegisterCustomer(name="Ann", email="ann@example.com", address=address, **customer),
        ChangeCustomerContact(email="ann@example.org", **customer),
        SuspendCustomer(reason="unpaid", **customer),
    ):
        await handler.handle(asked(command))
    await Projector(log, PROJECTIONS).run_to_end()
    wrong = {"$set": {"name": "Bob", "email": "bob@example.com"}}
    await log.mongo.run(changed("rm_customer_directory_1", "customer-1", wrong))
    (problem,) = (await verify(log, PROJECTIONS)).problems
    assert problem.where == "customer_directory/customer-1"
    assert problem.what == (
        "differs: email is 'bob@example.com', not 'ann@example.org' (CustomerContactChanged at 2);"
        " name is 'Bob', not 'Ann' (CustomerRegistered at 1)"
    )


async def test_entries_that_do_not_balance_are_told(real: tuple[Log, CommandHandler]) -> None:
    log, handler = real
    debit = Posting(account=Account.RECEIVABLES, amount=100)
    credit = Posting(account=Account.REVENUE, amount=-100)
    for number in (1, 2):
        entry = PostEntry(
            entry_id=f"entry-{number}",
            order_id="order-1",
            text="sold",
            currency="EUR",
            postings=(debit, credit),
            at=now(),
        )
        await handler.handle(asked(entry))
    assert (await verify(log, (), LAWS)).problems == []
    more = [{"account": "receivables", "amount": 101}, {"account": "revenue", "amount": -100}]
    await log.mongo.run(lambda db: rechained(db, at(2, "data.postings", more)))
    told = (await verify(log, (), LAWS)).problems
    assert [f"{problem.where}: {problem.what}" for problem in told] == [
        "2: the ledger balances: entry-2 is out of balance by 1 EUR",
        "the whole log: the ledger balances: all debits and credits in EUR differ by 1",
    ]
