"""SimDisk: a disk in memory that crashes as real ones do. One seed decides what a crash leaves behind.

Until `sync` a write is only in the page cache: a crash keeps or loses each 512-byte sector of it on its own. Until
`sync_directory` a new, renamed or removed name is only in the journal: a crash keeps a prefix of those operations."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable

SECTOR_BYTES = 512


class PowerCut(BaseException):
    """The machine lost power in the middle of an operation of the disk. No code of ours lives to handle it."""


class _Inode:
    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.unsynced: list[tuple[int, bytes]] = []


class SimDisk:
    """Implements `services.raft_node.log.disk.Disk`.

    room: bytes that may still be allocated, None for plenty; fault: called with the operation's name and the path
    before it is done, may raise OSError."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.room: int | None = None
        self.crash_after: int | None = None
        """Operations that change the disk, until the power fails in one of them; whether that one is done is chance."""
        self.fault: Callable[[str, str], None] | None = None
        self.syncs = 0
        self._names: dict[str, _Inode] = {}
        self._durable_names: dict[str, _Inode] = {}
        self._journal: list[tuple[str, _Inode | None]] = []
        self._handles: dict[int, tuple[str, _Inode]] = {}
        self._next_handle = 1
        self._directories: dict[str, None] = {}

    # ---- crash -------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """The process dies, the machine lives: the page cache survives."""
        self._handles.clear()

    def crash(self) -> None:
        """Power fails."""
        self.crash_after = None
        self._handles.clear()
        kept = self.rng.randint(0, len(self._journal))
        for name, inode in self._journal[:kept]:
            _rename_in(self._durable_names, name, inode)
        self._journal.clear()
        for inode in {id(node): node for node in self._names.values()}.values():
            self._crash_inode(inode)
        for inode in {id(node): node for node in self._durable_names.values()}.values():
            self._crash_inode(inode)
        self._names = dict(self._durable_names)

    def _crash_inode(self, inode: _Inode) -> None:
        for offset, data in inode.unsynced:
            mood = self.rng.random()
            for start in range(0, len(data), SECTOR_BYTES - offset % SECTOR_BYTES or SECTOR_BYTES):
                sector = data[start : start + SECTOR_BYTES]
                if mood < 0.3 or (mood < 0.8 and self.rng.random() < 0.5):
                    _write(inode.durable, offset + start, sector)
        inode.unsynced.clear()
        inode.data = bytearray(inode.durable)

    # ---- what a test may do to files -----------------------------------------------------------------------------

    def paths(self) -> list[str]:
        return sorted(self._names)

    def content(self, path: str) -> bytearray:
        """The durable bytes of a file, to be damaged in place."""
        inode = self._names[path]
        inode.durable = inode.data
        return inode.data

    def truncate(self, path: str, size: int) -> None:
        content = self.content(path)
        del content[size:]

    # ---- Disk --------------------------------------------------------------------------------------------------

    def _check(self, operation: str, path: str) -> None:
        if self.fault is not None:
            self.fault(operation, path)

    def _may_crash_first(self) -> None:
        """Called before a sync: a power cut in it may leave some of what was to be synced, or all."""
        if self.crash_after == 1 and self.rng.random() < 0.5:
            raise PowerCut

    def _may_crash(self) -> None:
        """Called when an operation that changes something is done: it is the last one if the power fails now."""
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after <= 0:
                raise PowerCut

    def open(self, path: str, *, create: bool = False) -> int:
        self._check("open", path)
        inode = self._names.get(path)
        if inode is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            inode = self._names[path] = _Inode()
            self._journal.append((path, inode))
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._handles[handle] = (path, inode)
        return handle

    def close(self, handle: int) -> None:
        del self._handles[handle]

    def read(self, handle: int, size: int, offset: int) -> bytes:
        path, inode = self._handles[handle]
        self._check("read", path)
        return bytes(inode.data[offset : offset + size])

    def write(self, handle: int, data: bytes, offset: int) -> None:
        path, inode = self._handles[handle]
        self._check("write", path)
        self._take_room(max(0, offset + len(data) - len(inode.data)))
        _write(inode.data, offset, data)
        inode.unsynced.append((offset, bytes(data)))
        self._may_crash()

    def sync(self, handle: int) -> None:
        path, inode = self._handles[handle]
        self._check("sync", path)
        self._may_crash_first()
        self.syncs += 1
        for offset, data in inode.unsynced:
            _write(inode.durable, offset, data)
        inode.unsynced.clear()
        self._may_crash()

    def size(self, handle: int) -> int:
        return len(self._handles[handle][1].data)

    def allocate(self, handle: int, size: int) -> None:
        path, inode = self._handles[handle]
        self._check("allocate", path)
        more = max(0, size - len(inode.data))
        self._take_room(more)
        if more:
            inode.unsynced.append((len(inode.data), bytes(more)))
            inode.data.extend(bytes(more))
            self._may_crash()

    def _take_room(self, more: int) -> None:
        if self.room is not None:
            if more > self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.room -= more

    def names(self, directory: str) -> list[str]:
        prefix = directory.rstrip("/") + "/"
        inside = (path for path in (*self._names, *self._directories) if path.startswith(prefix))
        found = {path[len(prefix) :].split("/")[0]: None for path in inside}
        if not found and directory not in self._directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory)
        return sorted(found)

    def make_directory(self, path: str) -> None:
        self._check("make_directory", path)
        self._directories[path] = None

    def remove_directory(self, path: str) -> None:
        self._directories.pop(path, None)

    def rename(self, old: str, new: str) -> None:
        self._check("rename", old)
        prefix = old + "/"
        for path in [name for name in self._names if name == old or name.startswith(prefix)]:
            inode = self._names.pop(path)
            target = new + path[len(old) :]
            self._names[target] = inode
            self._journal.append((path, None))
            self._journal.append((target, inode))
        if old in self._directories:
            self._directories[new] = None
            del self._directories[old]
        self._may_crash()

    def remove(self, path: str) -> None:
        self._check("remove", path)
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        inode = self._names.pop(path)
        if self.room is not None:
            self.room += len(inode.data)
        self._journal.append((path, None))
        self._may_crash()

    def sync_directory(self, path: str) -> None:
        self._check("sync_directory", path)
        self._may_crash_first()
        for name, inode in self._journal:
            _rename_in(self._durable_names, name, inode)
        self._journal.clear()
        self._may_crash()


def _rename_in(names: dict[str, _Inode], name: str, inode: _Inode | None) -> None:
    if inode is None:
        names.pop(name, None)
    else:
        names[name] = inode


def _write(target: bytearray, offset: int, data: bytes) -> None:
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data
