"""A client agent without servers, and beside servers that hang: bounded waits, clear words, recovery by itself."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from dnslib import RCODE

from tests.agents import PATIENCE_S, Agent, wait_until
from tests.clusters import Cluster, client, expecting, server
from tests.integration.client_mode.setups import ask_dns, found, setup
from tests.loopback import LoopbackPool

NO_SERVERS = b"No known Consul servers"
AT_ONCE_S = 20.0
"""What was held, as for a leader, would be answered much later."""


def test_a_client_alone_answers_for_itself_and_finds_servers_later(loopback: LoopbackPool, tmp_path: Path) -> None:
    address = loopback()
    held_for_long = {"performance": {"rpc_hold_timeout": f"{20 * AT_ONCE_S:.0f}s"}}
    alone = client(Agent, loopback(), tmp_path / "c1", "c1", join=[address], config=held_for_long)
    other = server(Agent, address, tmp_path / "n1", "n1", mode=expecting(1))
    try:
        alone.start()
        alone.wait_output("==> Consul agent running!")
        for method, path, body in (
            ("GET", "/v1/kv/a", b""),
            ("PUT", "/v1/kv/a", b"1"),
            ("GET", "/v1/catalog/nodes?stale", b""),
            ("GET", "/v1/health/service/web?cached", b""),
            ("GET", "/v1/status/leader", b""),
            ("PUT", "/v1/session/create", b"{}"),
            ("GET", "/v1/snapshot", b""),
        ):
            answer = alone.http(method, path, body, timeout_s=AT_ONCE_S)
            assert (answer.status, answer.body) == (500, NO_SERVERS), path
        assert ask_dns(alone.address, "web.service.consul").header.rcode == RCODE.SERVFAIL
        check = {"TTL": "1h", "Status": "passing"}
        assert alone.http("PUT", "/v1/agent/service/register", {"Name": "web", "Check": check}).status == 200
        assert list(alone.http("GET", "/v1/agent/services").json()) == ["web"]
        assert alone.http("GET", "/v1/agent/health/service/name/web").status == 200

        other.start()
        other.wait_ready()
        passing = "/v1/health/service/web?passing"
        wait_until(lambda: found(alone, passing), 2 * PATIENCE_S, "the service at the server")
        assert [str(record.rdata) for record in ask_dns(alone.address, "web.service.consul").rr] == [alone.address]
    finally:
        alone.destroy()
        other.destroy()


@pytest.mark.slow
def test_a_server_that_hangs_is_left_for_another(loopback: LoopbackPool, tmp_path: Path) -> None:
    with setup([Agent, Agent, Agent], Agent, loopback, tmp_path) as made:
        agent, leader = made.client, made.cluster.leader()
        assert agent.http("PUT", "/v1/kv/a", b"1").body == b"true"
        hanging = _server_in_use(agent, made.cluster)
        paused = [hanging.pid, *hanging.children()]
        try:
            for pid in paused:
                os.kill(pid, signal.SIGSTOP)
            started = time.monotonic()
            assert agent.http("GET", "/v1/kv/a", timeout_s=60).status == 200
            assert agent.http("GET", "/v1/catalog/nodes", timeout_s=60).status == 200
            took_s = time.monotonic() - started
            wait_until(
                lambda: agent.http("PUT", "/v1/kv/a", b"2", timeout_s=60).body == b"true", 60, "a write beside it"
            )
            print(f"reads went on after {took_s:.1f} s; the hanging server led: {hanging is leader}")
        finally:
            for pid in reversed(paused):
                os.kill(pid, signal.SIGCONT)
        wait_until(lambda: _known_servers(agent) == 3, 60, "its return")


def _server_in_use(agent: Any, cluster: Cluster) -> Agent:
    """The server that gets the client's calls: the only one with an RPC connection of its."""
    found = wait_until(
        lambda: [one for one in cluster if _connected(agent.address, one.address)], what="a connection to a server"
    )
    assert isinstance(found[0], Agent)
    return found[0]


def _connected(source: str, target: str) -> bool:
    """Whether there is a TCP connection from an address to the RPC port of another."""
    ends = []
    for address, port in ((source, ""), (target, f"{8300:04X}")):
        parts = [int(part) for part in address.split(".")]
        ends.append("".join(f"{part:02X}" for part in reversed(parts)) + ":" + port)
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(row[1].startswith(ends[0]) and row[2] == ends[1] and row[3] == "01" for row in rows)


def _known_servers(agent: Any) -> int:
    return int(agent.http("GET", "/v1/agent/self").json()["Stats"]["consul"]["known_servers"])


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"bootstrap": True}, "'bootstrap = true' requires 'server = true'"),
        ({"bootstrap_expect": 3}, "'bootstrap_expect > 0' requires 'server = true'"),
    ],
)
def test_what_only_servers_can_be_told(
    loopback: LoopbackPool, tmp_path: Path, config: dict[str, Any], text: str
) -> None:
    agent = client(Agent, loopback(), tmp_path, "c1", join=[], config=config)
    try:
        agent.start()
        assert agent.wait_exit() == 1
        assert text in agent.output()
    finally:
        agent.destroy()


def test_what_a_life_as_a_server_left_behind_is_not_looked_at(loopback: LoopbackPool, tmp_path: Path) -> None:
    address = loopback()
    before = server(Agent, address, tmp_path, "n1", mode=expecting(1))
    with before.running():
        assert before.http("PUT", "/v1/kv/a", b"1").body == b"true"
    after = client(Agent, address, tmp_path, "n1", join=[])
    try:
        after.start()
        wait_until(lambda: after.output().count("==> Consul agent running!") == 2, what="the second start")
        for path in ("/v1/kv/a", "/v1/kv/a?stale", "/v1/catalog/nodes?stale", "/v1/status/leader"):
            assert after.http("GET", path).body == NO_SERVERS
        assert json.loads(after.http("GET", "/v1/agent/self").body)["Config"]["Server"] is False
    finally:
        after.destroy()
