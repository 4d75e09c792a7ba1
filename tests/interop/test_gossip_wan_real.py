"""Two datacenters, one of real Consul servers and one of ours, that meet in an encrypted WAN pool."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, all_running, wait_until
from tests.interop.gossip_members import ALIVE, FAILED, KEY, LEFT, QUICK

pytestmark = pytest.mark.real_consul

Loopback = Callable[[], str]
TIMING = {"gossip_lan": QUICK.consul(), "gossip_wan": QUICK.consul()}
SERVERS = ("our1.dc1", "our2.dc1", "real1.dc2", "real2.dc2")


def wan_statuses(agent: Agent | RealConsul) -> dict[str, int]:
    return {one["Name"]: one["Status"] for one in agent.http("GET", "/v1/agent/members?wan=1").json()}


def tags_of(agent: Agent | RealConsul, server: str) -> dict[str, str]:
    members = agent.http("GET", "/v1/agent/members?wan=1").json()
    [tags] = [one["Tags"] for one in members if one["Name"] == server]
    return dict(tags)


def datacenters(agent: Agent | RealConsul) -> list[str]:
    return sorted(agent.http("GET", "/v1/catalog/datacenters").json())


def wait_wan(agents: list[Agent | RealConsul], expected: dict[str, int]) -> None:
    for agent in agents:
        try:
            wait_until(lambda agent=agent: wan_statuses(agent) == expected, 60)  # type: ignore[misc]
        except AssertionError:
            raise AssertionError(f"{agent.node_name} sees {wan_statuses(agent)}, expected {expected}") from None


def table(agent: Agent | RealConsul) -> list[list[str]]:
    """The rows of `members -wan`."""
    printed = agent.cli("members", "-wan")
    assert printed.returncode == 0, printed.stderr
    return sorted(line.split() for line in printed.stdout.splitlines())


def test_two_datacenters_find_each_other_lose_and_leave(loopback: Loopback, tmp_path: Path, real_consul: Path) -> None:
    our1_at, real1_at = loopback(), loopback()
    # Dead servers that do not vote yet would be sent away.
    config = {
        **TIMING, "performance": {"raft_multiplier": 1, "leave_drain_time": "0s"},
        "autopilot": {"cleanup_dead_servers": False}, "encrypt": KEY,
    }  # fmt: skip
    our1 = Agent(
        our1_at, tmp_path / "our1", ["-retry-join-wan", real1_at, "-retry-interval-wan=1s"], dev=False,
        node_name="our1", config=config,
    )  # fmt: skip
    our2 = Agent(
        loopback(), tmp_path / "our2", ["-bootstrap-expect=0", "-retry-join", our1_at], dev=False, node_name="our2",
        config=config,
    )  # fmt: skip
    there, joins = {**config, "datacenter": "dc2"}, ["-retry-join", real1_at, "-retry-interval=1s"]
    real1 = RealConsul(real1_at, tmp_path / "real1", real_consul, dev=False, node_name="real1", config=there)
    real2 = RealConsul(
        loopback(), tmp_path / "real2", real_consul, ["-bootstrap-expect=0", *joins], dev=False, node_name="real2",
        config=there,
    )  # fmt: skip
    client = RealConsul(
        loopback(), tmp_path / "client", real_consul,
        ["-bootstrap-expect=0", "-server=false", *joins], dev=False, node_name="client", config=there,
    )  # fmt: skip
    everybody: list[Agent | RealConsul] = [our1, our2, real1, real2]
    with contextlib.ExitStack() as stack:
        stack.enter_context(all_running(our1, our2))
        our1.wait_output("Join cluster failed, will retry: cluster=WAN retry_interval=1s")
        stack.enter_context(all_running(real1, real2, client))
        # our1 has gone on trying until real1 was there; our2 and real2 were brought along by them.
        wait_wan(everybody, dict.fromkeys(SERVERS, ALIVE))
        wait_until(lambda: all(row[2] == "alive" for row in table(real1)[1:]) and table(our2) == table(real1), 60)
        assert [row[0] for row in table(real1)] == ["Node", *SERVERS]
        for agent in everybody:
            wait_until(lambda agent=agent: datacenters(agent) == ["dc1", "dc2"], 60)  # type: ignore[misc]
        [ours, theirs] = [
            {name: value for name, value in tags_of(our1, server).items() if name not in ("id", "dc")}
            for server in ("our1.dc1", "real1.dc2")
        ]
        assert ours == theirs
        # Joining again is no harm, and whoever is no server is not let in, with the same words.
        for agent, other in ((our1, real1), (real1, our1)):
            again = agent.cli("join", "-wan", other.address)
            assert (again.returncode, again.stdout) == (0, "Successfully joined cluster by contacting 1 nodes.\n")
        refusals = []
        for agent in (our1, real1):
            refused = agent.cli("join", "-wan", f"{client.address}:8301")
            assert refused.returncode == 1
            refusals.append(re.sub(r"\d+\.\d+\.\d+\.\d+", "ADDR", refused.stderr))
        assert refusals[0] == refusals[1]
        assert "Member 'client' is not a server" in refusals[0]
        # A death on either side is seen on the other, and the dead come back by their snapshot.
        real2.destroy()
        our2.kill_everything()
        wait_wan([our1, real1], {**dict.fromkeys(SERVERS, ALIVE), "our2.dc1": FAILED, "real2.dc2": FAILED})
        our1.wait_output("Handled event for server in area: event=member-failed server=real2.dc2 area=wan")
        real1.wait_output("Handled event for server in area: event=member-failed server=our2.dc1 area=wan")
        real2.start()
        our2.start()
        wait_wan(everybody, dict.fromkeys(SERVERS, ALIVE))
        # A departure, too.
        assert our2.cli("leave").returncode == 0
        wait_wan([our1, real1, real2], {**dict.fromkeys(SERVERS, ALIVE), "our2.dc1": LEFT})
