"""The page that Prometheus reads: its form, sums over processes, what ended processes had counted."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from shared.metrics.prometheus import Page, format_value
from shared.metrics.totals import WINDOW_S, Totals

STATS = {
    "cpu_seconds_total": 0.5, "max_fds": 1024, "open_fds": 10, "resident_memory_bytes": 20_000_000,
    "start_time_seconds": 1_795_242_862.5, "virtual_memory_bytes": 30_000_000,
}  # fmt: skip


def part(totals: Totals, pid: int = 1, now: float = 100.0) -> dict[str, Any]:
    return {"Totals": {"Process": [pid, STATS], **totals.dump(now)}}


def values(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of a page, by name and labels. The library ends all names of counters with _total."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_a_page_has_the_form_that_go_gives_it() -> None:
    totals = Totals(60.0)
    totals.incr(("consul.raft.apply", ()), 3, 100.0)
    totals.gauge(("consul.session_ttl.active", ()), 2.5, 100.0)
    totals.incr(("consul.client.api.catalog-nodes", (("node", 'n"1\\\n'),)), 1, 100.0)
    totals.sample(("consul.kvs.apply", ()), 0.25, 1, 100.0)
    totals.sample(("consul.kvs.apply", ()), 1.0, 9, 100.0)
    page = Page().render([part(totals)]).decode()
    assert page.startswith(
        "# HELP consul_client_api_catalog_nodes consul_client_api_catalog_nodes\n"
        "# TYPE consul_client_api_catalog_nodes counter\n"
        'consul_client_api_catalog_nodes{node="n\\"1\\\\\\n"} 1\n'
        "# HELP consul_kvs_apply consul_kvs_apply\n"
        "# TYPE consul_kvs_apply summary\n"
        'consul_kvs_apply{quantile="0.5"} 1\n'
        'consul_kvs_apply{quantile="0.9"} 1\n'
        'consul_kvs_apply{quantile="0.99"} 1\n'
        "consul_kvs_apply_sum 9.25\n"
        "consul_kvs_apply_count 10\n"
        "# HELP consul_raft_apply consul_raft_apply\n"
        "# TYPE consul_raft_apply counter\n"
        "consul_raft_apply 3\n"
        "# HELP consul_session_ttl_active consul_session_ttl_active\n"
        "# TYPE consul_session_ttl_active gauge\n"
        "consul_session_ttl_active 2.5\n"
        "# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.\n"
        "# TYPE process_cpu_seconds_total counter\n"
        "process_cpu_seconds_total 0.5\n"
    )
    assert "process_start_time_seconds 1.7952428625e+09\n" in page


def test_counts_of_all_processes_are_added_and_memory_is_too() -> None:
    first, second = Totals(60.0), Totals(60.0)
    for totals in (first, second):
        totals.incr(("consul.rpc.query", ()), 2, 100.0)
        totals.gauge(("consul.runtime.alloc_bytes", ()), 1000, 100.0)
        totals.gauge(("consul.raft.applied_index", ()), 7, 100.0)
        totals.sample(("consul.x", ()), 1, 1, 100.0)
    found = values(Page().render([part(first, 1), part(second, 2)]))
    assert found["consul_rpc_query_total", ()] == 4
    assert found["consul_runtime_alloc_bytes", ()] == 2000
    assert found["consul_raft_applied_index", ()] == 7
    assert found["consul_x_count", ()] == 2
    assert found["process_open_fds", ()] == 20
    assert found["process_start_time_seconds", ()] == STATS["start_time_seconds"]


def test_a_counter_does_not_fall_when_a_process_is_started_anew_or_does_not_answer() -> None:
    page = Page()
    old, other, new = Totals(60.0), Totals(60.0), Totals(60.0)
    for totals in (old, other):
        totals.incr(("consul.rpc.query", ()), 10, 100.0)
    assert values(page.render([part(old, 1), part(other, 2)]))["consul_rpc_query_total", ()] == 20
    assert values(page.render([part(other, 2)]))["consul_rpc_query_total", ()] == 20
    new.incr(("consul.rpc.query", ()), 1, 100.0)
    assert values(page.render([part(new, 3), part(other, 2)]))["consul_rpc_query_total", ()] == 21


def test_what_is_not_measured_any_more_goes() -> None:
    page, totals = Page(), Totals(60.0)
    totals.incr(("consul.once", ()), 1, 100.0)
    totals.sample(("consul.seldom", ()), 5, 1, 130.0)
    assert values(page.render([part(totals, now=130.0)]))["consul_seldom", (("quantile", "0.5"),)] == 5
    found = values(page.render([part(totals, now=165.0)]))
    assert ("consul_once_total", ()) not in found
    assert found["consul_seldom_count", ()] == 1
    assert math.isnan(found["consul_seldom", (("quantile", "0.5"),)])  # older than the window of the quantiles
    assert values(page.render([part(totals, now=200.0)])).keys() == {(f"process_{name}", ()) for name in STATS}


def test_processes_that_keep_no_totals_are_left_out() -> None:
    assert Page().render([{"Gauges": []}]) == b""


_NAMES = st.sampled_from(["consul.a", "consul.b-c", "consul.d e", "consul./f", "consul.\u2603"])
_LABELS = st.dictionaries(st.sampled_from(["node", "op", "a-b"]), st.text(max_size=5), max_size=2)
_VALUES = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(st.tuples(st.sampled_from("cgs"), _NAMES, _LABELS, _VALUES), max_size=20))
def test_prometheus_understands_whatever_was_measured(measured: list[tuple[str, str, dict[str, str], float]]) -> None:
    totals = Totals(60.0)
    for kind, name, labels, value in measured:
        key = (f"{name}.{kind}", tuple(sorted(labels.items())))
        if kind == "c":
            totals.incr(key, abs(value), 100.0)
        elif kind == "g":
            totals.gauge(key, value, 100.0)
        else:
            totals.sample(key, value, 1, 100.0)
    found = values(Page().render([part(totals, now=100.0 + WINDOW_S)]))
    counts = sum(1 for kind, *_ in measured if kind == "s")
    assert sum(value for (name, _), value in found.items() if name.endswith("_s_count")) == counts


@given(st.floats(allow_nan=False))
def test_a_number_is_read_as_it_was(value: float) -> None:
    assert float(format_value(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (-0.0, "0"), (5, "5"), (0.25, "0.25"), (-1.5, "-1.5"), (819200, "819200"), (100000, "100000"),
        (1000000, "1e+06"), (1234567, "1.234567e+06"), (13242120, "1.324212e+07"), (0.0001, "0.0001"),
        (0.00001, "1e-05"), (3.7526e-05, "3.7526e-05"), (0.000646684, "0.000646684"),
        (1795242862.98, "1.79524286298e+09"),
        (1.8446744073709552e19, "1.8446744073709552e+19"), (1e100, "1e+100"), (123456.789, "123456.789"),
        (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_go_writes_them(value: float, text: str) -> None:
    assert format_value(value) == text
