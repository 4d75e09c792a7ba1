"""One connected Unix socket: non-blocking reads, an output buffer with a bound, descriptors on the side."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
from collections import deque
from dataclasses import dataclass
from typing import Final

import trio

from shared.ipc.errors import SocketPathError
from shared.ipc.flusher import Flusher
from shared.ipc.frames import READ_BYTES

MAX_PATH_BYTES: Final = 107
MAX_FDS_PER_MESSAGE: Final = 16
_FD_SPACE: Final = socket.CMSG_SPACE(MAX_FDS_PER_MESSAGE * array.array("i").itemsize)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the kernel says (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


def check_path(path: str) -> str:
    """`path` if a Unix socket can live there. Raises SocketPathError with what to change otherwise."""
    size = len(os.fsencode(path))
    if size > MAX_PATH_BYTES:
        raise SocketPathError(
            f"the socket path {path} has {size} bytes, Unix allows {MAX_PATH_BYTES}: choose a shorter -run-dir"
        )
    return path


def peer_of(sock: socket.socket) -> Peer:
    return Peer(*struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))


class Transport:
    """Owns `sock`. `write` only queues; the process's flusher sends what the kernel takes, `finish_sending` the rest.

    All methods belong to the trio thread. After `close` writes are dropped.
    """

    def __init__(self, sock: socket.socket, *, receive_fds: bool = False) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._receive_fds = receive_fds
        self._out: list[bytes] = []
        self._blocked: deque[tuple[memoryview, list[int]]] = deque()
        self._queued_bytes = 0
        self._blocked_event = trio.Event()
        self._room = trio.lowlevel.ParkingLot()
        self._flusher = Flusher.current()
        self._dirty = False
        self.fds: deque[int] = deque()
        """Descriptors received and not yet claimed by a frame, in order."""
        self.closed = False

    @property
    def queued_bytes(self) -> int:
        """Bytes written and not yet taken by the kernel."""
        return self._queued_bytes

    def write(self, data: bytes) -> None:
        if self.closed:
            return
        self._out.append(data)
        self._queued_bytes += len(data)
        if not self._dirty:
            self._dirty = True
            self._flusher.mark(self)

    def write_fds(self, data: bytes, fds: list[int]) -> None:
        """Queues `data` together with duplicates of `fds`; the caller keeps its own."""
        if self.closed:
            return
        self._gather()
        self._blocked.append((memoryview(data), [os.dup(fd) for fd in fds]))
        self._queued_bytes += len(data)
        if not self._dirty:
            self._dirty = True
            self._flusher.mark(self)

    def flush(self) -> None:
        """Sends as much as the kernel takes without waiting. Errors show up on the reading side."""
        self._dirty = False
        if self.closed:
            return
        if not self._blocked:
            if not self._out:
                return
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._drop_output()
                return
            self._queued_bytes -= sent
            if sent == len(data):
                return
            self._blocked.append((memoryview(data)[sent:], []))
        else:
            self._gather()
        self._send_blocked()

    def _gather(self) -> None:
        if self._out:
            self._blocked.append((memoryview(b"".join(self._out)), []))
            self._out.clear()

    def _send_blocked(self) -> None:
        while self._blocked:
            data, fds = self._blocked[0]
            try:
                if fds:
                    sent = socket.send_fds(self.sock, [data], fds)
                    for fd in fds:
                        os.close(fd)
                else:
                    sent = self.sock.send(data)
            except BlockingIOError:
                self._blocked_event.set()
                return
            except OSError:
                self._drop_output()
                return
            self._queued_bytes -= sent
            if sent < len(data):
                self._blocked[0] = (data[sent:], [])
            else:
                self._blocked.popleft()

    def _drop_output(self) -> None:
        for _, fds in self._blocked:
            for fd in fds:
                os.close(fd)
        self._blocked.clear()
        self._out.clear()
        self._queued_bytes = 0

    async def finish_sending(self) -> None:
        """Task that sends what `flush` could not send at once. Sleeps while the kernel keeps up."""
        while not self.closed:
            await self._blocked_event.wait()
            self._blocked_event = trio.Event()
            while self._blocked and not self.closed:
                await trio.lowlevel.wait_writable(self.sock)
                self._send_blocked()
            self._room.unpark_all()

    async def wait_room(self, limit_bytes: int) -> None:
        """Waits until at most `limit_bytes` are queued (or the connection is closed)."""
        while self._queued_bytes > limit_bytes and not self.closed:
            await self._room.park()

    def read(self) -> bytes | None:
        """What is there now; None if nothing is, b"" at the end of the stream or on a broken connection."""
        try:
            if not self._receive_fds:
                return self.sock.recv(READ_BYTES)
            data, ancillary, _, _ = self.sock.recvmsg(READ_BYTES, _FD_SPACE)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
                self.fds.extend(received)
        return data

    async def wait_readable(self) -> None:
        await trio.lowlevel.wait_readable(self.sock)

    def claim_fds(self, count: int) -> list[int]:
        """The next `count` received descriptors (fewer if the sender lied). The caller owns them."""
        return [self.fds.popleft() for _ in range(min(count, len(self.fds)))]

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._drop_output()
        while self.fds:
            os.close(self.fds.popleft())
        self._blocked_event.set()
        self._room.unpark_all()
        trio.lowlevel.notify_closing(self.sock)
        with contextlib.suppress(OSError):
            self.sock.close()
