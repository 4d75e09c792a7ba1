"""The snapshot store, in Consul's own layout: snapshots/<term>-<index>-<unix ms>/{meta.json,state.bin}.

A snapshot is written under a name that ends in .tmp and renamed when it is whole; the newest two are kept."""

from __future__ import annotations

import base64
import json
import os
from typing import Any, Final, Protocol

from services.raft_node.core.codec import encode_peers
from services.raft_node.core.types import Configuration, Server, SnapshotMeta
from services.raft_node.log.crc64 import crc64
from services.raft_node.log.disk import Disk
from services.raft_node.log.errors import CorruptionError, StorageError

RETAINED: Final = 2
_BLOCK_BYTES: Final = 256 << 10


class SnapshotWriter(Protocol):
    """Takes the state stream. Exactly one of `finish` and `cancel` ends it."""

    def write(self, data: bytes) -> int: ...

    def sync(self) -> None:
        """Makes what was written durable, which may take long: `finish` will be quick then."""
        ...

    def finish(self, meta: SnapshotMeta | None = None) -> SnapshotMeta:
        """Makes the snapshot visible; meta: what it is now said to cover, where that was not known before."""
        ...

    def cancel(self) -> None: ...


class SnapshotReader(Protocol):
    """Gives the state stream back; `read` as a binary file's."""

    def read(self, size: int = -1) -> bytes: ...

    def close(self) -> None: ...


class Snapshots(Protocol):
    """Where snapshots are kept. Everything raises StorageError."""

    def create(
        self, index: int, term: int, configuration: Configuration, configuration_index: int, now_ms: int
    ) -> SnapshotWriter: ...

    def list(self) -> list[SnapshotMeta]:
        """The usable ones, newest first: those of higher terms before those that end with higher indexes."""
        ...

    def newest(self) -> SnapshotMeta | None: ...

    def open(self, meta: SnapshotMeta) -> SnapshotReader: ...


class FileSnapshots:
    """Snapshots below `directory`, which is made if it is missing. Left-over .tmp directories are removed."""

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self._directory = directory
        self.unreadable: list[str] = []
        """Problems of snapshots that were passed over when the list was last read."""
        try:
            disk.make_directory(directory)
            for name in disk.names(directory):
                if name.endswith(".tmp"):
                    self._remove(name)
        except OSError as error:
            raise StorageError(f"cannot use {directory}: {error.strerror}") from error

    def create(
        self, index: int, term: int, configuration: Configuration, configuration_index: int, now_ms: int
    ) -> FileSnapshotWriter:
        name = f"{term}-{index}-{now_ms}"
        meta = SnapshotMeta(name, index, term, configuration, configuration_index)
        return FileSnapshotWriter(self, self._disk, self._directory, meta)

    def list(self) -> list[SnapshotMeta]:
        """The usable snapshots, newest first."""
        self.unreadable = []
        found = []
        try:
            names = [name for name in self._disk.names(self._directory) if not name.endswith(".tmp")]
        except OSError as error:
            raise StorageError(f"cannot list {self._directory}: {error.strerror}") from error
        for name in names:
            try:
                found.append(_decode_meta(self._read(name, "meta.json"))[0])
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.unreadable.append(f"{os.path.join(self._directory, name)}: {error}")
        return sorted(found, key=lambda meta: (meta.term, meta.index, meta.id), reverse=True)

    def newest(self) -> SnapshotMeta | None:
        found = self.list()
        return found[0] if found else None

    def open(self, meta: SnapshotMeta) -> FileSnapshotReader:
        """The state stream of `meta`, after its checksum was verified. Raises CorruptionError."""
        path = os.path.join(self._directory, meta.id, "state.bin")
        try:
            _, expected = _decode_meta(self._read(meta.id, "meta.json"))
            reader = FileSnapshotReader(self._disk, path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"cannot open the snapshot {meta.id}: {error}") from error
        crc = 0
        while block := reader.read(_BLOCK_BYTES):
            crc = crc64(block, crc)
        if crc != expected:
            reader.close()
            raise CorruptionError(path, 0, f"its CRC-64 is {crc:016x}, meta.json says {expected:016x}")
        reader.rewind()
        return reader

    def reap(self, latest: str) -> None:
        """Removes all but the newest snapshots, and the one that was stored last, which may be of a lower term than one
        that came to nothing; one that cannot be removed stays."""
        for meta in [meta for meta in self.list()[RETAINED:] if meta.id != latest]:
            try:
                self._remove(meta.id)
            except OSError:
                continue

    def _read(self, name: str, file: str) -> bytes:
        handle = self._disk.open(os.path.join(self._directory, name, file))
        try:
            return self._disk.read(handle, self._disk.size(handle), 0)
        finally:
            self._disk.close(handle)

    def _remove(self, name: str) -> None:
        path = os.path.join(self._directory, name)
        # meta.json first: what is left after a crash is no snapshot.
        for file in sorted(self._disk.names(path)):
            self._disk.remove(os.path.join(path, file))
        self._disk.remove_directory(path)


class FileSnapshotWriter:
    """Writes <id>.tmp/state.bin, then meta.json, then renames the directory."""

    def __init__(self, store: FileSnapshots, disk: Disk, parent: str, meta: SnapshotMeta) -> None:
        self._store, self._disk, self._parent, self._meta = store, disk, parent, meta
        self._temporary = os.path.join(parent, f"{meta.id}.tmp")
        self._offset, self._crc = 0, 0
        try:
            disk.make_directory(self._temporary)
            self._handle = disk.open(os.path.join(self._temporary, "state.bin"), create=True)
        except OSError as error:
            raise StorageError(f"cannot create the snapshot {self._temporary}: {error.strerror}") from error

    def write(self, data: bytes) -> int:
        try:
            self._disk.write(self._handle, data, self._offset)
        except OSError as error:
            raise StorageError(f"cannot write the snapshot {self._temporary}: {error.strerror}") from error
        self._crc = crc64(data, self._crc)
        self._offset += len(data)
        return len(data)

    def sync(self) -> None:
        try:
            self._disk.sync(self._handle)
        except OSError as error:
            raise StorageError(f"cannot write the snapshot {self._temporary}: {error.strerror}") from error

    def finish(self, meta: SnapshotMeta | None = None) -> SnapshotMeta:
        """Makes the snapshot durable and removes old ones."""
        meta = (meta or self._meta)._replace(size=self._offset)
        path = os.path.join(self._parent, meta.id)
        disk = self._disk
        try:
            disk.sync(self._handle)
            disk.close(self._handle)
            self._handle = disk.open(os.path.join(self._temporary, "meta.json"), create=True)
            disk.write(self._handle, _encode_meta(meta, self._crc), 0)
            disk.sync(self._handle)
            disk.close(self._handle)
            self._handle = -1
            disk.sync_directory(self._temporary)
            disk.rename(self._temporary, path)
            disk.sync_directory(self._parent)
        except OSError as error:
            self.cancel()
            raise StorageError(f"cannot finish the snapshot {path}: {error.strerror}") from error
        self._store.reap(meta.id)
        return meta

    def cancel(self) -> None:
        """Leaves nothing behind, as far as the disk allows."""
        try:
            if self._handle >= 0:
                self._disk.close(self._handle)
                self._handle = -1
            self._store._remove(os.path.basename(self._temporary))
        except OSError:
            return


class FileSnapshotReader:
    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._handle = disk.open(path)
        self._size = disk.size(self._handle)
        self._offset = 0

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._offset
        data = self._disk.read(self._handle, left if size < 0 else min(size, left), self._offset)
        self._offset += len(data)
        return data

    def rewind(self) -> None:
        self._offset = 0

    def close(self) -> None:
        if self._handle >= 0:
            self._disk.close(self._handle)
            self._handle = -1


class MemorySnapshots:
    """The newest snapshot in memory, for dev mode."""

    def __init__(self) -> None:
        self._newest: tuple[SnapshotMeta, bytes] | None = None

    def create(
        self, index: int, term: int, configuration: Configuration, configuration_index: int, now_ms: int
    ) -> MemorySnapshotWriter:
        meta = SnapshotMeta(f"{term}-{index}-{now_ms}", index, term, configuration, configuration_index)
        return MemorySnapshotWriter(self, meta)

    def list(self) -> list[SnapshotMeta]:
        return [self._newest[0]] if self._newest else []

    def newest(self) -> SnapshotMeta | None:
        return self._newest[0] if self._newest else None

    def open(self, meta: SnapshotMeta) -> MemorySnapshotReader:
        if self._newest is None or self._newest[0] != meta:
            raise StorageError(f"there is no snapshot {meta.id} any more")
        return MemorySnapshotReader(self._newest[1])

    def keep(self, meta: SnapshotMeta, data: bytes) -> None:
        if self._newest is None or (meta.term, meta.index) >= (self._newest[0].term, self._newest[0].index):
            self._newest = (meta, data)


class MemorySnapshotWriter:
    def __init__(self, store: MemorySnapshots, meta: SnapshotMeta) -> None:
        self._store, self._meta = store, meta
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def sync(self) -> None:
        """Memory is as durable as it gets."""

    def finish(self, meta: SnapshotMeta | None = None) -> SnapshotMeta:
        data = b"".join(self._parts)
        meta = (meta or self._meta)._replace(size=len(data))
        self._store.keep(meta, data)
        return meta

    def cancel(self) -> None:
        self._parts.clear()


class MemorySnapshotReader:
    def __init__(self, data: bytes) -> None:
        self._data, self._offset = data, 0

    def read(self, size: int = -1) -> bytes:
        end = len(self._data) if size < 0 else self._offset + size
        data = self._data[self._offset : end]
        self._offset += len(data)
        return data

    def close(self) -> None:
        """Nothing to let go of."""


def meta_json(meta: SnapshotMeta) -> dict[str, Any]:
    """As hashicorp/raft writes it into archives, and with a checksum beside it into its store."""
    return {
        "Version": 1,
        "ID": meta.id,
        "Index": meta.index,
        "Term": meta.term,
        "Peers": base64.b64encode(encode_peers(meta.configuration)).decode(),
        "Configuration": {
            "Servers": [
                {"Suffrage": server.suffrage, "ID": server.id, "Address": server.address}
                for server in meta.configuration.servers
            ]
        },
        "ConfigurationIndex": meta.configuration_index,
        "Size": meta.size,
    }


def _encode_meta(meta: SnapshotMeta, crc: int) -> bytes:
    value = {**meta_json(meta), "CRC": base64.b64encode(crc.to_bytes(8, "big")).decode()}
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _decode_meta(data: bytes) -> tuple[SnapshotMeta, int]:
    """(meta, CRC-64). Raises ValueError, KeyError or TypeError for what no snapshot has."""
    value: dict[str, Any] = json.loads(data)
    if value["Version"] != 1:
        raise ValueError(f"unsupported snapshot version {value['Version']}")
    servers = value["Configuration"]["Servers"] or []
    configuration = Configuration(tuple(Server(item["ID"], item["Address"], int(item["Suffrage"])) for item in servers))
    meta = SnapshotMeta(
        str(value["ID"]),
        int(value["Index"]),
        int(value["Term"]),
        configuration,
        int(value["ConfigurationIndex"]),
        int(value["Size"]),
    )
    return meta, int.from_bytes(base64.b64decode(value["CRC"] or ""), "big")
