"""fetch: one HTTP/1.1 request on a connection of its own, redirects followed, as Go's client does it for checks.

Everything the other side may do is bounded: the head in bytes, redirects in number, all of it in time; of the body
only what the caller's buffer keeps is kept."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import trio

from services.rpc_core.local.checks.dial import DialError, dial_tcp, os_reason
from services.rpc_core.local.checks.output import OutputBuffer
from services.rpc_core.local.checks.response import Head, ResponseError, ResponseReader
from services.rpc_core.local.checks.tls import CheckTls, TlsError, start_tls
from services.rpc_core.local.checks.url import Url, UrlError, parse, resolve
from shared.config.runtime import join_host_port
from shared.gotext.quoting import quote

REDIRECTS_MAX = 10
READ_BYTES = 65536
TIMEOUT_TEXT = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SENT_APART = ("Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer")
_SECRET = ("Authorization", "Www-Authenticate", "Cookie", "Cookie2")
"""Not taken along to another host."""

Headers = Mapping[str, list[str]]


class FetchError(Exception):
    """No response. The text is the one that users of Consul see."""


@dataclass(frozen=True, slots=True)
class Request:
    """headers: in the spelling they are sent in. body: b"" for none."""

    method: str
    url: Url
    headers: Headers
    body: bytes = b""


def new_request(method: str, url: str, headers: Headers, body: bytes = b"") -> Request:
    """Raises FetchError for a method or URL that is none."""
    if not _TOKEN.fullmatch(method):
        raise FetchError(f"net/http: invalid method {quote(method)}")
    try:
        return Request(method, parse(url), headers, body)
    except UrlError as error:
        raise FetchError(str(error)) from None


async def fetch(request: Request, tls: CheckTls, output: OutputBuffer, timeout_s: float) -> Head:
    """The head of the last response; its body goes to `output`, as far as it comes in time. Raises FetchError."""
    first = request
    verb = first.method[:1].upper() + first.method[1:].lower()
    deadline = trio.current_time() + timeout_s
    requests = 1
    while True:
        try:
            with trio.fail_at(deadline):
                stream, reader = await _ask(request, tls)
        except (DialError, TlsError, ResponseError, _RefusedError) as error:
            raise FetchError(f"{verb} {quote(request.url.shown())}: {error}") from None
        except trio.TooSlowError:
            raise FetchError(f"{verb} {quote(request.url.shown())}: {TIMEOUT_TEXT}") from None
        try:
            head = reader.head
            assert head is not None
            if not _redirects(head):
                await _read_body(stream, reader, head, request, output, deadline)
                return head
        finally:
            await trio.aclose_forcefully(stream)
        location = head.header("location")
        if not location:
            shown = quote(request.url.shown())
            raise FetchError(f"{verb} {shown}: {head.status} response missing Location header")
        request = _redirected(first, request, head.status, location, verb)
        if requests >= REDIRECTS_MAX:
            raise FetchError(f"{verb} {quote(location)}: stopped after {REDIRECTS_MAX} redirects")
        requests += 1


class _RefusedError(Exception):
    """The request is not sent at all."""


async def _ask(request: Request, tls: CheckTls) -> tuple[trio.abc.Stream, ResponseReader]:
    """Sends the request and reads until the response's head is there."""
    _refuse_bad(request)
    url = request.url
    plain = await dial_tcp(url.address, trio.current_effective_deadline() - trio.current_time())
    ends = connection_ends(plain)  # asked for early: a connection that was reset has none
    stream: trio.abc.Stream = plain
    if url.scheme == "https":
        stream = await start_tls(plain, tls, url.hostname)
    reader = ResponseReader(request.method)
    try:
        await send_request(stream, encode(request))
        reader.early = await read_head(stream, reader, ends)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream, reader


def _refuse_bad(request: Request) -> None:
    url = request.url
    if url.scheme in ("http", "https"):
        for name, values in request.headers.items():
            if not _TOKEN.fullmatch(name):
                raise _RefusedError(f"net/http: invalid header field name {quote(name)}")
            for value in values or ():
                if _BAD_VALUE.search(value):
                    raise _RefusedError(f"net/http: invalid header field value {quote(value)} for key {name}")
    else:
        raise _RefusedError(f"unsupported protocol scheme {quote(url.scheme)}")
    if not url.host:
        raise _RefusedError("http: no Host in request URL")


def encode(request: Request) -> bytes:
    """The request's bytes, headers in the order in which Go sends them."""
    headers, method = request.headers, request.method
    lines = [
        f"{method} {request.url.target} HTTP/1.1",
        f"Host: {_first(headers, 'Host') or request.url.host}",
        f"User-Agent: {_first(headers, 'User-Agent')}",
    ]
    if request.body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(request.body)}")
    sent = {name: values for name, values in headers.items() if name not in _SENT_APART}
    credentials = request.url.credentials
    if credentials is not None and not _first(headers, "Authorization"):
        joined = ":".join(credentials).encode("utf-8", "surrogateescape")
        sent["Authorization"] = [f"Basic {base64.b64encode(joined).decode()}"]
    for name in sorted(sent):
        lines += [f"{name}: {value.strip()}" for value in sent[name] or ()]
    if unpacks(request):
        lines.append("Accept-Encoding: gzip")
    lines.append("Connection: close")
    head = "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("utf-8", "surrogateescape") + request.body


def unpacks(request: Request) -> bool:
    """Whether we ask for gzip and undo it, which is the case unless the check's headers speak of such things."""
    headers = request.headers
    return request.method != "HEAD" and not _first(headers, "Accept-Encoding") and not _first(headers, "Range")


def _first(headers: Headers, name: str) -> str:
    return next(iter(headers.get(name) or ()), "")


async def send_request(stream: trio.abc.Stream, data: bytes) -> None:
    """A server that closes without listening may have answered all the same."""
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError:
        await trio.lowlevel.checkpoint()


async def read_head(stream: trio.abc.Stream, reader: ResponseReader, ends: str) -> bytes:
    """Reads until the head is there; returns what of the body came with it. Raises ResponseError, which says between
    which `ends` the connection broke."""
    while reader.head is None:
        try:
            data = await stream.receive_some(READ_BYTES)
        except trio.BrokenResourceError as error:
            raise ResponseError(_read_error(error, ends), broken=False) from error
        if not data:
            reader.end()
            break
        early = reader.feed(bytes(data))
        if reader.head is not None:
            return early
    return b""


def connection_ends(plain: trio.SocketStream) -> str:
    """The two ends of a connection as errors name them."""
    try:
        here, there = plain.socket.getsockname(), plain.socket.getpeername()
    except OSError:
        return "tcp"
    if isinstance(here, tuple):
        return f"tcp {join_host_port(*here[:2])}->{join_host_port(*there[:2])}"
    return f"unix @->{there}"


def _read_error(error: trio.BrokenResourceError, ends: str) -> str:
    cause = error.__cause__
    if not isinstance(cause, OSError) or not cause.errno:
        return "unexpected EOF"  # TLS without a proper end
    return f"read {ends}: read: {os_reason(cause)}"


async def _read_body(
    stream: trio.abc.Stream, reader: ResponseReader, head: Head, request: Request, output: OutputBuffer, deadline: float
) -> None:
    """A body that breaks off or takes too long counts as far as it came."""
    packed = head.header("content-encoding").lower() == "gzip" and unpacks(request)
    write = _Unpacker(output).write if packed else output.write
    try:
        with trio.move_on_at(deadline):
            write(reader.early)
            while not reader.done:
                data = await stream.receive_some(READ_BYTES)
                if not data:
                    reader.end()
                    break
                write(reader.feed(bytes(data)))
    except (trio.BrokenResourceError, _UnpackError):
        await trio.lowlevel.checkpoint()


class _UnpackError(Exception):
    """The body is not what gzip made."""


class _Unpacker:
    """Undoes gzip. A small body that grows without end is cut off: only the end would be shown, of what is no text."""

    UNPACKED_BYTES_MAX = 64 << 20

    def __init__(self, output: OutputBuffer) -> None:
        import zlib

        self._output = output
        self._zlib_error = zlib.error
        self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def write(self, data: bytes) -> None:
        """Raises _UnpackError."""
        while data:
            try:
                self._output.write(self._inflate.decompress(data, READ_BYTES))
            except self._zlib_error as error:
                raise _UnpackError from error
            if self._output.written > self.UNPACKED_BYTES_MAX:
                raise _UnpackError
            data = self._inflate.unconsumed_tail


def _redirects(head: Head) -> bool:
    if head.status in (307, 308):
        return bool(head.header("location"))
    return head.status in (301, 302, 303)


def _redirected(first: Request, last: Request, status: int, location: str, verb: str) -> Request:
    """The next request. Raises FetchError."""
    try:
        url = resolve(last.url, location)
    except UrlError as error:
        shown = quote(last.url.shown())
        raise FetchError(f"{verb} {shown}: failed to parse Location header {quote(location)}: {error}") from None
    keeps = status in (307, 308)
    method = last.method if keeps or last.method in ("GET", "HEAD") else "GET"
    headers = dict(first.headers)
    if not _same_site(first.url.hostname, url.hostname):
        headers = {name: values for name, values in headers.items() if name.title() not in _SECRET}
    if "//" in location.partition("?")[0]:
        headers.pop("Host", None)
    if not (last.url.scheme == "https" and url.scheme == "http"):
        headers["Referer"] = [str(replace(last.url, userinfo=None, fragment=""))]
    return Request(method, url, headers, last.body if keeps else b"")


def _same_site(before: str, now: str) -> bool:
    return now == before or now.endswith(f".{before}")
