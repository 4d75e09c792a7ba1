"""The log as the core sees it: entries in storage, and in memory those that are newer than what is on disk.

Also the cache of recent entries for followers. Nothing here decides anything about consensus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from services.raft_node.core.types import Entry

CACHED_ENTRIES: Final = 512
CACHED_BYTES: Final = 8 << 20


class LogStorage(Protocol):
    """What the core reads of the stored log. It holds first_index..last_index; last_index < first_index: empty."""

    @property
    def first_index(self) -> int: ...

    @property
    def last_index(self) -> int: ...

    def term_at(self, index: int) -> int:
        """Term of an entry it holds."""
        ...

    def read(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        """Entries first..last that it holds, at least one, fewer if their data exceeds max_bytes."""
        ...


class RaftLog:
    """Reads go to the tail in memory first, then to storage.

    snapshot_index, snapshot_term: newest snapshot; applied_index: last entry given out by take_committed."""

    __slots__ = (
        "_first",
        "_storage",
        "_tail",
        "_tail_bytes",
        "_tail_first",
        "applied_index",
        "cached_entries",
        "durable_index",
        "last_index",
        "last_term",
        "snapshot_index",
        "snapshot_term",
    )

    def __init__(
        self, storage: LogStorage, snapshot_index: int = 0, snapshot_term: int = 0, applied_index: int = 0
    ) -> None:
        self._storage = storage
        self._first = storage.first_index
        self._tail: list[Entry] = []
        self._tail_bytes = 0
        self.snapshot_index, self.snapshot_term = snapshot_index, snapshot_term
        self.applied_index = max(applied_index, snapshot_index)
        self.cached_entries = 0
        if storage.last_index >= max(storage.first_index, snapshot_index):
            self.last_index = storage.last_index
            self.last_term = storage.term_at(self.last_index)
        else:
            self.last_index, self.last_term = snapshot_index, snapshot_term
            self._first = snapshot_index + 1
        self.durable_index = self.last_index
        self._tail_first = self.last_index + 1

    @property
    def first_index(self) -> int:
        """The oldest entry that can be read; last_index + 1 if there is none."""
        return max(self._first, min(self._storage.first_index, self._tail_first))

    def term_at(self, index: int) -> int | None:
        """Term of the entry at `index`, also of the snapshot's last; 0 for index 0; None if it is not known."""
        if index == self.last_index:
            return self.last_term
        if index == self.snapshot_index:
            return self.snapshot_term
        if index > self.last_index:
            return None
        if index >= self._tail_first:
            return self._tail[index - self._tail_first].term
        if index >= self.first_index and index > 0:
            return self._storage.term_at(index)
        return 0 if index == 0 else None

    def append(self, entries: Sequence[Entry]) -> None:
        """Adds contiguous entries; those that the log holds from entries[0].index on are replaced."""
        first = entries[0].index
        if first <= self.last_index:
            self.cut(first)
        if not self._tail:
            self._tail_first = first
        self._tail.extend(entries)
        self._tail_bytes += sum([len(entry.data) for entry in entries])
        self.last_index, self.last_term = entries[-1].index, entries[-1].term

    def cut(self, first: int) -> None:
        """Forgets the entries from `first` on."""
        if first <= self._tail_first:
            self._tail.clear()
            self._tail_bytes = 0
            self._tail_first = first
        else:
            removed = self._tail[first - self._tail_first :]
            del self._tail[first - self._tail_first :]
            self._tail_bytes -= sum(len(entry.data) for entry in removed)
        last_term = 0
        if self._tail:
            last_term = self._tail[-1].term
        elif first - 1 == self.snapshot_index:
            last_term = self.snapshot_term
        elif first - 1 >= self.first_index:
            last_term = self._storage.term_at(first - 1)
        self.last_index, self.last_term = first - 1, last_term
        self.durable_index = min(self.durable_index, self.last_index)

    def mark_durable(self, index: int, term: int) -> bool:
        """The entry (index, term) and all before it are on disk. False if it was replaced meanwhile."""
        if self.term_at(index) != term:
            return False
        self.durable_index = max(self.durable_index, index)
        self._trim()
        return True

    def read(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        """Entries first..last, fewer (at least one) if their data exceeds `max_bytes`. `first` must exist."""
        if first < self._tail_first:
            entries = self._storage.read(first, min(last, self._tail_first - 1), max_bytes)
            if entries[-1].index + 1 < self._tail_first or entries[-1].index == last:
                return entries
            max_bytes -= sum(len(entry.data) for entry in entries)
            if max_bytes <= 0:
                return entries
            return entries + self._read_tail(self._tail_first, last, max_bytes)
        return self._read_tail(first, last, max_bytes)

    def _read_tail(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        start = first - self._tail_first
        entries = self._tail[start : last - self._tail_first + 1]
        if self._tail_bytes > max_bytes:
            total = 0
            for count, entry in enumerate(entries):
                total += len(entry.data)
                if total > max_bytes and count:
                    return entries[:count]
        return entries

    def take_committed(self, commit_index: int, max_entries: int, max_bytes: int) -> list[Entry]:
        """The next entries to apply, in order; empty if all that is committed was given out.

        Only what is on this server's disk: what the disk may still refuse must not be in the state already."""
        first = self.applied_index + 1
        last = min(commit_index, self.durable_index, self.applied_index + max_entries)
        if last < first:
            return []
        entries = self.read(first, last, max_bytes)
        self.applied_index = entries[-1].index
        self._trim()
        return entries

    def take_snapshot(self, index: int, term: int) -> None:
        """A snapshot of the own state up to (index, term) is on disk; entries stay until storage drops them."""
        self.snapshot_index, self.snapshot_term = index, term

    def install_snapshot(self, index: int, term: int) -> bool:
        """A leader's snapshot replaced the state. True if the log after it fits and stays; else it is empty now."""
        fits = self.term_at(index) == term
        self.snapshot_index, self.snapshot_term = index, term
        self.applied_index = index
        if not fits:
            self.begin_after_snapshot()
        return fits

    def contradicts_snapshot(self, index: int, term: int) -> bool:
        """Whether a log with this entry cannot be one that the snapshot stands for: terms never fall in a log."""
        if index == self.snapshot_index:
            return index > 0 and term != self.snapshot_term
        return index < self.snapshot_index and term > self.snapshot_term

    def start_over(self) -> None:
        """Forgets everything."""
        self.snapshot_index = self.snapshot_term = self.applied_index = 0
        self.begin_after_snapshot()

    def begin_after_snapshot(self) -> None:
        """Forgets all entries: the next one is that which follows the snapshot."""
        self._tail.clear()
        self._tail_bytes = 0
        self._first = self._tail_first = self.snapshot_index + 1
        self.last_index, self.last_term = self.snapshot_index, self.snapshot_term
        self.durable_index = self.snapshot_index

    def _trim(self) -> None:
        """Drops from memory what is on disk and applied, except a cache of recent entries for followers.

        Work is amortised: nothing happens until the cache is twice as long as it should be."""
        tail = self._tail
        settled = min(self.durable_index, self.applied_index) - self._tail_first + 1
        if settled <= 0:
            return
        if self.cached_entries == 0 and settled == len(tail):
            self._tail_first += settled
            tail.clear()
            self._tail_bytes = 0
            return
        if settled <= 2 * self.cached_entries and self._tail_bytes <= 2 * CACHED_BYTES:
            return
        drop, dropped_bytes = 0, 0
        while drop < settled and (
            settled - drop > self.cached_entries or self._tail_bytes - dropped_bytes > CACHED_BYTES
        ):
            dropped_bytes += len(tail[drop].data)
            drop += 1
        del tail[:drop]
        self._tail_bytes -= dropped_bytes
        self._tail_first += drop
