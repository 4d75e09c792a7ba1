"""What can go wrong on the durable side. Each message says what to do."""

from __future__ import annotations


class StorageError(Exception):
    """Any failure to keep or to find what must survive a crash."""


class AppendError(StorageError):
    """Entries could not be made durable: nothing of them will be believed. Later appends may succeed again."""


class CorruptionError(StorageError):
    """Something that was written and synced is not what it was. The server must not start with it."""

    def __init__(self, path: str, offset: int, problem: str) -> None:
        self.path, self.offset = path, offset
        super().__init__(
            f"{path} is damaged at offset {offset}: {problem}. Acknowledged entries may be lost if the agent went "
            "on, so it does not start. Restore the data directory from a backup, or, if other servers are alive, "
            "remove this server's raft directory and let it join again as a new server"
        )


class LockedError(StorageError):
    """Another process uses the directory."""
