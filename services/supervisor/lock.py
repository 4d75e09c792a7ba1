"""One agent per run directory: a file lock that the kernel frees with the process.

The data directory is locked by `proconsul agent` before it writes anything there (shared.config.data_dir)."""

from __future__ import annotations

import fcntl
import os

LOCK_NAME = "supervisor.lock"


class LockedError(Exception):
    """Another agent runs there. The text says which and what to do."""


class DirectoryLock:
    """Held from construction on until the end of the process; children do not inherit it."""

    def __init__(self, directory: str) -> None:
        """Raises LockedError, or OSError when the directory cannot be written to."""
        os.makedirs(directory, mode=0o700, exist_ok=True)
        path = os.path.join(directory, LOCK_NAME)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise LockedError(
                f"another agent (pid {holder or 'unknown'}) uses the run directory {directory}: "
                f"stop that agent, or choose another -run-dir"
            ) from None
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)
