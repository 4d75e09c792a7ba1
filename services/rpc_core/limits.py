"""What one caller may take: calls per second for this agent, connections per source address."""

from __future__ import annotations

from shared.config.sections import RATE_UNLIMITED


class TokenBucket:
    """`rate` tokens per second, at most `burst` saved up. Sans-IO: the time is passed in."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        """rate: calls per second; zero and below is no limit. burst: bucket size, calls."""
        self._rate = rate if 0 < rate < RATE_UNLIMITED else 0.0
        self._burst = float(burst)
        self._tokens = self._burst
        self._filled_at = now

    @property
    def unlimited(self) -> bool:
        return self._rate == 0.0

    def allow(self, now: float) -> bool:
        """Take one token, False if there is none."""
        if self._rate == 0.0:
            return True
        elapsed_s = max(0.0, now - self._filled_at)
        self._filled_at = now
        self._tokens = min(self._burst, self._tokens + elapsed_s * self._rate)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def wait_s(self) -> float:
        """Seconds until there is a token, as of the last `allow`."""
        return 0.0 if self._rate == 0.0 else max(0.0, (1.0 - self._tokens) / self._rate)


class ConnectionCounter:
    """How many connections each source address holds."""

    __slots__ = ("_counts", "limit")

    def __init__(self, limit: int) -> None:
        """limit: connections per source address; zero and below is no limit."""
        self.limit = limit
        self._counts: dict[str, int] = {}

    def acquire(self, source: str) -> bool:
        """Count a connection from `source`, False (and not counted) if it has its share already."""
        count = self._counts.get(source, 0)
        if 0 < self.limit <= count:
            return False
        self._counts[source] = count + 1
        return True

    def release(self, source: str) -> None:
        count = self._counts[source] - 1
        if count:
            self._counts[source] = count
        else:
            del self._counts[source]
