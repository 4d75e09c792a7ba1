"""The directory lock: two agents on one data directory are refused."""

from __future__ import annotations

import fcntl
import os

from services.raft_node.log.errors import LockedError, StorageError


class DirectoryLock:
    """Held from construction until `release` or the end of the process, however it ends.

    option: the flag with which the user chooses the directory, for the error messages.
    Raises LockedError if another process holds it, StorageError if the directory cannot be written."""

    def __init__(self, directory: str, option: str = "-data-dir") -> None:
        path = os.path.join(directory, "lock")
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StorageError(
                f"cannot write to {directory}: {error.strerror}; give the agent a {option} that it owns"
            ) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip()
            os.close(self._handle)
            raise LockedError(
                f"{directory} is in use by another agent{f' (process {holder})' if holder else ''}: stop that "
                f"one, or give this one a {option} of its own"
            ) from None
        try:
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(self._handle)
            raise StorageError(f"cannot write to {directory}: {error.strerror}") from error

    def release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
