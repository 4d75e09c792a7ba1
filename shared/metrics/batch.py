"""Batch: what was measured since the last look, for servers that are sent measurements (statsd and its kin).

Counts are added up, of gauges the last value stays; of the values of one series a bounded number is kept, and how
many there were: the line says which share of them it stands for."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.metrics.totals import Key

SERIES_MAX = 2000
VALUES_MAX = 32
"""Values of one series and batch."""


@dataclass(slots=True)
class Values:
    """count: how many there were; kept: the last of them, in a ring."""

    count: int = 0
    kept: list[float] = field(default_factory=list)

    def add(self, value: float, times: int) -> None:
        if len(self.kept) < VALUES_MAX:
            self.kept += [value] * min(times, VALUES_MAX - len(self.kept))
        else:
            self.kept[self.count % VALUES_MAX] = value
        self.count += times


@dataclass(slots=True)
class Batch:
    """One second or so of one process. `dropped`: series that found no room."""

    counters: dict[Key, float] = field(default_factory=dict)
    gauges: dict[Key, float] = field(default_factory=dict)
    samples: dict[Key, Values] = field(default_factory=dict)
    dropped: int = 0

    def incr(self, key: Key, n: float) -> None:
        if key in self.counters:
            self.counters[key] += n
        elif self._room():
            self.counters[key] = n

    def gauge(self, key: Key, value: float) -> None:
        if key in self.gauges or self._room():
            self.gauges[key] = value

    def sample(self, key: Key, value: float, times: int) -> None:
        found = self.samples.get(key)
        if found is None:
            if not self._room():
                return
            found = self.samples[key] = Values()
        found.add(value, times)

    def _room(self) -> bool:
        if len(self.counters) + len(self.gauges) + len(self.samples) < SERIES_MAX:
            return True
        self.dropped += 1
        return False
