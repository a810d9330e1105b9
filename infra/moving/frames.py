"""The file that a log travels in: lines of JSON, in zstd frames that are checksummed one by one.

    {"frame": 0}  {"header": …}             what is told: from where to where, of which database
    {"frame": 1}  {"command": …} …          the answered commands, by id
    {"frame": n}  {"event": …} …            the events, by position
    {"frame": m}  {"end": …}                what it all came to

1. Documents are canonical Extended JSON: the same BSON comes back, so the hashes of events hold.
2. A frame is whole or it does not count: what was killed while writing goes on after the last one.
3. Frames are numbered: one that is missing is named, and so is one that has been changed.
"""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

import msgspec
import zstandard
from bson.json_util import CANONICAL_JSON_OPTIONS, dumps, loads

from domain.decider import message
from infra.codec import from_stored, to_stored
from infra.mongo import Document

FORMAT: Final = 1
_CHUNK: Final = 1 << 18
_OPTIONS: Final = CANONICAL_JSON_OPTIONS.with_options(tz_aware=True)


class MoveRefused(Exception):
    """A log cannot be exported or imported; the text says in one line why."""


class FileCut(Exception):
    """The file ends within a frame."""


class FrameDamaged(Exception):
    """A frame is not what was written; the text names it."""


@message
class Header:
    """Events after position `after`, whose hash is `before`, up to `upto`, and their commands."""

    format: int
    database: str
    after: int
    before: str
    upto: int
    redacted: bool


@message
class End:
    """The last position, its hash, and how many events and commands the file holds."""

    position: int
    hash: str
    events: int
    commands: int


@message
class Frame:
    """The lines of a frame but its number, and where it ends in the file."""

    number: int
    lines: tuple[bytes, ...]
    offset: int


def header_line(header: Header) -> bytes:
    return _line("header", to_stored(header))


def end_line(end: End) -> bytes:
    return _line("end", to_stored(end))


def command_line(record: Document) -> bytes:
    return _line("command", record)


def event_line(event: Document) -> bytes:
    return _line("event", event)


def _line(kind: str, document: Document) -> bytes:
    text = dumps({kind: document}, json_options=_OPTIONS, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def content(line: bytes) -> tuple[str, Any]:
    """What kind of line it is, and what it holds; raises `FrameDamaged`."""
    try:
        ((kind, held),) = loads(line, json_options=_OPTIONS).items()
        if kind in _VALUES:
            held = from_stored(_VALUES[kind], held)
    except (ValueError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise FrameDamaged(f"a line cannot be read: {error}") from error
    return kind, held


_VALUES: Final[dict[str, type]] = {"header": Header, "end": End, "frame": int}


def packed(number: int, lines: Iterable[bytes]) -> bytes:
    """The frame as it is written."""
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    return compressor.compress(b"\n".join((b'{"frame":%d}' % number, *lines, b"")))


def read_frames(file: BinaryIO) -> Iterator[Frame]:
    """The frames from the beginning; raises `FileCut` within one, and `FrameDamaged`."""
    offset, number, left = 0, 0, b""
    while data := left or file.read(_CHUNK):
        text, used, left = _unpacked(number, data, file)
        offset += used
        first, *lines = text.splitlines() or [b""]
        if first != b'{"frame":%d}' % number:
            raise FrameDamaged(f"frame {number} is missing")
        yield Frame(number=number, lines=tuple(lines), offset=offset)
        number += 1


def _unpacked(number: int, data: bytes, file: BinaryIO) -> tuple[bytes, int, bytes]:
    """What the frame holds, its length in the file, and what has been read of the next one."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    text, used = [], 0
    try:
        while True:
            used += len(data)
            text.append(frame.decompress(data))
            if frame.eof:
                return b"".join(text), used - len(frame.unused_data), frame.unused_data
            data = file.read(_CHUNK)
            if not data:
                raise FileCut("it is cut there")
    except zstandard.ZstdError as error:
        raise FrameDamaged(f"frame {number} is damaged ({error})") from error
