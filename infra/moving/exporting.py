"""Export: the log and the answered commands as a file.

1. What is exported is fixed when it begins: all up to where the log ended then.
2. The file is `NAME.part` until it is whole. One that was stopped or killed goes on after its last
   whole frame.
3. The hash chain is checked on the way: a log that is broken is not exported, the place is named.
4. Without personal data the chain is made anew over what is left, and the file says so.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import bson
from bson.raw_bson import RawBSONDocument

from infra.chain import GENESIS, chained, holds
from infra.log import COMMANDS, Head, Log
from infra.mongo import CODEC, Document
from infra.moving.frames import (
    FORMAT,
    End,
    FileCut,
    Frame,
    FrameDamaged,
    Header,
    MoveRefused,
    command_line,
    content,
    end_line,
    event_line,
    header_line,
    packed,
    read_frames,
)
from infra.moving.marks import mark_of
from infra.moving.redaction import Redaction
from infra.raw_events import raw_events

BATCH: Final = 2_000
"""Events or commands in a frame."""

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many events are written or read, and how many there are."""


@dataclass(frozen=True)
class _Written:
    """How far the file is: its frames, the last command and event in it, and their numbers."""

    frames: int = 0
    offset: int = 0
    header: Header | None = None
    events: int = 0
    commands: int = 0
    last_command: str = ""
    head: Head = field(default_factory=lambda: Head(position=0, hash=GENESIS))


async def export_log(
    log: Log,
    path: Path,
    after: int = 0,
    redaction: Redaction | None = None,
    progress: Progress = lambda _done, _all: None,
) -> End:
    """Write the file, or go on with it; raises `MoveRefused`."""
    part = path.with_name(path.name + ".part")
    if after and redaction:
        raise MoveRefused("Without personal data the chain begins anew: --from cannot be given.")
    written = _begun(path, part)
    header = await _header(log, after, redacted=redaction is not None)
    if written.header is not None:
        header = _same(part, written.header, header)
    with part.open("ab") as file:
        file.truncate(written.offset)
        end = await _Export(log, file, redaction, written).run(header, progress)
        os.fsync(file.fileno())
    part.rename(path)
    return end


async def _header(log: Log, after: int, *, redacted: bool) -> Header:
    head = await log.head()
    if after > head.position:
        raise MoveRefused(f"The log ends at {head.position}: there is nothing after {after}.")
    mark = await mark_of(log)
    return Header(
        format=FORMAT,
        database=log.mongo.name,
        after=after,
        before=(await hash_at(log, after)).hex(),
        upto=head.position,
        redacted=redacted or mark.redacted,
    )


async def hash_at(log: Log, position: int) -> bytes:
    """The hash of the event there; that of nothing before the first."""
    if position == 0:
        return GENESIS
    found = await log.stored(position - 1, position)
    if not found:
        raise MoveRefused(f"The event at {position} is missing: `tidings verify` tells more.")
    return bytes(found[0]["hash"])


def _same(part: Path, begun: Header, asked: Header) -> Header:
    """The header of a file that is begun, if it is of the export that is asked for."""
    if replace(begun, upto=asked.upto) != asked:
        raise MoveRefused(f"{part} is the beginning of another export: remove it first.")
    return begun


def _begun(path: Path, part: Path) -> _Written:
    """How far the file has come; what follows the last whole frame does not count."""
    written = _Written()
    if path.exists():
        raise MoveRefused(f"{path} is there already, and whole: choose another name.")
    if not part.exists():
        return written
    with part.open("rb") as file, suppress(FileCut, FrameDamaged):
        for frame in read_frames(file):
            written = _with(written, frame)
    return written


def _with(before: _Written, frame: Frame) -> _Written:
    written = replace(before, frames=frame.number + 1, offset=frame.offset)
    kind, held = content(frame.lines[-1])
    if kind == "end":  # killed before it got its name: it is told again
        return before
    if kind == "header":
        head = Head(position=held.after, hash=bytes.fromhex(held.before))
        return replace(written, header=held, head=head)
    if kind == "command":
        commands = written.commands + len(frame.lines)
        return replace(written, commands=commands, last_command=held["_id"])
    head = Head(position=held["_id"], hash=bytes(held["hash"]))
    return replace(written, events=written.events + len(frame.lines), head=head)


class _Export:
    """One export under way. `before` is the hash in the log of the last event that is written."""

    def __init__(
        self, log: Log, file: BinaryIO, redaction: Redaction | None, written: _Written
    ) -> None:
        self._log, self._file, self._redaction = log, file, redaction
        self._written = written
        self._before = GENESIS

    async def run(self, header: Header, progress: Progress) -> End:
        if not self._written.frames:
            self._write([header_line(header)])
        self._before = await hash_at(self._log, self._written.head.position)
        if self._redaction is None and self._before != self._written.head.hash:
            raise MoveRefused("The file that is begun is of another log: remove it first.")
        if not self._written.events:
            while records := await self._commands(header):
                self._write(records)
        while self._written.head.position < header.upto:
            self._write(await self._events(header))
            progress(self._written.events, header.upto - header.after)
        end = End(
            position=self._written.head.position,
            hash=self._written.head.hash.hex(),
            events=self._written.events,
            commands=self._written.commands,
        )
        self._write([end_line(end)])
        return end

    def _write(self, lines: list[bytes]) -> None:
        data = packed(self._written.frames, lines)
        self._file.write(data)
        self._file.flush()
        offset = self._written.offset + len(data)
        frame = Frame(number=self._written.frames, lines=tuple(lines), offset=offset)
        self._written = _with(self._written, frame)

    async def _commands(self, header: Header) -> list[bytes]:
        """The lines of the next frame of commands; none when there are no more."""
        where = {
            "_id": {"$gt": self._written.last_command},
            "position": {"$gte": header.after, "$lte": header.upto},
        }
        found = await self._log.mongo.run(
            lambda db: list(db[COMMANDS].find(where, sort=[("_id", 1)], limit=BATCH))
        )
        return [
            command_line(self._redaction.command(record) if self._redaction else record)
            for record in found
        ]

    async def _events(self, header: Header) -> list[bytes]:
        """The lines of the next frame of events."""
        after = self._written.head.position
        found = await raw_events(self._log, after, BATCH, header.upto)
        lines, made = [], self._written.head.hash
        for raw in found:
            self._check(after := after + 1, raw)
            event: Document = bson.decode(raw.raw, CODEC)
            if self._redaction:
                data, made = chained(made, self._redaction.event(event))
                event = bson.decode(data, CODEC)
            lines.append(event_line(event))
        if not lines:
            raise MoveRefused(f"The event at {after + 1} is missing: `tidings verify` tells more.")
        return lines

    def _check(self, position: int, raw: RawBSONDocument) -> None:
        """Whether it is the event at `position`, and follows from the one before."""
        if raw["_id"] != position:
            raise MoveRefused(f"The event at {position} is missing: `tidings verify` tells more.")
        digest = holds(self._before, bytes(raw.raw))
        if digest is None:
            raise MoveRefused(
                f"The hash chain is broken at {position}: `tidings verify` tells more."
            )
        self._before = digest
