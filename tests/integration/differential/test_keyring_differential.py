"""The keys of gossip encryption: requests, files and refused starts, beside the real Consul."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.wire import rpc
from tests.agents import PATIENCE_S, Agent, RealConsul
from tests.integration.differential.pairs import AnyAgent, Pair, assert_same
from tests.integration.differential.scenarios_keyring import FIRST, PATH, REQUESTS, SECOND, THIRD
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

CONFIG: dict[str, Any] = {"encrypt": FIRST, "disable_coordinates": True}
RPC_PORT = 8300
Files = dict[str, str]
Started = tuple[list[str], Files]


def test_requests(real_and_ours: Pair) -> None:
    """A list is asked for again where the machine is too busy for serf's own patience."""
    assert_same(real_and_ours, REQUESTS, settles_within_s=PATIENCE_S)


def called(agent: AnyAgent, arguments: dict[str, Any]) -> rpc.Response:
    """What Internal.KeyringOperation answers at the RPC port."""
    decoder = rpc.ResponseDecoder()
    with socket.create_connection((agent.address, RPC_PORT), timeout=30) as connection:
        connection.sendall(b"\x00" + rpc.encode_request(1, "Internal.KeyringOperation", arguments))
        while data := connection.recv(65536):
            for response in decoder.feed(data):
                return response
    raise AssertionError("the connection ended without an answer")


def test_calls_of_other_servers(real_and_ours: Pair) -> None:
    for arguments in (
        {"Operation": "list"},
        {"Operation": "list", "LocalOnly": True, "Datacenter": "dc1"},
        {"Operation": "list", "Forwarded": True, "RelayFactor": 2},
        {"Operation": "install", "LocalOnly": True, "Key": SECOND},
        {"Operation": "install", "Forwarded": True, "Key": "short"},
        {"Operation": "use", "Forwarded": True, "Key": SECOND},
        {"Operation": "remove", "Key": FIRST},
    ):
        real, ours = (called(agent, arguments) for agent in real_and_ours)
        assert real == ours, arguments


@pytest.fixture
def started(loopback: LoopbackPool, tmp_path: Path, real_consul: Path) -> Callable[..., list[Started]]:
    """started(files, arguments, act) -> what the real agent and ours say of keys, and their files afterwards.

    act(agent) is done with an agent that runs; without it the agent is expected to refuse the start."""

    def start(
        files: dict[str, str], arguments: list[str], act: Callable[[AnyAgent], None] | None = None
    ) -> list[Started]:
        agents: list[AnyAgent] = [
            RealConsul(loopback(), tmp_path / "real", real_consul, arguments, dev=False),
            Agent(loopback(), tmp_path / "ours", arguments, dev=False),
        ]
        return [_started(agent, files, act) for agent in agents]

    return start


def _started(agent: AnyAgent, files: dict[str, str], act: Callable[[AnyAgent], None] | None) -> Started:
    directory = agent.data_dir / "serf"
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_text(content)
        (directory / name).chmod(0o600)
    if act is None:
        agent.start()
        try:
            assert agent.wait_exit() == 1
        finally:
            agent.destroy()
    else:
        with agent.running():
            act(agent)
            agent.stop()  # what it has logged is out then
    lines = re.findall(r"\[\w+\] .*[Kk]ey.*", agent.output().replace(str(agent.directory), "DIRECTORY"))
    paths = sorted(directory.glob("*.keyring"))
    return lines, {path.name: f"{path.stat().st_mode & 0o777:o} {path.read_text()}" for path in paths}


def change(agent: AnyAgent, method: str, key: str) -> None:
    assert agent.http(method, PATH, {"Key": key}).status == 200


def rotate(agent: AnyAgent) -> None:
    wan, lan = agent.http("GET", PATH).json()
    assert (list(wan["PrimaryKeys"]), list(lan["PrimaryKeys"])) == ([FIRST], [SECOND])
    change(agent, "POST", THIRD)
    change(agent, "PUT", THIRD)
    change(agent, "DELETE", FIRST)


def test_files_win_over_the_key_of_the_command_line_and_follow_a_rotation(
    started: Callable[..., list[Started]],
) -> None:
    real, ours = started({"local.keyring": json.dumps([SECOND])}, ["-encrypt", FIRST], rotate)
    assert real == ours
    assert "using keyring: keyring=LAN" in ours[0][0]
    assert ours[1]["remote.keyring"] == f'600 [\n  "{THIRD}"\n]'
    assert ours[1]["local.keyring"][4:] == f'[\n  "{THIRD}",\n  "{SECOND}"\n]'


def test_a_refused_start_is_told_in_the_same_words(started: Callable[..., list[Started]]) -> None:
    real, ours = started({"local.keyring": json.dumps([FIRST]), "remote.keyring": "{"}, [])
    assert real == ours
    assert "Failed to configure keyring: unexpected end of JSON input" in ours[0][0]
