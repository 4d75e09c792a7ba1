"""One request sent byte for byte, and its answer with everything masked that may rightly differ.

Masked: the agent's address, UUIDs, Raft indexes, dates and times, latencies, small ages. Everything else (status,
reason, names and order-independent values of headers, the body down to its white space and order of keys) must be
equal between two agents that were asked the same.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_S = 30.0
_LARGE_BYTES, _TRIES = 100_000, 5
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (UUID, "UUID"),
    (re.compile(r'"(CreateIndex|ModifyIndex)":( ?)[1-9]\d*'), r'"\1":\2INDEX'),
    (re.compile(r'"(LastTerm|LastIndex)":( ?)\d+'), r'"\1":\2NUMBER'),
    (re.compile(r"(current modify index) \d+"), r"\1 INDEX"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "TIME"),
    # There from the first look on; in the catalog perhaps minutes later, since outputs alone are brought there lazily.
    (re.compile(r'"Output":( ?)"(dial tcp |Aliased check |All checks passing)([^"\\]|\\.)*"'), r'"Output":\1""'),
)
MASKED_HEADERS = {"date": "DATE"}
OPAQUE = frozenset({"Labels"})
"""Members whose own keys depend on what was measured first."""
LENGTH_MAY_DIFFER = "LENGTH"
UNCHUNKED_BYTES_MAX = 2048
"""Longer bodies do not fit into the buffer of Go's HTTP server, which then does not know their length."""
RECENT_S = 30
"""Ages of cached answers up to this one count as the same: they grow while the two agents are asked in turn."""


@dataclass(frozen=True, slots=True)
class Request:
    """`shape`: only keys and types of the JSON are compared, for answers full of measurements.
    `unordered`: lists are sorted first, where Consul gives them in the random order of a Go map or of random ids."""

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    shape: bool = False
    unordered: bool = False

    def __str__(self) -> str:
        shown = self.body[:60].decode("utf-8", "backslashreplace")
        extra = " ".join(f"{name}:{value}" for name, value in self.headers)
        return " ".join(filter(None, (self.method, self.path, shown, extra)))[:140]

    def encode(self, host: str) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}", "Connection: close"]
        if self.body or self.method in ("PUT", "POST"):
            lines.append(f"Content-Length: {len(self.body)}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + self.body


@dataclass(frozen=True, slots=True)
class Answer:
    """What can be compared. Headers by their names as sent; a name sent twice keeps both values."""

    status: str
    headers: dict[str, list[str]]
    body: str
    raw_body: bytes = field(compare=False)


def exchange(address: str, port: int, request: Request) -> Answer:
    """Raises OSError or HTTPException when there is no answer within the deadline.

    An agent that refuses a large body closes while the rest of it is on its way: the client may see that before it
    sees the refusal. Nothing was done then, and it is asked again."""
    for _ in range(_TRIES if len(request.body) > _LARGE_BYTES else 0):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            return _exchange(address, port, request)
    return _exchange(address, port, request)


def _exchange(address: str, port: int, request: Request) -> Answer:
    with socket.create_connection((address, port), timeout=TIMEOUT_S) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # what it said before is there to be read
            connection.sendall(request.encode(f"{address}:{port}"))
        response = http.client.HTTPResponse(connection, method=request.method)
        response.begin()
        body = response.read()
        return _masked(request, response, body, address)


def _masked(request: Request, response: http.client.HTTPResponse, body: bytes, address: str) -> Answer:
    gzipped = response.headers.get("Content-Encoding") == "gzip"
    if gzipped:
        body = gzip.decompress(body)
    text = body.decode("utf-8", "backslashreplace")
    masked = mask(text, address)
    if request.shape and body[:1] in (b"{", b"["):
        masked = json.dumps(shape_of(json.loads(body)))
    elif request.unordered and body[:1] in (b"{", b"["):
        masked = mask(json.dumps(_sorted(json.loads(body), address)), address)
    headers: dict[str, list[str]] = {}
    for name, value in response.getheaders():
        shown = MASKED_HEADERS.get(name.lower()) or mask(value, address)
        if name.lower() == "x-consul-index" and int(value) > 1:
            shown = "INDEX"
        if name.lower() == "age" and int(value) <= RECENT_S:
            shown = "RECENT"
        if name.lower() == "content-length" and (masked != text or gzipped):
            shown = LENGTH_MAY_DIFFER
        headers.setdefault(name, []).append(shown)
    return Answer(f"{response.status} {response.reason}", headers, masked, body)


def mask(text: str, address: str) -> str:
    text = text.replace(address, "ADDRESS")
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    return text


def shape_of(value: Any) -> Any:
    """Objects keep their keys, the rest becomes the name of its type; a list shows its first element."""
    if isinstance(value, dict):
        return {key: type(item).__name__ if key in OPAQUE else shape_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape_of(item) for item in value[:1]]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def _sorted(value: Any, address: str) -> Any:
    """Lists in the order of what is compared of their items: ids and indexes are not."""
    if isinstance(value, dict):
        return {key: _sorted(item, address) for key, item in value.items()}
    if isinstance(value, list):
        items = [_sorted(item, address) for item in value]
        return sorted(items, key=lambda item: mask(json.dumps(item, sort_keys=True), address))
    return value


def differences(expected: Answer, found: Answer) -> list[str]:
    """What is not equal, one line each."""
    lines = []
    if expected.status != found.status:
        lines.append(f"status: {expected.status!r} != {found.status!r}")
    for name in sorted({*expected.headers, *found.headers}):
        if LENGTH_MAY_DIFFER in (*expected.headers.get(name, ()), *found.headers.get(name, ())):
            continue
        if name == "Transfer-Encoding" and _one_fits_the_buffer(expected, found):
            continue
        if expected.headers.get(name) != found.headers.get(name):
            lines.append(f"header {name}: {expected.headers.get(name)} != {found.headers.get(name)}")
    if expected.body != found.body:
        lines.append(f"body: {_around(expected.body, found.body)}")
    return lines


def _one_fits_the_buffer(one: Answer, other: Answer) -> bool:
    """Whether a difference in length that does not count (of masked addresses, say) is why only one is chunked."""
    may_differ = LENGTH_MAY_DIFFER in (*one.headers.get("Content-Length", ()), *other.headers.get("Content-Length", ()))
    shorter, longer = sorted((one, other), key=lambda answer: len(answer.raw_body))
    fits = len(shorter.raw_body) <= UNCHUNKED_BYTES_MAX < len(longer.raw_body)
    return may_differ and fits and longer.headers.get("Transfer-Encoding") == ["chunked"]


def _around(expected: str, found: str) -> str:
    at = next((n for n, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), 0)
    start = max(0, at - 40)
    return f"{expected[start : at + 120]!r} != {found[start : at + 120]!r} (at {at})"


Ask = Callable[[Request], Answer]
