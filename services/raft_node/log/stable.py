"""The stable store: term and vote in one small file of two slots, written in turn.

    slot = magic u32, length u32, sequence u64, term u64, vote term u64, candidate, zeros, crc u32 in the last 4 bytes

Each slot is one 4 KiB block: a torn write spoils the older of the two states, never the newer. The file keeps its
size, so a full disk cannot stop a vote."""

from __future__ import annotations

import os
import struct
from typing import Final
from zlib import crc32

from services.raft_node.core.types import HardState
from services.raft_node.log.disk import Disk
from services.raft_node.log.errors import CorruptionError, StorageError

SLOT_BYTES: Final = 4096
_MAGIC: Final = 0x56534350
_HEAD: Final = struct.Struct("<IIQQQ")


class StableStore:
    """`state` is what was saved last. Construct with `StableStore.open`."""

    def __init__(self, disk: Disk, path: str, handle: int) -> None:
        self._disk = disk
        self._path = path
        self._handle = handle
        self._sequence = 0
        self.state = HardState()

    @classmethod
    def open(cls, disk: Disk, path: str) -> StableStore:
        """Opens or makes the file. Raises CorruptionError if no slot of an existing one is whole."""
        try:
            directory, name = os.path.split(path)
            if name not in disk.names(directory):
                _create(disk, path)
            store = cls(disk, path, disk.open(path))
            data = disk.read(store._handle, 2 * SLOT_BYTES, 0)
        except OSError as error:
            raise StorageError(f"cannot open {path}: {error.strerror}") from error
        slots = [_decode(data[at : at + SLOT_BYTES]) for at in (0, SLOT_BYTES)]
        found = [slot for slot in slots if slot is not None]
        if not found:
            disk.close(store._handle)
            raise CorruptionError(path, 0, "neither copy of term and vote is whole")
        store._sequence, store.state = max(found, key=lambda slot: slot[0])
        return store

    def save(self, state: HardState) -> None:
        """Makes `state` durable. Raises StorageError; what is on disk is then the old state or the new one, and
        the server must not go on with either."""
        sequence = self._sequence + 1
        try:
            self._disk.write(self._handle, _encode(sequence, state), sequence % 2 * SLOT_BYTES)
            self._disk.sync(self._handle)
        except OSError as error:
            raise StorageError(f"cannot save term and vote in {self._path}: {error.strerror}") from error
        self._sequence, self.state = sequence, state

    def close(self) -> None:
        if self._handle >= 0:
            self._disk.close(self._handle)
            self._handle = -1


def _create(disk: Disk, path: str) -> None:
    temporary = f"{path}.tmp"
    handle = disk.open(temporary, create=True)
    try:
        disk.allocate(handle, 2 * SLOT_BYTES)
        disk.write(handle, _encode(0, HardState()) + bytes(SLOT_BYTES), 0)
        disk.sync(handle)
    finally:
        disk.close(handle)
    disk.rename(temporary, path)
    disk.sync_directory(os.path.dirname(path))


def _encode(sequence: int, state: HardState) -> bytes:
    candidate = state.vote_candidate.encode("utf-8", "surrogateescape")
    body = _HEAD.pack(_MAGIC, len(candidate), sequence, state.term, state.vote_term) + candidate
    if len(body) > SLOT_BYTES - 4:
        raise StorageError(f"the address of the candidate is {len(candidate)} bytes long")
    body = body.ljust(SLOT_BYTES - 4, b"\0")
    return body + crc32(body).to_bytes(4, "little")


def _decode(slot: bytes) -> tuple[int, HardState] | None:
    if len(slot) < SLOT_BYTES or crc32(slot[:-4]) != int.from_bytes(slot[-4:], "little"):
        return None
    magic, length, sequence, term, vote_term = _HEAD.unpack_from(slot)
    if magic != _MAGIC or length > SLOT_BYTES - 4 - _HEAD.size:
        return None
    candidate = slot[_HEAD.size : _HEAD.size + length].decode("utf-8", "surrogateescape")
    return sequence, HardState(term, vote_term, candidate)
