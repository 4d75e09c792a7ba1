"""metrics: what the processes of an agent measure, as go-metrics does it, and how it leaves the agent.

    incr("consul.raft.apply"); sample("consul.raft.commitTime", 0.4); gauge("consul.session_ttl.active", 3)

Each process has one registry. `dump()` is what it answers to `Metrics.Dump`; `merge(dumps)` makes one report of
several in the JSON shape of GET /v1/agent/metrics, `prometheus.Page` the text that Prometheus reads.

apply configure incr gauge sample collect dump   of this process's registry
take_batch end_batches look_up has_sinks         for sinks
merge(dumps)                                     the report
prometheus, lines, sinks                         imported where they are used"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from shared.metrics.registry import INTERVAL_S, SERIES_MAX, Collector, Interval, Labels, Registry, collect

if TYPE_CHECKING:
    from shared.config.sections import Telemetry

__all__ = [
    "INTERVAL_S",
    "SERIES_MAX",
    "Collector",
    "Interval",
    "Labels",
    "Registry",
    "apply",
    "collect",
    "configure",
    "dump",
    "end_batches",
    "gauge",
    "has_sinks",
    "incr",
    "look_up",
    "merge",
    "sample",
    "take_batch",
]


def has_sinks(telemetry: Telemetry) -> bool:
    """Whether there is anybody to send measurements to."""
    return bool(telemetry.statsd_address or telemetry.statsite_address or telemetry.dogstatsd_addr)


def apply(telemetry: Telemetry) -> None:
    """Apply the `telemetry` section to this process's registry; again after a reload.

    Gauges carry the host's name only where somebody beside the agent itself gets to see them, as Consul's do."""
    seen_outside = has_sinks(telemetry) or telemetry.prometheus_retention_time_s > 0
    configure(
        telemetry.metrics_prefix,
        telemetry.disable_hostname or not seen_outside,
        telemetry.allowed_prefixes,
        telemetry.blocked_prefixes,
        telemetry.filter_default,
        telemetry.prometheus_retention_time_s,
    )


def merge(dumps: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """See report.merge."""
    from shared.metrics.report import merge as merge_parts

    return merge_parts(dumps)


_registry = Registry()
configure, incr, gauge, sample, dump, take_batch, end_batches, look_up = (
    _registry.configure, _registry.incr, _registry.gauge, _registry.sample, _registry.dump,
    _registry.take_batch, _registry.end_batches, _registry.look_up,
)  # fmt: skip
