"""Everything an agent offers works the same on a client agent: its data is in the cluster, its servers do the rest."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, wait_until
from tests.integration.client_mode.setups import OURS, REAL, Setup, kind_of, setup
from tests.loopback import LoopbackPool

SERVERS = {"ours on ours": OURS, "ours on real": REAL}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, id=name, marks=() if kind == OURS else pytest.mark.slow) for name, kind in SERVERS.items()
    ],
)
def made(
    request: pytest.FixtureRequest, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setup]:
    directory = tmp_path_factory.mktemp("features")

    def real() -> Path:
        path: Path = request.getfixturevalue("real_consul")
        return path

    handled = f"cat >> {directory / 'watched'}"
    config = {
        "watches": [{"type": "key", "key": "watched", "args": ["sh", "-c", handled]}],
        "dns_config": {"use_cache": True},
    }
    with setup([kind_of(request.param, real)], Agent, loopback, directory, config) as one:
        yield one


def cli(made: Setup, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert isinstance(made.client, Agent)
    return made.client.cli(*arguments)


def server_get(made: Setup, path: str) -> object:
    return made.cluster.servers[0].http("GET", path).json()


def test_it_has_no_raft_node_and_no_server_port(made: Setup) -> None:
    assert isinstance(made.client, Agent)
    assert set(made.client.pids()) == {"gossip", "rpc_core", "dns_frontend", "http_gateway"}
    for port in (8300, 8302):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((made.client.address, port), timeout=5)


def test_who_it_is(made: Setup) -> None:
    self_ = made.get("/v1/agent/self")
    assert self_["Config"]["Server"] is False
    assert self_["Stats"]["consul"] == {"acl": "disabled", "known_servers": "1", "server": "false"}
    assert sorted(self_["Stats"]) == ["agent", "build", "consul", "runtime", "serf_lan"]
    tags = {"acls", "build", "dc", "id", "role", "segment", "vsn", "vsn_max", "vsn_min"}
    assert set(self_["Member"]["Tags"]) == tags
    assert made.get("/v1/agent/members?wan=1") is None
    assert "known_servers = 1" in cli(made, "info").stdout
    assert "client" in cli(made, "members").stdout
    assert made.get("/v1/status/leader") == f"{made.cluster.servers[0].address}:8300"
    assert made.client.http("PUT", "/v1/agent/join/127.0.0.1?wan=1").body == b"Must be a server to join WAN cluster"


def test_what_it_asks_is_counted(made: Setup) -> None:
    """Shown is what was counted in one interval."""

    def counted() -> bool:
        made.client.http("GET", "/v1/status/leader")
        found = made.client.http("GET", "/v1/agent/metrics").json()["Counters"]
        return "consul.client.rpc" in {one["Name"] for one in found}

    wait_until(counted, what="the counter of its calls")


def test_services_and_checks_are_brought_to_the_catalog(made: Setup) -> None:
    with socket.create_server((made.client.address, 0)) as listening:
        port = listening.getsockname()[1]
        checks = [
            {"CheckID": "ttl", "TTL": "1h"},
            # Nobody accepts: seldom enough for the queue to have room for all of them.
            {"CheckID": "tcp", "TCP": f"{made.client.address}:{port}", "Interval": "1s"},
        ]
        made.put("/v1/agent/service/register", {"Name": "web", "Port": port, "Tags": ["v1"], "Checks": checks})
        made.put("/v1/agent/check/pass/ttl")

        def passing() -> bool:
            found = server_get(made, "/v1/health/service/web?passing")
            return isinstance(found, list) and len(found) == 1 and found[0]["Node"]["Node"] == "c1"

        wait_until(passing, what="a healthy service at the server")
        for _ in range(2):  # the second answer is from the cache
            answer = made.dns("web.service.consul", "SRV")
            assert [record.rdata.port for record in answer.rr] == [port]
        assert made.client.http("GET", "/v1/health/service/web?cached").headers["x-cache"] in ("HIT", "MISS")
        assert made.client.http("GET", "/v1/health/service/web?cached").headers["x-cache"] == "HIT"
    made.put("/v1/agent/check/fail/ttl")
    wait_until(lambda: server_get(made, "/v1/health/service/web?passing") == [], what="an unhealthy service")
    wait_until(lambda: not made.dns("web.service.consul").rr, what="no address of it")
    made.put("/v1/agent/service/deregister/web")
    wait_until(lambda: server_get(made, "/v1/catalog/service/web") == [], what="its end")


def test_keys_sessions_locks_and_transactions(made: Setup) -> None:
    session = json.loads(made.put("/v1/session/create", {"TTL": "60s"}))["ID"]
    assert made.put(f"/v1/kv/lock?acquire={session}", b"mine") == b"true"
    assert made.put("/v1/kv/a?cas=0", b"1") == b"true"
    assert made.put("/v1/kv/a?cas=0", b"2") == b"false"
    index = made.client.http("GET", "/v1/kv/a").headers["x-consul-index"]
    made.put("/v1/txn", [{"KV": {"Verb": "set", "Key": "a", "Value": base64.b64encode(b"3").decode()}}])
    changed = made.client.http("GET", f"/v1/kv/a?index={index}&wait=10s")
    assert base64.b64decode(changed.json()[0]["Value"]) == b"3"
    assert made.put(f"/v1/kv/lock?release={session}") == b"true"
    made.put(f"/v1/session/destroy/{session}")
    assert cli(made, "lock", "locked", "echo", "held").stdout == "held\n"


def test_a_query_that_waits_is_answered_by_a_write(made: Setup) -> None:
    index = made.client.http("GET", "/v1/kv/?keys").headers["x-consul-index"]
    with socket.create_connection((made.client.address, 8500), timeout=30) as waiting:
        waiting.sendall(f"GET /v1/kv/waited?index={index}&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        made.cluster.servers[0].http("PUT", "/v1/kv/waited", b"1")
        assert waiting.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_events_watches_and_remote_execution(made: Setup) -> None:
    made.put("/v1/event/fire/deploy", b"now")
    wait_until(lambda: made.get("/v1/event/list?name=deploy"), what="the event")
    made.put("/v1/kv/watched", b"1")
    watched = made.client.directory.parent / "watched"
    wait_until(lambda: watched.exists() and "MQ==" in watched.read_text(), what="the handler's output")

    def executed() -> bool:
        """The command waits for answers only as long as it was told: a busy machine may need longer."""
        return "c1: hello" in cli(made, "exec", "-node", "c1", "-wait=1s", "echo", "hello").stdout

    wait_until(executed, what="the output of a command")


def test_snapshots_and_operators(made: Setup, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tgz"
    made.put("/v1/kv/kept", b"1")
    assert cli(made, "snapshot", "save", str(archive)).returncode == 0
    made.put("/v1/kv/kept", b"2")
    assert cli(made, "snapshot", "restore", str(archive)).returncode == 0
    assert base64.b64decode(made.get("/v1/kv/kept")[0]["Value"]) == b"1"
    assert [one["Node"] for one in made.get("/v1/operator/raft/configuration")["Servers"]] == ["n1"]
    refused = made.client.http("GET", "/v1/operator/keyring")
    assert (refused.status, refused.body) == (500, b"keyring operations must run against a server node")


def test_a_reload_and_restarts_of_single_processes(made: Setup) -> None:
    agent = made.client
    assert isinstance(agent, Agent)
    config = {**(agent.config or {}), "services": [{"name": "configured", "port": 1}]}
    (agent.directory / "config.json").write_text(json.dumps(config))
    assert cli(made, "reload").returncode == 0
    wait_until(lambda: server_get(made, "/v1/catalog/service/configured"), what="the configured service")
    for component in ("rpc_core", "gossip", "dns_frontend", "http_gateway"):
        agent.wait_restarted(component, agent.kill(component))
        wait_until(lambda: agent.http("GET", "/v1/kv/a").status == 200, what=f"an answer without {component}")
        wait_until(lambda: made.dns("c1.node.consul", timeout_s=1).rr, what="its address")
    made.put("/v1/kv/after", b"1")


def test_a_client_that_leaves_is_taken_out_of_the_catalog(made: Setup) -> None:
    assert isinstance(made.client, Agent)
    made.put("/v1/agent/service/register", {"Name": "kept"})
    session = json.loads(made.put("/v1/session/create", {"LockDelay": "0s"}))["ID"]
    assert made.put(f"/v1/kv/of-the-leaver?acquire={session}", b"1") == b"true"
    assert cli(made, "leave").returncode == 0
    assert made.client.wait_exit() == 0
    assert "client starting leave" in made.client.output()
    wait_until(lambda: server_get(made, "/v1/catalog/node/c1") is None, what="its end in the catalog")
    assert server_get(made, f"/v1/session/info/{session}") == []
    assert "Session" not in made.cluster.servers[0].http("GET", "/v1/kv/of-the-leaver").json()[0]
    made.client.start()
    made.client.wait_ready()
    made.wait_synced()
    wait_until(lambda: server_get(made, "/v1/catalog/service/kept"), what="its services again")


def connections_to_servers(made: Setup, component: str) -> int:
    """Connections of a process of the client to RPC ports, counted by the system."""
    assert isinstance(made.client, Agent)
    pid = made.client.pids()[component]
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{8300:04X}") and row[3] == "01" and f"socket:[{row[9]}]" in inodes for row in rows)


def test_reads_and_writes_do_without_rpc_core(made: Setup) -> None:
    """The gateway has connections of its own to the server that rpc_core asks: to its RPC port for reads, and to the
    door of its raft_node for writes; or one to a Consul server, which has no door."""
    assert isinstance(made.client, Agent)
    expected = 2 if isinstance(made.cluster.servers[0], Agent) else 1

    def connected() -> bool:
        made.put("/v1/kv/direct", b"1")
        made.client.http("GET", "/v1/kv/direct")
        return connections_to_servers(made, "http_gateway") == expected

    wait_until(connected, what="a connection of the gateway's own")
    stopped = made.client.pids()["rpc_core"]
    os.kill(stopped, signal.SIGSTOP)
    try:
        made.put("/v1/kv/direct", b"2")
        if isinstance(made.cluster.servers[0], Agent):  # Consul's are asked read by read
            assert made.client.http("GET", "/v1/kv/direct?raw").body == b"2"
    finally:
        with contextlib.suppress(ProcessLookupError):  # its supervisor may have lost its patience meanwhile
            os.kill(stopped, signal.SIGCONT)
