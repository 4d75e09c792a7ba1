"""Disk: the handful of file operations that the durable side needs, so that a test can be the disk.

A write is in the page cache until `sync`; a created, renamed or removed name until `sync_directory`."""

from __future__ import annotations

import os
from typing import Protocol


class Disk(Protocol):
    """Paths are text, handles are numbers; every method raises OSError."""

    def open(self, path: str, *, create: bool = False) -> int: ...

    def close(self, handle: int) -> None: ...

    def read(self, handle: int, size: int, offset: int) -> bytes:
        """At most `size` bytes, fewer only at the end of the file."""
        ...

    def write(self, handle: int, data: bytes, offset: int) -> None:
        """All of `data`, or OSError."""
        ...

    def sync(self, handle: int) -> None:
        """Data, and what is needed to find it, is on disk (fdatasync). May be called from a thread."""
        ...

    def size(self, handle: int) -> int: ...

    def allocate(self, handle: int, size: int) -> None:
        """Reserves space up to `size`; new bytes read as zero."""
        ...

    def names(self, directory: str) -> list[str]: ...

    def make_directory(self, path: str) -> None: ...

    def remove_directory(self, path: str) -> None:
        """Removes an empty directory."""
        ...

    def rename(self, old: str, new: str) -> None: ...

    def remove(self, path: str) -> None: ...

    def sync_directory(self, path: str) -> None: ...


class OsDisk:
    """The real one."""

    def open(self, path: str, *, create: bool = False) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags | (os.O_CREAT if create else 0), 0o600)

    def close(self, handle: int) -> None:
        os.close(handle)

    def read(self, handle: int, size: int, offset: int) -> bytes:
        data = os.pread(handle, size, offset)
        if len(data) == size or not data:
            return data
        parts = [data]
        while data := os.pread(handle, size - sum(map(len, parts)), offset + sum(map(len, parts))):
            parts.append(data)
        return b"".join(parts)

    def write(self, handle: int, data: bytes, offset: int) -> None:
        written = os.pwrite(handle, data, offset)
        while written < len(data):
            written += os.pwrite(handle, data[written:], offset + written)

    def sync(self, handle: int) -> None:
        os.fdatasync(handle)

    def size(self, handle: int) -> int:
        return os.fstat(handle).st_size

    def allocate(self, handle: int, size: int) -> None:
        os.posix_fallocate(handle, 0, size)

    def names(self, directory: str) -> list[str]:
        return sorted(os.listdir(directory))

    def make_directory(self, path: str) -> None:
        os.makedirs(path, mode=0o700, exist_ok=True)

    def remove_directory(self, path: str) -> None:
        os.rmdir(path)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def sync_directory(self, path: str) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
