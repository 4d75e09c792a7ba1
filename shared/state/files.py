"""Files that are written through a memory map."""

from __future__ import annotations

import errno
import os

from shared.state.errors import StateFullError


def reserve(path: str, size: int) -> int:
    """Opens a file that will be written through a map, with its blocks allocated: a hole in such a file is a
    SIGBUS on the day the disk is full. Returns the descriptor. Raises StateFullError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        os.close(fd)
        raise StateFullError(os.path.dirname(path), os.strerror(error.errno or errno.ENOSPC)) from error
    return fd
