"""Three servers as one cluster: rates at the leader and at a follower, the gap when the leader dies, catching up.

All rows are measured on one machine that all three servers share, as is every other row of the comparison."""

from __future__ import annotations

import contextlib
import http.client
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.agents import Agent, wait_until
from tests.benchmarks import measure
from tests.clusters import AnyAgent, Cluster, Kind, founders
from tests.loopback import LoopbackPool

KILLS: Final = 10
BEHIND: Final = 20_000
"""Entries that a follower misses before it catches up."""
SERVERS: Final = 3
_PATIENCE_S: Final = 120.0

Add = Callable[..., None]
"""add(name, unit, value, higher=..., goal=...)"""


def measure_cluster(
    add: Add, kind: Kind, config: dict[str, object], directory: Path, pool: LoopbackPool, seconds: float
) -> None:
    """Adds all rows of one side."""
    # A killed server is to come back as the voter that it was, however late its death was told.
    kept = {"autopilot": {"cleanup_dead_servers": False}}
    cluster = founders(pool, directory, [kind] * SERVERS, {**config, **kept})
    with cluster.running():
        wait_until(lambda: len(cluster.voters()) == SERVERS, _PATIENCE_S, "three voters")
        _rates(add, cluster, seconds)
        _catching_up(add, cluster)
        _memory(add, cluster)
        _kills(add, cluster)


def _rates(add: Add, cluster: Cluster, seconds: float) -> None:
    leader, follower = cluster.leader(), cluster.followers()[0]
    for name, agent in (("leader", leader), ("follower", follower)):
        base = f"http://{agent.address}:8500"
        for connections, goal in ((1, 1.0), (64, 2.0)):
            rate, _ = measure.put(base, connections, seconds)
            add(f"3 servers: PUT kv at the {name}, {connections} connections", "1/s", rate, goal=goal)
        agent.http("PUT", "/v1/kv/bench/7", b"value-7")
        for mode, goal in (("stale", None), ("default", None), ("consistent", 2.0)):
            query = "" if mode == "default" else f"?{mode}"
            for connections in (16, 64):
                rate, _ = measure.wrk(f"{base}/v1/kv/bench/7{query}", connections, seconds)
                add(f"3 servers: GET kv {mode} at the {name}, {connections} connections", "1/s", rate, goal=goal)


def _catching_up(add: Add, cluster: Cluster) -> None:
    """From the start of a follower that missed BEHIND entries until it has applied them."""
    follower = cluster.followers()[0]
    _kill(follower)
    leader = cluster.leader()
    target = _applied(leader) + BEHIND
    while _applied(leader) < target:
        measure.put(f"http://{leader.address}:8500", 64, 1)
    target = _applied(leader)
    started = time.perf_counter()
    follower.start()
    wait_until(lambda: _applied(follower) >= target, _PATIENCE_S, "the follower to catch up")
    took = time.perf_counter() - started
    add("3 servers: a follower that comes back catches up, boot included", "entries/s", BEHIND / took)
    cluster.wait_settled()


def _applied(agent: AnyAgent) -> int:
    """0 while the agent does not answer."""
    answer = agent.http("GET", "/v1/agent/self", timeout_s=5)
    return int(answer.json()["Stats"]["raft"]["applied_index"]) if answer.status == 200 else 0


def _memory(add: Add, cluster: Cluster) -> None:
    leader = cluster.leader()
    pids = [leader.pid, *leader.children()]
    add("3 servers: memory of the leader, loaded (PSS)", "MiB", measure.pss_mb(pids), higher=False)


def _kills(add: Add, cluster: Cluster) -> None:
    """From kill -9 of all that the leader consists of to the next write that a survivor accepts."""
    gaps = []
    for number in range(KILLS):
        leader = cluster.leader()
        survivors = [one for one in cluster if one is not leader]
        started = time.perf_counter()
        _kill(leader)
        deadline = started + _PATIENCE_S
        while not any(_accepts(one, number) for one in survivors):
            assert time.perf_counter() < deadline, "no new leader"
        gaps.append(time.perf_counter() - started)
        leader.start()
        leader.wait_ready()
        cluster.wait_settled()
        wait_until(lambda: len(cluster.voters()) == SERVERS, _PATIENCE_S, "three voters")
    name = f"3 servers: kill -9 of the leader to the next accepted write, median of {KILLS}"
    add(name, "s", statistics.median(gaps), higher=False, goal=2.0)


def _accepts(agent: AnyAgent, number: int) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return agent.http("PUT", f"/v1/kv/kill/{number}", b"1", timeout_s=0.25).body.strip() == b"true"
    return False


def _kill(agent: AnyAgent) -> None:
    if isinstance(agent, Agent):
        agent.kill_everything()
    else:
        agent.signal(9)
        agent.wait_exit()
