"""A server without a WAN port is in no pool across datacenters: everything else works as with the real Consul."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, RealConsul, wait_until
from tests.interop.gossip_members import all_running

pytestmark = pytest.mark.real_consul

COMMANDS = (
    ("members", "-wan"),
    ("join", "-wan", "127.0.0.1"),
    ("force-leave", "nobody"),
    ("force-leave", "node1"),
    ("force-leave", "-prune", "node1"),
    ("rtt", "-wan", "node1.dc1", "node1.dc1"),
    ("catalog", "datacenters"),
)
PATHS = ("/v1/agent/members?wan=1", "/v1/coordinate/datacenters", "/v1/catalog/datacenters")


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
        for path in PATHS:
            answers = [agent.http("GET", path) for agent in (ours, real)]
            assert len({(one.status, one.body) for one in answers}) == 1, answers
        assert sections(ours) == sections(real)
        # Nobody asks for a pool that is not there, over and over.
        assert "no wan pool" not in ours.output()
        left = [agent.cli("leave").returncode for agent in (ours, real)]
        assert left == [0, 0]
        for agent in (ours, real):
            wait_until(lambda agent=agent: "Exit code: code=0" in agent.output(), what="its end")  # type: ignore[misc]
            assert "failed to leave" not in agent.output()
