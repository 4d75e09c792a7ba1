"""A whole agent as its user meets it: start, kill of each component, restart, reload, leave, refusals."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.notify import Receiver
from tests.agents import COMPONENTS, PATIENCE_S, Agent, RealConsul, is_dead, wait_until
from tests.loopback import LoopbackPool
from tests.promises import within_s


@pytest.fixture(scope="module")
def shared_agent(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One agent for the tests that leave it running."""
    agent = Agent(loopback(), tmp_path_factory.mktemp("shared"), dev=False)
    with agent.running():
        yield agent


@pytest.fixture
def agent(loopback: LoopbackPool, tmp_path: Path) -> Iterator[Agent]:
    """An agent of the test's own, not started."""
    agent = Agent(loopback(), tmp_path)
    yield agent
    agent.destroy()


def process_table(agent: Agent) -> dict[str, list[str]]:
    """component -> the other columns of `proconsul ps`."""
    result = agent.cli("ps")
    assert result.returncode == 0, result.stderr
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["Component", "PID", "State", "Uptime", "RSS", "PSS", "Restarts"]
    return {row.split()[0]: row.split()[1:] for row in rows}


def test_ps_shows_every_process(shared_agent: Agent) -> None:
    table = process_table(shared_agent)
    assert list(table) == ["supervisor", *COMPONENTS]
    assert {name: int(row[0]) for name, row in table.items() if name != "supervisor"} == shared_agent.pids()
    assert all(row[1] == "running" for row in table.values())


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_killed_component_serves_again_within_two_seconds(shared_agent: Agent, component: str) -> None:
    key = f"/v1/kv/killed/{component}"
    assert shared_agent.http("PUT", key, b"before").body == b"true"
    others = {name: pid for name, pid in shared_agent.pids().items() if name != component}
    old = shared_agent.kill(component)
    killed_at = time.monotonic()

    def serves_again() -> bool:
        answer = shared_agent.http("PUT", key, b"after", timeout_s=within_s(2))
        return answer.status == 200 and shared_agent.pids().get(component) not in (None, old)

    wait_until(serves_again, what=f"an accepted write after the death of {component}")
    wait_until(lambda: process_table(shared_agent)[component][1] == "running", what=f"{component} to run")
    took_s = time.monotonic() - killed_at
    assert shared_agent.http("GET", f"{key}?raw").body == b"after"
    assert {name: pid for name, pid in shared_agent.pids().items() if name != component} == others
    assert took_s < within_s(2.5), f"{component} was away for {took_s:.2f} s"  # half a second of it is `ps` itself


def test_restart_by_hand(shared_agent: Agent) -> None:
    old = shared_agent.pids()["dns_frontend"]
    result = shared_agent.cli("restart", "dns_frontend")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"Restarted dns_frontend, now process {shared_agent.pids()['dns_frontend']}\n"
    assert shared_agent.pids()["dns_frontend"] != old
    result = shared_agent.cli("restart", "nonsense")
    assert (result.returncode, result.stdout) == (1, "")
    assert "this agent has no component 'nonsense'" in result.stderr


def test_two_agents_on_one_data_dir_are_refused(shared_agent: Agent, loopback: LoopbackPool) -> None:
    second = Agent(loopback(), shared_agent.directory / "second", ["-data-dir", str(shared_agent.data_dir)], dev=False)
    second.start()
    try:
        assert second.wait_exit() == 1
        assert f"another agent (pid {shared_agent.pid}) uses the directory {shared_agent.data_dir}" in second.output()
        assert "Starting Consul agent" not in second.output()
    finally:
        second.destroy()
    assert shared_agent.http("GET", "/v1/status/leader").status == 200


def test_stages_become_ready_in_the_order_of_agent_start(agent: Agent) -> None:
    with agent.running():
        started = re.findall(r"agent: (Started \w+ server|.*running!)", agent.output())
        assert [word.split()[1] for word in started[:3]] == ["DNS", "DNS", "HTTP"]
        banner, _, log = agent.output().partition("\n==> Log data will now stream in as it occurs:\n\n")
        assert banner.startswith("==> Starting Consul agent...\n           Version: '1.8.7'\n")
        assert "==> Consul agent running!\n" in log


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "interrupt"), (signal.SIGTERM, "terminated")])
def test_a_dev_agent_ends_without_leaving_and_with_code_1(agent: Agent, number: int, name: str) -> None:
    with agent.running():
        assert agent.stop(number) == 1
        lines = [line.partition("] ")[2].strip() for line in agent.output().splitlines()]
        assert f"agent: Caught: signal={name}" in lines
        assert "agent: Graceful shutdown disabled. Exiting" in lines
        assert lines[-1] == "agent: Exit code: code=1"


def test_a_signal_that_asks_for_it_leaves_first(loopback: LoopbackPool, tmp_path: Path) -> None:
    agent = Agent(loopback(), tmp_path, config={"skip_leave_on_interrupt": False})
    with agent.running():
        asked_at = time.monotonic()
        assert agent.stop(signal.SIGINT) == 0
        assert time.monotonic() - asked_at < within_s(3)
        for text in ("agent: Gracefully shutting down agent...", "agent: Graceful exit completed"):
            assert text in agent.output()


def test_leave_ends_all_processes_with_code_0_in_three_seconds(agent: Agent) -> None:
    with agent.running():
        pids = agent.pids()
        asked_at = time.monotonic()
        result = agent.cli("leave")
        assert (result.returncode, result.stdout) == (0, "Graceful leave complete\n"), result.stderr
        assert agent.wait_exit() == 0
        assert time.monotonic() - asked_at < within_s(3)
        assert agent.output().rstrip().endswith("agent: Exit code: code=0")
        assert all(is_dead(pid) for pid in pids.values())


@pytest.mark.parametrize("port", [8300, 8301, 8500, 8600])
def test_a_port_in_use_is_named_and_nothing_stays_behind(agent: Agent, port: int) -> None:
    with socket.socket() as occupant:
        occupant.bind((agent.address, port))
        occupant.listen()
        agent.start()
        assert agent.wait_exit() == 1
    (line,) = [line for line in agent.output().splitlines() if "Error starting agent" in line][:1]
    assert "[ERROR] agent: Error starting agent: error=" in line
    assert f"{agent.address}:{port}: bind: address already in use" in agent.output()
    assert agent.output().rstrip().endswith("agent: Exit code: code=1")
    assert not agent.children()


def test_reload_takes_over_the_log_level(loopback: LoopbackPool, tmp_path: Path) -> None:
    agent = Agent(loopback(), tmp_path, config={"log_level": "INFO"})
    with agent.running():
        agent.http("GET", "/v1/kv/before")
        assert agent.config is not None
        (tmp_path / "config.json").write_text(json.dumps({"log_level": "DEBUG"}))
        agent.signal(signal.SIGHUP)
        agent.wait_output("agent: Caught: signal=hangup")

        def logged() -> bool:
            agent.http("GET", "/v1/kv/after")
            return "url=/v1/kv/after" in agent.output()

        wait_until(logged, what="a debug line")
        assert "url=/v1/kv/before" not in agent.output()
        (tmp_path / "config.json").write_text('{"log_level": 5, "nonsense": true}')
        agent.signal(signal.SIGHUP)
        agent.wait_output("[ERROR] agent: Reload config failed: error=")
        assert agent.http("GET", "/v1/status/leader").status == 200


@pytest.mark.real_consul
def test_banner_and_refusals_are_those_of_the_real_agent(
    agent: Agent, loopback: LoopbackPool, tmp_path: Path, real_consul: Path
) -> None:
    """The same port taken, the same node id: what both print must be equal, but for their own log lines before
    and for the advice that only ours gives."""
    arguments = ["-node-id", "b722acc8-b3cf-f28f-d1ec-1622be37df2b"]
    agent.arguments = arguments
    consul = RealConsul(agent.address, tmp_path / "real", real_consul, arguments)
    with socket.socket() as occupant:
        occupant.bind((agent.address, 8300))
        occupant.listen()
        outputs = []
        for process in (consul, agent):
            process.start()
            assert process.wait_exit() == 1
            outputs.append(process.output())
    real, ours = outputs
    banner_end = real.index("    20")
    assert ours[:banner_end] == real[:banner_end]
    expected, texts = ([line.partition("Z ")[2] for line in text.splitlines()[-2:]] for text in outputs)
    advice = " (another program has this port: stop it, or choose another with -server-port)"
    assert [texts[0].replace(advice, ""), texts[1]] == expected
    assert advice in texts[0]


def test_components_run_as_units_of_their_own_without_a_supervisor(agent: Agent, tmp_path: Path) -> None:
    """What deploy/systemd/ does: the configuration is written by one command, each component is another."""
    agent.dev = False
    manager = Receiver(str(tmp_path / "manager.sock"))
    prepared = subprocess.run(
        [*agent.command(), "-prepare-only"], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
    )
    config_path = prepared.stdout.strip()
    environment = {**agent.environment(), "NOTIFY_SOCKET": manager.path}
    processes: dict[int, subprocess.Popen[bytes]] = {}
    ready: set[int] = set()

    def all_ready() -> bool:
        while (notification := manager.receive()) is not None:
            if "READY" in notification.fields:
                ready.add(notification.pid)
        assert all(process.poll() is None for process in processes.values())
        return ready == set(processes)

    try:
        for component in reversed(COMPONENTS):  # the wrong order on purpose: they find each other
            command = [sys.executable, "-m", "cli.main", "component", component, "--config", config_path]
            with open(tmp_path / f"{component}.log", "wb") as output:
                process = subprocess.Popen(command, stderr=output, env=environment)
            processes[process.pid] = process
        wait_until(all_ready, 2 * PATIENCE_S, "READY of all")
        wait_until(lambda: agent.http("PUT", "/v1/kv/a", b"1").body == b"true", what="an accepted write")
        for process in processes.values():
            process.terminate()
        assert [process.wait(30) for process in processes.values()] == [0] * len(COMPONENTS)
    finally:
        for process in processes.values():
            process.kill()
            process.wait(10)
        manager.close()
