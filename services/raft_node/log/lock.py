"""The directory lock: two agents on one data directory are refused."""

from __future__ import annotations

import os

from services.raft_node.log.errors import LockedError, StorageError
from shared import pid_lock


class DirectoryLock:
    """Held from construction until `release` or the end of the process, however it ends.

    option: the flag with which the user chooses the directory, for the error messages.
    Raises LockedError if another process holds it, StorageError if the directory cannot be written."""

    def __init__(self, directory: str, option: str = "-data-dir") -> None:
        try:
            self._handle = pid_lock.lock(os.path.join(directory, "lock"))
        except pid_lock.HeldError as error:
            raise LockedError(
                f"{directory} is in use by another agent{f' (process {error.holder})' if error.holder else ''}: stop "
                f"that one, or give this one a {option} of its own"
            ) from None
        except OSError as error:
            raise StorageError(
                f"cannot write to {directory}: {error.strerror}; give the agent a {option} that it owns"
            ) from error

    def release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
