"""Replies of the agent cache (`dns_config.use_cache`) that are kept fresh there: no need to ask for them again.

The cache says (topic `cache`) when a reply has come to its end: replaced, forgotten, or not kept fresh any more. So
what is here is what the cache would answer."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from shared import metrics
from shared.ipc import Link

REPLIES_MAX: Final = 4096
BYTES_MAX: Final = 8 << 20
"""Of the packed replies; unpacked they are several times as large."""
TRUSTED_S: Final = 60.0
"""How long a reply is used without a word to the cache: there, what is not read grows old and goes."""


class KnownReply:
    """trusted_until: monotonic time, 0 when it has ended. cache_type: what counts as a hit of."""

    __slots__ = ("cache_type", "number", "reply", "size", "trusted_until")

    def __init__(self, cache_type: str, number: int, reply: Any, size: int, trusted_until: float) -> None:
        """size: bytes, packed."""
        self.cache_type, self.number, self.reply, self.size = cache_type, number, reply, size
        self.trusted_until = trusted_until


class KnownReplies:
    """By what was asked; when full, the oldest go first."""

    def __init__(self) -> None:
        self._known: dict[Hashable, KnownReply] = {}
        self._keys: dict[int, set[Hashable]] = {}
        self._bytes = 0
        self._attached = False

    def __len__(self) -> int:
        return len(self._known)

    def attach(self, link: Link) -> None:
        """Listen to the cache, from the first use on."""
        if not self._attached:
            self._attached = True
            link.subscribe("cache", self._ended)
            link.on_down(self.clear)

    def get(self, key: Hashable) -> KnownReply | None:
        return self._known.get(key)

    def put(self, key: Hashable, known: KnownReply) -> None:
        self._remove(key)
        self._known[key] = known
        self._keys.setdefault(known.number, set()).add(key)
        self._bytes += known.size
        while len(self._known) > REPLIES_MAX or self._bytes > BYTES_MAX:
            self._remove(next(iter(self._known)))

    def clear(self) -> None:
        for key in list(self._known):
            self._remove(key)

    def _ended(self, numbers: Any) -> None:
        for number in numbers:
            for key in list(self._keys.get(number, ())):
                self._remove(key)

    def _remove(self, key: Hashable) -> None:
        """Whoever holds it sees that it has ended."""
        known = self._known.pop(key, None)
        if known is None:
            return
        known.trusted_until = 0.0
        self._bytes -= known.size
        keys = self._keys[known.number]
        keys.discard(key)
        if not keys:
            del self._keys[known.number]


class Replies(dict[Hashable, Any]):
    """What is at hand for one resolution: replies that were fetched for it, and known ones. now: monotonic time.

    only_known: whether nothing else than known replies was used; they are in `used` then."""

    __slots__ = ("_known", "_now", "used")

    def __init__(self, known: KnownReplies, now: float) -> None:
        super().__init__()
        self._known, self._now = known, now
        self.used: list[KnownReply] = []

    @property
    def only_known(self) -> bool:
        return not len(self) and bool(self.used)

    def __missing__(self, key: Hashable) -> Any:
        known = self._known.get(key)
        if known is None or known.trusted_until <= self._now:
            raise KeyError(key)
        self.used.append(known)
        metrics.incr(f"consul.consul.cache.{known.cache_type}.hit")
        return known.reply
