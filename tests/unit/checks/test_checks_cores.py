"""What checks decide without looking: thresholds, TTLs, output limits, aliases, definitions."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from services.rpc_core.local.checks.alias import aliased_health, backoff_s
from services.rpc_core.local.checks.definition import (
    CheckDefinition,
    check_type_from_config,
    definition_from_config,
    is_empty,
    runner_name,
    validate,
)
from services.rpc_core.local.checks.interface import output_limit
from services.rpc_core.local.checks.output import OutputBuffer
from services.rpc_core.local.checks.periodic import PeriodicRunner, Result
from services.rpc_core.local.checks.runner import CheckAgent, TtlRunner, make_runner
from services.rpc_core.local.checks.status import StatusFilter
from services.rpc_core.local.checks.ttl import TtlTimer
from shared.config.runtime import RuntimeConfig
from shared.structs.catalog import HealthCheck
from shared.structs.check_kind import check_kind
from shared.structs.errors import JsonError, RefusedError
from shared.structs.proxy import CheckType

CONFIG = RuntimeConfig.dev("run")
S = 1_000_000_000


class Reports:
    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def update_check(self, check_id: str, status: str, output: str) -> None:
        self.all.append((status, output))


# -- output ------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
def test_the_end_of_the_output_is_kept(pieces: list[bytes], limit: int) -> None:
    buffer, whole = OutputBuffer(limit), b"".join(pieces)
    for piece in pieces:
        buffer.write(piece)
    kept = whole[-limit:].decode("utf-8", "surrogateescape")
    assert (buffer.text(), buffer.written) == (kept, len(whole))
    loss = f"Captured {limit} of {len(whole)} bytes\n...\n" if len(whole) > limit else ""
    assert buffer.text_and_loss() == loss + kept


@pytest.mark.parametrize(
    ("agents", "own", "limit"), [(4096, 0, 4096), (4096, 10, 10), (4096, 9999, 4096), (20, 0, 20), (0, 0, 4096)]
)
def test_a_check_may_ask_for_less_output_but_not_for_more(agents: int, own: int, limit: int) -> None:
    assert output_limit(CheckType(output_max_size=own), CONFIG.replace(check_output_max_size=agents)) == limit


# -- thresholds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "failures", "results", "reported"),
    [
        (0, 0, "pcwp", "pcwp"),
        (1, 1, "pcwp", "pcwp"),
        (3, 0, "pppp", "pppp"),  # the first one of all always gets through
        (3, 0, "cpwp", "cp"),
        (0, 3, "pcccc", "pcc"),
        (0, 3, "ccpcc", "ccp"),
        (2, 2, "pcpcpcc", "pc"),
    ],
)
def test_a_status_changes_after_so_many_results_in_a_row(
    successes: int, failures: int, results: str, reported: str
) -> None:
    names = {"p": "passing", "w": "warning", "c": "critical"}
    reports = Reports()
    checked = StatusFilter("web", reports, successes, failures)
    for result in results:
        checked.result(names[result], "")
    assert "".join(status[0] for status, _ in reports.all) == reported


# -- TTL ---------------------------------------------------------------------------------------------


def test_a_ttl_expires_once_and_is_renewed_by_any_report() -> None:
    timer = TtlTimer(10.0, 100, now=0.0)
    assert timer.expire(9.9) is None
    assert timer.expire(10.0) == "TTL expired"
    assert timer.expire(11.0) is None
    assert timer.renew("fine", 20.0) == "fine"
    assert (timer.deadline, timer.expire(29.0)) == (30.0, None)
    assert timer.expire(30.0) == "TTL expired (last output before timeout follows): fine"


def test_a_long_report_is_cut_by_bytes() -> None:
    timer = TtlTimer(10.0, 4, now=0.0)
    assert timer.renew("abcdef", 0.0) == "abcd ... (captured 4 of 6 bytes)"
    assert timer.renew("abcd", 0.0) == "abcd"
    cut = timer.renew("abc\u2603", 0.0)
    assert cut.encode("utf-8", "surrogateescape") == b"abc\xe2 ... (captured 4 of 6 bytes)"


async def test_a_ttl_check_nobody_updates_turns_critical(autojump_clock: trio.testing.MockClock) -> None:
    reports = Reports()
    runner = make_runner(CheckType(check_id="web", ttl=15 * S), reports, rng=random.Random(1), agent=CheckAgent(CONFIG))
    assert isinstance(runner, TtlRunner)
    async with trio.open_nursery() as nursery:
        await nursery.start(runner.run)
        await trio.sleep(10)
        runner.set_status("passing", "up")
        await trio.sleep(14)
        assert reports.all == [("passing", "up")]
        await trio.sleep(2)
        expired = ("critical", "TTL expired (last output before timeout follows): up")
        assert reports.all == [("passing", "up"), expired]
        await trio.sleep(100)
        runner.set_status("warning", "so so")
        await trio.sleep(14)
        assert reports.all[2:] == [("warning", "so so")]
        nursery.cancel_scope.cancel()


# -- schedule ----------------------------------------------------------------------------------------


async def test_probes_come_an_interval_after_the_last_one_ended(autojump_clock: trio.testing.MockClock) -> None:
    starts: list[float] = []

    async def probe() -> Result:
        starts.append(trio.current_time())
        await trio.sleep(3)
        return Result("passing", "")

    begun = trio.current_time()
    runner = PeriodicRunner(CheckType(check_id="web", interval=10 * S), Reports(), probe, random.Random(5))
    with trio.move_on_after(60):
        await runner.run()
    assert 0 <= starts[0] - begun < 10
    assert [later - earlier for earlier, later in itertools.pairwise(starts)] == pytest.approx([13.0] * 4)


async def test_no_check_runs_more_often_than_each_second(autojump_clock: trio.testing.MockClock) -> None:
    count = 0

    async def probe() -> Result:
        nonlocal count
        count += 1
        return Result("passing", "")

    with trio.move_on_after(10.5):
        await PeriodicRunner(CheckType(check_id="web", interval=1), Reports(), probe, random.Random(5)).run()
    assert count in (10, 11)


# -- aliases -----------------------------------------------------------------------------------------


def check(name: str, status: str, service_id: str = "", node: str = "n1", output: str = "") -> HealthCheck:
    return HealthCheck(node=node, check_id=name, name=name, status=status, service_id=service_id, output=output)


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ([], ("passing", "No checks found.", False)),
        ([check("a", "passing")], ("passing", "All checks passing.", False)),
        ([check("a", "passing", "web")], ("passing", "All checks passing.", True)),
        ([check("a", "critical", "db")], ("passing", "No checks found.", False)),
        ([check("a", "critical", node="n2")], ("passing", "No checks found.", False)),
        (
            [check("a", "warning", "web", output="hm"), check("b", "passing")],
            ("warning", 'Aliased check "a" failing: hm', True),
        ),
        (
            [check("a", "warning", "web"), check("b", "critical", output="no"), check("c", "critical", "web")],
            ("critical", 'Aliased check "b" failing: no', True),
        ),
        (
            [check("a", "warning"), check("b", "warning", output="later")],
            ("warning", 'Aliased check "b" failing: later', False),
        ),
    ],
)
def test_an_alias_is_as_bad_as_the_worst(checks: list[HealthCheck], expected: tuple[str, str, bool]) -> None:
    assert aliased_health(checks, "n1", "web") == expected


def test_queries_that_fail_come_less_often() -> None:
    assert [backoff_s(failures) for failures in (0, 3, 4, 5, 8, 9, 100)] == [0, 0, 2, 4, 32, 60, 60]


class Elsewhere:
    """Another node, and this agent's own state, as an alias check sees them."""

    def __init__(self) -> None:
        self.checks: list[HealthCheck] = []
        self.services: set[str] = set()
        self.changed: list[Any] = []
        self.failure: Exception | None = None
        self.asked = 0

    def local_checks(self) -> list[HealthCheck]:
        return self.checks

    def service_exists(self, service_id: str) -> bool:
        return service_id in self.services

    def on_service_change(self, service_id: str, callback: Any) -> Any:
        self.changed.append(callback)
        return lambda: self.changed.remove(callback)

    async def node_checks(self, node: str, min_index: int, wait_s: float) -> tuple[int, list[HealthCheck]]:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        await trio.sleep(wait_s if min_index else 0)
        return 7, self.checks

    async def node_service_ids(self, node: str) -> set[str]:
        return self.services


async def test_an_alias_of_a_service_here_follows_its_changes(autojump_clock: trio.testing.MockClock) -> None:
    here, reports = Elsewhere(), Reports()
    agent = CheckAgent(CONFIG, here)
    runner = make_runner(CheckType(check_id="a", alias_service="web"), reports, rng=random.Random(1), agent=agent)
    async with trio.open_nursery() as nursery:
        await nursery.start(runner.run)
        await trio.sleep(1)
        assert reports.all == [("critical", "Service web could not be found on node ")]
        here.services.add("web")
        here.changed[0]()
        await trio.sleep(1)
        assert reports.all[-1] == ("passing", "No checks found.")
        here.checks = [check("c", "critical", "web", output="no")]
        await trio.sleep(61)  # nobody said anything
        assert reports.all[-1] == ("critical", 'Aliased check "c" failing: no')
        nursery.cancel_scope.cancel()
    assert not here.changed


async def test_an_alias_of_another_node_tells_of_failures_after_the_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    there, reports = Elsewhere(), Reports()
    there.failure = RuntimeError("No cluster leader")
    definition = CheckType(check_id="a", alias_service="web", alias_node="n1")
    runner = make_runner(definition, reports, rng=random.Random(1), agent=CheckAgent(CONFIG, there))
    async with trio.open_nursery() as nursery:
        await nursery.start(runner.run)
        await trio.sleep(100)
        failed = ("critical", "Failure checking aliased node or service: No cluster leader")
        assert set(reports.all) == {failed}
        assert len(reports.all) == there.asked - 1 < 12
        there.failure, there.checks = None, [check("c", "passing", "web")]
        await trio.sleep(61)
        assert reports.all[-1] == ("passing", "All checks passing.")
        nursery.cancel_scope.cancel()


async def test_aliases_do_not_feed_on_themselves(autojump_clock: trio.testing.MockClock) -> None:
    """Two aliases that are checks of the node bear on each other, and each on itself."""
    here, reports = Elsewhere(), Reports()
    here.services.add("web")
    own = check("a", "critical", node="node1", output="old")
    other = check("b", "passing", node="node1")
    here.checks = [own, other, check("w", "passing", "web", node="node1")]
    agent = CheckAgent(CONFIG.replace(node_name="node1"), here)
    runner = make_runner(CheckType(check_id="a", alias_service="web"), reports, rng=random.Random(1), agent=agent)
    async with trio.open_nursery() as nursery:
        await nursery.start(runner.run)
        await trio.sleep(1)
        assert reports.all[-1] == ("passing", "All checks passing.")
        for _ in range(400):  # the other one takes over what this one says
            other.status, other.output = "critical", f'Aliased check "a" failing: {reports.all[-1][1]}'
            here.changed[0]()
            await trio.sleep(0.01)
        assert len(reports.all[-1][1]) == 4096
        nursery.cancel_scope.cancel()


# -- definitions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"interval": S, "ttl": S}, "Interval and TTL cannot both be specified"),
        ({"http": "x"}, "Interval must be > 0 for Script, HTTP, or TCP checks"),
        ({"script_args": ["x"], "interval": -1}, "Interval must be > 0 for Script, HTTP, or TCP checks"),
        ({"tcp": "x", "interval": S, "alias_node": "n"}, "Interval cannot be set for Alias checks"),
        ({"alias_service": "s", "ttl": S}, "TTL must be not be set for Alias checks"),
        ({}, "TTL must be > 0 for TTL checks"),
        ({"ttl": S, "output_max_size": -1}, "MaxOutputMaxSize must be positive"),
    ],
)
def test_definitions_that_contradict_themselves_are_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        validate(CheckType(**fields))
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("fields", "shown", "run"),
    [
        ({"ttl": S}, "ttl", "ttl"),
        ({"http": "x", "interval": S}, "http", "http"),
        ({"tcp": "x", "interval": S}, "tcp", "tcp"),
        ({"grpc": "x", "http": "x", "interval": S}, "grpc", "http"),
        ({"script_args": ["x"], "interval": S}, "script", "script"),
        ({"script_args": ["x"], "docker_container_id": "c", "interval": S}, "docker", "docker"),
        ({"alias_node": "n"}, "alias", "alias"),
    ],
)
def test_one_kind_is_shown_and_one_is_run(fields: dict[str, Any], shown: str, run: str) -> None:
    definition = CheckType(**fields)
    validate(definition)
    assert (check_kind(definition), runner_name(definition)) == (shown, run)


def test_a_body_may_be_written_in_two_ways() -> None:
    body = {
        "name": "a",
        "args": ["x"],
        "service_id": "web",
        "interval": "10s",
        "Timeout": 2 * S,
        "tls_skip_verify": True,
    }
    made = CheckDefinition.from_json(body)
    check_type = made.check_type()
    assert (made.service_id, check_type.script_args, check_type.interval) == ("web", ["x"], 10 * S)
    assert (check_type.timeout, check_type.tls_skip_verify, check_type.service_id) == (2 * S, True, "")
    row = made.health_check("n1")
    assert (row.check_id, row.name, row.status, row.service_id, row.node) == ("a", "a", "critical", "web", "n1")
    with pytest.raises(JsonError, match='unknown field "nope"'):
        CheckDefinition.from_json({"nope": 1})


def test_a_check_inside_a_service_forgets_the_service_it_names() -> None:
    assert is_empty(CheckType.from_json({"ServiceID": "web"}))
    assert not is_empty(CheckType.from_json({"Notes": "x"}))


def test_definitions_of_config_files_are_in_seconds() -> None:
    entry = {"id": "a", "name": "A", "args": ["x"], "interval": 1.5, "output_max_size": 4096, "service_id": "web"}
    node_check = definition_from_config(entry)
    assert (node_check.id, node_check.interval, node_check.service_id) == ("a", 1_500_000_000, "web")
    service_check = check_type_from_config(entry)
    assert (service_check.check_id, service_check.script_args) == ("a", ["x"])
