"""The log and the stable store of dev mode: the interface of the durable ones, kept in memory only."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from services.raft_node.core.types import ADD_PEER, CONFIGURATION, REMOVE_PEER, Entry, HardState
from services.raft_node.log.wal import Pending


class MemoryLog:
    """A list of entries. It is bounded by compaction after snapshots, as the one on disk is."""

    def __init__(self, next_index: int = 1) -> None:
        self._entries: list[Entry] = []
        self._staged: Sequence[Entry] = ()
        self.first_index = next_index
        self.torn_bytes = 0
        self.broken = False

    @property
    def last_index(self) -> int:
        return self.first_index + len(self._entries) - 1

    @property
    def recovered_configurations(self) -> list[Entry]:
        kinds = (CONFIGURATION, ADD_PEER, REMOVE_PEER)
        return [entry for entry in self._entries if entry.type in kinds]

    def append(self, entries: Sequence[Entry]) -> None:
        self.finish(self.write(entries))

    def write(self, entries: Sequence[Entry]) -> Pending:
        first = entries[0].index
        if not self.first_index <= first <= self.last_index + 1:
            raise ValueError(f"entry {first} does not fit into a log of {self.first_index}..{self.last_index}")
        self._staged = entries
        return Pending(first, entries[-1].index, [], 0, 0)

    def sync(self) -> None:
        """Nothing to wait for."""

    def finish(self, pending: Pending) -> None:
        del self._entries[pending.first_index - self.first_index :]
        self._entries.extend(self._staged)
        self._staged = ()

    def undo(self, pending: Pending) -> None:
        self._staged = ()

    def reset(self, next_index: int) -> None:
        self._entries.clear()
        self.first_index = next_index

    def compact(self, last: int) -> None:
        count = min(last, self.last_index) - self.first_index + 1
        if count > 0:
            del self._entries[:count]
            self.first_index += count

    def close(self) -> None:
        """Nothing to let go of."""

    def term_at(self, index: int) -> int:
        if not self.first_index <= index <= self.last_index:
            raise IndexError(f"entry {index} is not in the log ({self.first_index}..{self.last_index})")
        return self._entries[index - self.first_index].term

    def read(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        if not self.first_index <= first <= last <= self.last_index:
            raise IndexError(f"entries {first}..{last} are not in the log ({self.first_index}..{self.last_index})")
        entries = self._entries[first - self.first_index : last - self.first_index + 1]
        sizes: list[int] = []
        total = 0
        for entry in entries:
            total += len(entry.data)
            sizes.append(total)
        return entries[: max(1, bisect_right(sizes, max_bytes))]


class MemoryStable:
    """Hard state that is lost with the process."""

    def __init__(self, state: HardState | None = None) -> None:
        self.state = state or HardState()

    def save(self, state: HardState) -> None:
        self.state = state

    def close(self) -> None:
        """Nothing to let go of."""
