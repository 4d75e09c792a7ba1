"""The log_file: lines go to `<name>-<nanoseconds>.log`, which is replaced by age and size. Naming as Consul's."""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO

DEFAULT_NAME = "consul.log"
DEFAULT_ROTATE_S = 24 * 3600.0


class LogFile:
    """Rotated when it is `rotate_s` old or holds `rotate_bytes` (0: no limit), checked before each write.

    max_files: how many older files to keep, 0 for all, -1 for none. Times are Unix seconds."""

    def __init__(self, path: str, rotate_bytes: int, rotate_s: float, max_files: int, now_s: float) -> None:
        """Creates the first file. Raises OSError when that cannot be done."""
        self._directory, name = os.path.split(path)
        stem, extension = os.path.splitext(name or DEFAULT_NAME)
        self._stem, self._extension = stem, extension or ".log"
        self._rotate_bytes = rotate_bytes
        self._rotate_s = rotate_s or DEFAULT_ROTATE_S
        self._max_files = max_files
        self._file: BinaryIO | None = None
        self._open(now_s)

    def write(self, line: str, now_s: float) -> None:
        """Append a line. Raises OSError (disk full, directory gone); the next call tries again."""
        data = line.encode("utf-8", "surrogateescape") + b"\n"
        full = 0 < self._rotate_bytes <= self._written
        if self._file is None or full or now_s - self._created_s >= self._rotate_s:
            self.close()
            self._prune()
            self._open(now_s)
        assert self._file is not None
        self._written += len(data)
        self._file.write(data)

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _open(self, now_s: float) -> None:
        path = os.path.join(self._directory, f"{self._stem}-{int(now_s * 1e9)}{self._extension}")
        descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o640)
        self._file = open(descriptor, "wb", buffering=0)  # noqa: SIM115 - lives until the rotation
        self._created_s, self._written = now_s, 0

    def _prune(self) -> None:
        if self._max_files == 0:
            return
        names = os.listdir(self._directory or ".")
        own = sorted((created_ns, name) for name in names if (created_ns := self._created_ns(name)) is not None)
        for _, name in own[: max(len(own) - max(self._max_files, 0), 0)]:
            os.unlink(os.path.join(self._directory, name))

    def _created_ns(self, name: str) -> int | None:
        """The time in the name of one of our files, None for a file that is none of them."""
        prefix = f"{self._stem}-"
        middle = name[len(prefix) : len(name) - len(self._extension)]
        own = name.startswith(prefix) and name.endswith(self._extension) and middle.isascii() and middle.isdigit()
        return int(middle) if own else None
