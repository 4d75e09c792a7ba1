"""Bytes to a TCP port and back, without any protocol in between that could smooth out what is odd."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator

from tests.agents import PATIENCE_S

_VARYING = (
    (re.compile(rb"Date: [^\r]*\r\n"), b""),
    (re.compile(rb"127\.\d+\.\d+\.\d+"), b"ADDRESS"),
    (re.compile(rb"(X-Consul-(?:Index|Lastcontact)): \d+"), rb"\1: N"),
)


@contextlib.contextmanager
def connected(address: str, port: int, timeout_s: float = PATIENCE_S) -> Iterator[socket.socket]:
    with socket.create_connection((address, port), timeout=timeout_s) as sock:
        yield sock


def read_to_end(sock: socket.socket, limit_s: float) -> tuple[bytes, bool]:
    """(what came, whether the peer ended the connection) within `limit_s`. The socket's own timeout stays."""
    data, deadline, timeout_s = b"", time.monotonic() + limit_s, sock.gettimeout()
    try:
        while (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                part = sock.recv(1 << 16)
            except TimeoutError:
                break
            except ConnectionResetError:
                return data, True
            if not part:
                return data, True
            data += part
        return data, False
    finally:
        sock.settimeout(timeout_s)


def ask(address: str, port: int, data: bytes, *, ends: bool, half_close: bool = False) -> tuple[bytes, bool]:
    """Sends `data` and reads. ends: wait until the peer closes; else until one HTTP answer has come."""
    with connected(address, port) as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
        if ends:
            return read_to_end(sock, PATIENCE_S)
        return read_answer(sock), False


def read_answer(sock: socket.socket) -> bytes:
    """One answer with Content-Length (or without a body), interim ones before it included."""
    data = b""
    while True:
        start = data.find(b"\r\n\r\n") + 4 if data.startswith(b"HTTP/1.1 100 ") else 0
        head, separator, rest = data[start:].partition(b"\r\n\r\n")
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        if separator and len(rest) >= int(length[1] if length else 0):
            return data
        part = sock.recv(1 << 16)
        if not part:
            raise AssertionError(f"the connection ended within an answer: {data[:200]!r}")
        data += part


def comparable(answer: bytes) -> bytes:
    """Without what differs from run to run."""
    for pattern, replacement in _VARYING:
        answer = pattern.sub(replacement, answer)
    return answer
