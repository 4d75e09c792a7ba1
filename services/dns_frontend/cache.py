"""Answer cache: ready-made answer bytes, valid while nothing they were made of has changed. No I/O in here.

Consul shuffles answers, so one question has several equivalent answers. The cache keeps a few of them; a new one takes
the place of a random old one, so that load stays spread while most answers cost one dictionary look-up.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import Final

from services.dns_frontend.known_replies import KnownReply
from shared.state.topics import Watch

Mark = tuple[int, int] | None
"""Generation and applied index of a snapshot; None without one."""

ROTATIONS: Final = 16


class Entry:
    """All that is known about one question. bodies: answers without their first two bytes (the id).

    mark: the state for which `versions` were last compared. shuffled: whether another answer would look different.
    expires_at: for answers that hold the time. only: the one answer of a question that is not shuffled. known: the
    replies of the agent cache that it was made of, if it was not made of the store.
    """

    __slots__ = ("bodies", "expires_at", "hits", "known", "mark", "only", "shuffled", "versions", "watch")

    def __init__(
        self,
        watch: Watch,
        versions: tuple[int | None, ...],
        mark: Mark,
        *,
        expires_at: float,
        shuffled: bool,
        known: tuple[KnownReply, ...] = (),
    ) -> None:
        self.watch = watch
        self.versions = versions
        self.mark = mark
        self.expires_at = expires_at
        self.shuffled = shuffled
        self.known = known
        self.bodies: list[bytes] = []
        self.only: bytes | None = None
        self.hits = 0

    def take(self) -> bytes:
        """The next of the answers."""
        self.hits += 1
        return self.bodies[self.hits % len(self.bodies)]


class AnswerCache:
    """Bounded by entries and by bytes; when full it starts over (some hundred microseconds per question)."""

    def __init__(self, rng: random.Random, *, max_entries: int = 20_000, max_bytes: int = 32 << 20) -> None:
        self._rng = rng
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: dict[Hashable, Entry] = {}
        self.get: Callable[[Hashable], Entry | None] = self._entries.get
        """The dictionary's own method: this is called for every packet."""
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def put(self, key: Hashable, entry: Entry, body: bytes) -> None:
        """Adds one more answer to `entry`, under `key` if it is new."""
        if len(self._entries) >= self._max_entries or self._bytes + len(body) > self._max_bytes:
            self.clear()
        if self._entries.get(key) is not entry:
            self.discard(key)
            self._entries[key] = entry
        if body in entry.bodies:
            return
        if len(entry.bodies) >= ROTATIONS:
            slot = self._rng.randrange(ROTATIONS)
            self._bytes += len(body) - len(entry.bodies[slot])
            entry.bodies[slot] = body
        else:
            entry.bodies.append(body)
            entry.only = None if entry.shuffled else body
            self._bytes += len(body)

    def discard(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= sum(map(len, entry.bodies))

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0
