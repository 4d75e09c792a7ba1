"""The leadership page: who leads, and whether this server may answer reads, for every local process.

raft_node writes it, all others map it; a read costs about a microsecond and no system call. The page has two
slots, written in turn, each with a sequence number and a checksum: a reader takes the newest slot that is
whole, so a writer that is interrupted or killed in the middle of a write hides nothing but that write.

What another server could learn from this one is on the page before it leaves: a higher term before the vote in it, and
a commit index (in a word of its own, which costs next to nothing to write) before the message that has it."""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from struct import Struct as Packing
from types import MappingProxyType
from typing import Final, NamedTuple

from shared.state.files import reserve

FILE: Final = "leader.page"
FOREVER_NS: Final = (1 << 63) - 1
"""Lease of a leader that nobody can vote out: the only server of its cluster."""
FOLLOWER, CANDIDATE, LEADER, UNKNOWN = "follower", "candidate", "leader", "unknown"
_ROLES: Final = (UNKNOWN, FOLLOWER, CANDIDATE, LEADER)

_LAYOUT: Final = 2
"""Part of the checksum, so that what an earlier version has written is no whole slot."""
_SLOT_SIZE: Final = 4096
_PAGE_SIZE: Final = 2 * _SLOT_SIZE
_FRAME: Final = Packing("<QIH")  # sequence, crc32 of sequence and body, length of the body
_SEQUENCE: Final = Packing("<Q")
_BODY: Final = Packing("<BBBQQQQQHHH")
_MAX_TEXT: Final = 1024
_COMMITTED_AT: Final = _SLOT_SIZE - 8
"""Behind the longest body of the first slot, and aligned: through a view of words it is written in one piece."""
_LOOKS_MAX: Final = 1000


class Leadership(NamedTuple):
    """role: "leader", "follower", "candidate" or "unknown" (no raft_node has written yet).
    leader_id, leader_address: of the known leader, "" if there is none.
    lease_end_ns: CLOCK_MONOTONIC; while role is leader and now is before it, local reads are current.
    last_contact_ns: CLOCK_MONOTONIC of the last word from the leader, 0 if there was none.
    ready: a leader has applied all that earlier leaders have acknowledged.
    peers: other servers whose raft_node has a door for gateways, as "id address id address ...": of a leader the other
    voters, of a follower its leader. confirmations: how many of them have to say, beside a leader itself, that they are
    in its term before it is certain that it led; 0 on others, and where these are not enough to ask."""

    role: str
    term: int
    leader_id: str
    leader_address: str
    lease_end_ns: int
    last_contact_ns: int
    commit_index: int
    applied_index: int
    ready: bool
    confirmations: int = 0
    peers: str = ""

    def may_serve_default(self, now_ns: int) -> bool:
        """Whether a read in default mode may be answered from the local store. now_ns: CLOCK_MONOTONIC.

        A leader that has just been elected may not have applied yet what earlier ones have acknowledged."""
        return self.role == LEADER and self.ready and self.lease_end_ns > now_ns

    @property
    def leads_alone(self) -> bool:
        """Whether this is the only server, in office: its applied state is current, and there is nobody to ask.

        The page says otherwise before an added server's first answer is worked on, so before anything can be
        decided without this one."""
        return self.role == LEADER and self.ready and self.lease_end_ns == FOREVER_NS

    @property
    def known_leader(self) -> bool:
        return bool(self.leader_address)

    def leader_elsewhere(self, own_address: str) -> str:
        """RPC address of another server that leads, "" if none is known. own_address: that of this server."""
        return "" if self.role == LEADER or self.leader_address == own_address else self.leader_address

    def peer_addresses(self) -> Mapping[str, str]:
        """Addresses of `peers` by their ids."""
        return _addresses(self.peers)


NOBODY: Final = Leadership(UNKNOWN, 0, "", "", 0, 0, 0, 0, False)


class LeadershipPage:
    """The page at `path`. `open` never fails: while the file does not exist, `read` says NOBODY."""

    def __init__(self, path: str, mapping: mmap.mmap | None) -> None:
        self._path = path
        self._mapping: mmap.mmap | None = None
        self._words: memoryview | None = None
        self._map(mapping)
        self._sequence, self._next_slot = 0, 0
        self._last = (b"", NOBODY)
        self._seen = 0
        """Sequence of what `_last` says."""

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
            mapping = mmap.mmap(fd, _PAGE_SIZE)
        finally:
            os.close(fd)
        page = cls(path, mapping)
        # The next write goes to the slot that is not the newest whole one, with a number above both.
        found = [_whole(mapping, slot) for slot in (0, 1)]
        page._sequence = max(_SEQUENCE.unpack_from(mapping, at)[0] for at in (0, _SLOT_SIZE))
        page._next_slot = 1 if _sequence_of(found[0]) >= _sequence_of(found[1]) else 0
        return page

    def _map(self, mapping: mmap.mmap | None) -> None:
        self._mapping = mapping
        if mapping is not None:
            with memoryview(mapping) as view:
                self._words = view[_COMMITTED_AT:_SLOT_SIZE].cast("Q")

    def write(self, state: Leadership) -> None:
        """Publishes a new state. Raises ValueError for an id or address beyond 1024 bytes. Peers beyond that are left
        out."""
        assert self._mapping is not None
        leader_id, address, peers = state.leader_id.encode(), state.leader_address.encode(), state.peers.encode()
        if len(leader_id) > _MAX_TEXT or len(address) > _MAX_TEXT:
            raise ValueError(f"leader id and address must be at most {_MAX_TEXT} bytes")
        confirmations = state.confirmations
        if len(peers) > _MAX_TEXT:
            peers, confirmations = b"", 0
        head = _BODY.pack(
            _ROLES.index(state.role),
            state.ready,
            confirmations,
            state.term,
            state.lease_end_ns,
            state.last_contact_ns,
            state.commit_index,
            state.applied_index,
            len(leader_id),
            len(address),
            len(peers),
        )
        body = head + leader_id + address + peers
        self._sequence = (self._sequence + 1) % 2**64
        frame = _FRAME.pack(self._sequence, _checksum(self._sequence, body), len(body))
        start = self._next_slot * _SLOT_SIZE
        self._mapping[start : start + len(frame) + len(body)] = frame + body
        self._next_slot = 1 - self._next_slot

    def write_committed(self, index: int) -> None:
        """Publishes a commit index alone; see `committed`."""
        assert self._words is not None
        self._words[0] = index

    def committed(self) -> int:
        """The commit index that other servers may have heard of: they can only after it stood here. 0 if there are no
        others, or no page yet."""
        if self._words is None:
            self.read()  # maps it, if it exists by now
        return 0 if self._words is None else int(self._words[0])

    def read(self) -> Leadership:
        """The newest state. Never blocks and never shows a mixture of two states."""
        mapping = self._mapping
        if mapping is None:
            self._map(_map_for_reading(self._path))
            mapping = self._mapping
            if mapping is None:
                return NOBODY
        if self._seen and max(_sequences(mapping)) == self._seen:
            return self._last[1]  # nothing was written since
        found = _newest_whole(mapping)
        if found is None and self._last[1] is NOBODY:
            found = _look_again(mapping)
        if found is None:
            # Nothing written yet; or two writes have passed while this process looked: what it saw last is
            # still true to its lease.
            return self._last[1]
        if found != self._last[0]:
            self._last = (found, _decode(found[_FRAME.size :]))
        self._seen = _sequence_of(found)
        return self._last[1]

    def close(self) -> None:
        if self._mapping is not None:
            assert self._words is not None
            self._words.release()
            self._mapping.close()
            self._mapping = self._words = None


class NoLeadershipPage(LeadershipPage):
    """Of an agent without a raft_node. What an earlier life as a server has left on the disk is not looked at."""

    def __init__(self) -> None:
        super().__init__("", None)

    def read(self) -> Leadership:
        return NOBODY

    def committed(self) -> int:
        return 0


@lru_cache(maxsize=4)
def _addresses(peers: str) -> Mapping[str, str]:
    words = peers.split()
    return MappingProxyType(dict(zip(words[::2], words[1::2], strict=True)))


def _sequences(mapping: mmap.mmap) -> tuple[int, int]:
    return _SEQUENCE.unpack_from(mapping)[0], _SEQUENCE.unpack_from(mapping, _SLOT_SIZE)[0]


def _newest_whole(mapping: mmap.mmap) -> bytes | None:
    first, second = _sequences(mapping)
    newest = 0 if first >= second else 1
    return _whole(mapping, newest) or _whole(mapping, 1 - newest)


def _look_again(mapping: mmap.mmap) -> bytes | None:
    """For a first look that met a busy writer: something is there, only in motion."""
    for _ in range(_LOOKS_MAX):
        found = _newest_whole(mapping)
        if found is not None or not any(_SEQUENCE.unpack_from(mapping, at)[0] for at in (0, _SLOT_SIZE)):
            return found
    return None


def _map_for_reading(path: str) -> mmap.mmap | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if os.fstat(fd).st_size < _PAGE_SIZE:
            return None
        return mmap.mmap(fd, _PAGE_SIZE, prot=mmap.PROT_READ)
    finally:
        os.close(fd)


def _checksum(sequence: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_SEQUENCE.pack(sequence), _LAYOUT))


def _whole(mapping: mmap.mmap, slot: int) -> bytes | None:
    """A copy of a slot's frame and body, None if it is empty or torn."""
    start = slot * _SLOT_SIZE
    _sequence, _crc, length = _FRAME.unpack_from(mapping, start)
    raw = mapping[start : start + _FRAME.size + min(length, _SLOT_SIZE - _FRAME.size)]
    sequence, checksum, length = _FRAME.unpack_from(raw)
    body = raw[_FRAME.size :]
    whole = len(body) == length >= _BODY.size and checksum == _checksum(sequence, body)
    return raw if whole else None


def _sequence_of(raw: bytes | None) -> int:
    return -1 if raw is None else int(_SEQUENCE.unpack_from(raw)[0])


def _decode(body: bytes) -> Leadership:
    role, ready, confirmations, term, lease, contact, commit, applied, *lengths = _BODY.unpack_from(body)
    texts, start = [], _BODY.size
    for length in lengths:
        texts.append(body[start : start + length].decode())
        start += length
    leader_id, address, peers = texts
    return Leadership(
        _ROLES[role], term, leader_id, address, lease, contact, commit, applied, bool(ready), confirmations, peers
    )
