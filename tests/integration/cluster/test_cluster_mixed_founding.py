"""Servers of both kinds found a cluster together with -bootstrap-expect, and go on when their leader dies."""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_until
from tests.clusters import AnyAgent, Cluster, founders
from tests.loopback import LoopbackPool

pytestmark = [pytest.mark.real_consul, pytest.mark.slow]


def value(agent: AnyAgent, key: str, query: str = "") -> bytes | None:
    answer = agent.http("GET", f"/v1/kv/{key}{query}")
    return base64.b64decode(answer.json()[0]["Value"]) if answer.status == 200 else None


def kill(agent: AnyAgent) -> None:
    if isinstance(agent, Agent):
        agent.kill_everything()
    else:
        agent.destroy()


@pytest.mark.parametrize("real_servers", [1, 2])
def test_both_kinds_found_a_cluster(
    real_servers: int, real_consul: Path, loopback: LoopbackPool, tmp_path: Path
) -> None:
    real = partial(RealConsul, binary=real_consul)
    kinds = [real if number < real_servers else Agent for number in range(3)]
    cluster = founders(loopback, tmp_path, kinds)
    with cluster.running():
        assert cluster.voters() == {"n1", "n2", "n3"}
        for number, one in enumerate(cluster):
            assert one.http("PUT", f"/v1/kv/of/{number}", one.node_name.encode()).body == b"true"
            for other in cluster:
                assert value(other, f"of/{number}", "?consistent") == one.node_name.encode()
        led: set[str] = set()
        for _ in range(6):
            led.add(cluster.leader().node_name)
            _lose_the_leader(cluster)
            if {type(one) for one in cluster if one.node_name in led} == {Agent, RealConsul}:
                return
        pytest.fail(f"only {led} led in six elections")


def _lose_the_leader(cluster: Cluster) -> None:
    """Kill it, write, let it come back, and find the write there."""
    old = cluster.leader()
    kill(old)
    key = f"without-{old.node_name}"
    cluster.write_somewhere(f"/v1/kv/{key}", b"1")
    for one in cluster.alive():
        wait_until(lambda one=one: value(one, key, "?stale") == b"1", what=f"{key} at {one.node_name}")  # type: ignore[misc]
    old.start()
    old.wait_ready()
    wait_until(lambda: value(old, key, "?stale") == b"1", what=f"{key} at {old.node_name}")
