"""Metrics: go-metrics' intervals and aggregates, merged over processes into Consul's JSON shape."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.metrics import INTERVAL_S, SERIES_MAX, Registry, merge
from shared.metrics import registry as registry_module


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(registry_module.time, "time", clock.time)
    monkeypatch.setattr(registry_module, "runtime_gauges", dict)
    return clock


def test_the_first_interval_is_shown_while_it_lasts_then_the_last_finished_one(clock: Clock) -> None:
    registry = Registry()
    registry.incr("consul.rpc.query")
    assert merge([registry.dump()])["Counters"][0]["Count"] == 1
    registry.incr("consul.rpc.query")
    clock.now += INTERVAL_S
    registry.incr("consul.rpc.query", 5)
    report = merge([registry.dump()])
    assert report["Timestamp"] == "2001-09-09 01:46:40 +0000 UTC"
    assert report["Counters"] == [
        {
            "Name": "consul.rpc.query", "Count": 2, "Rate": 0.2, "Sum": 2, "Min": 1, "Max": 1, "Mean": 1, "Stddev": 0,
            "Labels": {},
        }
    ]  # fmt: skip


def test_a_report_has_consuls_keys_in_consuls_order(clock: Clock) -> None:
    registry = Registry()
    registry.gauge("consul.b", 2)
    registry.gauge("consul.a", 1.5)
    registry.sample("consul.http.GET.v1.kv._", 0.5, labels=[("x", "y")])
    report = merge([registry.dump()])
    assert list(report) == ["Timestamp", "Gauges", "Points", "Counters", "Samples"]
    assert report["Gauges"] == [
        {"Name": "consul.a", "Value": 1.5, "Labels": {}},
        {"Name": "consul.b", "Value": 2, "Labels": {}},
    ]
    assert list(report["Samples"][0]) == [
        "Name", "Count", "Rate", "Sum", "Min", "Max", "Mean", "Stddev", "Labels",
    ]  # fmt: skip
    assert report["Samples"][0]["Labels"] == {"x": "y"}


def test_series_are_bounded_and_what_is_not_kept_is_counted(clock: Clock) -> None:
    registry = Registry()
    for number in range(SERIES_MAX + 50):
        registry.incr(f"consul.series.{number}")
    counters = {item["Name"]: item for item in registry.dump()["Counters"]}
    assert len(counters) == SERIES_MAX + 1
    assert counters["consul.metrics.dropped"]["Count"] == 50


def test_prefix_and_filters_are_those_of_the_telemetry_section(clock: Clock) -> None:
    registry = Registry()
    registry.configure("mine", True, ["mine.rpc.query"], ["mine.rpc", "mine.http"])
    for name in ("consul.rpc.query", "consul.rpc.other", "consul.http.x", "consul.raft.apply"):
        registry.incr(name)
    assert [item["Name"] for item in registry.dump()["Counters"]] == ["mine.rpc.query", "mine.raft.apply"]


def test_gauges_carry_the_hostname_unless_disabled(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module.socket, "gethostname", lambda: "host1")
    registry = Registry()
    registry.configure(disable_hostname=False)
    registry.gauge("consul.session_ttl.active", 1)
    registry.incr("consul.rpc.query")
    assert registry.dump()["Gauges"][0]["Name"] == "consul.host1.session_ttl.active"
    assert registry.dump()["Counters"][0]["Name"] == "consul.rpc.query"


samples = st.lists(st.floats(0, 1e6), min_size=1, max_size=30)


@given(st.lists(samples, min_size=1, max_size=4))
def test_merging_processes_equals_measuring_in_one(parts: list[list[float]]) -> None:
    dumps: list[dict[str, Any]] = []
    together = Registry()
    for part in parts:
        registry = Registry()
        for value in part:
            registry.sample("consul.x", value)
            together.sample("consul.x", value)
        dumps.append(registry.dump())
    merged = merge(dumps)["Samples"][0]
    alone = merge([together.dump()])["Samples"][0]
    assert merged["Count"] == alone["Count"]
    for key in ("Sum", "Min", "Max", "Mean", "Rate"):
        assert math.isclose(merged[key], alone[key], rel_tol=1e-9, abs_tol=1e-9)


def test_the_process_measures_itself() -> None:
    gauges = {item["Name"]: item["Value"] for item in Registry().dump()["Gauges"]}
    assert gauges["consul.runtime.alloc_bytes"] > 1_000_000
