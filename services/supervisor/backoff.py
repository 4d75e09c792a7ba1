"""Backoff: how long to wait before a crashed component is started again. No clock in here."""

from __future__ import annotations

BASE_S = 0.1
MAX_S = 10.0
STABLE_S = 10.0


class Backoff:
    """The first restart is immediate, then delays double from BASE_S to MAX_S; it never gives up.

    A component that served for STABLE_S starts from the beginning again."""

    def __init__(self) -> None:
        self._failures = 0

    def delay_s(self, served_s: float) -> float:
        """Delay before the next start. served_s: how long the process that ended had been READY, 0 if never."""
        if served_s >= STABLE_S:
            self._failures = 0
        self._failures += 1
        if self._failures == 1:
            return 0.0
        return float(min(BASE_S * 2 ** min(self._failures - 2, 20), MAX_S))
