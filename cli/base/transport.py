"""HTTP/1.1 to one agent over TCP, TLS or a Unix socket; failures in the words of Go's net/http.

The socket is Python's, the parser is llhttp (httptools): together they load in a tenth of the time of a
full client library, which is most of what a short command costs (docs/decisions/010-cli-transport.md).
"""

from __future__ import annotations

import errno
import os
import socket

import httptools

from cli.base.dial import Dialer
from cli.base.errors import TransportError
from cli.base.ui import to_bytes
from shared.gotext.quoting import quote
from shared.version import PROCONSUL_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.base.http import Settings

READ_SIZE = 64 * 1024
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
PATH_SAFE = UNRESERVED | frozenset(b"$&+,/:;=@")
HOST_SAFE = UNRESERVED | frozenset(b"!$&'()*+,;=:[]<>\"")


def escape_path(path: str) -> str:
    """A URL path as net/url writes it: every byte outside its safe set as %XX."""
    return _escape(path, PATH_SAFE)


def escape_query(text: str) -> str:
    """A query parameter as net/url writes it: space as +, the rest outside the unreserved set as %XX."""
    return _escape(text, UNRESERVED | {0x20}).replace(" ", "+")


def _escape(text: str, safe: frozenset[int]) -> str:
    return "".join(chr(byte) if byte in safe else f"%{byte:02X}" for byte in to_bytes(text))


class Response:
    """An answer whose head has arrived. The body is read on demand, all at once or chunk by chunk."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.status = 0
        self.headers: dict[str, str] = {}
        self.head_complete = False
        self.complete = False
        self.keep_alive = False
        self.body: list[bytes] = []

    def chunks(self) -> Iterator[bytes]:
        """Pieces of the body as they arrive. Raises TransportError if it ends too early."""
        while True:
            pieces, self.body = self.body, []
            yield from pieces
            if self.complete:
                return
            self._connection.receive()

    def read(self) -> bytes:
        """The rest of the body. Raises TransportError."""
        return b"".join(self.chunks())


class _ParserEvents:
    """What llhttp reports about one answer."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self._response.headers = {}  # those of an interim answer (100) do not count

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= 200:
            self._response.status = status
            self._response.head_complete = True

    def on_body(self, chunk: bytes) -> None:
        self._response.body.append(chunk)

    def on_message_complete(self) -> None:
        if self._response.head_complete:
            self._response.complete = True
            self._response.keep_alive = self.parser.should_keep_alive()


class Connection:
    """Sends one request after another over one connection, which is opened when first needed."""

    def __init__(self, settings: Settings) -> None:
        self._dialer = Dialer(settings)
        self._scheme = settings.scheme
        self._host = settings.host
        self._socket: socket.socket | None = None
        self._response: Response | None = None
        self._events: _ParserEvents | None = None

    def url(self, target: str) -> str:
        """The request's URL as error texts show it."""
        return f"{self._scheme}://{_escape(self._host, HOST_SAFE)}{target}"

    def request(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes | Iterator[bytes]
    ) -> Response:
        """Sends a request and waits for the head of its answer. Raises TransportError.

        A body of known size has a Content-Length, an iterator is sent in chunks."""
        head = self._head(method, target, headers, body)
        if self._socket is not None and self._response is not None and self._response.keep_alive:
            try:
                return self._exchange(head, body)
            except TransportError:
                # An idle connection that the agent closed in the meantime says nothing about the agent. It
                # is retried only if the body can be sent once more and nothing of an answer was seen.
                if not isinstance(body, bytes) or self._response is None or self._response.head_complete:
                    raise
        self._close()
        self._socket = self._dialer.dial()
        return self._exchange(head, body)

    def _head(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes | Iterator[bytes]) -> bytes:
        # As Go does it, what cannot be part of a host name is left out: a Unix socket's path for one.
        host = self._host.partition("/")[0].partition(" ")[0]
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"User-Agent: proconsul/{PROCONSUL_VERSION}"]
        if not isinstance(body, bytes):
            lines.append("Transfer-Encoding: chunked")
        elif body or method in ("PUT", "POST"):
            lines.append(f"Content-Length: {len(body)}")
        for name, value in headers:
            if any((ord(char) < 0x20 and char != "\t") or char == "\x7f" for char in value):
                raise TransportError(f"net/http: invalid header field value {quote(value)} for key {name}")
            lines.append(f"{name}: {value}")
        return to_bytes("\r\n".join(lines) + "\r\n\r\n")

    def _exchange(self, head: bytes, body: bytes | Iterator[bytes]) -> Response:
        response = Response(self)
        self._response, self._events = response, _ParserEvents(response)
        try:
            self._send(head, body)
        except OSError as error:
            # The agent may have answered (413, 403) before it stopped reading; that answer says more.
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise TransportError(self._describe("write", error)) from None
        while not response.head_complete:
            self.receive()
        return response

    def _send(self, head: bytes, body: bytes | Iterator[bytes]) -> None:
        assert self._socket is not None
        if isinstance(body, bytes):
            self._socket.sendall(head + body)
            return
        self._socket.sendall(head)
        for piece in body:
            if piece:
                self._socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        self._socket.sendall(b"0\r\n\r\n")

    def receive(self) -> None:
        """Waits for more of the current answer. Raises TransportError when there is no more."""
        assert self._socket is not None
        assert self._events is not None
        assert self._response is not None
        try:
            data = self._socket.recv(READ_SIZE)
        except OSError as error:
            raise TransportError(self._describe("read", error)) from None
        if not data:
            self._end_of_stream(self._response)
            return
        try:
            self._events.parser.feed_data(data)
        except httptools.HttpParserError:
            if self._response.head_complete:
                raise TransportError("malformed chunked encoding") from None
            line = data.split(b"\n")[0].rstrip(b"\r").decode("utf-8", "surrogateescape")
            raise TransportError(
                f"net/http: HTTP/1.x transport connection broken: malformed HTTP response {quote(line)}"
            ) from None

    def _end_of_stream(self, response: Response) -> None:
        headers = response.headers
        if response.head_complete and not headers.keys() & {"content-length", "transfer-encoding"}:
            response.complete = True  # a body without announced length ends with the connection
            return
        raise TransportError("unexpected EOF" if response.head_complete or headers else "EOF")

    def _describe(self, operation: str, error: OSError) -> str:
        if self._dialer.secured:
            from cli.base import tls

            # With TLS 1.3 an agent refuses a client certificate only after the handshake.
            if reason := tls.explain(error):
                return reason
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        return f"{operation} {self._dialer.describe(self._socket)}: {operation}: {reason}"

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
