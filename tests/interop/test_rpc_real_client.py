"""A real Consul 1.8.7 client agent in our datacenter: it finds our server by gossip and asks it everything by RPC.

Ours are the three processes of the delegate alone, each started by hand from one configuration file."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.config.runtime import RuntimeConfig, dump
from tests.agents import wait_until

pytestmark = pytest.mark.real_consul
DELEGATE = ("raft_node", "gossip", "rpc_core")
SERVICE = {"service": {"name": "web", "port": 80, "tags": ["v1"], "check": {"ttl": "60s", "status": "passing"}}}


@contextlib.contextmanager
def process(command: list[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("wb") as log:
        started = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(30)


@pytest.fixture
def server(loopback: Callable[[], str], tmp_path: Path) -> Iterator[RuntimeConfig]:
    """Our server: raft_node, gossip and rpc_core."""
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    config = RuntimeConfig.dev(run_dir, node_name="n1", bind_addr=loopback())
    dump(config, run_dir / "agent.json")
    with contextlib.ExitStack() as stack:
        for name in DELEGATE:
            command = [sys.executable, "-m", f"services.{name}", "--config", str(run_dir / "agent.json")]
            stack.enter_context(process(command, tmp_path / f"{name}.log"))
        yield config


class Client:
    """The HTTP API of the real client agent."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """The decoded answer. Raises OSError while there is none, also for answers that are errors."""
        connection = http.client.HTTPConnection(self.address, 8500, timeout=30)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"{answer.status} {text!r}")
        return json.loads(text) if text else None


@pytest.fixture
def client(server: RuntimeConfig, real_consul: Path, loopback: Callable[[], str], tmp_path: Path) -> Iterator[Client]:
    address = loopback()
    (tmp_path / "web.json").write_text(json.dumps(SERVICE))
    command = [
        str(real_consul), "agent", f"-data-dir={tmp_path / 'data'}", "-node=c1", f"-bind={address}",
        f"-client={address}", f"-retry-join={server.advertise_addr}", "-retry-interval=1s",
        f"-config-file={tmp_path / 'web.json'}",
    ]  # fmt: skip
    with process(command, tmp_path / "client.log"):
        made = Client(address)
        wait_until(lambda: made.ask("GET", "/v1/status/leader"), 60, "the client to find our server")
        yield made


def test_a_real_client_registers_reads_writes_waits_and_leaves(
    client: Client, server: RuntimeConfig, tmp_path: Path
) -> None:
    def complete() -> bool:
        """The client registers its service, our leader the node and its health, in any order."""
        instances = client.ask("GET", "/v1/health/service/web?passing")
        return [{check["CheckID"] for check in one["Checks"]} for one in instances] == [{"serfHealth", "service:web"}]

    def nodes_by_name() -> dict[str, Any]:
        return {node["Node"]: node for node in client.ask("GET", "/v1/catalog/nodes")}

    wait_until(complete, 60, "the client to register its service")
    wait_until(lambda: set(nodes_by_name()) == {"n1", "c1"}, 60, "both nodes")
    nodes = nodes_by_name()
    assert nodes["n1"]["ID"] == server.node_id

    assert client.ask("PUT", "/v1/kv/motd", b"hello") is True
    [entry] = client.ask("GET", "/v1/kv/motd")
    assert client.ask("PUT", f"/v1/kv/motd?cas={entry['ModifyIndex'] - 1}", b"no") is False
    session = client.ask("PUT", "/v1/session/create", b'{"TTL": "600s"}')["ID"]
    assert client.ask("PUT", f"/v1/kv/motd?acquire={session}", b"mine") is True
    [entry] = client.ask("GET", "/v1/kv/motd?consistent")
    assert (entry["Session"], entry["LockIndex"]) == (session, 1)
    assert client.ask("GET", f"/v1/kv/motd?index={entry['ModifyIndex']}&wait=100ms")[0] == entry

    [peer] = client.ask("GET", "/v1/operator/raft/configuration")["Servers"]
    assert (peer["Node"], peer["Leader"], peer["Voter"]) == ("n1", True, True)
    assert {member["Name"] for member in client.ask("GET", "/v1/agent/members")} == {"n1", "c1"}

    with contextlib.suppress(OSError, http.client.HTTPException):
        client.ask("PUT", "/v1/agent/leave")
    # Not asked of the catalog itself: a client's anti-entropy may bring its node back while it is leaving.
    log = tmp_path / "rpc_core.log"
    wait_until(lambda: "deregistering member: member=c1 reason=left" in log.read_text(), 60, "the farewell")
