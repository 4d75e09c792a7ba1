"""systemd's notify protocol, both sides: datagrams of `KEY=value` lines on the Unix socket in NOTIFY_SOCKET.

Sending: notify("READY=1", "STATUS=serving"). Receiving: Receiver(path).receive() gives the sender's pid as the
kernel vouches for it (SCM_CREDENTIALS), never as the message claims. Source: sd_notify(3)."""

from __future__ import annotations

import os
import socket
import struct
import time
from dataclasses import dataclass

NOTIFY_SOCKET_VARIABLE = "NOTIFY_SOCKET"
MESSAGE_BYTES_MAX = 4096
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


@dataclass(frozen=True, slots=True)
class Notification:
    """One datagram: who sent it, as the kernel says, and its fields ({"READY": "1"})."""

    pid: int
    uid: int
    fields: dict[str, str]


def notify(*assignments: str) -> bool:
    """Tell the service manager: notify("READY=1"). False when nobody listens; never raises, never blocks."""
    address = os.environ.get(NOTIFY_SOCKET_VARIABLE)
    if not address:
        return False
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    message = "\n".join(assignments).encode()[:MESSAGE_BYTES_MAX]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address)
            sender.send(message)
    except OSError:
        return False
    return True


def notify_reloading() -> bool:
    """RELOADING=1 with the time stamp that `Type=notify-reload` asks for."""
    return notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_interval_s() -> float | None:
    """Half of what the manager allows between two WATCHDOG=1, None when it does not watch this process."""
    period_us = os.environ.get("WATCHDOG_USEC", "")
    for_pid = os.environ.get("WATCHDOG_PID", "")
    if not period_us.isdigit() or (for_pid and for_pid != str(os.getpid())):
        return None
    return int(period_us) / 2_000_000


class Receiver:
    """The manager's side: a bound datagram socket. `fileno` is for waiting until it is readable."""

    def __init__(self, path: str) -> None:
        """Raises OSError when the path cannot be bound (over 107 bytes, directory missing)."""
        self.path = path
        if os.path.exists(path):
            os.unlink(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(path)
            os.chmod(path, 0o600)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> Notification | None:
        """The next notification, None when none waits. Datagrams without credentials or too long are dropped."""
        while True:
            try:
                data, control, flags, _ = self._socket.recvmsg(
                    MESSAGE_BYTES_MAX, socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(64)
                )
            except BlockingIOError:
                return None
            credentials = None
            for level, kind, payload in control:
                if level != socket.SOL_SOCKET:
                    continue
                if kind == socket.SCM_CREDENTIALS and len(payload) >= _CREDENTIALS.size:
                    credentials = _CREDENTIALS.unpack(payload[: _CREDENTIALS.size])
                elif kind == socket.SCM_RIGHTS:  # nobody asked for descriptors; do not collect them
                    for (descriptor,) in struct.iter_unpack("i", payload[: len(payload) // 4 * 4]):
                        os.close(descriptor)
            if credentials is None or flags & socket.MSG_TRUNC:
                continue
            return Notification(credentials[0], credentials[1], parse(data))

    def close(self) -> None:
        self._socket.close()
        if os.path.exists(self.path):
            os.unlink(self.path)


def parse(data: bytes) -> dict[str, str]:
    """The fields of a datagram; lines that are no assignment are ignored, as systemd does."""
    pairs = (line.partition("=") for line in data.decode("utf-8", "replace").split("\n"))
    return {key: value for key, separator, value in pairs if key and separator}
