"""Gunzip: reads what gzip packed, not a byte further than asked for, and says what is wrong in the words of Go.

Python's own reads ahead: it complains of a damaged end while there is data to be had, and so at the wrong place."""

from __future__ import annotations

import struct
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

_READ_BYTES = 64 << 10
_HEADER_BYTES, _TRAILER_BYTES = 10, 8
_EXTRA, _NAME, _COMMENT, _HEADER_CRC = 4, 8, 16, 2
_TEXT_BYTES_MAX = 1 << 16


class GzipError(Exception):
    """Damaged, cut off, or no gzip at all."""


class Gunzip:
    """Several gzip streams one behind the other count as one."""

    def __init__(self, file: IO[bytes]) -> None:
        """Reads the header. Raises GzipError: "EOF" for an empty file."""
        self._file = file
        self._raw = b""
        self._ended = False
        self._crc, self._length = 0, 0
        self._begin()

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end. Raises GzipError."""
        parts = []
        while size and not self._ended:
            if self._inflate.eof:
                self._finish()
                continue
            raw = self._inflate.unconsumed_tail or self._raw or self._file.read(_READ_BYTES)
            self._raw = b""
            if not raw:
                raise GzipError("unexpected EOF")
            try:
                data = self._inflate.decompress(raw, size)
            except zlib.error:
                raise GzipError("flate: corrupt input") from None
            if self._inflate.eof:
                self._raw = self._inflate.unused_data
            self._crc = zlib.crc32(data, self._crc)
            self._length += len(data)
            size -= len(data)
            parts.append(data)
        return b"".join(parts)

    def _begin(self) -> None:
        """The header of a stream. Raises GzipError."""
        header = self._take(_HEADER_BYTES)
        if not header:
            raise GzipError("EOF")
        if len(header) < _HEADER_BYTES:
            raise GzipError("unexpected EOF")
        if header[:3] != b"\x1f\x8b\x08":
            raise GzipError("gzip: invalid header")
        flags = header[3]
        if flags & _EXTRA:
            (length,) = struct.unpack("<H", self._all_of(2))
            self._all_of(length)
        for flag in (_NAME, _COMMENT):
            if flags & flag:
                self._skip_text()
        if flags & _HEADER_CRC:
            self._all_of(2)
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._crc, self._length = 0, 0

    def _finish(self) -> None:
        """The end of a stream, and the header of the next if there is one. Raises GzipError."""
        crc, length = struct.unpack("<II", self._all_of(_TRAILER_BYTES))
        if (crc, length) != (self._crc, self._length & 0xFFFFFFFF):
            raise GzipError("gzip: invalid checksum")
        try:
            self._begin()
        except GzipError as error:
            if str(error) != "EOF":
                raise
            self._ended = True

    def _take(self, size: int) -> bytes:
        while len(self._raw) < size:
            more = self._file.read(_READ_BYTES)
            if not more:
                break
            self._raw += more
        data, self._raw = self._raw[:size], self._raw[size:]
        return data

    def _all_of(self, size: int) -> bytes:
        data = self._take(size)
        if len(data) < size:
            raise GzipError("unexpected EOF")
        return data

    def _skip_text(self) -> None:
        left = _TEXT_BYTES_MAX
        while left:
            end = self._raw.find(b"\0", 0, left)
            if end >= 0:
                self._all_of(end + 1)
                return
            left -= len(self._all_of(min(left, len(self._raw) or 1)))
        raise GzipError("gzip: invalid header")
