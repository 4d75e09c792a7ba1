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
    "autopilot": {"server_stabilization_time": "1s", "last_contact_threshold": "10s"},
    "performance": {"raft_multiplier": 5, "rpc_hold_timeout": "25s", "leave_drain_time": "100ms"},
    "log_level": "DEBUG",
}
"""Nobody is unhealthy and no leader goes because a processor was busy for a moment."""
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
    """Waits until all servers are healthy, and whoever is asked says the same."""
    said: list[tuple[int, list[Any]]] = []

    def alike() -> bool:
        said[:] = [judged(agent) for agent in cluster.alive()]
        return all(one == said[0] for one in said) and said[0][0] == 200 and len(said[0][1]) == 3

    try:
        wait_until(alike, 60, "three healthy servers in the eyes of all")
    except AssertionError as error:
        raise AssertionError(f"{error}: {said}") from None


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


def leave(agent: AnyAgent) -> None:
    """A real server may be gone before it has answered that it left."""
    left = agent.cli("leave")
    assert left.returncode == 0 or isinstance(agent, RealConsul), left
    assert agent.wait_exit(60) == 0


def operator(agent: AnyAgent, *command: str) -> str:
    """What `consul operator` prints; asked again while there is no leader."""
    outcome = wait_until(lambda: (it := agent.cli("operator", *command)).returncode == 0 and it, 60, " ".join(command))
    assert outcome
    return outcome.stdout


def operate_on_every_server(cluster: Cluster) -> None:
    """What operators ask, asked of each: followers pass it on to a leader of the other kind."""
    for number, agent in enumerate(cluster):
        said = operator(agent, "autopilot", "set-config", f"-max-trailing-logs={300 + number}")
        assert said == "Configuration updated!\n"
        for other in cluster:
            assert f"MaxTrailingLogs = {300 + number}\n" in operator(other, "autopilot", "get-config")
        wait_until(lambda agent=agent: refused(agent), 60, "the refusal to remove nobody")  # type: ignore[misc]
    wait_until(lambda: len({operator(agent, "raft", "list-peers") for agent in cluster}) == 1, 60, "one table for all")


def refused(agent: AnyAgent) -> bool:
    answer = agent.http("DELETE", "/v1/operator/raft/peer?id=nobody")
    assert answer.status == 500
    return answer.body.endswith(b'id "nobody" was not found in the Raft configuration')


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
        leave(gone)
        survivor = cluster.alive()[0]
        wait_until(lambda: without(survivor, gone.node_name), 60, "the end of the one that left")
        cluster.write_somewhere("/v1/kv/after", b"1")


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
        wait_until(lambda: cluster.leader().node_name == "real", 60, "the real server to lead")
        real = cluster.leader()
        wait_healthy(cluster)
        dead = next(one for one in cluster if one.node_name == "b")
        assert isinstance(dead, Agent)
        dead.kill_everything()
        wait_until(lambda: without(real, "b"), 90, "the removal of the dead by the real leader")
        wait_until(lambda: without(ours, "b"), 60, "the same at the other one")
        leave(ours)
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
