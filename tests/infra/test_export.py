"""Export and import: a log is moved whole, byte for byte, or the place where it is not is named."""

import json
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import bson
import pytest
import pytest_asyncio
import zstandard

from infra.answers import Accepted, Rejected
from infra.chain import GENESIS, chained
from infra.commands import CommandHandler
from infra.gateways import ClosedDoor
from infra.log import COMMANDS, EVENTS, Log
from infra.mongo import Document, SyncDatabase, open_mongo
from infra.moving import exporting
from infra.moving.exporting import export_log
from infra.moving.frames import Frame, MoveRefused, content, event_line, packed, read_frames
from infra.moving.importing import import_log
from infra.moving.marks import why_no_reactions
from infra.moving.redaction import redaction_of
from infra.raw_events import raw_events
from infra.rebuild import prepare_read_models
from infra.stories import OUTBOX
from infra.verify import Verification
from tests.infra import toy
from tests.infra.errands import (
    DOOR,
    FOLLOWER,
    Begin,
    House,
    answered,
    eventually,
    following,
    open_house,
)
from tests.infra.parts import a_log, asked, handle_all, handler_on, running
from tests.infra.processes import process

EVENTS_THERE: Final = 60


@pytest.fixture(autouse=True)
def _small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "BATCH", 10)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.ndjson.zst"


@pytest_asyncio.fixture
async def full(log: Log, handler: CommandHandler) -> Log:
    """60 events, and 62 commands: one was refused, one had nothing to do."""
    puts = [toy.Put(jar=f"{n % 7}", marbles=n, note="Ärger") for n in range(1, EVENTS_THERE + 1)]
    await handle_all(handler, puts)
    await handler.handle(asked(toy.Take(jar="0", marbles=10**12), "too-many"))
    await handler.handle(asked(toy.Put(jar="0", marbles=0), "nothing"))
    return log


@pytest_asyncio.fixture
async def empty(mongodb_uri: str, database_name: str) -> AsyncIterator[Log]:
    """The log of another database."""
    async with open_mongo(mongodb_uri, f"{database_name}-copy") as mongo:
        log = await a_log(mongo)
        await prepare_read_models(log, toy.BOTH)
        yield log
        await mongo.run(lambda db: db.client.drop_database(db.name))


async def bytes_of(log: Log) -> list[bytes]:
    return [bytes(event.raw) for event in await raw_events(log, 0, 1_000)]


async def commands_of(log: Log) -> list[Document]:
    return await log.mongo.run(lambda db: list(db[COMMANDS].find(sort=[("_id", 1)])))


async def same(one: Log, other: Log) -> bool:
    """Whether they hold the same, byte for byte."""
    return (
        await one.head() == await other.head()
        and await bytes_of(one) == await bytes_of(other)
        and await commands_of(one) == await commands_of(other)
    )


# -- files


def data_in(file: Path) -> bytes:
    return file.read_bytes()


def write(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def exists(file: Path) -> bool:
    return file.exists()


def cut_off(file: Path, length: int) -> Path:
    """Leave as much of an export as if it had been stopped there."""
    part = file.with_name(file.name + ".part")
    part.write_bytes(file.read_bytes()[:length])
    file.unlink()
    return part


def frames_of(data: bytes) -> list[Frame]:
    return list(read_frames(BytesIO(data)))


# -- all of it


async def test_what_is_exported_and_imported_is_the_same_byte_for_byte(
    full: Log, empty: Log, file: Path
) -> None:
    told: list[tuple[int, int]] = []
    end = await export_log(full, file, progress=lambda *done: told.append(done))
    assert told == [(n, EVENTS_THERE) for n in range(10, 70, 10)]
    done = await import_log(empty, file)
    assert (end.events, end.commands, done.new) == (EVENTS_THERE, EVENTS_THERE + 2, EVENTS_THERE)
    assert end.hash == (await full.head()).hash.hex() == done.end.hash
    assert await same(full, empty)
    assert await Verification(empty, ()).run() == []


async def test_a_command_that_was_answered_there_is_answered_the_same_here(
    full: Log, empty: Log, file: Path
) -> None:
    await export_log(full, file)
    await import_log(empty, file)
    handler = handler_on(empty)
    async with running(handler.run()):
        refused = await handler.handle(asked(toy.Take(jar="0", marbles=10**12), "too-many"))
        idle = await handler.handle(asked(toy.Put(jar="0", marbles=0), "nothing"))
    assert isinstance(refused, Rejected)
    assert isinstance(idle, Accepted)
    assert refused.replayed
    assert idle.replayed
    assert (await empty.head()).position == EVENTS_THERE


async def test_the_file_is_lines_of_json_that_any_tool_can_read(full: Log, file: Path) -> None:
    await export_log(full, file)
    with zstandard.open(file, "rt") as text:
        lines = [json.loads(line) for line in text]
    kinds = [next(iter(line)) for line in lines]
    assert kinds[:2] == ["frame", "header"]
    assert kinds[-1] == "end"
    first = next(line["event"] for line in lines if "event" in line)
    assert first["_id"] == {"$numberInt": "1"}
    assert first["data"]["note"] == "Ärger"


async def test_an_empty_log_can_be_moved(log: Log, empty: Log, file: Path) -> None:
    end = await export_log(log, file)
    assert (end.position, end.hash) == (0, GENESIS.hex())
    assert (await import_log(empty, file)).new == 0


async def test_an_export_that_is_there_is_not_written_over(full: Log, file: Path) -> None:
    await export_log(full, file)
    with pytest.raises(MoveRefused, match="is there already"):
        await export_log(full, file)


async def test_a_later_part_goes_on_where_the_first_ended(
    full: Log, handler: CommandHandler, empty: Log, file: Path
) -> None:
    await export_log(full, file)
    await handle_all(handler, [toy.Put(jar="later"), toy.Put(jar="later")])
    rest = file.with_name("rest")
    await export_log(full, rest, after=EVENTS_THERE)
    with pytest.raises(MoveRefused, match=r"goes on after position 60, and the log ends at 0"):
        await import_log(empty, rest)
    await import_log(empty, file)
    assert (await import_log(empty, rest)).new == 2
    assert await same(full, empty)
    with pytest.raises(MoveRefused, match="there is nothing after 99"):
        await export_log(full, file.with_name("none"), after=99)


# -- stopped, killed, again


async def test_an_export_that_was_killed_goes_on(
    full: Log, empty: Log, file: Path, mongodb_uri: str
) -> None:
    async with process("export", mongodb_uri, full.mongo.name, file, 3) as killed:
        assert await killed.wait() == -signal.SIGKILL
    assert not exists(file)
    told: list[int] = []
    await export_log(full, file, progress=lambda done, _: told.append(done))
    assert told == [40, 50, 60]
    await import_log(empty, file)
    assert await same(full, empty)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999, 1.0])
async def test_wherever_an_export_was_cut_off_it_ends_the_same(
    full: Log, file: Path, share: float
) -> None:
    await export_log(full, file)
    whole = data_in(file)
    part = cut_off(file, int(len(whole) * share))
    await export_log(full, file)
    assert data_in(file) == whole
    assert not exists(part)


async def test_the_beginning_of_another_export_is_not_gone_on_with(full: Log, file: Path) -> None:
    await export_log(full, file, after=5)
    cut_off(file, 1_000_000)
    with pytest.raises(MoveRefused, match="the beginning of another export"):
        await export_log(full, file)


async def test_an_import_that_was_killed_goes_on(
    full: Log, empty: Log, file: Path, mongodb_uri: str
) -> None:
    await export_log(full, file)
    # the header, seven frames of commands, and three of events
    async with process("import", mongodb_uri, empty.mongo.name, file, 11) as killed:
        assert await killed.wait() == -signal.SIGKILL
    assert (await empty.head()).position == 30
    assert await why_no_reactions(empty) == (
        "this log is imported in part: run `tidings import` again"
    )
    assert (await import_log(empty, file)).new == 30
    assert await same(full, empty)
    assert await why_no_reactions(empty) is None
    assert (await import_log(empty, file)).new == 0


# -- damage


def repacked(file: Path, change: Callable[[list[bytes]], Sequence[bytes]]) -> None:
    """Put other lines of events into the file, in frames with good checksums."""
    frames = frames_of(data_in(file))
    rest = [f.lines for f in frames if not f.lines[0].startswith(b'{"event"')]
    events = [line for f in frames if f.lines[0].startswith(b'{"event"') for line in f.lines]
    lines = [*rest[:-1], change(events), rest[-1]]
    write(file, b"".join(packed(number, each) for number, each in enumerate(lines)))


def with_data(line: bytes, **data: Any) -> bytes:
    _, event = content(line)
    return event_line({**event, "data": {**event["data"], **data}})


@pytest.mark.parametrize(
    "damage",
    [
        (lambda lines: [*lines[:29], *lines[30:]], "the event at 30 is missing", 29),
        (
            lambda lines: [*lines[:29], with_data(lines[29], marbles=1), *lines[30:]],
            "the event at 30 has been changed",
            29,
        ),
        (lambda lines: lines[:29], "it tells of 60 events up to 60", 29),
        (lambda lines: [*lines, lines[-1]], "the event at 61 is missing", 60),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "the event at 1 is missing", 0),
    ],
    ids=["missing", "changed", "cut, with an end put on", "repeated", "swapped"],
)
async def test_what_is_wrong_with_an_event_is_named_and_not_appended(
    full: Log,
    empty: Log,
    file: Path,
    damage: tuple[Callable[[list[bytes]], Sequence[bytes]], str, int],
) -> None:
    change, says, come_to = damage
    await export_log(full, file)
    whole = data_in(file)
    repacked(file, change)
    with pytest.raises(MoveRefused, match=says) as refused:
        await import_log(empty, file)
    assert f"after position {come_to}:" in str(refused.value)
    assert (await empty.head()).position == come_to
    assert await Verification(empty, ()).run() == []
    write(file, whole)  # a better file
    await import_log(empty, file)
    assert await same(full, empty)


async def test_a_flipped_bit_is_named_wherever_it_is(full: Log, empty: Log, file: Path) -> None:
    await export_log(full, file)
    whole = data_in(file)
    for place in range(3, len(whole), len(whole) // 40):
        write(file, whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(MoveRefused, match=r"damaged|cut|missing|does not begin"):
            await import_log(empty, file)
        assert await Verification(empty, ()).run() == []


async def test_a_file_that_is_cut_is_named_wherever_that_is(
    full: Log, empty: Log, file: Path
) -> None:
    await export_log(full, file)
    whole = data_in(file)
    write(file, whole[: len(whole) * 3 // 4])
    with pytest.raises(MoveRefused, match=r"after position \d+: it is cut there"):
        await import_log(empty, file)
    write(file, whole[: frames_of(whole)[-2].offset])
    with pytest.raises(MoveRefused, match="is cut after position 60"):
        await import_log(empty, file)


async def test_a_missing_frame_is_named(full: Log, empty: Log, file: Path) -> None:
    await export_log(full, file)
    whole = data_in(file)
    _, _, before, gone, *_ = frames_of(whole)
    write(file, whole[: before.offset] + whole[gone.offset :])
    with pytest.raises(MoveRefused, match="frame 3 is missing"):
        await import_log(empty, file)


async def test_what_is_no_export_is_refused(empty: Log, file: Path) -> None:
    for text in (b"", b"{}", packed(0, [b"{}"]), packed(0, []), packed(0, [b'{"event": 1}'])):
        write(file, text)
        with pytest.raises(MoveRefused, match="does not begin as an export"):
            await import_log(empty, file)


async def test_a_log_of_another_history_is_refused_and_nothing_changed(
    full: Log, empty: Log, file: Path
) -> None:
    await export_log(full, file)
    handler = handler_on(empty)
    async with running(handler.run()):
        await handler.handle(asked(toy.Put(jar="mine"), "mine"))
    before = await bytes_of(empty), await commands_of(empty)
    with pytest.raises(MoveRefused, match="another history: at position 1"):
        await import_log(empty, file)
    assert (await bytes_of(empty), await commands_of(empty)) == before


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda db: db[EVENTS].update_one({"_id": 33}, {"$set": {"data.marbles": 1}}),
            "The hash chain is broken at 33",
        ),
        (lambda db: db[EVENTS].delete_one({"_id": 33}), "The event at 33 is missing"),
        (lambda db: db[EVENTS].delete_many({"_id": {"$gte": 33}}), "The event at 33 is missing"),
        (lambda db: db[EVENTS].delete_many({"_id": {"$gte": 31}}), "The event at 31 is missing"),
    ],
    ids=["changed", "missing", "cut", "cut at a frame"],
)
async def test_a_log_that_is_broken_is_not_exported(
    full: Log, file: Path, damage: Callable[[SyncDatabase], object], says: str
) -> None:
    await full.mongo.run(damage)
    with pytest.raises(MoveRefused, match=says):
        await export_log(full, file)
    assert not exists(file)


# -- without personal data

PERSONAL: Final = {"MarblesPut": ("note",)}


async def test_personal_data_is_left_out_and_the_chain_is_made_anew(
    full: Log, empty: Log, file: Path
) -> None:
    redaction = await redaction_of(full, PERSONAL)
    end = await export_log(full, file, redaction=redaction)
    text = b"\n".join(line for frame in frames_of(data_in(file)) for line in frame.lines)
    assert b'"note":"note-' in text
    assert "Ärger".encode() not in text
    assert b'"ada"' not in text  # who acted
    done = await import_log(empty, file)
    assert done.header.redacted
    assert (await empty.head()).hash.hex() == end.hash != (await full.head()).hash.hex()
    assert await Verification(empty, ()).run() == []
    (note,) = {recorded.event.note for recorded in await empty.read(0)}
    assert note.startswith("note-")  # equal values stay equal
    marbles = [recorded.event.marbles for recorded in await full.read(0)]
    assert [recorded.event.marbles for recorded in await empty.read(0)] == marbles
    assert await why_no_reactions(empty) == (
        "personal data was left out of this log: it is for looking at only"
    )


async def test_placeholders_stay_the_same_and_a_stopped_export_goes_on(
    full: Log, file: Path
) -> None:
    await export_log(full, file, redaction=await redaction_of(full, PERSONAL))
    whole = data_in(file)
    cut_off(file, len(whole) // 2)
    with pytest.raises(MoveRefused, match="the beginning of another export"):
        await export_log(full, file)
    await export_log(full, file, redaction=await redaction_of(full, PERSONAL))
    assert data_in(file) == whole
    with pytest.raises(MoveRefused, match="--from cannot be given"):
        await export_log(full, file, 5, await redaction_of(full, PERSONAL))


async def test_what_was_redacted_once_is_told_so_for_good(
    full: Log, empty: Log, file: Path
) -> None:
    await export_log(full, file, redaction=await redaction_of(full, PERSONAL))
    await import_log(empty, file)
    again = file.with_name("again")
    await export_log(empty, again)
    _, header = content(frames_of(data_in(again))[0].lines[0])
    assert header.redacted


def test_any_bson_that_an_event_may_hold_comes_back_byte_for_byte() -> None:
    data = {
        "int": 1,
        "long": 2**40,
        "float": 1.5,
        "none": None,
        "yes": True,
        "list": [1, {"a": "ü"}],
    }
    raw, _ = chained(GENESIS, {"_id": 1, "data": data, "text": '\n\\" 🫖\u2028'})
    line = event_line(bson.decode(raw))
    assert b"\n" not in line
    assert len(line.splitlines()) == 1
    assert bson.encode(content(line)[1]) == raw


# -- reacting to what was moved


async def test_nothing_is_done_twice_where_a_log_has_been_moved(
    house: House, mongodb_uri: str, database_name: str, file: Path
) -> None:
    """Not even with everything that remembers how far reactions were left behind."""
    number = 8

    async def finished() -> bool:
        done = await house.rows(EVENTS, type="Finished")
        return len(done) == number and not await house.rows(OUTBOX)

    async with following(house, (FOLLOWER, house.send()), (DOOR, house.call(answered))):
        await house.do(*(Begin(errand_id=f"errand-{n}") for n in range(number)))
        await eventually(finished)
    end = await export_log(house.log, file)
    door = ClosedDoor()
    async with open_house(mongodb_uri, f"{database_name}-copy") as other:
        await import_log(other.log, file)
        async with following(other, (FOLLOWER, other.send()), (DOOR, other.call(door.call))):
            places = {"_id": {"$in": [FOLLOWER.name, DOOR.name]}, "position": end.position}

            async def told() -> bool:
                there = await other.rows("checkpoints", **places)
                return len(there) == 2 and not await other.rows(OUTBOX)

            await eventually(told)
        assert door.calls == []
        assert (await other.log.head()).position == end.position
        assert await other.rows("parked") == []
        await other.mongo.run(lambda db: db.client.drop_database(db.name))
