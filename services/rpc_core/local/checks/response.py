"""ResponseReader: an HTTP/1.x response as Go's client reads it.

A check's output holds the reason phrase as it was sent and, of a broken response, Go's own words for what is wrong;
general parsers give neither. Only what a check needs is kept; what comes is bounded: the head in bytes, the body by
whoever reads it. Sans-IO."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from shared.gotext.quoting import quote

HEAD_BYTES_MAX = 10 << 20
"""Of all heads of a response, interim ones included."""
CHUNK_LINE_BYTES_MAX = 4096
INTERIM_MAX = 5
HEADER_CHARS_MAX = 65536
"""Of one header with its continuation lines; what follows is read and forgotten."""
VALUES_MAX = 8
"""Values of one header that are kept: two are too many already, of those that matter."""

_VERSION = re.compile(r"HTTP/(\d{1,7})\.(\d{1,7})")
_KEPT = ("location", "content-length", "transfer-encoding", "content-encoding")


class ResponseError(Exception):
    """The response cannot be used; the text is Go's. broken: whether Go says that the connection was broken by it."""

    def __init__(self, text: str, broken: bool = True) -> None:
        super().__init__(f"net/http: HTTP/1.x transport connection broken: {text}" if broken else text)


@dataclass(slots=True)
class Head:
    """status_text: "200 OK" as sent. headers: those that matter here, names in lower case."""

    version: tuple[int, int]
    status: int
    status_text: str
    headers: dict[str, list[str]] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """The first value, "" if there is none."""
        return self.headers.get(name, [""])[0]


class ResponseReader:
    """`feed` it what comes, then `end`; `head` appears first, pieces of the body are returned until `done`."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._buffer = bytearray()
        self._head_bytes = 0
        self._interim = 0
        self._reading: Head | None = None
        self._line: str | None = None
        """The header line before, as long as the next may continue it."""
        self._left: int | None = None
        """Bytes of the body, or of the chunk, that are still to come; None: all until the end."""
        self._chunked = False
        self._after_chunk = False
        self._trailers = False
        self.head: Head | None = None
        self.done = False
        self.broken = ""
        """What is wrong with the body, which has ended there; what came before counts."""
        self.early = b""
        """For who reads on: what of the body came with the head."""

    def feed(self, data: bytes) -> bytes:
        """Returns what of the body is new. Raises ResponseError while the head is not complete."""
        self._buffer += data
        if self.head is None:
            self._read_head()
        if self.head is None or self.done:
            return b""
        if self._chunked:
            return self._read_chunks()
        piece = self._take(len(self._buffer) if self._left is None else self._left)
        if self._left is not None:
            self._left -= len(piece)
            self.done = self._left == 0
        return piece

    def end(self) -> None:
        """The connection was closed. Raises ResponseError if the head is not complete."""
        if self.head is None:
            if self._head_bytes or self._buffer:
                raise ResponseError("unexpected EOF")
            raise ResponseError("EOF", broken=False)
        if not self.done and (self._chunked or self._left is not None):
            self.broken = "unexpected EOF"
        self.done = True

    # -- head --------------------------------------------------------------------------------------------

    def _read_head(self) -> None:
        while (line := self._take_line()) is not None:
            if self._reading is None:
                self._reading = _status_line(line)
            elif line:
                self._header_line(line)
            elif (head := self._end_head(self._reading)) is not None:
                self.head = head
                return
        if self._head_bytes + len(self._buffer) > HEAD_BYTES_MAX:
            raise _too_large()

    def _take_line(self) -> str | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            return None
        self._head_bytes += end + 1
        if self._head_bytes > HEAD_BYTES_MAX:
            raise _too_large()
        return self._take(end + 1)[:-1].removesuffix(b"\r").decode("utf-8", "surrogateescape")

    def _header_line(self, line: str) -> None:
        assert self._reading is not None
        if line[0] in " \t":
            if self._line is None:
                raise ResponseError(f"malformed MIME header initial line: {line}")
            if len(self._line) < HEADER_CHARS_MAX:
                self._line = f"{self._line.rstrip()} {line.strip()}"
            return
        if self._line is not None:
            _add_header(self._reading, self._line)
        self._line = line

    def _end_head(self, head: Head) -> Head | None:
        """None after an interim response, which another one follows."""
        if self._line is not None:
            _add_header(head, self._line)
        self._line = self._reading = None
        if 100 <= head.status < 200 and head.status != 101:
            self._interim += 1
            if self._interim > INTERIM_MAX:
                raise ResponseError("net/http: too many 1xx informational responses")
            return None
        self._frame(head)
        return head

    def _frame(self, head: Head) -> None:
        """How long the body is. Raises ResponseError."""
        codings = head.headers.get("transfer-encoding", [])
        if codings and head.version >= (1, 1):
            if len(codings) > 1:
                raise ResponseError(f"too many transfer encodings: {_quoted_list(codings)}")
            coding = codings[0].strip().lower()
            if coding not in ("chunked", "identity"):
                raise ResponseError(f"unsupported transfer encoding: {quote(codings[0])}")
            self._chunked = coding == "chunked"
        lengths = [value.strip() for value in head.headers.get("content-length", [])]
        if len(set(lengths)) > 1:
            shown = _quoted_list(head.headers["content-length"])
            raise ResponseError(f"http: message cannot contain multiple Content-Length headers; got {shown}")
        if self._method == "HEAD" or head.status in (204, 304):
            self.done = True
        elif self._chunked:
            self._left = 0
        elif lengths and lengths[0]:
            if not re.fullmatch(r"[0-9]{1,18}", lengths[0]):
                raise ResponseError(f"bad Content-Length {quote(lengths[0])}")
            self._left = int(lengths[0])
            self.done = self._left == 0

    # -- body --------------------------------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        piece = bytes(self._buffer[:count])
        del self._buffer[:count]
        return piece

    def _read_chunks(self) -> bytes:
        pieces: list[bytes] = []
        while not self.done:
            if self._left:
                pieces.append(self._take(self._left))
                self._left -= len(pieces[-1])
                if self._left:
                    break
                self._after_chunk = True
                continue
            line = self._chunk_line()
            if line is None:
                break
            self._chunk_line_read(line)
        return b"".join(pieces)

    def _chunk_line(self) -> bytes | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) >= CHUNK_LINE_BYTES_MAX:
                self._break("header line too long")
            return None
        return self._take(end + 1).rstrip(b"\r\n")

    def _chunk_line_read(self, line: bytes) -> None:
        if self._trailers:
            self.done = not line
        elif self._after_chunk:
            if line:
                self._break("malformed chunked encoding")
            self._after_chunk = False
        else:
            size = line.partition(b";")[0].rstrip(b" \t")
            if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", size):
                self._break("invalid byte in chunk length")
                return
            self._left = int(size, 16)
            self._trailers = self._left == 0

    def _break(self, reason: str) -> None:
        self.broken, self.done = reason, True


def _too_large() -> ResponseError:
    return ResponseError(f"net/http: server response headers exceeded {HEAD_BYTES_MAX} bytes; aborted")


def _quoted_list(values: list[str]) -> str:
    return f"[{' '.join(quote(value) for value in values)}]"


def _status_line(line: str) -> Head:
    version, space, rest = line.partition(" ")
    if not space:
        raise ResponseError(f"malformed HTTP response {quote(line)}")
    status_text = rest.lstrip(" ")
    code = status_text.partition(" ")[0]
    if not re.fullmatch(r"[0-9]{3}", code):
        raise ResponseError(f"malformed HTTP status code {quote(code)}")
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ResponseError(f"malformed HTTP version {quote(version)}")
    return Head((int(match[1]), int(match[2])), int(code), status_text)


def _add_header(head: Head, line: str) -> None:
    name, colon, value = line.partition(":")
    if not colon:
        raise ResponseError(f"malformed MIME header: missing colon: {quote(line)}")
    name = name.rstrip(" \t").lower()
    if name in _KEPT:
        values = head.headers.setdefault(name, [])
        if len(values) < VALUES_MAX:
            values.append(value.strip(" \t"))
