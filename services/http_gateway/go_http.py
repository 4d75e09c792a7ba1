"""Answers in the bytes Go's net/http server would send: order of header fields, framing, sniffing, gzip.

Fields a handler sets come first, sorted; then Date, Content-Length, a sniffed Content-Type, Connection and
Transfer-Encoding. A body over 2048 bytes whose length the handler did not announce is sent chunked.
"""

from __future__ import annotations

import time
import zlib
from functools import cache
from http import HTTPStatus

from services.http_gateway.message import Request, Response

CHUNKED_ABOVE_BYTES = 2048
_GZIP_LEVEL = 1  # a local network is faster than a better compression
_GZIP = 16 + zlib.MAX_WBITS

_STATUS_LINES = {
    (version, status.value): f"HTTP/1.{version - 10} {status.value} {status.phrase}\r\n"
    for status in HTTPStatus
    for version in (10, 11)
}
for _version in (10, 11):  # Go's phrases where Python's are newer
    _STATUS_LINES[_version, 413] = f"HTTP/1.{_version - 10} 413 Request Entity Too Large\r\n"
    _STATUS_LINES[_version, 422] = f"HTTP/1.{_version - 10} 422 Unprocessable Entity\r\n"

PLAIN_TEXT = "text/plain; charset=utf-8"


class DateLine:
    """The Date field, rendered once per second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""
        self._bytes = b""

    def text(self) -> str:
        """`Date: Sat, 21 Nov 2026 02:38:27 GMT` with line end."""
        self._renew()
        return self._text

    def data(self) -> bytes:
        self._renew()
        return self._bytes

    def _renew(self) -> None:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._text = f"Date: {http_date(second)}\r\n"
            self._bytes = self._text.encode("ascii")


def http_date(second: int) -> str:
    parts = time.gmtime(second)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[parts.tm_wday]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[parts.tm_mon - 1]
    clock = f"{parts.tm_hour:02d}:{parts.tm_min:02d}:{parts.tm_sec:02d}"
    return f"{day}, {parts.tm_mday:02d} {month} {parts.tm_year:04d} {clock} GMT"


def compress(body: bytes) -> bytes:
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


def render(request: Request, response: Response, date_line: str) -> bytes:
    """The complete answer. Sets `request.keep_alive` to False where the framing needs the connection to end.

    A handler that sets `Vary` allows compression, as everything behind Consul's gzip wrapper does."""
    headers, body = response.headers, response.body
    sniffed = body and "Content-Type" not in headers
    if request.gzip and body and "Vary" in headers and "Content-Encoding" not in headers:
        headers = {**headers, "Content-Encoding": "gzip"}
        headers.pop("Content-Length", None)
        if sniffed:
            headers["Content-Type"], sniffed = PLAIN_TEXT, False
        body = compress(body)
    chunked = len(body) > CHUNKED_ABOVE_BYTES and "Content-Length" not in headers and request.method != "HEAD"
    if chunked and request.version == 10:
        request.keep_alive = False
    lines = [_STATUS_LINES[request.version, response.status]]
    lines += [f"{name}: {_one_line(headers[name])}\r\n" for name in sorted(headers)]
    lines.append(date_line)
    if not (chunked or "Content-Length" in headers or (request.method == "HEAD" and not body)):
        lines.append(f"Content-Length: {len(body)}\r\n")
    if sniffed:
        lines.append(f"Content-Type: {PLAIN_TEXT}\r\n")
    if not request.keep_alive:
        if request.version == 11:
            lines.append("Connection: close\r\n")
    elif request.version == 10:
        lines.append("Connection: keep-alive\r\n")
    if chunked and request.version == 11:
        lines.append("Transfer-Encoding: chunked\r\n\r\n")
        head = "".join(lines).encode("utf-8", "surrogateescape")
        return b"%s%x\r\n%s\r\n0\r\n\r\n" % (head, len(body), body)
    lines.append("\r\n")
    head = "".join(lines).encode("utf-8", "surrogateescape")
    return head if request.method == "HEAD" else head + body


def render_stream_head(request: Request, response: Response, date_line: str) -> bytes:
    """The head of an answer that is sent in parts: chunked, or until the connection ends for HTTP/1.0."""
    lines = [_STATUS_LINES[request.version, response.status]]
    lines += [f"{name}: {_one_line(value)}\r\n" for name, value in sorted(response.headers.items())]
    lines.append(date_line)
    if request.version == 10:
        request.keep_alive = False
    elif not request.keep_alive:
        lines.append("Connection: close\r\n")
    if request.version == 11 and "Content-Length" not in response.headers:
        lines.append("Transfer-Encoding: chunked\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def _one_line(value: str) -> str:
    """A header value cannot hold line ends, wherever it came from (Go writes spaces for them)."""
    if "\n" in value or "\r" in value:
        return value.replace("\n", " ").replace("\r", " ")
    return value


@cache
def true_answer(gzip: bool, pretty: bool) -> tuple[bytes, bytes]:
    """What comes before and after the Date field of the answer to a write that was done: the JSON text `true`."""
    body = b"true\n" if pretty else b"true"
    encoding = b""
    if gzip:
        body, encoding = compress(body), b"Content-Encoding: gzip\r\n"
    before = b"HTTP/1.1 200 OK\r\n%sContent-Type: application/json\r\nVary: Accept-Encoding\r\n" % encoding
    return before, b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
