"""Three agents of ours through the deaths and returns of their servers."""

from __future__ import annotations

import base64
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, wait_until
from tests.clusters import JOINING, AnyAgent, Cluster, founders, server
from tests.loopback import LoopbackPool


@pytest.fixture(scope="module")
def cluster(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = founders(loopback, tmp_path_factory.mktemp("cluster"), [Agent, Agent, Agent])
    with made.running():
        yield made


def has(agent: AnyAgent, key: str, value: bytes) -> bool:
    """Whether the server's own state holds `value` under `key`."""
    answer = agent.http("GET", f"/v1/kv/{key}?stale")
    return answer.status == 200 and base64.b64decode(answer.json()[0]["Value"]) == value


def everywhere(cluster: Cluster, key: str, value: bytes) -> None:
    for one in cluster.alive():
        wait_until(lambda one=one: has(one, key, value), what=f"{key} at {one.node_name}")  # type: ignore[misc]


def test_the_next_write_after_the_death_of_the_leader_is_accepted(cluster: Cluster) -> None:
    old = cluster.leader()
    assert isinstance(old, Agent)
    cluster.write_somewhere("/v1/kv/before", b"1")
    old.kill_everything()
    cluster.write_somewhere("/v1/kv/after", b"2")
    new = cluster.leader()
    assert new is not old
    everywhere(cluster, "before", b"1")
    old.start()  # with its data
    old.wait_ready()
    everywhere(cluster, "after", b"2")
    wait_until(lambda: cluster.voters() == {"n1", "n2", "n3"}, what="all three as voters")
    old.wait_output("Raft data found, disabling bootstrap mode")


@pytest.mark.slow
def test_servers_that_all_got_new_addresses_find_each_other(loopback: LoopbackPool, tmp_path: Path) -> None:
    before = founders(loopback, tmp_path, [Agent, Agent, Agent])
    with before.running():
        before.write_somewhere("/v1/kv/moved", b"1")
        everywhere(before, "moved", b"1")
        for one in before:
            assert isinstance(one, Agent)
            one.kill_everything()
    after = founders(loopback, tmp_path, [Agent, Agent, Agent])  # with the same directories
    after.start()
    try:
        after.leader()
        everywhere(after, "moved", b"1")
        after.write_somewhere("/v1/kv/moved", b"2")
        everywhere(after, "moved", b"2")
        addresses = {f"{one.address}:8300" for one in after}
        wait_until(
            lambda: set(after.leader().http("GET", "/v1/status/peers").json()) == addresses, what="the new addresses"
        )
        assert after.voters() == {"n1", "n2", "n3"}
        assert "RemoveServer" not in after.leader().output()
    finally:
        for one in after:
            one.destroy()


@pytest.mark.slow
def test_a_component_of_the_leader_may_die(cluster: Cluster) -> None:
    for component in ("rpc_core", "raft_node", "gossip"):
        leader = cluster.leader()
        assert isinstance(leader, Agent)
        leader.wait_restarted(component, leader.kill(component))
        cluster.write_somewhere(f"/v1/kv/without-{component}", b"1")
        everywhere(cluster, f"without-{component}", b"1")


@pytest.mark.slow
def test_reads_do_not_wait_for_a_leader_that_hangs(cluster: Cluster) -> None:
    cluster.write_somewhere("/v1/kv/read", b"1")
    old = cluster.leader()
    follower = cluster.followers()[0]
    assert isinstance(old, Agent)
    follower.http("GET", "/v1/kv/read")  # the connection is there
    paused = [old.pid, *old.children()]
    try:
        for pid in paused:
            os.kill(pid, signal.SIGSTOP)
        assert follower.http("GET", "/v1/kv/read").status == 200
    finally:
        for pid in reversed(paused):
            os.kill(pid, signal.SIGCONT)
    assert cluster.leader() is not old
    cluster.write_somewhere("/v1/kv/read", b"2")
    everywhere(cluster, "read", b"2")


@pytest.mark.slow
def test_a_whole_cluster_comes_back_with_its_state(cluster: Cluster) -> None:
    cluster.write_somewhere("/v1/kv/kept", b"1")
    for one in cluster:
        assert isinstance(one, Agent)
        one.kill_everything()
    cluster.start()
    cluster.leader()
    everywhere(cluster, "kept", b"1")
    cluster.write_somewhere("/v1/kv/kept", b"2")


@pytest.mark.slow
def test_a_server_joins_later_and_leaves_for_good(cluster: Cluster, loopback: LoopbackPool, tmp_path: Path) -> None:
    join = [one.address for one in cluster]
    fourth = server(Agent, loopback(), tmp_path, "n4", mode=JOINING, join=join)
    cluster.servers.append(fourth)
    try:
        fourth.start()
        fourth.wait_ready()
        cluster.write_somewhere("/v1/kv/four", b"4")
        everywhere(cluster, "four", b"4")
        peers = f"{fourth.address}:8300"
        for one in cluster:
            wait_until(lambda one=one: peers in one.http("GET", "/v1/status/peers").json(), what="the new peer")  # type: ignore[misc]
        assert fourth.stop(signal.SIGINT) in (0, 1)
        cluster.servers.remove(fourth)
        for one in cluster:
            wait_until(lambda one=one: peers not in one.http("GET", "/v1/status/peers").json(), what="its end")  # type: ignore[misc]
    finally:
        fourth.destroy()


def test_a_server_that_lost_its_data_comes_back_empty(cluster: Cluster) -> None:
    victim = cluster.followers()[0]
    assert isinstance(victim, Agent)
    cluster.write_somewhere("/v1/kv/more", b"3")
    everywhere(cluster, "more", b"3")  # or it could be lost for good: what the victim has acknowledged it forgets
    victim.kill_everything()
    shutil.rmtree(victim.data_dir / "raft")
    shutil.rmtree(victim.data_dir / "state", ignore_errors=True)
    victim.start()
    victim.wait_ready()
    everywhere(cluster, "more", b"3")
    assert "Found expected number of peers" not in victim.output().rpartition("==> Starting Consul agent")[2]
