"""Servers of both kinds look after each other: each is promoted, judged and removed by the other's leader."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, RealConsul, wait_until
from tests.clusters import FOUNDING, JOINING, AnyAgent, Cluster, Kind, server

pytestmark = pytest.mark.real_consul

CONFIG = {
    "autopilot": {"server_stabilization_time": "1s"},
    "performance": {"raft_multiplier": 1, "leave_drain_time": "100ms"},
    "log_level": "DEBUG",
}
HEALTH = "/v1/operator/autopilot/health"
RAFT = "/v1/operator/raft/configuration"


def three_servers(loopback: Callable[[], str], directory: Path, binary: Path, leader: str) -> Cluster:
    """`real` and, of ours, `a` and `b`. The one named `leader` founds the cluster, the others join it."""
    kinds: dict[str, Kind] = {"real": partial(_real, binary), "a": Agent, "b": Agent}
    addresses = {name: loopback() for name in kinds}
    return Cluster(
        [
            server(
                kind,
                addresses[name],
                directory / name,
                name,
                mode=FOUNDING if name == leader else JOINING,
                join=[] if name == leader else [addresses[leader]],
                config=CONFIG,
            )
            for name, kind in kinds.items()
        ]
    )


def _real(binary: Path, address: str, directory: Path, **settings: Any) -> RealConsul:
    return RealConsul(address, directory, binary, **settings)


def all_vote(cluster: Cluster) -> bool:
    return cluster.voters() == {"real", "a", "b"}


def judged(agent: AnyAgent) -> tuple[int, list[Any]]:
    """Status, and of each server what does not change from look to look."""
    answer = agent.http("GET", HEALTH)
    kept = ("ID", "Name", "Address", "SerfStatus", "Version", "Leader", "Healthy", "Voter")
    return answer.status, [[server[key] for key in kept] for server in answer.json()["Servers"] or []]


def wait_healthy(cluster: Cluster) -> None:
    """Waits until all servers are healthy, and asserts that whoever is asked says the same."""
    leader = cluster.leader()
    wait_until(lambda: judged(leader)[0] == 200 and len(judged(leader)[1]) == 3, 60, "three healthy servers")
    expected = judged(leader)
    for agent in cluster:
        assert judged(agent) == expected


def configure(agent: AnyAgent, min_quorum: int) -> None:
    settings = {
        "CleanupDeadServers": True,
        "LastContactThreshold": "200ms",
        "MaxTrailingLogs": 250,
        "MinQuorum": min_quorum,
    }
    assert agent.http("PUT", "/v1/operator/autopilot/configuration", settings).status == 200


def without(agent: AnyAgent, gone: str, left: int = 2) -> bool:
    """Whether neither Raft nor the catalog knows `gone`, and both know `left` servers."""
    peers = {server["Node"] for server in agent.http("GET", RAFT).json()["Servers"]}
    nodes = {node["Node"] for node in agent.http("GET", "/v1/catalog/nodes").json()}
    return gone not in peers | nodes and len(peers) == len(nodes) == left


def operate_on_every_server(cluster: Cluster) -> None:
    """What operators ask, asked of each: followers pass it on to a leader of the other kind."""
    for number, agent in enumerate(cluster):
        outcome = agent.cli("operator", "autopilot", "set-config", f"-max-trailing-logs={300 + number}")
        assert outcome.stdout == "Configuration updated!\n", outcome
        for other in cluster:
            assert f"MaxTrailingLogs = {300 + number}\n" in other.cli("operator", "autopilot", "get-config").stdout
        refused = agent.http("DELETE", "/v1/operator/raft/peer?id=nobody")
        assert refused.status == 500
        assert refused.body.endswith(b'id "nobody" was not found in the Raft configuration')
    tables = {agent.cli("operator", "raft", "list-peers").stdout for agent in cluster}
    assert len(tables) == 1


@pytest.mark.parametrize("leader", ["a", pytest.param("real", marks=pytest.mark.slow)])
def test_servers_of_both_kinds_vote_are_healthy_and_leave(
    loopback: Callable[[], str], tmp_path: Path, real_consul: Path, leader: str
) -> None:
    cluster = three_servers(loopback, tmp_path, real_consul, leader)
    with cluster.running():
        wait_until(lambda: all_vote(cluster), 90, "three voters")
        wait_healthy(cluster)
        operate_on_every_server(cluster)
        gone = cluster.leader()
        assert gone.cli("leave").returncode == 0
        assert gone.wait_exit() == 0
        survivor = cluster.alive()[0]
        wait_until(lambda: without(survivor, gone.node_name), 60, "the end of the one that left")
        assert survivor.http("PUT", "/v1/kv/after", b"1").body == b"true"


@pytest.mark.slow
def test_the_leadership_goes_to_the_real_server_and_duties_with_it(
    loopback: Callable[[], str], tmp_path: Path, real_consul: Path
) -> None:
    cluster = three_servers(loopback, tmp_path, real_consul, "a")
    with cluster.running():
        wait_until(lambda: all_vote(cluster), 90, "three voters")
        ours = cluster.leader()
        ids = {server["Node"]: server["ID"] for server in ours.http("GET", RAFT).json()["Servers"]}
        assert ours.http("PUT", f"/v1/operator/raft/transfer-leader?id={ids['real']}").status == 200
        real = cluster.leader()
        assert real.node_name == "real"
        wait_healthy(cluster)
        dead = next(one for one in cluster if one.node_name == "b")
        assert isinstance(dead, Agent)
        dead.kill_everything()
        wait_until(lambda: without(real, "b"), 90, "the removal of the dead by the real leader")
        assert without(ours, "b")
        assert ours.cli("leave").returncode == 0
        assert ours.wait_exit() == 0
        assert "failed to leave raft configuration gracefully" not in ours.output()
        wait_until(lambda: without(real, "a", left=1), 60, "the end of the one that left")


@pytest.mark.slow
def test_a_dead_real_server_is_removed_by_ours(loopback: Callable[[], str], tmp_path: Path, real_consul: Path) -> None:
    cluster = three_servers(loopback, tmp_path, real_consul, "a")
    with cluster.running():
        wait_until(lambda: all_vote(cluster), 90, "three voters")
        leader = cluster.leader()
        configure(leader, min_quorum=3)
        dead = next(one for one in cluster if one.node_name == "real")
        dead.destroy()
        wait_until(lambda: judged(leader)[0] == 429, 60, "the failure")
        refusal = "would leave less then minimal allowed quorum of 3 servers"
        wait_until(lambda: refusal in leader.output(), 60, "the refusal")
        configure(leader, min_quorum=2)
        wait_until(lambda: without(leader, "real"), 60, "the removal of the dead")
        wait_until(lambda: judged(leader)[0] == 200, 60, "health")
