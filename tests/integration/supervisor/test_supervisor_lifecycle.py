"""The supervisor over toy components as real processes: order, crashes, signals, exit codes, refusals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from shared.config import runtime
from shared.config.options import Options
from shared.config.runtime import RuntimeConfig
from shared.ipc import Link, RemoteError
from tests.agents import COMPONENTS, PATIENCE_S, _Process, wait_until
from tests.promises import within_s

TOY_AGENT = Path(__file__).resolve().parents[2] / "toy_agent.py"
PATIENT_TOY_AGENT = """
import sys
from services.supervisor import supervisor
from tests import toy_agent
supervisor._SIBLINGS_S = 60.0
toy_agent.main(sys.argv[1:], command_of=toy_agent.toy_command)
"""
"""One whose components may fail far apart: on a slow machine they do not begin side by side."""


class ToyAgent(_Process):
    program: Sequence[str] = (sys.executable, str(TOY_AGENT))

    def __init__(self, directory: Path, behaviour: dict[str, Any] | None = None, **changes: Any) -> None:
        super().__init__("127.0.0.1", directory, (), 0)
        self.run_dir = directory / "run"
        self.run_dir.mkdir(mode=0o700, exist_ok=True)
        self.config = RuntimeConfig.dev(self.run_dir, node_name="toy").replace(**changes)
        runtime.dump(self.config, self.run_dir / "agent.json")
        (self.run_dir / "toy.json").write_text(json.dumps(behaviour or {}))
        self.extra_environment: dict[str, str] = {}

    def command(self) -> list[str]:
        return [*self.program, "--config", str(self.run_dir / "agent.json")]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self.extra_environment}

    def wait_ready(self, timeout_s: float = PATIENCE_S) -> None:
        self.wait_output("==> Consul agent running!", timeout_s)

    def ask(self, method: str, payload: Any = None, timeout_s: float = PATIENCE_S) -> Any:
        """One call on supervisor.sock."""

        async def call() -> Any:
            link = Link(str(self.run_dir / "supervisor.sock"), name="test")
            async with trio.open_nursery() as nursery:
                await nursery.start(link.run)
                value = await link.call(method, payload, timeout_s=timeout_s)
                nursery.cancel_scope.cancel()
            return value

        return trio.run(call)

    def pids(self) -> dict[str, int]:
        return {row["component"]: row["pid"] for row in self.ask("Supervisor.Processes") if row["pid"]}

    def messages(self) -> list[str]:
        """`logger: message...` of each log line, in order."""
        return [match[1] for match in re.finditer(r"^    \S+ \[\w+\] +(.*)$", self.output(), re.MULTILINE)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ToyAgent]]:
    agents: list[ToyAgent] = []

    def start_toy(behaviour: dict[str, Any] | None = None, *, ready: bool = True, **changes: Any) -> ToyAgent:
        agent = ToyAgent(tmp_path, behaviour, **changes)
        agents.append(agent)
        agent.start()
        if ready:
            agent.wait_ready()
        return agent

    yield start_toy
    for agent in agents:
        agent.destroy()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_stages_start_in_order_however_slow_a_component_is(start: Callable[..., ToyAgent]) -> None:
    agent = start({"gossip": {"ready_when": "go"}, "dns_frontend": {"ready_after_s": 0.2}}, ready=False)
    others = {"raft_node", "rpc_core"}
    wait_until(lambda: set(agent.ask("Supervisor.ReadyOrder")) == others, what="the others of its stage")
    (agent.run_dir / "go").touch()
    agent.wait_ready()
    order = agent.ask("Supervisor.ReadyOrder")
    assert order[2:] == ["gossip", "dns_frontend", "http_gateway"]
    turns = [m.split(".")[2].split(":")[0] for m in agent.messages() if "turn has come" in m]
    readies = [m.split(".")[2].split(":")[0] for m in agent.messages() if m.endswith(": ready")]
    assert readies[2:] == order[2:]
    assert turns[3:] == ["dns_frontend", "http_gateway"]


def test_a_client_agent_has_no_raft_node(start: Callable[..., ToyAgent]) -> None:
    agent = start(server=False)
    assert set(agent.ask("Supervisor.ReadyOrder")) == set(COMPONENTS) - {"raft_node"}


def test_components_stop_in_reverse_order(start: Callable[..., ToyAgent]) -> None:
    agent = start()
    assert agent.stop(signal.SIGTERM) == 1
    stops = [m.split(".")[2].split(":")[0] for m in agent.messages() if m.endswith(": stopping")]
    assert stops == ["http_gateway", "dns_frontend", "rpc_core", "gossip", "raft_node"]
    own = [m for m in agent.messages() if m.startswith("agent: ")]
    assert own == [
        "agent: Caught: signal=terminated",
        "agent: Graceful shutdown disabled. Exiting",
        "agent: Requesting shutdown",
        "agent: Waiting for endpoints to shut down",
        "agent: Endpoints down",
        "agent: consul server down",
        "agent: shutdown complete",
        "agent: Exit code: code=1",
    ]


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_killed_component_is_back_within_two_seconds(start: Callable[..., ToyAgent], component: str) -> None:
    agent = start()
    before = agent.pids()
    killed_at = time.monotonic()
    os.kill(before[component], signal.SIGKILL)

    def back() -> bool:
        rows = {row["component"]: row for row in agent.ask("Supervisor.Processes")}
        row = rows[component]
        return row["state"] == "running" and row["pid"] != before[component] and row["restarts"] == 1

    wait_until(back, what=f"{component} to be back")
    assert time.monotonic() - killed_at < within_s(2.0)
    after = agent.pids()
    assert {name: pid for name, pid in after.items() if name != component} == {
        name: pid for name, pid in before.items() if name != component
    }


def test_a_component_that_keeps_crashing_is_restarted_with_growing_delays(start: Callable[..., ToyAgent]) -> None:
    agent = start()
    (agent.run_dir / "toy.json").write_text(json.dumps({"gossip": {"crash": True}}))
    os.kill(agent.pids()["gossip"], signal.SIGKILL)
    agent.wait_output("delay=0.2s")
    delays = re.findall(r"component=gossip .*delay=(\S+)", agent.output())
    assert delays[:3] == ["0s", "0.1s", "0.2s"]
    assert 'component crashed: component=gossip error="RuntimeError: a bug"' in agent.output()
    (agent.run_dir / "toy.json").write_text("{}")
    wait_until(lambda: agent.pids().get("gossip"), what="gossip")
    wait_until(
        lambda: [r["state"] for r in agent.ask("Supervisor.Processes") if r["component"] == "gossip"] == ["running"],
        what="gossip to run again",
    )


def test_a_component_that_cannot_start_ends_the_agent_with_its_reason(
    start: Callable[..., ToyAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyAgent, "program", (sys.executable, "-c", PATIENT_TOY_AGENT))
    reason = "Failed to start Consul server: Failed to start RPC layer: listen tcp 127.0.0.1:8300: bind: in use"
    agent = start({"rpc_core": {"fail": reason}, "raft_node": {"fail": "other"}}, ready=False)
    assert agent.wait_exit() == 1
    assert f'agent: Error starting agent: error="{reason}"' in agent.messages()
    assert agent.messages()[-1] == "agent: Exit code: code=1"
    assert "Consul agent running" not in agent.output()
    assert "Endpoints down" not in agent.output()


def test_a_reason_of_several_lines_is_shown_as_consul_does(start: Callable[..., ToyAgent]) -> None:
    agent = start({"dns_frontend": {"fail": "2 errors occurred:\n\t* one\n\t* two\n\n"}}, ready=False)
    assert agent.wait_exit() == 1
    assert 'agent: Error starting agent: error="2 errors occurred:\n\t* one\n\t* two\n\n"\n' in agent.output()


def test_a_component_that_dies_before_it_can_log_is_named_with_its_last_words(start: Callable[..., ToyAgent]) -> None:
    agent = start({"http_gateway": {"print": "Fatal: no memory", "exit_early": True}}, ready=False)
    assert agent.wait_exit() == 1
    expected = "http_gateway ended before it was ready (exit status 7): Fatal: no memory"
    assert f'agent: Error starting agent: error="{expected}"' in agent.messages()


def test_children_die_with_a_killed_supervisor(start: Callable[..., ToyAgent]) -> None:
    agent = start()
    pids = [pid for name, pid in agent.pids().items() if name != "supervisor"]
    assert len(pids) == 5
    agent.signal(signal.SIGKILL)
    agent.wait_exit()
    wait_until(lambda: not any(alive(pid) for pid in pids), what="the components to die")


@pytest.mark.parametrize(
    ("number", "changes", "code"),
    [
        (signal.SIGINT, {"skip_leave_on_interrupt": False}, 0),
        (signal.SIGINT, {"skip_leave_on_interrupt": True}, 1),
        (signal.SIGTERM, {"leave_on_terminate": True}, 0),
        (signal.SIGTERM, {"leave_on_terminate": False}, 1),
    ],
)
def test_signals_leave_or_just_end(
    start: Callable[..., ToyAgent], number: int, changes: dict[str, bool], code: int
) -> None:
    agent = start(**changes)
    assert agent.stop(number) == code
    graceful = ["agent: Gracefully shutting down agent...", "agent: Graceful exit completed"]
    expected = graceful if code == 0 else ["agent: Graceful shutdown disabled. Exiting"]
    own = [m for m in agent.messages() if m.startswith("agent: ")]
    assert own[1 : 1 + len(expected)] == expected
    assert own[-1] == f"agent: Exit code: code={code}"


def test_a_second_signal_ends_a_hanging_leave_at_once(start: Callable[..., ToyAgent]) -> None:
    agent = start({"rpc_core": {"leave": "hang"}}, skip_leave_on_interrupt=False)
    agent.signal(signal.SIGINT)
    agent.wait_output("Gracefully shutting down agent...")
    asked_at = time.monotonic()
    assert agent.stop(signal.SIGINT) == 1
    assert time.monotonic() - asked_at < within_s(3)
    assert "agent: Caught second signal, Exiting: signal=interrupt" in agent.messages()


def test_a_component_that_ignores_sigterm_is_killed(start: Callable[..., ToyAgent]) -> None:
    agent = start({"gossip": {"ignore_term": True}, "rpc_core": {"leave": "hang"}}, skip_leave_on_interrupt=False)
    agent.signal(signal.SIGINT)
    agent.wait_output("Gracefully shutting down agent...")
    assert agent.stop(signal.SIGINT) == 1  # the second signal: one second of grace
    assert any("component did not stop in time" in m and "component=gossip" in m for m in agent.messages())


def test_components_that_are_killed_leave_no_sockets(start: Callable[..., ToyAgent]) -> None:
    agent = start({"rpc_core": {"ignore_term": True}})
    assert (agent.run_dir / "rpc.sock").is_socket()
    agent.signal(signal.SIGTERM)
    agent.wait_output("Waiting for endpoints to shut down")
    assert agent.stop(signal.SIGTERM) == 1  # the second signal: no grace any more
    assert not list(agent.run_dir.glob("*.sock"))


def test_a_signal_during_the_start_ends_it(start: Callable[..., ToyAgent]) -> None:
    agent = start({"raft_node": {"ready_after_s": 60}}, ready=False)
    agent.wait_output("agent.toy.rpc_core: ready")
    agent.signal(signal.SIGHUP)
    agent.wait_output('agent: Caught: signal=hangup error="cannot reload before agent started"')
    assert agent.stop(signal.SIGTERM) == 1
    assert agent.messages()[-1] == "agent: Exit code: code=1"


def test_a_reload_that_one_component_refuses_changes_nothing(start: Callable[..., ToyAgent], tmp_path: Path) -> None:
    source = tmp_path / "source.json"
    source.write_text('{"log_level": "DEBUG"}')
    options = Options(config_files=(str(source),), dev_mode=True).to_json()
    agent = start({"dns_frontend": {"refuse_level": "WARN"}}, options=options)
    source.write_text('{"log_level": "WARN"}')
    reason = "^Failed reloading dns_frontend:\nWARN is not for me$"
    with pytest.RaisesGroup(pytest.RaisesExc(RemoteError, match=reason)):
        agent.ask("Supervisor.Reload")
    agent.wait_output("agent.toy.gossip: reloaded: level=DEBUG")
    assert runtime.load(agent.run_dir / "agent.json").log_level == "DEBUG"
    source.write_text('{"log_level": "INFO"}')
    agent.ask("Supervisor.Reload")
    agent.wait_output("agent.toy.dns_frontend: reloaded: level=INFO")


def test_a_requested_shutdown_gives_the_exit_code(start: Callable[..., ToyAgent]) -> None:
    agent = start()
    agent.ask("Supervisor.Shutdown", {"exit_code": 0, "reason": "leave"})
    assert agent.wait_exit() == 0
    assert agent.messages()[-1] == "agent: Exit code: code=0"
    remains = {path.name for path in agent.run_dir.iterdir()}
    assert not {"supervisor.sock", "notify.sock"} & remains


def test_restart_on_request_waits_for_the_new_process(start: Callable[..., ToyAgent]) -> None:
    agent = start()
    old = agent.pids()["dns_frontend"]
    new = agent.ask("Supervisor.Restart", {"component": "dns_frontend"})["pid"]
    assert new != old
    assert agent.pids()["dns_frontend"] == new
    with pytest.raises((RemoteError, ExceptionGroup)) as caught:
        agent.ask("Supervisor.Restart", {"component": "nonsense"})
    error: BaseException = caught.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, RemoteError)
    assert error.code == "bad_request"
    assert "nonsense" in str(error)


def test_two_supervisors_on_one_run_dir_are_refused(start: Callable[..., ToyAgent], tmp_path: Path) -> None:
    first = start()
    second = subprocess.run(first.command(), capture_output=True, text=True, timeout=60, check=False)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == (
        f"==> another agent (pid {first.pid}) uses the directory {first.run_dir}: "
        "stop that agent, or choose another -run-dir\n"
    )
    assert len(first.ask("Supervisor.ReadyOrder")) == 5


def test_a_monitor_lowers_the_level_while_it_listens(start: Callable[..., ToyAgent]) -> None:
    agent = start(log_level="INFO")

    async def listen() -> list[str]:
        lines: list[str] = []
        link = Link(str(agent.run_dir / "supervisor.sock"), name="test")
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            async with link.stream("Supervisor.Monitor", {"level": "DEBUG", "json": True}) as items:
                await link.call("Supervisor.Restart", {"component": "gossip"}, timeout_s=PATIENCE_S)
                async for line in items:
                    lines.append(line)
                    if json.loads(line)["@message"] == "ready":
                        break
            nursery.cancel_scope.cancel()
        return lines

    messages = [json.loads(line)["@message"] for line in trio.run(listen)]
    assert "turn has come" in messages  # a debug record of the component
    assert "turn has come" not in agent.output()


def test_log_json_prints_nothing_but_json(start: Callable[..., ToyAgent]) -> None:
    agent = start(log_json=True, ready=False)
    agent.wait_output('"@module":"agent.toy.http_gateway"')
    wait_until(lambda: len(agent.ask("Supervisor.ReadyOrder")) == 5, what="all to be ready")
    agent.stop(signal.SIGTERM)
    records = [json.loads(line) for line in agent.output().splitlines()]
    assert all(line.startswith("    {") for line in agent.output().splitlines())
    assert {"@level": "info", "@message": "Exit code", "@module": "agent", "code": 1}.items() <= records[-1].items()
    caught = next(record for record in records if record["@message"] == "Caught")
    assert caught["signal"] == 15


def test_pid_file_and_log_file(start: Callable[..., ToyAgent], tmp_path: Path) -> None:
    pid_file = tmp_path / "agent.pid"
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    log_settings = RuntimeConfig.dev("x").log.replace(file=f"{log_dir}/")
    agent = start(pid_file=str(pid_file), log=log_settings)
    assert pid_file.read_text() == str(agent.pid)
    agent.stop(signal.SIGTERM)
    assert not pid_file.exists()
    (log_file,) = log_dir.iterdir()
    assert re.fullmatch(r"consul-\d{19}\.log", log_file.name)
    console = [line[4:] for line in agent.output().splitlines() if line.startswith("    2")]
    assert log_file.read_text().splitlines() == console


def test_the_agent_is_a_notify_service_itself(start: Callable[..., ToyAgent], tmp_path: Path) -> None:
    from shared.notify import Receiver

    manager = Receiver(str(tmp_path / "manager.sock"))
    agent = ToyAgent(tmp_path)
    agent.extra_environment = {"NOTIFY_SOCKET": manager.path}
    seen: dict[str, str] = {}

    def received(key: str) -> bool:
        while (notification := manager.receive()) is not None:
            assert notification.pid == agent.pid  # the components talk to the supervisor, not to the manager
            seen.update(notification.fields)
        return key in seen

    try:
        agent.start()
        wait_until(lambda: received("READY"), what="READY")
        assert seen["MAINPID"] == str(agent.pid)
        agent.stop(signal.SIGTERM)
        assert received("STOPPING")
    finally:
        agent.destroy()
        manager.close()


def test_the_agent_survives_a_console_that_nobody_reads(start: Callable[..., ToyAgent], tmp_path: Path) -> None:
    agent = ToyAgent(tmp_path)
    process = subprocess.Popen(
        agent.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    agent.process = process
    try:
        wait_until(lambda: len(agent.ask("Supervisor.ReadyOrder")) == 5, what="all to be ready")
        for _ in range(3):
            agent.ask("Supervisor.Restart", {"component": "gossip"})
        assert process.stdout is not None
        process.stdout.close()
        agent.ask("Supervisor.Restart", {"component": "gossip"})
        assert agent.stop(signal.SIGTERM) == 1
    finally:
        agent.destroy()


def test_clusters_are_joined_before_the_agent_runs(start: Callable[..., ToyAgent]) -> None:
    agent = start(start_join=("10.0.0.1", "10.0.0.2"), start_join_wan=("10.1.0.1",))
    text = agent.output()
    said = re.findall(r"==> Joining.*|agent: Join.*|==> Consul agent running!", text)
    assert said == [
        "==> Joining cluster...",
        "agent: Join completed. Initial agents synced with: agent_count=2",
        "==> Joining -wan cluster...",
        "agent: Join -wan completed. Initial agents synced with: agent_count=1",
        "==> Consul agent running!",
    ]


def test_an_agent_that_cannot_join_ends(start: Callable[..., ToyAgent]) -> None:
    agent = start(start_join=("nobody",), ready=False)
    assert agent.wait_exit() == 1
    assert "agent: 1 error occurred: nobody there" in agent.messages()
    assert "Consul agent running" not in agent.output()


def test_a_component_that_hangs_is_killed_and_replaced(
    start: Callable[..., ToyAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP stands for an event loop that no longer turns; the patience is cut short for the test."""
    monkeypatch.setenv("TOY_WATCHDOG_S", "8")  # the others may be kept from the processor for a while, too
    agent = start()
    old = agent.pids()["gossip"]
    os.kill(old, signal.SIGSTOP)
    wait_until(lambda: agent.pids().get("gossip") not in (None, old), 2 * PATIENCE_S, "another gossip")
    agent.wait_output(f"agent: component does not respond, killing it: component=gossip pid={old}")
    assert [m for m in agent.messages() if "does not respond" in m and "gossip" not in m] == []
