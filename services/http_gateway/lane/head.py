"""Request heads: the request line and the header block, checked strictly, with what matters picked out.

Clients repeat their header block word for word in every request, so a block that was found correct once is
remembered by its bytes, and the next request that carries it costs one dictionary lookup. llhttp (strict mode)
judges a block that is new. What Go's net/http refuses is refused with the same status line and text; four things
it tolerates are refused as well, because a proxy in front may read them differently: Content-Length together
with Transfer-Encoding, repeated Content-Length, folded lines, and bare LF as line end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import httptools

from services.http_gateway.message import Request, Said

HEAD_BYTES_MAX = (1 << 20) + 4096
"""Request line and headers together; Go's limit."""
_REMEMBERED_BLOCKS_MAX = 512
_REMEMBERED_HEADS_MAX = 1024
_REMEMBERED_HEAD_BYTES_MAX = 1024
_REMEMBERED_BYTES_MAX = 2048
_BODY_BYTES_MAX = (1 << 63) - 1

_MEANINGFUL = frozenset(("authorization", "cache-control", "x-consul-namespace", "x-consul-token", "x-forwarded-for"))
"""Fields that may change what an endpoint answers."""

_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VERSION = re.compile(rb"HTTP/(\d)\.(\d)")
_HOST = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:@\[\]]*")
BARE_LF = re.compile(rb"(?<!\r)\n")
_CHECK_LINE = b"GET / HTTP/1.1\r\n"


class HeadError(Exception):
    """The head is refused; `answer` is the complete response, after which the connection is closed."""

    def __init__(self, status: str, text: str = "") -> None:
        super().__init__(status)
        self.answer = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{text or status}"
        ).encode()


class HeaderBlock:
    """The header fields of a request. Names are lower case; of repeated fields the first is kept, as Go's Get.

    content_length: -1 if absent. close, keep_alive: tokens of Connection. gzip: the client accepts it."""

    __slots__ = (
        "chunked",
        "close",
        "content_length",
        "expects_continue",
        "fields",
        "gzip",
        "keep_alive",
        "plain",
        "unmet",
    )

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields: Mapping[str, str] = fields
        connection = {token.strip().lower() for token in fields.get("connection", "").split(",")}
        self.close, self.keep_alive = "close" in connection, "keep-alive" in connection
        self.gzip = accepts_gzip(fields.get("accept-encoding", ""))
        expectation = fields.get("expect", "").lower()
        self.expects_continue = expectation == "100-continue"
        self.unmet = bool(expectation) and not self.expects_continue
        self.content_length, self.chunked = -1, False
        self.plain = _MEANINGFUL.isdisjoint(fields)


class _Collector:
    """llhttp's callbacks: just the fields, in order."""

    def __init__(self) -> None:
        self.pairs: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value))


class HeadParser:
    """Turns heads into (method, target, version, block). Shared by all connections of a process.

    find: what was learned of a request that was these bytes, None if nothing"""

    def __init__(self) -> None:
        self._blocks: dict[bytes, HeaderBlock] = {}
        self._said: dict[bytes, Said] = {}
        self.find = self._said.get

    def learn(self, request: Request) -> None:
        """It was well-formed, and all of it are the bytes of its head: the next one like it need not be parsed."""
        if request.method == "GET" and len(request.head) <= _REMEMBERED_HEAD_BYTES_MAX:
            if len(self._said) >= _REMEMBERED_HEADS_MAX:
                self._said.clear()
            self._said[request.head] = request.said()

    def parse(self, head: bytes) -> tuple[str, str, int, HeaderBlock]:
        """`head` is everything before the empty line. Version is 10 or 11. Raises HeadError.

        The target comes as text with bytes beyond ASCII carried by surrogateescape."""
        line, _, fields = head.partition(b"\r\n")
        parts = line.split(b" ")
        if len(parts) != 3 or not _TARGET.fullmatch(parts[1]) or not _METHOD.fullmatch(parts[0]):
            raise HeadError("400 Bad Request")
        block = self._blocks.get(fields)
        if block is None:
            block = self._new_block(fields)
        version = 11 if parts[2] == b"HTTP/1.1" else _version(parts[2])
        if version == 11 and "host" not in block.fields:
            raise HeadError("400 Bad Request: missing required Host header")
        if version == 10 and block.chunked:
            raise HeadError("400 Bad Request")
        if parts[0] == b"HEAD" and block.content_length > 0:
            raise HeadError("400 Bad Request")  # as Go's server: such a request has no body
        return parts[0].decode("ascii"), parts[1].decode("utf-8", "surrogateescape"), version, block

    def _new_block(self, raw: bytes) -> HeaderBlock:
        block = parse_block(raw)
        if len(raw) <= _REMEMBERED_BYTES_MAX:
            if len(self._blocks) >= _REMEMBERED_BLOCKS_MAX:
                self._blocks.clear()
            self._blocks[raw] = block
        return block


def parse_block(raw: bytes) -> HeaderBlock:
    """Checks the bytes between request line and empty line. Raises HeadError."""
    if BARE_LF.search(raw):
        raise HeadError("400 Bad Request")
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(_CHECK_LINE + (raw + b"\r\n\r\n" if raw else b"\r\n"))
    except httptools.HttpParserUpgrade:
        pass  # the request asks for an upgrade; whether it gets one is not decided here
    except httptools.HttpParserError as error:
        raise _refusal(raw) from error
    fields: dict[str, str] = {}
    lengths = encodings = hosts = 0
    for name, value in collector.pairs:
        key = name.decode("latin-1").lower()
        fields.setdefault(key, value.decode("utf-8", "surrogateescape").strip(" \t"))
        lengths += key == "content-length"
        encodings += key == "transfer-encoding"
        hosts += key == "host"
    if hosts > 1:
        raise HeadError("400 Bad Request: too many Host headers")
    if hosts and not _HOST.fullmatch(fields["host"].encode("utf-8", "surrogateescape")):
        raise HeadError("400 Bad Request: malformed Host header")
    block = HeaderBlock(fields)
    _set_framing(block, lengths, encodings)
    return block


def _set_framing(block: HeaderBlock, lengths: int, encodings: int) -> None:
    """Where the body ends, if that has exactly one reading. Raises HeadError otherwise."""
    if encodings:
        if encodings > 1 or block.fields["transfer-encoding"].lower() != "chunked":
            raise _unsupported_encoding()
        if lengths:
            raise HeadError("400 Bad Request")
        block.chunked = True
    elif lengths:
        text = block.fields["content-length"]
        if lengths > 1 or not (text.isascii() and text.isdigit()) or len(text) > 19:
            raise HeadError("400 Bad Request")
        block.content_length = int(text)
        if block.content_length > _BODY_BYTES_MAX:
            raise HeadError("400 Bad Request")


def _refusal(raw: bytes) -> HeadError:
    """Go's words for a block that llhttp refused."""
    names: list[bytes] = []
    for line in raw.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon or line[:1] in (b" ", b"\t"):
            return HeadError("400 Bad Request")
        if not _METHOD.fullmatch(name):
            return HeadError("400 Bad Request: invalid header name")
        if any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in value):
            return HeadError("400 Bad Request: invalid header value")
        names.append(name.lower())
    if b"transfer-encoding" in names and b"content-length" not in names:
        return _unsupported_encoding()
    return HeadError("400 Bad Request")


def _unsupported_encoding() -> HeadError:
    return HeadError("501 Not Implemented", "Unsupported transfer encoding")


def _version(text: bytes) -> int:
    match = _VERSION.fullmatch(text)
    if match is None:
        raise HeadError("400 Bad Request")
    if match[1] != b"1":
        raise HeadError("400 Bad Request: unsupported protocol version")
    return 10 if match[2] == b"0" else 11


def accepts_gzip(accept_encoding: str) -> bool:
    """gziphandler's reading: `gzip` by name with a q above 0; `*` does not count."""
    for coding in accept_encoding.split(","):
        name, _, parameters = coding.partition(";")
        if name.strip().lower() == "gzip":
            key, _, value = parameters.strip().partition("=")
            if key.strip() != "q":
                return True
            try:
                return float(value) > 0
            except ValueError:
                return True
    return False
