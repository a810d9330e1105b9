"""Import: the log and the answered commands of a file, into a log that is empty or a part of it.

1. Nothing is appended that does not follow from the event before: each event's position and hash
   are checked, each frame's checksum, and the end that the file tells of.
2. Where a file is cut, damaged or lacks something, all before that place is imported, and the place
   is named. With a better file an import goes on from where the log ends.
3. Commands come first: whoever serves a log that is imported in part does nothing twice.
4. Nothing reacts to a log that is imported in part, or that lacks personal data.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError

from domain.decider import message
from infra.chain import holds
from infra.log import COMMANDS, COUNTERS, EVENTS, Head, Log
from infra.mongo import Document, Session, SyncDatabase
from infra.moving.exporting import Progress, hash_at
from infra.moving.frames import (
    FORMAT,
    End,
    FileCut,
    Frame,
    FrameDamaged,
    Header,
    MoveRefused,
    content,
    read_frames,
)
from infra.moving.marks import Mark, mark

_DUPLICATE: Final = 11000


@message
class Imported:
    """What the file said of itself, and how many of its events were new here."""

    header: Header
    end: End
    new: int


async def import_log(
    log: Log, path: Path, progress: Progress = lambda _done, _all: None
) -> Imported:
    """Import the file, or go on with it; raises `MoveRefused`."""
    header = _header(path)
    head = await log.head()
    await _check_same_history(log, path, header, head)
    await mark(log, Mark(whole=False, redacted=header.redacted))
    running = _Import(log, header, head)
    try:
        for frame in _frames(path):
            await running.take(frame)
            progress(running.events, header.upto - header.after)
    except (FileCut, FrameDamaged) as wrong:
        raise MoveRefused(f"{path}, after position {running.at.position}: {wrong}") from wrong
    if running.end is None:
        raise MoveRefused(f"{path} is cut after position {running.at.position}.")
    await mark(log, Mark(redacted=header.redacted))
    return Imported(header=header, end=running.end, new=running.new)


def _frames(path: Path) -> Iterator[Frame]:
    with path.open("rb") as file:
        yield from read_frames(file)


def _header(path: Path) -> Header:
    """What the file says of itself in its first line."""
    try:
        first = next(_frames(path), None)
        kind, held = content(first.lines[0]) if first else ("", None)
    except (FileCut, FrameDamaged, IndexError):
        kind, held = "", None
    if kind != "header":
        raise MoveRefused(f"{path} does not begin as an export of a log does.")
    assert isinstance(held, Header)
    if held.format != FORMAT:
        raise MoveRefused(f"{path} is of format {held.format}, and format {FORMAT} is known here.")
    return held


async def _check_same_history(log: Log, path: Path, header: Header, head: Head) -> None:
    """Whether the file goes on where the log ends: both hold the same event where they meet."""
    if header.after > head.position:
        raise MoveRefused(
            f"{path} goes on after position {header.after}, and the log ends at {head.position}: "
            "import what comes before first."
        )
    meeting = _last_upto(path, header, head.position)
    if await hash_at(log, meeting.position) != meeting.hash:
        raise MoveRefused(
            f"{path} is of another history: at position {meeting.position} or before, the log "
            "holds other events."
        )


def _last_upto(path: Path, header: Header, position: int) -> Head:
    """The file's last event that is not beyond a position."""
    last = Head(position=header.after, hash=bytes.fromhex(header.before))
    with suppress(FileCut, FrameDamaged):  # where, is told while importing
        for frame in _frames(path):
            if last.position == position:
                break
            for line in frame.lines:
                kind, held = content(line)
                if kind != "event" or held["_id"] > position:
                    break
                last = Head(position=held["_id"], hash=bytes(held["hash"]))
    return last


class _Import:
    """One import under way. `at` is how far the file has been read, `head` where the log ends."""

    def __init__(self, log: Log, header: Header, head: Head) -> None:
        self._log, self._head = log, head
        self.at = Head(position=header.after, hash=bytes.fromhex(header.before))
        self.events = self.commands = self.new = 0
        self.end: End | None = None

    async def take(self, frame: Frame) -> None:
        """Import what a frame holds; raises `MoveRefused` and `FrameDamaged`."""
        if self.end is not None:
            raise FrameDamaged("something follows its end")
        held = [content(line) for line in frame.lines]
        match {kind for kind, _ in held}:
            case kinds if kinds == {"command"}:
                await self._commands([record for _, record in held])
            case kinds if kinds == {"event"}:
                await self._events([event for _, event in held])
            case kinds if kinds == {"end"}:
                self.end = self._checked(held[0][1])
            case kinds if kinds != {"header"}:
                raise FrameDamaged(f"frame {frame.number} holds what no export writes")

    async def _commands(self, records: list[Document]) -> None:
        await self._log.mongo.run(partial(_insert_new, records))
        self.commands += len(records)

    async def _events(self, events: Sequence[Document]) -> None:
        good: list[RawBSONDocument] = []
        wrong, begun = None, self.at
        for event in events:
            raw = bson.encode(event)
            wrong = self._wrong(event, raw)
            if wrong:
                break
            self.at = Head(position=event["_id"], hash=bytes(event["hash"]))
            if self.at.position > self._head.position:
                good.append(RawBSONDocument(raw))
        if good:
            await self._log.mongo.transaction(partial(_append, self._head, self.at, good))
            self._head = self.at
        self.new += len(good)
        self.events += self.at.position - begun.position
        if wrong:
            raise FrameDamaged(wrong)

    def _wrong(self, event: Document, raw: bytes) -> str | None:
        """What is wrong with an event as the next one."""
        position, expected = event.get("_id"), self.at.position + 1
        if position != expected:
            return f"the event at {expected} is missing, the next one is of {position}"
        if holds(self.at.hash, raw) is None:
            return f"the event at {position} has been changed: the hash chain is broken there"
        return None

    def _checked(self, end: End) -> End:
        """The end that the file tells of, if it is where we have come to."""
        reached = End(
            position=self.at.position,
            hash=self.at.hash.hex(),
            events=self.events,
            commands=self.commands,
        )
        if end != reached:
            raise FrameDamaged(
                f"it tells of {end.events} events up to {end.position} and {end.commands} "
                f"commands, and holds {reached.events} up to {reached.position} and "
                f"{reached.commands}"
            )
        return end


def _insert_new(records: list[Document], db: SyncDatabase) -> None:
    """Insert those that are not there yet."""
    try:
        db[COMMANDS].insert_many(records, ordered=False)
    except BulkWriteError as error:
        errors = (error.details or {}).get("writeErrors", ())
        if any(each.get("code") != _DUPLICATE for each in errors):
            raise


def _append(
    head: Head, after: Head, events: list[RawBSONDocument], db: SyncDatabase, session: Session
) -> None:
    moved = db[COUNTERS].update_one(
        {"_id": "log", "position": head.position, "hash": head.hash},
        {"$set": {"position": after.position, "hash": after.hash}},
        session=session,
    )
    if not moved.matched_count:
        raise MoveRefused("Something was appended to this log meanwhile: stop who writes to it.")
    raw: Any = db[EVENTS]
    raw.insert_many(events, session=session)
