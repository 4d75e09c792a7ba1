"""Files for what is too large to be held in memory on its way from one process to another.

They lie in a directory of the agent that nobody else can look into, <data dir or run dir>/spool/<owner>. Who made a
file removes it; what a killed process left behind goes when the next one of that name makes its first."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import IO


def room_bytes(file: IO[bytes]) -> int:
    """How far `file` may grow while somebody fills it: by half of what is free on its disk, so that the log and the
    state can still be written."""
    disk = os.fstatvfs(file.fileno())
    return disk.f_bavail * disk.f_frsize // 2


class SpoolFile:
    """A new, empty file. `path` can be given to another process of the agent; `remove` ends it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: IO[bytes] = open(path, "x+b", opener=_private)  # noqa: SIM115 - lives as long as this object

    def remove(self) -> None:
        """Safe to call twice."""
        self.file.close()
        if self.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            self.path = ""

    def __enter__(self) -> SpoolFile:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.remove()


class Spool:
    """Makes the files of one process."""

    def __init__(self, base: str, owner: str) -> None:
        """base: the agent's data dir, or its run dir if it has none."""
        self._directory = os.path.join(base, "spool", owner)
        self._count = 0

    def create(self) -> SpoolFile:
        """Raises OSError."""
        if not self._count:
            shutil.rmtree(self._directory, ignore_errors=True)
            os.makedirs(self._directory, mode=0o700)
        self._count += 1
        return SpoolFile(os.path.join(self._directory, str(self._count)))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
