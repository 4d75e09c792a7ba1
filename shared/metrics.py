"""Counters, gauges and samples in 10 s intervals, as go-metrics keeps them in memory for /v1/agent/metrics.

    incr("consul.raft.apply"); sample("consul.raft.commitTime", 0.4); gauge("consul.session_ttl.active", 3)

Each process has one registry. `dump()` is what it answers to `Metrics.Dump`; `merge(dumps)` makes one report of
several in the JSON shape of the HTTP endpoint. Shown is the last finished interval, or the first while it lasts."""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

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

    def configure(
        self,
        prefix: str = "consul",
        disable_hostname: bool = True,
        allowed_prefixes: Iterable[str] = (),
        blocked_prefixes: Iterable[str] = (),
        filter_default: bool = True,
    ) -> None:
        """Apply the `telemetry` section. May be called again on reload."""
        self._prefix = prefix
        self._host = "" if disable_hostname else socket.gethostname()
        self._allowed, self._blocked = tuple(allowed_prefixes), tuple(blocked_prefixes)
        self._filter_default = filter_default
        self._names.clear()

    def incr(self, name: str, n: float = 1, labels: Labels = ()) -> None:
        interval = self._interval(time.time())
        self._ingest(interval, interval.counters, name, n, labels)

    def sample(self, name: str, value: float, labels: Labels = (), times: int = 1) -> None:
        """`times`: how many of a batch had this value."""
        interval = self._interval(time.time())
        self._ingest(interval, interval.samples, name, value, labels, times)

    def gauge(self, name: str, value: float, labels: Labels = ()) -> None:
        interval = self._interval(time.time())
        shown = self._name(name)
        if shown is None:
            return
        key = (self._with_host(shown), tuple(labels))
        if key in interval.gauges or self._room(interval):
            interval.gauges[key] = value

    def dump(self) -> dict[str, Any]:
        """This process's part of the report: msgpack- and JSON-able, samples with `SumSq` for merging."""
        now = time.time()
        current = self._interval(now)
        shown = self._finished or current
        gauges = dict(shown.gauges)
        for name, value in (*_runtime_gauges().items(), *_collected()):
            allowed = self._name(name)
            if allowed is not None:
                gauges[(self._with_host(allowed), ())] = value
        return {
            "Timestamp": shown.start_s,
            "Gauges": [{"Name": n, "Value": v, "Labels": dict(labels)} for (n, labels), v in gauges.items()],
            "Points": [],
            "Counters": [_aggregate_dump(key, value) for key, value in shown.counters.items()],
            "Samples": [_aggregate_dump(key, value) for key, value in shown.samples.items()],
        }

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
    ) -> None:
        shown = self._name(name)
        if shown is None:
            return
        key = (shown, tuple(labels))
        aggregate = series.get(key)
        if aggregate is None:
            if self._room(interval):
                series[key] = [times, value * times, value * value * times, value, value]
            return
        aggregate[0] += times
        aggregate[1] += value * times
        aggregate[2] += value * value * times
        if value < aggregate[3]:
            aggregate[3] = value
        elif value > aggregate[4]:
            aggregate[4] = value

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


def merge(dumps: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One report of the parts of all processes, in the shape and order of GET /v1/agent/metrics.

    Counters and samples of one name are added up, `consul.runtime.*` gauges too; of other gauges the last wins."""
    parts = list(dumps)
    gauges: dict[str, dict[str, Any]] = {}
    aggregates: dict[str, dict[str, dict[str, Any]]] = {"Counters": {}, "Samples": {}}
    for part in parts:
        for item in part["Gauges"]:
            key = _series_key(item)
            value = item["Value"]
            if key in gauges and ".runtime." in key:
                value += gauges[key]["Value"]
            gauges[key] = {"Name": item["Name"], "Value": _number(value), "Labels": item["Labels"]}
        for kind, merged in aggregates.items():
            for item in part[kind]:
                _merge_aggregate(merged, item)
    newest_s = max((part["Timestamp"] for part in parts), default=0)
    return {
        "Timestamp": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(newest_s)),
        "Gauges": [gauges[key] for key in sorted(gauges)],
        "Points": [],
        "Counters": [_aggregate_shown(aggregates["Counters"][key]) for key in sorted(aggregates["Counters"])],
        "Samples": [_aggregate_shown(aggregates["Samples"][key]) for key in sorted(aggregates["Samples"])],
    }


def _merge_aggregate(merged: dict[str, dict[str, Any]], item: dict[str, Any]) -> None:
    key = _series_key(item)
    other = merged.get(key)
    if other is None:
        merged[key] = dict(item)
        return
    for field in ("Count", "Sum", "SumSq"):
        other[field] += item[field]
    other["Min"], other["Max"] = min(other["Min"], item["Min"]), max(other["Max"], item["Max"])


def _series_key(item: dict[str, Any]) -> str:
    return ";".join([item["Name"], *(f"{key}={value}" for key, value in item["Labels"].items())])


def _aggregate_dump(key: tuple[str, Labels], value: _Aggregate) -> dict[str, Any]:
    count, total, squares, low, high = value
    name, labels = key
    return {
        "Name": name, "Count": int(count), "Sum": total, "SumSq": squares, "Min": low, "Max": high,
        "Labels": dict(labels),
    }  # fmt: skip


def _aggregate_shown(item: dict[str, Any]) -> dict[str, Any]:
    count, total = item["Count"], item["Sum"]
    variance = (count * item["SumSq"] - total * total) / (count * (count - 1)) if count > 1 else 0.0
    return {
        "Name": item["Name"],
        "Count": count,
        "Rate": _number(total / INTERVAL_S),
        "Sum": _number(total),
        "Min": _number(item["Min"]),
        "Max": _number(item["Max"]),
        "Mean": _number(total / count),
        "Stddev": _number(max(variance, 0.0) ** 0.5),
        "Labels": item["Labels"],
    }


def _number(value: float) -> float:
    """Whole numbers as integers: Go's JSON writes 5, not 5.0."""
    return int(value) if float(value).is_integer() else value


def _runtime_gauges() -> dict[str, float]:
    """The process itself, under the names of Go's runtime where a counterpart exists. Bytes; counts."""
    with open("/proc/self/statm", encoding="ascii") as file:
        total_pages, resident_pages = file.read().split()[:2]
    page = os.sysconf("SC_PAGE_SIZE")
    return {
        "consul.runtime.alloc_bytes": int(resident_pages) * page,
        "consul.runtime.sys_bytes": int(total_pages) * page,
        "consul.runtime.total_gc_runs": sum(generation["collections"] for generation in gc.get_stats()),
    }


_collectors: dict[Collector, None] = {}


def collect(collector: Collector) -> Callable[[], None]:
    """`collector()` gives gauges (name -> value) that are looked up when somebody asks, not kept up to date: sizes of
    queues and caches. Returns what ends it."""
    _collectors[collector] = None
    return lambda: _collectors.pop(collector, None)


def _collected() -> Iterator[tuple[str, float]]:
    for collector in _collectors:
        yield from collector().items()


_registry = Registry()
configure, incr, gauge, sample, dump = (
    _registry.configure, _registry.incr, _registry.gauge, _registry.sample, _registry.dump,
)  # fmt: skip
