"""Raw connections to the HTTP API: what a test sends is what goes over the wire."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from tests.agents import PATIENCE_S, Agent


@contextlib.contextmanager
def connected(agent: Agent, timeout_s: float = PATIENCE_S) -> Iterator[socket.socket]:
    with socket.create_connection((agent.address, agent.http_port), timeout=timeout_s) as sock:
        yield sock


@contextlib.contextmanager
def asking(agent: Agent, path: str) -> Iterator[None]:
    """Asks for `path` again and again: who follows the log may miss what was said before the supervisor knew."""
    enough = threading.Event()

    def ask() -> None:
        while not enough.is_set():
            agent.http("GET", path)
            enough.wait(0.2)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join(PATIENCE_S)


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
