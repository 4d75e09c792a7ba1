"""`agent` from command line to running supervisor: what it wrote, what it registered, whom it refuses."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.config import registry, runtime
from shared.config.debug import debug_config
from tests.loopback import LoopbackPool

AGENT = [sys.executable, "-m", "cli.main", "agent"]
TIMEOUT_S = 60.0


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pc-") as runtime_dir:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime_dir)
        yield Path(runtime_dir) / "proconsul"


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert process.poll() is None, f"the agent ended with status {process.returncode}"
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.02)


def debug_config_of(ip: str) -> object:
    """None while there is no answer, or one that says why there is none."""
    try:
        connection = http.client.HTTPConnection(ip, 8500, timeout=TIMEOUT_S)
        connection.request("GET", "/v1/agent/self")
        answer = connection.getresponse()
        return json.load(answer)["DebugConfig"] if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Agents put in here are killed, children included, whatever happens."""
    agents: list[subprocess.Popen[bytes]] = []
    yield agents
    for agent in agents:
        if agent.poll() is None:
            os.killpg(agent.pid, signal.SIGKILL)
        agent.wait(timeout=TIMEOUT_S)


def start(ended: list[subprocess.Popen[bytes]], tmp_path: Path, *flags: str) -> subprocess.Popen[bytes]:
    with open(tmp_path / "agent.log", "wb") as log:
        process = subprocess.Popen([*AGENT, *flags], stdout=log, stderr=log, start_new_session=True)
    ended.append(process)
    return process


def test_a_dev_agent_runs_with_what_was_written_down(
    loopback: LoopbackPool, tmp_path: Path, base: Path, ended: list[subprocess.Popen[bytes]]
) -> None:
    ip = loopback()
    agent = start(ended, tmp_path, "-dev", f"-bind={ip}", f"-client={ip}", "-node=n1", "-node-meta", "a:b")
    wait_for(lambda: debug_config_of(ip) is not None, agent)

    [entry] = registry.running_agents()
    assert entry == (agent.pid, "n1", str(base / f"dev-{agent.pid}"))
    config = runtime.load(Path(entry.run_dir) / runtime.CONFIG_FILE_NAME)
    assert config.node_meta == {"a": "b"}
    assert debug_config_of(ip) == json.loads(json.dumps(debug_config(config)))

    log = tmp_path / "agent.log"
    wait_for(lambda: b"==> Consul agent running!" in log.read_bytes(), agent)  # before, a signal ends the start
    agent.send_signal(signal.SIGINT)
    assert agent.wait(timeout=TIMEOUT_S) == 1  # servers do not leave on an interrupt
    assert not Path(entry.run_dir).exists()
    assert registry.running_agents() == []


def test_a_second_agent_on_a_data_dir_is_refused(
    loopback: LoopbackPool, tmp_path: Path, ended: list[subprocess.Popen[bytes]]
) -> None:
    ip, data_dir = loopback(), tmp_path / "data"
    flags = ["-server", "-bootstrap", f"-bind={ip}", f"-client={ip}", f"-data-dir={data_dir}", "-node=n1"]
    agent = start(ended, tmp_path, *flags)
    wait_for(lambda: debug_config_of(ip) is not None, agent)
    written = (data_dir / "run" / "agent.json").read_bytes()

    second = subprocess.run([*AGENT, *flags, "-node=n2"], capture_output=True, timeout=TIMEOUT_S, check=False)
    assert second.returncode == 1
    assert f"another agent (pid {agent.pid}) uses the directory {data_dir}".encode() in second.stderr
    assert (data_dir / "run" / "agent.json").read_bytes() == written
