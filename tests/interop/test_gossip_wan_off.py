"""A server without a WAN port is in no pool across datacenters: everything else works as with the real Consul."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, RealConsul, all_running, wait_until

pytestmark = pytest.mark.real_consul

COMMANDS = (("members", "-wan"), ("rtt", "-wan", "node1.dc1", "node1.dc1"))
REQUESTS = (
    ("GET", "/v1/agent/members?wan=1"),
    ("GET", "/v1/coordinate/datacenters"),
    ("GET", "/v1/catalog/datacenters"),
    ("PUT", "/v1/agent/join/127.0.0.1?wan=1"),
    ("PUT", "/v1/agent/force-leave/nobody"),
    ("PUT", "/v1/agent/force-leave/node1"),
    ("PUT", "/v1/agent/force-leave/node1?prune=1"),
)


def sections(agent: Agent | RealConsul) -> tuple[list[str], dict[str, Any]]:
    stats = agent.http("GET", "/v1/agent/self").json()["Stats"]
    return list(stats), stats["consul"]["known_datacenters"]


def test_a_server_without_a_wan_port(loopback: Callable[[], str], tmp_path: Path, real_consul: Path) -> None:
    ours = Agent(loopback(), tmp_path / "ours", ["-serf-wan-port=-1"])
    real = RealConsul(loopback(), tmp_path / "real", real_consul, ["-serf-wan-port=-1"])
    with all_running(ours, real):
        for command in COMMANDS:
            done = [agent.cli(*command) for agent in (ours, real)]
            assert len({(one.returncode, one.stdout, one.stderr) for one in done}) == 1, done
        for method, path in REQUESTS:
            answers = [agent.http(method, path) for agent in (ours, real)]
            assert len({(one.status, one.body) for one in answers}) == 1, answers
        assert sections(ours) == sections(real)
        # Nobody asks for a pool that is not there, over and over.
        assert "no wan pool" not in ours.output()
        assert ours.http("PUT", "/v1/agent/leave").status == 200
        wait_until(lambda: "Exit code: code=0" in ours.output(), timeout_s=60, what="its end")
        assert "failed to leave" not in ours.output()
