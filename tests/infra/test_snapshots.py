"""Snapshots: a cache of states that saves reading, and that can be thrown away at any time."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import make_dataclass, replace
from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.runtime import CODEC as REAL_CODEC
from domain.decider import Decider, DomainError, DomainErrors
from domain.product import PRODUCT
from domain.recorded import Meta
from domain.registry import AGGREGATES
from infra.aggregates import Aggregates
from infra.answers import Accepted, Rejected
from infra.codec import from_stored, now, to_stored
from infra.log import EVENTS, Log, NewEvent
from infra.mongo import Document, Mongo, open_mongo
from infra.snapshot_checking import wrong_snapshots
from infra.snapshots import (
    FEW,
    FOLDED,
    GROWN,
    MANY,
    SNAPSHOTS,
    SnapshotWriter,
    Versioned,
    shape,
    state_schema,
)
from tests.domain.values import LAW, stories
from tests.infra import toy
from tests.infra.parts import Seen, a_log, asked, handler_on, running
from tests.infra.processes import process, ready

JAR = toy.stream("a")
LONG = 1_000
DECIDERS = {"jar": toy.JAR}


def meta(number: int, command: str = "Put") -> Meta:
    return Meta(
        event_id=f"e{number}",
        command_id=f"c{number}",
        command=command,
        correlation_id=f"c{number}",
        causation_id=f"c{number}",
        actor="ada",
        recorded_at=now(),
    )


async def filled(log: Log, jar: str, events: int) -> None:
    """So many marbles put into a jar, one at a time."""
    head, put = await log.head(), toy.MarblesPut(jar=jar, marbles=1, note="")
    news = [
        NewEvent(event=put, stream=toy.stream(jar), version=version, meta=meta(version))
        for version in range(1, events + 1)
    ]
    await log.append(head, news)


async def loaded(log: Log, *streams: str, decider: Decider[Any, Any, Any] = toy.JAR) -> Any:
    """States as a process that has just started finds them; it writes no snapshot."""
    return await Aggregates(log, [decider]).load(streams)


async def saved(log: Log, *streams: str) -> None:
    """Write what loading these streams finds worth it."""
    writer = SnapshotWriter(log.mongo, DECIDERS)
    await Aggregates(log, [toy.JAR], writer.save).load(streams)
    await writer.write()
    assert {row["_id"] for row in await snapshots(log)} >= set(streams)


async def snapshots(log: Log) -> list[Document]:
    return await log.mongo.run(lambda db: list(db[SNAPSHOTS].find()))


class Decoded(Counter[str]):
    """How many events were decoded from now on, by type."""

    def __init__(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        decode = log.codec.decode

        def counted(name: str, schema: int, stored: Any) -> tuple[Any, ...]:
            self[name] += 1
            return decode(name, schema, stored)

        monkeypatch.setattr(log.codec, "decode", counted)


# -- what it saves


async def test_a_long_stream_is_folded_from_its_snapshot_on(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(log, "a", 10_000)
    await saved(log, JAR)
    decoded = Decoded(log, monkeypatch)
    assert await loaded(log, JAR) == {
        JAR: Versioned(state=toy.Jar(marbles=10_000), version=10_000, snapshot=10_000)
    }
    assert decoded.total() == 0
    handler = handler_on(log)
    async with running(handler.run()):
        for _ in range(5):
            await handler.handle(asked(toy.Put(jar="a")))
            handler._aggregates.forget()
    assert (await loaded(log, JAR))[JAR].state == toy.Jar(marbles=10_005)
    assert decoded.total() == sum(range(5)) + 5


async def test_a_short_stream_costs_one_call_and_a_new_one_too(
    seen: Seen, mongodb_uri: str, database_name: str
) -> None:
    async with open_mongo(mongodb_uri, database_name) as mongo:
        log = await a_log(mongo)
        await filled(log, "a", FEW - 1)
        seen.clear()
        states = await loaded(log, JAR, "jar-new")
        assert [state.version for state in states.values()] == [FEW - 1, 0]
        assert [sent["find"] for sent in seen.of("find")] == [EVENTS]


async def test_a_long_stream_near_its_snapshot_costs_two_calls_and_many_do_not_cost_more(
    seen: Seen, mongodb_uri: str, database_name: str
) -> None:
    async with open_mongo(mongodb_uri, database_name) as mongo:
        log = await a_log(mongo)
        await filled(log, "a", 100)
        await saved(log, JAR)
        handler = handler_on(log)
        async with running(handler.run()):
            for _ in range(FEW - 1):
                await handler.handle(asked(toy.Put(jar="a")))
        new = [f"jar-new-{number}" for number in range(MANY)]
        seen.clear()
        (alone,) = (await loaded(log, JAR)).values()
        assert [sent["find"] for sent in seen.of("find")] == [EVENTS, SNAPSHOTS]
        seen.clear()
        states = await loaded(log, JAR, *new)
        assert [sent["find"] for sent in seen.of("find")] == [SNAPSHOTS, EVENTS]
    assert alone == states[JAR]
    assert (alone.version, alone.state.marbles, alone.snapshot) == (99 + FEW, 99 + FEW, 100)
    assert [states[stream].version for stream in new] == [0] * MANY


async def test_streams_of_all_kinds_are_loaded_together(log: Log) -> None:
    await filled(log, "a", LONG)
    await filled(log, "b", LONG)
    await filled(log, "c", 3)
    await saved(log, JAR)
    states = await loaded(log, "jar-c", JAR, "jar-none", "jar-b", "unknown-1", "unknown")
    assert {stream: state.version for stream, state in states.items()} == {
        "jar-c": 3,
        JAR: LONG,
        "jar-none": 0,
        "jar-b": LONG,
        "unknown-1": 0,
        "unknown": 0,
    }
    assert states["jar-b"].state == states[JAR].state == toy.Jar(marbles=LONG)
    assert (states["jar-b"].snapshot, states[JAR].snapshot) == (0, LONG)


async def test_a_joint_decision_stands_on_snapshots(log: Log) -> None:
    await filled(log, "a", LONG)
    await saved(log, JAR)
    handler = handler_on(log)
    async with running(handler.run()):
        matched = await handler.handle(asked(toy.Match(jar="b", other="a")))
        moved = await handler.handle(asked(toy.Move(jar="a", to="b", marbles=LONG + 1)))
    assert isinstance(matched, Accepted)
    assert isinstance(moved, Rejected)
    assert (await loaded(log, "jar-b"))["jar-b"].state.marbles == LONG


# -- when one is written


async def test_one_is_written_when_folding_was_long_and_when_a_state_has_grown(log: Log) -> None:
    written: list[tuple[str, int]] = []

    def save(stream: str, state: Versioned) -> None:
        written.append((stream, state.version))

    await filled(log, "a", FOLDED)
    await filled(log, "b", FOLDED - 1)
    aggregates = Aggregates(log, [toy.JAR], save)
    states = await aggregates.load([JAR, "jar-b"])
    assert written == [(JAR, FOLDED)]
    state = states[JAR]
    for _ in range(2 * GROWN):
        put = toy.MarblesPut(jar="a", marbles=1, note="")
        state = aggregates.evolved(JAR, state, [put])
        aggregates.keep({JAR: state})
        state = aggregates.get(JAR) or state
    assert written[1:] == [(JAR, FOLDED + GROWN), (JAR, FOLDED + 2 * GROWN)]


async def test_only_what_was_committed_is_written(log: Log) -> None:
    await filled(log, "a", 3)
    writer = SnapshotWriter(log.mongo, DECIDERS)
    writer.save(JAR, Versioned(state=toy.Jar(marbles=9), version=9))
    writer.save("jar-b", Versioned(state=toy.Jar(marbles=1), version=1))
    await writer.write()
    assert await snapshots(log) == []


async def test_a_killed_process_leaves_snapshots_that_hold(
    log: Log, mongodb_uri: str, database_name: str
) -> None:
    async with process("write", mongodb_uri, database_name, "own", 20_000) as writing:
        await ready(writing)
        while len(await snapshots(log)) < 2:  # noqa: ASYNC110 another process writes them
            await asyncio.sleep(0.01)
        writing.send_signal(signal.SIGKILL)
        await writing.wait()
    for row in await snapshots(log):
        events = (await log.streams([row["_id"]]))[row["_id"]]
        known = toy.JAR.fold(recorded.event for recorded in events[: row["version"]])
        assert msgspec.msgpack.decode(row["state"], type=toy.Jar) == known
        assert len(events) >= row["version"] >= GROWN
        whole = toy.JAR.fold(recorded.event for recorded in events)
        assert (await loaded(log, row["_id"]))[row["_id"]].state == whole


# -- which one is used


SPOILT: dict[str, Document] = {
    "of another shape": {"schema": "other"},
    "of another history": {"hash": b"other"},
    "of a longer history": {"version": LONG + 1},
    "not readable": {"state": b"\xc1"},
    "of a state that does not fit": {"state": msgspec.msgpack.encode({"marbles": "many"})},
    "not even a text": {"state": 7, "schema": 7},
}


@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT)
async def test_one_that_does_not_fit_is_passed_over(log: Log, change: Document) -> None:
    await filled(log, "a", LONG)
    await saved(log, JAR)
    await log.mongo.run(lambda db: db[SNAPSHOTS].update_one({"_id": JAR}, {"$set": change}))
    wanted = Versioned(state=toy.Jar(marbles=LONG), version=LONG)
    assert await loaded(log, JAR) == {JAR: wanted}
    await saved(log, JAR)  # a good one takes its place
    assert await loaded(log, JAR) == {JAR: replace(wanted, snapshot=LONG)}


async def test_all_may_be_deleted(log: Log) -> None:
    await filled(log, "a", LONG)
    await saved(log, JAR)
    before = (await loaded(log, JAR))[JAR]
    await log.mongo.run(lambda db: db[SNAPSHOTS].drop())
    assert (await loaded(log, JAR))[JAR] == replace(before, snapshot=0)


async def test_a_changed_decider_begins_anew_where_it_has_a_new_number(log: Log) -> None:
    await filled(log, "a", LONG)
    await saved(log, JAR)

    def doubled(jar: toy.Jar, event: Any) -> toy.Jar:
        return toy.evolve(toy.evolve(jar, event), event)

    changed = replace(toy.JAR, evolve=doubled, state_version=2)
    state = (await loaded(log, JAR, decider=changed))[JAR].state
    assert state == toy.Jar(marbles=2 * LONG)
    assert await wrong_snapshots(log, [changed]) == []
    forgotten = replace(changed, state_version=1)  # is found
    assert await wrong_snapshots(log, [toy.JAR]) == []
    assert await wrong_snapshots(log, [forgotten]) == [(JAR, LONG)]


class Colour(Enum):
    RED = "red"


class Colours(Enum):
    RED = "red"
    BLUE = "blue"


def test_the_shape_is_that_of_all_parts() -> None:
    part: Any = make_dataclass("Part", [("size", int)])
    other: Any = make_dataclass("Part", [("size", str)])
    kinds = [
        make_dataclass("Jar", fields)
        for fields in (
            [("marbles", int)],
            [("marbles", str)],
            [("stones", int)],
            [("marbles", int), ("lid", bool)],
            [("marbles", tuple[int, ...])],
            [("marbles", tuple[part, ...])],
            [("marbles", tuple[other, ...])],
            [("marbles", dict[str, Colour])],
            [("marbles", dict[str, Colours])],
            [("marbles", int | None)],
        )
    ]
    assert len({shape(kind) for kind in kinds}) == len(kinds)
    assert shape(kinds[0]) == shape(make_dataclass("Jar", [("marbles", int)]))
    assert state_schema(toy.JAR) != state_schema(replace(toy.JAR, state_version=2))


# -- the states of the domain


def told(decider: Decider[Any, Any, Any], story: Iterable[Any]) -> Any:
    """The state that a story comes to; refusals change nothing."""
    state = decider.initial
    for command in story:
        try:
            state = decider.fold(decider.decide(command, state), state)
        except (DomainError, DomainErrors):
            continue
    return state


@pytest.mark.parametrize("decider", AGGREGATES, ids=lambda d: d.category)
@LAW
@given(made_up=st.data())
def test_every_state_survives_being_kept(
    decider: Decider[Any, Any, Any], made_up: st.DataObject
) -> None:
    state = told(decider, made_up.draw(stories(decider.commands)))
    kind = type(decider.initial)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=kind) == state
    assert from_stored(kind, to_stored(state)) == state


async def test_an_event_that_is_read_as_two_is_one_version(mongo: Mongo) -> None:
    log = Log(mongo, REAL_CODEC)
    await log.prepare()
    added = {"sku": "A", "name": "Ant", "price": {"amount": 100, "currency": "EUR"}}
    data = {**added, "brand": "", "type": "", "description": "", "tax": 2000, "at": now()}
    stored = {
        "_id": 1,
        "stream": "product-A",
        "version": 1,
        "type": "ProductAdded",
        "schema": 1,
        "data": data,
        "meta": to_stored(meta(1, "AddProduct")),
        "hash": b"1",
    }
    await mongo.run(lambda db: db[EVENTS].insert_one(stored))
    one = (await Aggregates(log, [PRODUCT]).load(["product-A"]))["product-A"]
    assert one.version == 1
    kept = Aggregates(log, [PRODUCT])
    kept.keep({"product-A": kept.before("product-A")})
    kept.follow(await log.read(0))
    assert kept.get("product-A") == one
    assert one.state != PRODUCT.initial
