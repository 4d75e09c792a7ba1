"""One agent per data directory, one per run directory: a file lock that the kernel frees with the process."""

from __future__ import annotations

import fcntl
import os

LOCK_NAME = "agent.lock"


class LockedError(Exception):
    """Another agent runs there. The text says which and what to do."""


class DirectoryLock:
    """Held from construction on until `release` or the end of the process; children do not inherit it."""

    def __init__(self, directory: str, flag: str) -> None:
        """flag: the option that chose the directory, for the advice.

        Raises LockedError, or OSError when the directory cannot be written to."""
        os.makedirs(directory, mode=0o700, exist_ok=True)
        path = os.path.join(directory, LOCK_NAME)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise LockedError(
                f"another agent (pid {holder or 'unknown'}) uses the directory {directory}: "
                f"stop that agent, or choose another {flag}"
            ) from None
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)
