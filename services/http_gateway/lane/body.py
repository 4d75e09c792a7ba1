"""Bodies on their way in. Chunked ones, strictly: sizes are plain hexadecimal, every line ends in CRLF, lines are
short, size is bounded. Spooled ones, which go into a file as they come."""

from __future__ import annotations

import re

from shared.spool import Spool

_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[\x20-\x7e\t\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\x20-\x7e\t\x80-\xff]*")
LINE_BYTES_MAX = 4096
TRAILER_BYTES_MAX = 16 * 1024


class ChunkError(Exception):
    """The body is not chunked as announced; the text is what Go's reader says."""


class BodyTooLargeError(Exception):
    """More data than the limit."""


class SpooledBody:
    """Takes the place of the bytearray that a body is gathered in, and writes it into a file instead.

    path: the file, which goes with this object. error: why not all of the body is in it, "" if it is."""

    __slots__ = ("_complete", "_file", "_size", "error", "path")

    def __init__(self, spool: Spool) -> None:
        self._complete, self._size, self.error, self.path = False, 0, "", ""
        try:
            self._file = spool.create()
            self.path = self._file.path
        except OSError as error:
            self.error = error.strerror or str(error)

    def __iadd__(self, part: bytes) -> SpooledBody:
        self._size += len(part)
        if not self.error:
            try:
                self._file.file.write(part)
            except OSError as error:
                self.error = error.strerror or str(error)
        return self

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return True

    def __bytes__(self) -> bytes:
        """The body is complete: nothing of it is in memory."""
        self._complete = True
        if not self.error:
            try:
                self._file.file.flush()
            except OSError as error:
                self.error = error.strerror or str(error)
        return b""

    def clear(self) -> None:
        """What was gathered so far is not needed, unless it is complete."""
        if not self._complete:
            self.remove()

    def remove(self) -> None:
        if self.path:
            self._file.remove()
            self.path = ""

    def __del__(self) -> None:
        self.remove()


class ChunkedBody:
    """`feed` takes bytes off the front of a buffer until the body is complete; then `data` is the body."""

    __slots__ = ("_data", "_left", "_limit", "_state", "_trailer_bytes")

    def __init__(self, limit: int, sink: SpooledBody | None = None) -> None:
        self._limit, self._left, self._trailer_bytes = limit, 0, 0
        # Not a list of chunks: they may be a byte each.
        self._data: bytearray | SpooledBody = bytearray() if sink is None else sink
        self._state = "size"

    @property
    def data(self) -> bytes:
        return bytes(self._data)

    @property
    def size(self) -> int:
        return len(self._data)

    def feed(self, buffer: bytearray) -> bool:
        """Consumes what it can; True when the body has ended and `buffer` begins with what follows it.

        Raises ChunkError or BodyTooLargeError."""
        while True:
            if self._state == "data":
                if not self._take_data(buffer):
                    return False
                continue
            line = _take_line(buffer)
            if line is None:
                return False
            if self._state == "end of data":
                if line:
                    raise ChunkError("malformed chunked encoding")
                self._state = "size"
            elif self._state == "size":
                self._begin_chunk(line)
            elif not line:
                return True
            else:  # a trailer field; nothing here uses any, but it has to be one
                self._trailer_bytes += len(line)
                if self._trailer_bytes > TRAILER_BYTES_MAX or not _TRAILER.fullmatch(line):
                    raise ChunkError("malformed chunked encoding")

    def _begin_chunk(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise ChunkError("invalid byte in chunk length")
        self._left = int(match[1], 16)
        if len(self._data) + self._left > self._limit:
            raise BodyTooLargeError
        self._state = "data" if self._left else "trailer"

    def _take_data(self, buffer: bytearray) -> bool:
        part = buffer[: self._left]
        del buffer[: len(part)]
        self._data += part  # type: ignore[operator]  # both kinds know how
        self._left -= len(part)
        if self._left:
            return False
        self._state = "end of data"
        return True


def _take_line(buffer: bytearray) -> bytes | None:
    end = buffer.find(b"\n", 0, LINE_BYTES_MAX)
    if end < 0:
        if len(buffer) >= LINE_BYTES_MAX:
            raise ChunkError("header line too long")
        return None
    if end == 0 or buffer[end - 1] != 0x0D:
        raise ChunkError("malformed chunked encoding")
    line = bytes(buffer[: end - 1])
    del buffer[: end + 1]
    return line
