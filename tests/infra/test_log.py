"""The eight promises of the log, each named in its tests, on a real MongoDB.

(That a kill loses nothing that was acknowledged is tried with whole processes elsewhere.)
"""

import asyncio
import json
import struct
from dataclasses import replace
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from domain.recorded import Meta
from infra import log as log_module
from infra.answers import Accepted, CommandIdReused, Rejected
from infra.chain import GENESIS, holds
from infra.codec import now
from infra.commands import CommandHandler
from infra.log import EVENTS, Behind, CommandSeen, Head, Log, NewEvent, VersionTaken
from infra.mongo import CODEC, open_mongo
from infra.rebuild import prepare_read_models
from infra.verify import Verification
from tests.infra import toy
from tests.infra.parts import Seen, a_log, asked, handle_all, handler_on, running
from tests.infra.processes import process, ready

START = Head(position=0, hash=GENESIS)


def put(stream: str, version: int, marbles: int = 1) -> NewEvent:
    meta = Meta(
        event_id=f"{stream}/{version}",
        command_id="c",
        command="Put",
        correlation_id="c",
        causation_id="c",
        actor="ada",
        recorded_at=now(),
    )
    event = toy.MarblesPut(jar=stream, marbles=marbles, note="")
    return NewEvent(event=event, stream=stream, version=version, meta=meta)


async def positions(log: Log) -> list[int]:
    return [recorded.position for recorded in await log.read(0)]


async def problems(log: Log) -> list[str]:
    await prepare_read_models(log, ())
    found = await Verification(log, ()).run()
    return [f"{problem.where}: {problem.what}" for problem in found]


# -- 1 dense and in commit order


async def test_1_dense_and_in_commit_order_while_processes_write_at_once(
    log: Log, mongodb_uri: str, database_name: str
) -> None:
    commands, seen = 150, 0
    where = (mongodb_uri, database_name)
    async with (
        process("write", *where, "red", commands) as red,
        process("write", *where, "green", commands) as green,
        process("write", *where, "blue", commands) as blue,
    ):
        await ready(red, green, blue)
        while seen < 3 * commands:
            for recorded in await log.read(seen):
                assert recorded.position == seen + 1, "a reader saw N+1 before N"
                seen = recorded.position
            assert not [p for p in (red, green, blue) if p.returncode], "a writer has failed"
    shared = (await log.streams(["jar-shared"]))["jar-shared"]
    assert [recorded.version for recorded in shared] == list(range(1, 3 * commands // 2 + 1))
    assert await problems(log) == []


async def test_1_an_append_that_fails_leaves_no_hole(log: Log) -> None:
    head = await log.append(START, [put("a", 1)])
    with pytest.raises(VersionTaken):
        await log.append(head, [put("b", 1), put("a", 1)])
    await log.append(head, [put("c", 1)])
    assert await positions(log) == [1, 2]


# -- 2 durable


async def test_2_durable_means_majority_and_journal(
    seen: Seen, mongodb_uri: str, database_name: str
) -> None:
    async with open_mongo(mongodb_uri, database_name) as mongo:
        log = await a_log(mongo)
        await log.append(START, [put("a", 1)])
    (commit,) = seen.of("commitTransaction")
    assert commit["writeConcern"] == {"w": "majority", "j": True}


async def test_2_readers_see_only_what_a_majority_has(
    seen: Seen, mongodb_uri: str, database_name: str
) -> None:
    async with open_mongo(mongodb_uri, database_name) as mongo:
        log = await a_log(mongo)
        await log.append(START, [put("a", 1)])
        seen.clear()
        await log.read(0)
        await log.head()
    assert [find["readConcern"] for find in seen.of("find")] == [{"level": "majority"}] * 2


# -- 3 optimistic concurrency


async def test_3_a_version_can_be_taken_once(log: Log) -> None:
    head = await log.append(START, [put("a", 1)])
    with pytest.raises(VersionTaken):
        await log.append(head, [put("a", 1)])


async def test_3_a_writer_that_does_not_know_of_others_is_behind(log: Log) -> None:
    await log.append(START, [put("a", 1)])
    with pytest.raises(Behind):
        await log.append(START, [put("b", 1)])
    assert await positions(log) == [1]


async def test_3_of_writers_that_race_exactly_one_wins(log: Log) -> None:
    ended = await asyncio.gather(
        *(log.append(START, [put(f"s{n}", 1)]) for n in range(8)), return_exceptions=True
    )
    assert sum(isinstance(end, Head) for end in ended) == 1
    assert sum(isinstance(end, Behind) for end in ended) == 7
    assert await positions(log) == [1]


async def test_3_two_handlers_lose_no_decision_on_one_stream(log: Log) -> None:
    one, two = handler_on(log), handler_on(log)
    async with running(one.run(), two.run()):
        await one.handle(asked(toy.Put(jar="x", marbles=10)))
        answers = await asyncio.gather(
            *((one if n % 2 else two).handle(asked(toy.Take(jar="x"))) for n in range(30))
        )
    assert sum(isinstance(answer, Accepted) for answer in answers) == 10
    assert len(await log.read(0)) == 11


# -- 4 atomic over several streams


async def test_4_all_streams_or_none(log: Log, handler: CommandHandler) -> None:
    await handle_all(handler, [toy.Put(jar="a", marbles=3), toy.Seal(jar="b")])
    refused = await handler.handle(asked(toy.Move(jar="a", to="b")))
    moved = await handler.handle(asked(toy.Move(jar="a", to="c")))
    assert isinstance(refused, Rejected)
    assert refused.errors == (toy.JarIsSealed(jar="b"),)
    assert isinstance(moved, Accepted)
    assert [recorded.stream for recorded in await log.read(2)] == ["jar-a", "jar-c"]


async def test_4_an_append_over_streams_that_fails_in_the_last_one_leaves_nothing(
    log: Log,
) -> None:
    head = await log.append(START, [put("z", 1)])
    with pytest.raises(VersionTaken):
        await log.append(head, [put("a", 1), put("b", 1), put("z", 1)])
    assert await positions(log) == [1]
    assert await log.head() == head


# -- 5 idempotent


async def test_5_a_repeat_gets_the_first_answer(log: Log, handler: CommandHandler) -> None:
    first = await handler.handle(asked(toy.Put(jar="a"), "same"))
    await handler.handle(asked(toy.Put(jar="a")))
    again = await handler.handle(asked(toy.Put(jar="a"), "same"))
    assert again == replace(first, replayed=True)
    assert await positions(log) == [1, 2]


async def test_5_a_repeat_gets_the_first_answer_from_another_process(log: Log) -> None:
    answers = []
    for _ in range(2):
        handler = handler_on(log)
        async with running(handler.run()):
            answers.append(await handler.handle(asked(toy.Put(jar="a"), "same")))
    assert answers[1] == replace(answers[0], replayed=True)
    assert await positions(log) == [1]


async def test_5_a_refusal_is_remembered_with_its_facts(handler: CommandHandler) -> None:
    take = asked(toy.Take(jar="a", marbles=2), "same")
    first = await handler.handle(take)
    await handler.handle(asked(toy.Put(jar="a", marbles=9)))
    again = await handler.handle(take)
    assert isinstance(again, Rejected)
    assert again == replace(first, replayed=True)
    assert again.errors == (toy.TooFewMarbles(wanted=2, there=0),)


@pytest.mark.parametrize(
    "other",
    [
        asked(toy.Put(jar="a", marbles=2), "same"),
        asked(toy.Put(jar="a"), "same", actor="eve"),
        asked(toy.Seal(jar="a"), "same"),
    ],
    ids=["another input", "another actor", "another command"],
)
@pytest.mark.parametrize("at_once", [False, True])
async def test_5_an_id_is_for_one_command(
    log: Log, handler: CommandHandler, other: Any, *, at_once: bool
) -> None:
    first = asyncio.ensure_future(handler.handle(asked(toy.Put(jar="a"), "same")))
    await asyncio.sleep(0) if at_once else await first
    answer = await handler.handle(other)
    assert isinstance(answer, Rejected)
    assert answer.errors == (CommandIdReused(command_id="same"),)
    assert isinstance(await first, Accepted)
    assert await positions(log) == [1]


async def test_5_a_thousand_simultaneous_repeats(log: Log, handler: CommandHandler) -> None:
    answers = await asyncio.gather(
        *(handler.handle(asked(toy.Put(jar="a"), "same")) for _ in range(1_000))
    )
    assert {replace(answer, replayed=False) for answer in answers} == {
        Accepted(command_id="same", stream="jar-a", version=1, position=1)
    }
    assert sum(not answer.replayed for answer in answers) == 1
    assert await positions(log) == [1]


async def test_5_repeats_in_two_processes_at_once(
    log: Log, mongodb_uri: str, database_name: str
) -> None:
    where = (mongodb_uri, database_name)
    async with (
        process("repeat", *where, "same", 200) as one,
        process("repeat", *where, "same", 200) as two,
    ):
        await ready(one, two)
        told = [json.loads((await p.communicate())[0]) for p in (one, two)]
    assert told == [[1], [1]]
    assert await positions(log) == [1]


async def test_5_a_command_id_is_taken_with_its_events(log: Log) -> None:
    record = {"_id": "c1"}
    head = await log.append(START, [put("a", 1)], [record])
    with pytest.raises(CommandSeen):
        await log.append(head, [put("a", 2)], [record])
    assert await positions(log) == [1]


# -- 6 group commit


async def test_6_concurrent_commands_share_transactions(
    seen: Seen, mongodb_uri: str, database_name: str
) -> None:
    async with open_mongo(mongodb_uri, database_name) as mongo:
        handler = handler_on(await a_log(mongo))
        async with running(handler.run()):
            answers = await handle_all(handler, [toy.Put(jar=f"{n}") for n in range(64)])
    assert [answer.position for answer in answers] == list(range(1, 65))
    assert len(seen.of("commitTransaction")) <= 2


async def test_6_a_hot_stream_causes_no_conflict(
    seen: Seen, mongodb_uri: str, database_name: str
) -> None:
    async with open_mongo(mongodb_uri, database_name) as mongo:
        log = await a_log(mongo)
        handler = handler_on(log)
        async with running(handler.run()):
            await handler.handle(asked(toy.Put(jar="hot", marbles=40)))
            answers = await handle_all(handler, [toy.Take(jar="hot") for _ in range(100)])
            assert isinstance(answers[0], Accepted)
        assert len(await log.read(0)) == 41
    assert sum(isinstance(answer, Accepted) for answer in answers) == 40
    assert not seen.of("abortTransaction")


async def test_6_a_command_alone_does_not_wait_for_company(
    seen: Seen, mongodb_uri: str, database_name: str
) -> None:
    async with open_mongo(mongodb_uri, database_name) as mongo:
        handler = handler_on(await a_log(mongo))
        async with running(handler.run()):
            for n in range(5):
                await handler.handle(asked(toy.Put(jar=f"{n}")))
    assert len(seen.of("commitTransaction")) == 5


async def test_6_whoever_comes_during_a_commit_is_in_the_next_one(
    seen: Seen, mongodb_uri: str, database_name: str
) -> None:
    async with open_mongo(mongodb_uri, database_name) as mongo:
        handler = handler_on(await a_log(mongo))
        async with running(handler.run()):
            first = asyncio.ensure_future(handler.handle(asked(toy.Put(jar="first"))))
            await asyncio.sleep(0.0001)
            await handle_all(handler, [toy.Put(jar=f"{n}") for n in range(20)])
            await first
    assert len(seen.of("commitTransaction")) == 2


# -- 7 scans


async def test_7_a_scan_gives_all_in_order_in_batches(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(START, [put(f"s{n % 7}", n // 7 + 1) for n in range(100)])
    monkeypatch.setattr(log_module, "SCAN_BATCH", 8)
    sizes, found = [], []
    async for batch in log.scan():
        sizes.append(len(batch))
        found += [recorded.position for recorded in batch]
    assert found == list(range(1, 101))
    assert sizes == [8] * 12 + [4]


async def test_7_a_scan_can_be_a_part(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.append(START, [put(f"s{n % 2}", n // 2 + 1) for n in range(20)])
    monkeypatch.setattr(log_module, "SCAN_BATCH", 3)
    found = [r.position async for batch in log.scan(4, 15, stream="s1") for r in batch]
    assert found == [6, 8, 10, 12, 14]


# -- 8 chained


async def chained(log: Log) -> None:
    await log.append(START, [put("a", n) for n in range(1, 11)])
    assert await problems(log) == []


async def test_8_every_byte_of_an_event_is_under_its_hash(log: Log) -> None:
    await log.append(START, [put("a", 1)])
    stored = (await log.stored(0))[0]
    raw = bson.encode(stored, codec_options=CODEC)
    assert holds(GENESIS, raw) == stored["hash"]
    at = struct.pack("<i", len(raw))
    assert raw.startswith(at)
    for place in range(4, len(raw) - 1):
        flipped = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        assert holds(GENESIS, flipped) is None


async def test_8_a_changed_event_is_named(log: Log) -> None:
    await chained(log)
    change = {"$set": {"data.marbles": 2}}
    await log.mongo.run(lambda db: db[EVENTS].update_one({"_id": 5}, change))
    assert await problems(log) == ["5: the hash chain is broken: changed, or its predecessor is"]


async def test_8_a_dropped_event_is_named(log: Log) -> None:
    await chained(log)
    await log.mongo.run(lambda db: db[EVENTS].delete_one({"_id": 5}))
    assert await problems(log) == [
        "6: position 5 is missing",
        "6: a has version 6, not 5",
    ]


async def test_8_events_moved_up_over_a_dropped_one_are_named(log: Log) -> None:
    await chained(log)

    def drop_and_renumber(db: Any) -> None:
        later = list(db[EVENTS].find({"_id": {"$gt": 5}}))
        db[EVENTS].delete_many({"_id": {"$gte": 5}})
        for event in later:
            moved = {**event, "_id": event["_id"] - 1, "version": event["version"] - 1}
            db[EVENTS].insert_one(moved)

    await log.mongo.run(drop_and_renumber)
    found = await problems(log)
    assert found[0] == "5: the hash chain is broken: changed, or its predecessor is"
    assert found[-1] == "9: the log is cut: the counter is at 10"


async def test_8_an_inserted_event_is_named(log: Log) -> None:
    await chained(log)

    def insert(db: Any) -> None:
        event = db[EVENTS].find_one({"_id": 5})
        db[EVENTS].insert_one({**event, "_id": 11, "version": 11})

    await log.mongo.run(insert)
    assert await problems(log) == [
        "11: the hash chain is broken: changed, or its predecessor is",
        "11: the counter does not end where the log does",
    ]


async def test_8_an_event_that_no_reader_sees_is_named(log: Log) -> None:
    await chained(log)

    def hide(db: Any) -> None:
        db[EVENTS].insert_one({**db[EVENTS].find_one({"_id": 5}), "_id": "x", "version": 11})

    await log.mongo.run(hide)
    assert await problems(log) == ["x: an event without a position"]


async def test_8_a_cut_tail_is_named(log: Log) -> None:
    await chained(log)
    await log.mongo.run(lambda db: db[EVENTS].delete_many({"_id": {"$gt": 7}}))
    assert await problems(log) == ["7: the log is cut: the counter is at 10"]


async def test_8_a_rewritten_tail_is_named(log: Log) -> None:
    """Chained anew, but the counter has kept the hash of the real end."""
    await chained(log)
    events = await log.read(0)
    await log.mongo.run(lambda db: db[EVENTS].delete_many({}))
    forged = [put("a", recorded.version, marbles=7) for recorded in events]
    documents, _ = log._encoded(START, forged)
    await log.mongo.run(lambda db: db[EVENTS].insert_many(map(RawBSONDocument, documents)))
    assert await problems(log) == ["10: the counter does not end where the log does"]
