"""When a session's TTL has run out. Only the leader keeps this time, and it gives each session twice its TTL.

The promise to clients is that no session ends before its TTL: a renewal may be on its way, and after a
change of leader all timers start again."""

from __future__ import annotations

import heapq

TTL_MULTIPLIER = 2.0
INVALIDATE_ATTEMPTS_MAX = 6
INVALIDATE_RETRY_BASE_S = 10.0


class SessionTimers:
    """Expiry by session id, as a heap with lazy deletion. Sans-IO: the time is passed in."""

    __slots__ = ("_attempts", "_expiry", "_heap")

    def __init__(self) -> None:
        self._expiry: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._attempts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._expiry)

    def reset(self, session_id: str, ttl_s: float, now: float) -> None:
        """Start or renew; a TTL of zero has no timer."""
        if ttl_s > 0:
            self._schedule(session_id, now + ttl_s * TTL_MULTIPLIER)
            self._attempts.pop(session_id, None)

    def clear(self, session_id: str) -> None:
        self._expiry.pop(session_id, None)
        self._attempts.pop(session_id, None)

    def clear_all(self) -> None:
        self._expiry.clear()
        self._heap.clear()
        self._attempts.clear()

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to say next."""
        while self._heap and self._expiry.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def expire(self, now: float) -> list[str]:
        """Sessions to be invalidated, each once."""
        due = []
        while (deadline := self.deadline) is not None and deadline <= now:
            session_id = heapq.heappop(self._heap)[1]
            del self._expiry[session_id]
            due.append(session_id)
        return due

    def invalidation_failed(self, session_id: str, now: float) -> bool:
        """Try again later, 10 s, 20 s, ... from now; False if it has been tried often enough."""
        attempt = self._attempts.get(session_id, 0)
        if attempt + 1 >= INVALIDATE_ATTEMPTS_MAX:
            self._attempts.pop(session_id, None)
            return False
        self._attempts[session_id] = attempt + 1
        self._schedule(session_id, now + INVALIDATE_RETRY_BASE_S * 2**attempt)
        return True

    def _schedule(self, session_id: str, expiry: float) -> None:
        self._expiry[session_id] = expiry
        heapq.heappush(self._heap, (expiry, session_id))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._expiry):
            # Renewals leave stale entries behind; they must not outgrow the living ones.
            self._heap = [(at, name) for name, at in self._expiry.items()]
            heapq.heapify(self._heap)
