"""Totals: what was measured since the process began, for those who collect it themselves (Prometheus).

Counters and sums only grow; of samples the last few seconds' values are kept too, bounded, for quantiles. A series
that nothing was added to for the retention time is forgotten."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

Key = tuple[str, Sequence[tuple[str, str]]]

SERIES_MAX = 2000
WINDOW_S = 10.0
"""How far back quantiles look."""
VALUES_MAX = 500
"""Values of one series that are kept for them; the newest stay."""


class Totals:
    """One process's totals. Times are Unix seconds."""

    def __init__(self, retention_s: float) -> None:
        self.retention_s = retention_s
        self._counters: dict[Key, list[float]] = {}  # total, when it changed last
        self._gauges: dict[Key, list[float]] = {}  # value, when it was set
        self._samples: dict[Key, _Summary] = {}

    def incr(self, key: Key, n: float, now: float) -> None:
        found = self._counters.get(key)
        if found is not None:
            found[0] += n
            found[1] = now
        elif len(self._counters) < SERIES_MAX:
            self._counters[key] = [n, now]

    def gauge(self, key: Key, value: float, now: float) -> None:
        if key in self._gauges or len(self._gauges) < SERIES_MAX:
            self._gauges[key] = [value, now]

    def sample(self, key: Key, value: float, times: int, now: float) -> None:
        found = self._samples.get(key)
        if found is None:
            if len(self._samples) >= SERIES_MAX:
                return
            found = self._samples[key] = _Summary()
        found.count += times
        found.sum += value * times
        found.updated = now
        found.values.append((now, value, times))

    def dump(self, now: float) -> dict[str, Any]:
        """{"Counters": [[name, labels, total]], "Gauges": [[name, labels, value]], "Samples": [[name, labels, count,
        sum, [[value, times], ...]]]}, ready for msgpack. Forgets what is too old."""
        oldest = now - self.retention_s
        for series in (self._counters, self._gauges):
            for key in [key for key, (_, updated) in series.items() if updated < oldest]:
                del series[key]
        for key in [key for key, summary in self._samples.items() if summary.updated < oldest]:
            del self._samples[key]
        return {
            "Counters": [[name, dict(labels), total] for (name, labels), (total, _) in self._counters.items()],
            "Gauges": [[name, dict(labels), value] for (name, labels), (value, _) in self._gauges.items()],
            "Samples": [
                [name, dict(labels), summary.count, summary.sum, summary.recent(now)]
                for (name, labels), summary in self._samples.items()
            ],
        }


class _Summary:
    __slots__ = ("count", "sum", "updated", "values")

    def __init__(self) -> None:
        self.count = 0
        self.sum = self.updated = 0.0
        self.values: deque[tuple[float, float, int]] = deque(maxlen=VALUES_MAX)

    def recent(self, now: float) -> list[tuple[float, int]]:
        values = self.values
        while values and values[0][0] < now - WINDOW_S:
            values.popleft()
        return [(value, times) for _, value, times in values]
