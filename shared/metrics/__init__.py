"""metrics: what the processes of an agent measure, as go-metrics does it, and how it leaves the agent.

    incr("consul.raft.apply"); sample("consul.raft.commitTime", 0.4); gauge("consul.session_ttl.active", 3)

Each process has one registry. `dump()` is what it answers to `Metrics.Dump`; `merge(dumps)` makes one report of
several in the JSON shape of GET /v1/agent/metrics, `prometheus.Page` the text that Prometheus reads.

configure incr gauge sample collect dump   of this process's registry
take_batch end_batches                     for sinks
merge(dumps)                               the report
prometheus, lines, sinks                   imported where they are used"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shared.metrics.registry import INTERVAL_S, SERIES_MAX, Collector, Interval, Labels, Registry, collect

__all__ = [
    "INTERVAL_S",
    "SERIES_MAX",
    "Collector",
    "Interval",
    "Labels",
    "Registry",
    "collect",
    "configure",
    "dump",
    "end_batches",
    "gauge",
    "incr",
    "merge",
    "sample",
    "take_batch",
]


def merge(dumps: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """See report.merge."""
    from shared.metrics.report import merge as merge_parts

    return merge_parts(dumps)


_registry = Registry()
configure, incr, gauge, sample, dump, take_batch, end_batches = (
    _registry.configure, _registry.incr, _registry.gauge, _registry.sample, _registry.dump,
    _registry.take_batch, _registry.end_batches,
)  # fmt: skip
