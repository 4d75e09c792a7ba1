"""Segment format: a file of frames, each a batch of log entries with one checksum. Bytes only, no files.

    segment = header, frame, frame, ..., zeros up to the allocated size
    header  = magic 8, version u32, flags u32, sequence u64, first_index u64, salt u64, crc u32; 64 bytes
    frame   = magic u32, length u32, first_index u64, count u32, payload crc u32, number u32, header crc u32; payload
    payload = count times (term u64, type u8, 3 zeros, extensions length u32, data length u32, extensions, data),
              then zeros to a multiple of 8

Little endian. Frames are numbered from 1 in each segment. Checksums are CRC-32 and start from the segment's random
salt: bytes of an older use of the disk block, or a frame hidden in somebody's value, do not pass for a frame.
One frame is written with one write and made durable before the next is begun; so of the frames of a segment only
the last may be torn, and a bad frame with a good one after it is damage."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from zlib import crc32

from services.raft_node.core.types import Entry

HEADER_BYTES: Final = 64
FRAME_HEADER_BYTES: Final = 32
MAX_PAYLOAD_BYTES: Final = 512 << 20
RESET: Final = 1
"""Flag of a segment header: the log begins here, whatever older segments hold."""

_VERSION: Final = 1
_MAGIC: Final = b"PCRAFTWL"
_HEADER: Final = struct.Struct("<8sIIQQQ")
_FRAME_MAGIC: Final = 0x454D5246
_FRAME_MAGIC_BYTES: Final = struct.pack("<I", _FRAME_MAGIC)
_FRAME: Final = struct.Struct("<IIQIII")
_FRAME_CRC: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<QBxxxII")
_pack_entry = _ENTRY.pack


class SegmentHeader(NamedTuple):
    """first_index: the log's next index when the segment was begun; older segments count only below it."""

    sequence: int
    first_index: int
    salt: int
    flags: int = 0

    @property
    def seed(self) -> int:
        """What checksums of this segment start from."""
        return crc32(self.salt.to_bytes(8, "little"))


class Frame(NamedTuple):
    """Where a frame lies. offset: of its header in the segment; size: with header and padding."""

    offset: int
    size: int
    first_index: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    number: int


def encode_header(header: SegmentHeader) -> bytes:
    body = _HEADER.pack(_MAGIC, _VERSION, header.flags, header.sequence, header.first_index, header.salt)
    return (body + _FRAME_CRC.pack(crc32(body))).ljust(HEADER_BYTES, b"\0")


def decode_header(data: bytes) -> SegmentHeader:
    """Raises ValueError with the problem."""
    if len(data) < HEADER_BYTES:
        raise ValueError("the segment header is cut short")
    magic, version, flags, sequence, first_index, salt = _HEADER.unpack_from(data)
    if data[:HEADER_BYTES] != encode_header(SegmentHeader(sequence, first_index, salt, flags)):
        if magic == _MAGIC and version != _VERSION:
            raise ValueError(f"the segment has format version {version}, this program knows {_VERSION}")
        raise ValueError("the checksum of the segment header is wrong")
    return SegmentHeader(sequence, first_index, salt, flags)


def encode_frame(entries: Sequence[Entry], first_index: int, number: int, seed: int) -> bytes:
    """A frame with contiguous entries from first_index on; with none it marks that all before it is whole.

    Raises ValueError if they are larger than MAX_PAYLOAD_BYTES."""
    parts: list[bytes] = []
    for _, term, kind, data, extensions in entries:
        parts += (_pack_entry(term, kind, len(extensions), len(data)), extensions, data)
    payload = b"".join(parts)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a batch of {len(payload)} bytes is too large for one frame")
    if rest := len(payload) % 8:
        payload += bytes(8 - rest)
    header = _FRAME.pack(_FRAME_MAGIC, len(payload), first_index, len(entries), crc32(payload, seed), number)
    return header + _FRAME_CRC.pack(crc32(header, seed)) + payload


def frame_at(data: bytes | memoryview, offset: int, seed: int) -> Frame | None:
    """The whole and undamaged frame at `offset`, else None."""
    if offset + FRAME_HEADER_BYTES > len(data):
        return None
    magic, length, first_index, count, payload_crc, number = _FRAME.unpack_from(data, offset)
    (header_crc,) = _FRAME_CRC.unpack_from(data, offset + _FRAME.size)
    start = offset + FRAME_HEADER_BYTES
    if (
        magic != _FRAME_MAGIC
        or header_crc != crc32(data[offset : offset + _FRAME.size], seed)
        or start + length > len(data)
        or payload_crc != crc32(data[start : start + length], seed)
    ):
        return None
    return Frame(offset, FRAME_HEADER_BYTES + length, first_index, count, number)


def frames(data: bytes | memoryview, seed: int) -> Iterator[Frame]:
    """The undamaged frames from the start of a segment on, up to the first byte that begins none."""
    offset, number = HEADER_BYTES, 1
    while (frame := frame_at(data, offset, seed)) is not None and frame.number == number:
        yield frame
        offset += frame.size
        number += 1


def later_frame(data: bytes, offset: int, number: int, seed: int) -> Frame | None:
    """An undamaged frame at or after `offset` whose number is above `number`, if there is one."""
    at = data.find(_FRAME_MAGIC_BYTES, offset)
    while at >= 0:
        if at % 8 == 0:
            frame = frame_at(data, at, seed)
            if frame is not None and frame.number > number:
                return frame
        at = data.find(_FRAME_MAGIC_BYTES, at + 1)
    return None


def entry_heads(data: bytes | memoryview, frame: Frame) -> Iterator[tuple[int, int, int, int, int, int]]:
    """(index, term, type, extensions length, data length, offset of the extensions) of each entry.

    Raises ValueError if lengths do not add up, which a checksum alone does not prove."""
    offset = frame.offset + FRAME_HEADER_BYTES
    end = frame.offset + frame.size
    for index in range(frame.first_index, frame.first_index + frame.count):
        if offset + _ENTRY.size > end:
            raise ValueError("the entries of a frame do not fit into it")
        term, kind, extensions_length, data_length = _ENTRY.unpack_from(data, offset)
        offset += _ENTRY.size
        yield index, term, kind, extensions_length, data_length, offset
        offset += extensions_length + data_length
        if offset > end:
            raise ValueError("the entries of a frame do not fit into it")


def decode_entries(data: bytes, frame: Frame) -> list[Entry]:
    """The entries of a frame. Raises ValueError."""
    entries = []
    for index, term, kind, extensions_length, data_length, offset in entry_heads(data, frame):
        start = offset + extensions_length
        entries.append(Entry(index, term, kind, data[start : start + data_length], data[offset:start]))
    return entries
