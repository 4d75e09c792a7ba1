"""Syslog on this host: every log line as one datagram with the NOTICE severity and the configured facility."""

from __future__ import annotations

import os
import socket
import time

FACILITIES = {
    name: code
    for code, name in enumerate(
        ["KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP"]
    )
} | {f"LOCAL{n}": 16 + n for n in range(8)}
_NOTICE = 5
_PATHS = ("/dev/log", "/var/run/syslog", "/var/run/log")
_RETRY_S = 5.0


class Syslog:
    """Never blocks: while nobody listens or the daemon is behind, lines are lost and counted in `lost`."""

    def __init__(self, facility: str, paths: tuple[str, ...] = _PATHS) -> None:
        """Raises ValueError for a facility that there is none of."""
        code = FACILITIES.get(facility.upper())
        if code is None:
            raise ValueError(f"invalid syslog facility: {facility}")
        self._priority = code * 8 + _NOTICE
        self._paths = paths
        self._socket: socket.socket | None = None
        self._retry_at_s = 0.0
        self.lost = 0

    def write(self, line: str, now_s: float) -> None:
        if self._socket is None and now_s >= self._retry_at_s:
            self._connect(now_s)
        if self._socket is None:
            self.lost += 1
            return
        stamp = time.strftime("%b %e %H:%M:%S", time.localtime(now_s))
        data = f"<{self._priority}>{stamp} consul[{os.getpid()}]: {line}\n".encode("utf-8", "surrogateescape")
        try:
            self._socket.send(data)
        except BlockingIOError:
            self.lost += 1
        except OSError:
            self.lost += 1
            self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self, now_s: float) -> None:
        for path in self._paths:
            sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            if sender.connect_ex(path) == 0:
                self._socket = sender
                return
            sender.close()
        self._retry_at_s = now_s + _RETRY_S
