"""The leadership page: who leads, and whether this server may answer reads, for every local process.

raft_node writes it, all others map it; a read costs about a microsecond and no system call. A sequence number
in front and behind and a checksum make a torn read visible, which is then repeated."""

from __future__ import annotations

import mmap
import os
import zlib
from pathlib import Path
from struct import Struct as Packing
from typing import Final, NamedTuple

from shared.state.files import reserve

FILE: Final = "leader.page"
FOLLOWER, CANDIDATE, LEADER, UNKNOWN = "follower", "candidate", "leader", "unknown"
_ROLES: Final = (UNKNOWN, FOLLOWER, CANDIDATE, LEADER)

_PAGE_SIZE: Final = 4096
_FRAME: Final = Packing("<QIH")  # sequence, crc32 of the body, length of the body
_BODY: Final = Packing("<BBQQQQQHH")
_MAX_TEXT: Final = 1024


class Leadership(NamedTuple):
    """role: "leader", "follower", "candidate" or "unknown" (no raft_node has written yet).
    leader_id, leader_address: of the known leader, "" if there is none.
    lease_end_ns: CLOCK_MONOTONIC; while role is leader and now is before it, local reads are current.
    last_contact_ns: CLOCK_MONOTONIC of the last word from the leader, 0 if there was none.
    ready: a leader has finished its start-up work (establishing leadership, first barrier)."""

    role: str
    term: int
    leader_id: str
    leader_address: str
    lease_end_ns: int
    last_contact_ns: int
    commit_index: int
    applied_index: int
    ready: bool

    def may_serve_default(self, now_ns: int) -> bool:
        """Whether a read in default mode may be answered from the local store. now_ns: CLOCK_MONOTONIC."""
        return self.role == LEADER and self.lease_end_ns > now_ns

    @property
    def known_leader(self) -> bool:
        return bool(self.leader_address)


NOBODY: Final = Leadership(UNKNOWN, 0, "", "", 0, 0, 0, 0, False)


class LeadershipPage:
    """The page at `path`. `open` never fails: while the file does not exist, `read` says NOBODY."""

    def __init__(self, path: str, mapping: mmap.mmap | None) -> None:
        self._path, self._mapping = path, mapping
        self._sequence = 0
        self._last = (b"", NOBODY)

    @classmethod
    def open(cls, path: str) -> LeadershipPage:
        """Maps the page for reading, now or as soon as it exists."""
        return cls(path, _map_for_reading(path))

    @classmethod
    def create(cls, path: str) -> LeadershipPage:
        """Opens the page for writing. An existing page is kept: readers have it mapped. Raises StateFullError."""
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = reserve(path, _PAGE_SIZE)
        try:
            page = cls(path, mmap.mmap(fd, _PAGE_SIZE))
        finally:
            os.close(fd)
        assert page._mapping is not None
        page._sequence = int.from_bytes(page._mapping[:8], "little")
        return page

    def write(self, state: Leadership) -> None:
        """Publishes a new state. Raises ValueError for an id or address beyond 1024 bytes."""
        assert self._mapping is not None
        leader_id, address = state.leader_id.encode(), state.leader_address.encode()
        if len(leader_id) > _MAX_TEXT or len(address) > _MAX_TEXT:
            raise ValueError(f"leader id and address must be at most {_MAX_TEXT} bytes")
        head = _BODY.pack(
            _ROLES.index(state.role),
            state.ready,
            state.term,
            state.lease_end_ns,
            state.last_contact_ns,
            state.commit_index,
            state.applied_index,
            len(leader_id),
            len(address),
        )
        body = head + leader_id + address
        self._sequence += 1
        sequence = self._sequence
        self._mapping[: _FRAME.size + len(body) + 8] = b"".join(
            (_FRAME.pack(sequence, zlib.crc32(body), len(body)), body, sequence.to_bytes(8, "little"))
        )

    def read(self) -> Leadership:
        """The newest state. Never blocks and never shows a mixture of two states."""
        mapping = self._mapping
        if mapping is None:
            mapping = self._mapping = _map_for_reading(self._path)
            if mapping is None:
                return NOBODY
        for _attempt in range(1000):
            sequence, checksum, length = _FRAME.unpack_from(mapping)
            if sequence == 0:
                return NOBODY
            end = _FRAME.size + length
            if end + 8 > _PAGE_SIZE:
                continue
            raw = mapping[: end + 8]
            if raw == self._last[0]:
                return self._last[1]
            body = raw[_FRAME.size : end]
            if _FRAME.unpack_from(raw) == (sequence, checksum, length) and zlib.crc32(body) == checksum:
                state = _decode(body)
                self._last = (raw, state)
                return state
        return NOBODY  # a writer that died within a write, a thousand tries ago

    def close(self) -> None:
        if self._mapping is not None:
            self._mapping.close()
            self._mapping = None


def _map_for_reading(path: str) -> mmap.mmap | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if os.fstat(fd).st_size < _PAGE_SIZE:
            return None
        return mmap.mmap(fd, _PAGE_SIZE, prot=mmap.PROT_READ)
    finally:
        os.close(fd)


def _decode(body: bytes) -> Leadership:
    role, ready, term, lease, contact, commit, applied, id_length, address_length = _BODY.unpack_from(body)
    start = _BODY.size
    leader_id = body[start : start + id_length].decode()
    address = body[start + id_length : start + id_length + address_length].decode()
    return Leadership(_ROLES[role], term, leader_id, address, lease, contact, commit, applied, bool(ready))
