"""A lock file: one process at a time, and the others can say which one it is."""

from __future__ import annotations

import fcntl
import os


class HeldError(Exception):
    """Another process holds the lock. holder: its pid as text, "" if it has not written it yet."""

    def __init__(self, path: str, holder: str) -> None:
        self.holder = holder
        super().__init__(f"{path} is locked by {f'process {holder}' if holder else 'another process'}")


def lock(path: str) -> int:
    """Makes and locks the file; returns the descriptor that holds the lock until it is closed.

    Raises HeldError, and OSError if the file cannot be made or written."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise HeldError(path, holder) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
