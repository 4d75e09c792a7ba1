"""A request and its answer, as every handler sees them, whichever door (lane or ASGI) the request came through."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from services.http_gateway.lane.body import SpooledBody

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = r"(?:\[[0-9A-Fa-f:.%A-Za-z\-_~]*\]|[A-Za-z0-9\-._~!$&'()*+,;=<>\"%\u0080-\U0010ffff]*)"
_SCHEME_AND_AUTHORITY = re.compile(rf"[A-Za-z][A-Za-z0-9+.\-]*://(?:[^@/?]*@)?{_HOST}(?::[0-9]*)?(?=[/?]|\Z)")


class TargetError(ValueError):
    """The request target is no URL."""


class QueryError(ValueError):
    """The query string is malformed; the text is Go's."""


class Channel(Protocol):
    """Where answers go. Calls for a request that was abandoned do nothing."""

    def finish(self, request: Request, data: bytes) -> None:
        """The complete (or, after `stream`, the last part of the) answer as bytes on the wire."""

    def stream(self, request: Request, data: bytes) -> None:
        """A part of an answer whose end is not known yet."""


Said = tuple[str, str, str, str, Mapping[str, str], int, bool, bool, bool, bytes]


class Request:
    """One request with its body.

    method, target, path (percent-decoded), raw_query; fields: header fields by lower-case name; remote: "ip:port"
    ("@" for a Unix socket); body_complete: False if the body was left unread because it is over a limit, then
    content_length tells its size (-1 for chunked) and the connection closes after the answer; version: 10 or 11;
    plain: no header field is present that could change an answer (token, cache control, namespace, ...);
    head: all bytes of the request if it has no body and came in one piece of its own, else b""; spooled: only set
    for a body that lies in a file (lane.body.SpooledBody).
    """

    __slots__ = (
        "_query",
        "abandoned",
        "backlog",
        "body",
        "body_complete",
        "channel",
        "content_length",
        "fields",
        "gzip",
        "head",
        "keep_alive",
        "method",
        "on_abandon",
        "on_hurry",
        "on_response",
        "output",
        "path",
        "plain",
        "raw_query",
        "remote",
        "spooled",
        "started_s",
        "target",
        "version",
        "writes",
    )

    def __init__(
        self,
        channel: Channel,
        method: str,
        target: str,
        fields: Mapping[str, str],
        *,
        remote: str,
        version: int = 11,
        keep_alive: bool = True,
        gzip: bool = False,
        plain: bool = False,
    ) -> None:
        """Raises TargetError."""
        self.method, self.target, self.fields, self.version = method, target, fields, version
        self.keep_alive, self.gzip, self.plain, self.head = keep_alive, gzip, plain, b""
        self.path, self.raw_query = split_target(target)
        self.writes = method != "GET" and method != "HEAD" and method != "OPTIONS"
        self._begin(channel, remote)

    def _begin(self, channel: Channel, remote: str) -> None:
        self.channel, self.remote = channel, remote
        self.body, self.body_complete, self.content_length = b"", True, 0
        self.started_s = 0.0
        self.output: bytes | None = None
        self.backlog: list[bytes] | None = None
        self.abandoned = False
        self.on_abandon: Callable[[], None] | None = None
        self.on_hurry: Callable[[], None] | None = None
        """Called when the client has shut down its sending side: it may be gone, so do not wait longer."""
        self.on_response: Callable[[Response], None] | None = None
        """Takes the answer as it is, for a door that does not want bytes."""
        self._query: dict[str, list[str]] | None = None
        self.spooled: SpooledBody

    def said(self) -> Said:
        """What another request with the same bytes says, too."""
        return (
            self.method,
            self.target,
            self.path,
            self.raw_query,
            self.fields,
            self.version,
            self.keep_alive,
            self.gzip,
            self.plain,
            self.head,
        )

    @classmethod
    def again(cls, said: Said, channel: Channel, remote: str) -> Request:
        """A reading request without a body that came before, byte for byte."""
        one = cls.__new__(cls)
        one.method, one.target, one.path, one.raw_query, one.fields = said[:5]
        one.version, one.keep_alive, one.gzip, one.plain, one.head = said[5:]
        one.writes = False
        one._begin(channel, remote)
        return one

    @property
    def query(self) -> dict[str, list[str]]:
        """Parameters in order of appearance, malformed ones left out (as Go's URL.Query)."""
        if self._query is None:
            self._query = parse_query(self.raw_query)[0] if self.raw_query else {}
        return self._query

    def first(self, name: str) -> str:
        """The first value of a query parameter, "" if there is none."""
        values = self.query.get(name)
        return values[0] if values else ""

    def header(self, name: str) -> str:
        """A header field by its lower-case name, "" if absent."""
        return self.fields.get(name, "")

    def abandon(self) -> None:
        """The client has gone: nobody will read an answer."""
        if not self.abandoned:
            self.abandoned = True
            if self.on_abandon is not None:
                self.on_abandon()


class Response:
    """Status, header fields (canonical names) and body. `stream`: more of the body follows."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.status, self.headers, self.body = status, headers if headers is not None else {}, body


def split_target(target: str) -> tuple[str, str]:
    """(decoded path, raw query) of a request target in origin, absolute or asterisk form. Raises TargetError."""
    if target[:1] != "/":
        if target == "*":
            return "*", ""
        prefix = _SCHEME_AND_AUTHORITY.match(target)
        if prefix is None:
            raise TargetError(target)
        target = target[prefix.end() :]
        if target[:1] != "/":
            target = f"/{target}"
    path, _, query = target.partition("?")
    if "%" in path:
        if _BAD_ESCAPE.search(path):
            raise TargetError(target)
        path = unquote_to_bytes(path.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    return path, query


def parse_query(raw: str) -> tuple[dict[str, list[str]], str]:
    """(parameters, text of the first error or ""), by the rules of Go 1.15: `&` and `;` both separate."""
    values: dict[str, list[str]] = {}
    error = ""
    if ";" in raw:
        raw = raw.replace(";", "&")
    for part in raw.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        if "%" in part or "+" in part:
            bad = _BAD_ESCAPE.search(part)
            if bad is not None:
                error = error or f'invalid URL escape "{part[bad.start() : bad.start() + 3]}"'
                continue
            name, value = _unescape(name), _unescape(value)
        if name in values:
            values[name].append(value)
        else:
            values[name] = [value]
    return values, error


def _unescape(text: str) -> str:
    raw = text.replace("+", " ").encode("utf-8", "surrogateescape")
    return unquote_to_bytes(raw).decode("utf-8", "surrogateescape")


Handler = Callable[[Request], Any]
