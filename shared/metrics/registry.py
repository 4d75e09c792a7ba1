"""Registry: counters, gauges and samples in 10 s intervals, as go-metrics keeps them in memory.

Shown is the last finished interval, or the first while it lasts. What wants more than that, totals since the start or
everything once, is kept beside the intervals while somebody asks for it (`configure`, `batches`)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared.metrics.runtime import process_stats, runtime_gauges

if TYPE_CHECKING:
    from shared.metrics.batch import Batch
    from shared.metrics.totals import Totals

INTERVAL_S = 10
SERIES_MAX = 2000
"""Distinct series per interval; more are not kept but counted under `consul.metrics.dropped`."""

Labels = Sequence[tuple[str, str]]
Collector = Callable[[], Mapping[str, float]]
_Aggregate = list[float]  # count, sum, sum of squares, min, max


class Interval:
    """What was measured from `start_s` (Unix time, a multiple of INTERVAL_S) on. Keys are (name, labels)."""

    __slots__ = ("counters", "gauges", "samples", "start_s")

    def __init__(self, start_s: int) -> None:
        self.start_s = start_s
        self.gauges: dict[tuple[str, Labels], float] = {}
        self.counters: dict[tuple[str, Labels], _Aggregate] = {}
        self.samples: dict[tuple[str, Labels], _Aggregate] = {}


class Registry:
    """The current and the last finished interval. Not for sharing between threads."""

    def __init__(self) -> None:
        self._current = Interval(0)
        self._finished: Interval | None = None
        self._end_s = 0.0
        self._prefix = "consul"
        self._host = ""
        self._allowed: tuple[str, ...] = ()
        self._blocked: tuple[str, ...] = ()
        self._filter_default = True
        self._names: dict[str, str | None] = {}
        self._totals: Totals | None = None
        self._batch: Batch | None = None

    def configure(
        self,
        prefix: str = "consul",
        disable_hostname: bool = True,
        allowed_prefixes: Iterable[str] = (),
        blocked_prefixes: Iterable[str] = (),
        filter_default: bool = True,
        retention_s: float = 0.0,
    ) -> None:
        """Apply the `telemetry` section. May be called again on reload.

        retention_s: how long totals are kept for Prometheus; 0: they are not."""
        if retention_s <= 0:
            self._totals = None
        elif self._totals is None:
            from shared.metrics.totals import Totals

            self._totals = Totals(retention_s)
        else:
            self._totals.retention_s = retention_s
        self._prefix = prefix
        self._host = "" if disable_hostname else socket.gethostname()
        self._allowed, self._blocked = tuple(allowed_prefixes), tuple(blocked_prefixes)
        self._filter_default = filter_default
        self._names.clear()

    def take_batch(self) -> Batch:
        """What was measured since the last call. From the first call on batches are kept, until `end_batches`."""
        from shared.metrics.batch import Batch

        taken, self._batch = self._batch or Batch(), Batch()
        return taken

    def look_up(self) -> None:
        """Sets the gauges that are not kept up to date, for those who are sent measurements."""
        for name, value in _collected():
            self.gauge(name, value)

    def end_batches(self) -> None:
        self._batch = None

    def incr(self, name: str, n: float = 1, labels: Labels = ()) -> None:
        now = time.time()
        interval = self._interval(now)
        key = self._ingest(interval, interval.counters, name, n, labels)
        if key is not None:
            if self._totals is not None:
                self._totals.incr(key, n, now)
            if self._batch is not None:
                self._batch.incr(key, n)

    def sample(self, name: str, value: float, labels: Labels = (), times: int = 1) -> None:
        """`times`: how many of a batch had this value."""
        now = time.time()
        interval = self._interval(now)
        key = self._ingest(interval, interval.samples, name, value, labels, times)
        if key is not None:
            if self._totals is not None:
                self._totals.sample(key, value, times, now)
            if self._batch is not None:
                self._batch.sample(key, value, times)

    def gauge(self, name: str, value: float, labels: Labels = ()) -> None:
        now = time.time()
        interval = self._interval(now)
        shown = self._name(name)
        if shown is None:
            return
        key = (self._with_host(shown), tuple(labels))
        if key in interval.gauges or self._room(interval):
            interval.gauges[key] = value
        if self._totals is not None:
            self._totals.gauge(key, value, now)
        if self._batch is not None:
            self._batch.gauge(key, value)

    def dump(self) -> dict[str, Any]:
        """This process's part of the report: msgpack- and JSON-able, samples with `SumSq` for merging.

        Where totals are kept it has "Totals": what Totals.dump gives, and "Process": [pid, statistics]."""
        now = time.time()
        current = self._interval(now)
        shown = self._finished or current
        looked_up = self._looked_up()
        gauges = {**shown.gauges, **looked_up}
        report = {
            "Timestamp": shown.start_s,
            "Gauges": [{"Name": n, "Value": v, "Labels": dict(labels)} for (n, labels), v in gauges.items()],
            "Points": [],
            "Counters": [_aggregate_dump(key, value) for key, value in shown.counters.items()],
            "Samples": [_aggregate_dump(key, value) for key, value in shown.samples.items()],
        }
        if self._totals is not None:
            for key, value in looked_up.items():
                self._totals.gauge(key, value, now)
            report["Totals"] = {"Process": [os.getpid(), process_stats()], **self._totals.dump(now)}
        return report

    def _looked_up(self) -> dict[tuple[str, Labels], float]:
        """Gauges that nobody keeps up to date."""
        found: dict[tuple[str, Labels], float] = {}
        for name, value in (*runtime_gauges().items(), *_collected()):
            allowed = self._name(name)
            if allowed is not None:
                found[(self._with_host(allowed), ())] = value
        return found

    def _interval(self, now: float) -> Interval:
        if now >= self._end_s or now < self._current.start_s:  # the second: the clock was set back
            start_s = int(now) // INTERVAL_S * INTERVAL_S
            self._finished = self._current if self._end_s else None
            self._current, self._end_s = Interval(start_s), start_s + INTERVAL_S
        return self._current

    def _ingest(
        self,
        interval: Interval,
        series: dict[tuple[str, Labels], _Aggregate],
        name: str,
        value: float,
        labels: Labels,
        times: int = 1,
    ) -> tuple[str, Labels] | None:
        """The key it was filed under, None if it is held back."""
        shown = self._name(name)
        if shown is None:
            return None
        key = (shown, tuple(labels))
        aggregate = series.get(key)
        if aggregate is None:
            if self._room(interval):
                series[key] = [times, value * times, value * value * times, value, value]
            return key
        aggregate[0] += times
        aggregate[1] += value * times
        aggregate[2] += value * value * times
        if value < aggregate[3]:
            aggregate[3] = value
        elif value > aggregate[4]:
            aggregate[4] = value
        return key

    def _room(self, interval: Interval) -> bool:
        if len(interval.gauges) + len(interval.counters) + len(interval.samples) < SERIES_MAX:
            return True
        dropped = interval.counters.setdefault((f"{self._prefix}.metrics.dropped", ()), [0, 0, 0, 1, 1])
        for slot in (0, 1, 2):
            dropped[slot] += 1
        return False

    def _name(self, name: str) -> str | None:
        """The name to show, None when the prefix filter holds it back. The longest matching prefix decides."""
        if name in self._names:
            return self._names[name]
        shown: str | None = name
        if name.startswith("consul.") and self._prefix != "consul":
            shown = self._prefix + name.removeprefix("consul")
        assert shown is not None
        allowed = max((len(prefix) for prefix in self._allowed if shown.startswith(prefix)), default=-1)
        blocked = max((len(prefix) for prefix in self._blocked if shown.startswith(prefix)), default=-1)
        if blocked > allowed or (allowed < 0 and blocked < 0 and not self._filter_default):
            shown = None
        if len(self._names) < 2 * SERIES_MAX:
            self._names[name] = shown
        return shown

    def _with_host(self, name: str) -> str:
        if not self._host:
            return name
        prefix, _, rest = name.partition(".")
        return f"{prefix}.{self._host}.{rest}"


def _aggregate_dump(key: tuple[str, Labels], value: _Aggregate) -> dict[str, Any]:
    count, total, squares, low, high = value
    name, labels = key
    return {
        "Name": name, "Count": int(count), "Sum": total, "SumSq": squares, "Min": low, "Max": high,
        "Labels": dict(labels),
    }  # fmt: skip


_collectors: dict[Collector, None] = {}


def collect(collector: Collector) -> Callable[[], None]:
    """`collector()` gives gauges (name -> value) that are looked up when somebody asks, not kept up to date: sizes of
    queues and caches. Returns what ends it."""
    _collectors[collector] = None
    return lambda: _collectors.pop(collector, None)


def _collected() -> Iterator[tuple[str, float]]:
    for collector in _collectors:
        yield from collector().items()
