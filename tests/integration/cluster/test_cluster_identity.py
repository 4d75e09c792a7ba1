"""Servers that come back as somebody else: without their data, or with another's."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.agents import PATIENCE_S, Agent, RealConsul, wait_until
from tests.clusters import JOINING, AnyAgent, Cluster, founders, server
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.slow
CONFIG = {"autopilot": {"server_stabilization_time": "200ms"}}
KINDS = ["ours", pytest.param("real", marks=pytest.mark.real_consul)]
Kind = Callable[..., AnyAgent]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """The real ones have to live up to the same expectations."""
    if request.param == "ours":
        return Agent
    return partial(RealConsul, binary=request.getfixturevalue("real_consul"))


def kill(agent: AnyAgent) -> None:
    if isinstance(agent, Agent):
        agent.kill_everything()
    else:
        agent.destroy()


def has(agent: AnyAgent, key: str, value: bytes) -> bool:
    answer = agent.http("GET", f"/v1/kv/{key}?stale")
    return answer.status == 200 and base64.b64decode(answer.json()[0]["Value"]) == value


def test_a_server_that_lost_everything_gets_a_new_identity(kind: Kind, loopback: LoopbackPool, tmp_path: Path) -> None:
    cluster = founders(loopback, tmp_path, [kind] * 3, CONFIG)
    with cluster.running():
        victim = cluster.followers()[0]
        cluster.write_somewhere("/v1/kv/kept", b"1")
        old = cluster.leader().http("GET", f"/v1/catalog/node/{victim.node_name}").json()["Node"]["ID"]
        kill(victim)
        _wait_failed(cluster, victim.node_name)
        shutil.rmtree(victim.data_dir)
        victim.start()
        victim.wait_ready()
        wait_until(lambda: has(victim, "kept", b"1"), what="the state")
        wait_until(lambda: cluster.voters() == {"n1", "n2", "n3"}, 2 * PATIENCE_S, "its vote")

        def renamed() -> bool:
            node = cluster.leader().http("GET", f"/v1/catalog/node/{victim.node_name}").json()["Node"]
            return bool(node["ID"] not in ("", old))

        wait_until(renamed, 2 * PATIENCE_S, "its new id in the catalog")
        servers = cluster.leader().http("GET", "/v1/operator/raft/configuration").json()["Servers"]
        assert len(servers) == 3
        assert old not in {one["ID"] for one in servers}


def _wait_failed(cluster: Cluster, name: str) -> None:
    def failed() -> bool:
        checks = cluster.leader().http("GET", f"/v1/health/node/{name}").json()
        return any(check["CheckID"] == "serfHealth" and check["Status"] == "critical" for check in checks)

    wait_until(failed, 3 * PATIENCE_S, "its failure")


def test_a_copy_of_a_server_is_refused(loopback: LoopbackPool, tmp_path: Path) -> None:
    """Its node id is taken, by a living server: it gets neither that server's vote nor its entry in the catalog. (A
    real leader gives it both.)"""
    cluster = founders(loopback, tmp_path, [Agent] * 3, CONFIG)
    with cluster.running():
        cluster.write_somewhere("/v1/kv/kept", b"1")
        model = cluster.followers()[0]
        kill(model)
        join = [one.address for one in cluster if one is not model]
        copy = server(Agent, loopback(), tmp_path / "copy", "copy", mode=JOINING, join=join, config=CONFIG)
        shutil.copytree(model.data_dir, copy.data_dir, ignore=shutil.ignore_patterns("serf", "run", "state"))
        model.start()
        model.wait_ready()
        leader = cluster.leader()
        try:
            copy.start()
            copy.wait_output("has conflicting node ID", 2 * PATIENCE_S)
            leader.wait_output("member has the node ID of another, ignoring it", 2 * PATIENCE_S)
            cluster.write_somewhere("/v1/kv/more", b"2")
            assert cluster.leader() is leader
            assert not has(copy, "more", b"2")
            assert cluster.voters() == {"n1", "n2", "n3"}
            assert {one["Node"] for one in leader.http("GET", "/v1/catalog/nodes").json()} == {"n1", "n2", "n3"}
        finally:
            copy.destroy()
