"""Raw connections to the HTTP API: what a test sends is what goes over the wire."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

from tests.agents import Agent


@contextlib.contextmanager
def connected(agent: Agent, timeout_s: float = 10.0) -> Iterator[socket.socket]:
    with socket.create_connection((agent.address, agent.http_port), timeout=timeout_s) as sock:
        yield sock


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: a", *fields, "", "")).encode()


def put(path: str, body: bytes) -> bytes:
    return f"PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def read_answer(sock: socket.socket, rest: bytes = b"") -> tuple[bytes, bytes, bytes]:
    """(head, body, what follows) of the next answer. ConnectionError if the connection ends before."""
    data = rest
    while b"\r\n\r\n" not in data:
        data += _more(sock)
    head, _, data = data.partition(b"\r\n\r\n")
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
    }
    if fields.get(b"transfer-encoding") == b"chunked":
        body = b""
        while True:
            while b"\r\n" not in data:
                data += _more(sock)
            size_text, _, data = data.partition(b"\r\n")
            size = int(size_text, 16)
            while len(data) < size + 2:
                data += _more(sock)
            body, data = body + data[:size], data[size + 2 :]
            if size == 0:
                return head, body, data
    length = int(fields.get(b"content-length", b"0"))
    while len(data) < length:
        data += _more(sock)
    return head, data[:length], data[length:]


def read_to_end(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while part := sock.recv(65536):
            data += part
    return data


def _more(sock: socket.socket) -> bytes:
    part = sock.recv(65536)
    if not part:
        raise ConnectionError("the server closed the connection")
    return part


def elapsed_s(started: float) -> float:
    return time.monotonic() - started
