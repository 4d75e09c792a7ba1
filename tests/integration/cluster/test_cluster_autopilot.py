"""What a leader does for its cluster: votes for newcomers, health, its own succession, the removal of the dead.

The tests go through the life of one cluster, in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent, wait_until
from tests.clusters import CALM, ELECTION_S, FOUNDING, JOINING, AnyAgent, Cluster, server
from tests.loopback import LoopbackPool

HEALTH = "/v1/operator/autopilot/health"
HEALTHY, TOLERANCE = "consul.autopilot.healthy", "consul.autopilot.failure_tolerance"
CONFIG = {
    "autopilot": {"server_stabilization_time": "1s", "last_contact_threshold": "10s"},
    "performance": {**CALM["performance"], "leave_drain_time": "100ms"},
}
"""Nobody is unhealthy, no handover fails and no leader goes because a processor was busy for a moment."""


class Growing(Cluster):
    """A cluster that begins with one server, `n1`."""

    def __init__(self, loopback: LoopbackPool, directory: Path) -> None:
        self._loopback, self._directory, self._made = loopback, directory, 0
        super().__init__([])
        self.add(FOUNDING)

    def add(self, mode: tuple[str, ...] = JOINING) -> AnyAgent:
        """One more, which still has to be started."""
        self._made += 1
        name = f"n{self._made}"
        join = [one.address for one in self.servers]
        made = server(Agent, self._loopback(), self._directory / name, name, mode=mode, join=join, config=CONFIG)
        self.servers.append(made)
        return made

    def grow(self) -> AnyAgent:
        made = self.add()
        self.start(made)
        return made

    def wait_members(self, names: set[str]) -> None:
        """Waits until exactly these are voters, and in the catalog."""

        def only_these() -> bool:
            found = {node["Node"] for node in self.leader().http("GET", "/v1/catalog/nodes").json()}
            return self.voters() == found == names

        wait_until(only_these, 2 * ELECTION_S, f"{sorted(names)} as voters and in the catalog")

    def wait_led_by(self, is_wanted: Callable[[AnyAgent], bool], what: str) -> None:
        """Waits until all know a leader of the wanted kind: for a moment after a handover some still name the old."""
        wait_until(lambda: is_wanted(self.leader()), ELECTION_S, what)


@pytest.fixture(scope="module")
def cluster(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Growing]:
    made = Growing(loopback, tmp_path_factory.mktemp("cluster"))
    with made.running():
        yield made


def peers(agent: AnyAgent) -> dict[str, dict[str, Any]]:
    """The Raft configuration by node name."""
    answer = agent.http("GET", "/v1/operator/raft/configuration")
    return {one["Node"]: one for one in answer.json()["Servers"]} if answer.status == 200 else {}


def id_of(agent: AnyAgent, name: str) -> str:
    """Raises KeyError while it is no peer."""
    return str(peers(agent)[name]["ID"])


def gauges(agent: AnyAgent) -> dict[str, float]:
    found = agent.http("GET", "/v1/agent/metrics").json()["Gauges"]
    return {one["Name"]: one["Value"] for one in found if "autopilot" in one["Name"]}


def test_newcomers_get_a_vote_when_they_have_been_healthy(cluster: Growing) -> None:
    leader = cluster.leader()
    second, third = cluster.grow(), cluster.grow()
    cluster.wait_members({"n1", "n2", "n3"})
    for newcomer in (second, third):
        server_id = wait_until(partial(id_of, leader, newcomer.node_name), what=f"the id of {newcomer.node_name}")
        added = f"command=AddNonvoter server-id={server_id}"
        promoted = f'Promoting server to voter: server="Server (ID: "{server_id}"'

        def told(lines: tuple[str, ...] = (added, promoted)) -> bool:
            output = "".join(agent.output() for agent in cluster)
            return all(line in output for line in lines)

        wait_until(told, what=f"the lines about {newcomer.node_name}")  # a line takes its time through the supervisor
    wait_until(lambda: leader.http("GET", HEALTH).json()["FailureTolerance"] == 1, what="a tolerance of one")

    def all_healthy(agent: AnyAgent) -> bool:
        answer = agent.http("GET", HEALTH)
        shown = answer.json()["Servers"]
        return answer.status == 200 and [
            (one["Name"], one["Leader"], one["Voter"], one["SerfStatus"]) for one in shown
        ] == [(name, name == cluster.leader().node_name, True, "alive") for name in peers(agent)]

    for agent in (leader, second, third):
        wait_until(partial(all_healthy, agent), what=f"three healthy servers in the eyes of {agent.node_name}")


def test_the_leadership_is_handed_to_the_server_that_was_named(cluster: Growing) -> None:
    old = cluster.leader()
    target = cluster.followers()[0]
    asked = cluster.followers()[1]
    server_id = id_of(old, target.node_name)
    answer = asked.http("POST", f"/v1/operator/raft/transfer-leader?id={server_id}")
    assert (answer.status, answer.json()) == (200, {"Success": True})
    cluster.wait_led_by(lambda leader: leader is target, "the server that was named as the leader")
    refused = asked.http("POST", "/v1/operator/raft/transfer-leader?id=nobody")
    assert refused.status == 500
    assert b'id "nobody" was not found in the Raft configuration' in refused.body
    refused = asked.http("POST", f"/v1/operator/raft/transfer-leader?id={server_id}")
    assert b"cannot transfer leadership to itself" in refused.body


def test_the_leadership_is_handed_to_anybody(cluster: Growing) -> None:
    old = cluster.leader()
    asked = cluster.followers()[0]
    assert isinstance(asked, Agent)
    outcome = asked.cli("operator", "raft", "transfer-leader")
    assert (outcome.returncode, outcome.stdout) == (0, "Success\n")
    cluster.wait_led_by(lambda leader: leader is not old, "another leader")


def test_no_write_fails_while_the_leadership_is_handed_over(cluster: Growing) -> None:
    over = threading.Event()

    def write(agent: AnyAgent) -> list[bytes]:
        """Answers to writes, one after the other."""
        answers = []
        while not over.is_set():
            answers.append(agent.http("PUT", f"/v1/kv/{agent.node_name}", b"1", timeout_s=2 * PATIENCE_S).body)
        return answers

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, agent) for agent in cluster]
        try:
            for _ in range(3):
                before = cluster.leader()
                assert before.http("POST", "/v1/operator/raft/transfer-leader").status == 200
                cluster.wait_led_by(lambda leader, before=before: leader is not before, "another leader")  # type: ignore[misc]
        finally:
            over.set()
        answers = [answer for writer in writers for answer in writer.result()]
    assert set(answers) == {b"true"}


@pytest.mark.slow
def test_a_leader_that_leaves_is_succeeded_at_once_and_forgotten(cluster: Growing) -> None:
    old = cluster.leader()
    assert isinstance(old, Agent)
    assert old.cli("leave").returncode == 0
    assert old.wait_exit() == 0
    assert "successfully transferred leadership" in old.output()
    cluster.wait_members({one.node_name for one in cluster.alive()})
    assert len(cluster.alive()) == 2


@pytest.mark.slow
def test_the_dead_are_shown_and_removed_when_another_server_has_come(cluster: Growing) -> None:
    cluster.grow()
    three = {one.node_name for one in cluster.alive()}
    cluster.wait_members(three)
    dead = cluster.followers()[0]
    assert isinstance(dead, Agent)
    dead.kill_everything()
    leader = cluster.leader()
    checks = f"/v1/health/node/{dead.node_name}"

    def is_critical() -> bool:
        return [check["Status"] for check in leader.http("GET", checks).json()] == ["critical"]

    wait_until(is_critical, what="a critical node")
    answer = leader.http("GET", HEALTH)
    assert answer.status == 429
    assert leader.http("POST", "/v1/operator/raft/transfer-leader").status == 200  # to the one that lives
    leader = cluster.leader()
    wait_until(lambda: gauges(leader) == {HEALTHY: 0, TOLERANCE: 0}, what="the gauges")
    newcomer = cluster.grow()
    cluster.wait_members((three - {dead.node_name}) | {newcomer.node_name})
    wait_until(lambda: leader.http("GET", HEALTH).status == 200, what="health")
