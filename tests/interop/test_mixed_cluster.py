"""One Raft group of real servers and ours: each leads, follows, is given a snapshot, restarts and leaves; all hold one
state after random writes through every one of them."""

from __future__ import annotations

import contextlib
import json
import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent, RealConsul, Response, wait_until
from tests.clusters import ELECTION_S, AnyAgent, Cluster, expecting, server
from tests.interop.random_entries import Entries
from tests.interop.random_writes import Writes
from tests.loopback import LoopbackPool
from tests.seeds import seed_of

pytestmark = pytest.mark.real_consul

CONFIG: dict[str, Any] = {
    "performance": {"raft_multiplier": 1, "leave_drain_time": "1s"},
    "autopilot": {"server_stabilization_time": "1s"},
    "raft_snapshot_threshold": 50,
    "raft_snapshot_interval": "1s",
    "raft_trailing_logs": 10,
}
READS = [
    "/v1/kv/?recurse",
    "/v1/catalog/nodes",
    "/v1/catalog/services",
    "/v1/health/state/any",
    "/v1/session/list",
    "/v1/query",
    *(f"/v1/catalog/service/{name}" for name in ("web", "Web", "db", "cache")),
    *(f"/v1/config/{kind}" for kind in ("service-defaults", "proxy-defaults", "service-resolver")),
]
WRITES_EACH = 60
MISSED = 2500
"""More entries than a leader of ours keeps in memory for those who lag, and than a real one keeps behind a snapshot."""
NO_LEADER = (b"No cluster leader", b"not the leader", b"leadership lost", b"rpc error getting client", b"EOF")
RESTARTS = 20
"""Of a real leader, until another server than it leads: it cannot hand over the leadership."""


def ask(agent: AnyAgent, method: str, path: str, body: Any = None) -> Response:
    """Whatever answer; asked again while there is no leader to give one."""

    def answered() -> Response | None:
        answer = agent.http(method, path, body)
        return None if answer.status == 500 and any(text in answer.body for text in NO_LEADER) else answer

    answer = wait_until(answered, ELECTION_S, f"an answer of {agent.node_name}")
    assert answer is not None
    return answer


def parsed(agent: AnyAgent, path: str) -> Any:
    """Of the server's own state, in an order of its own where Consul has none."""
    answer = agent.http("GET", f"{path}{'&' if '?' in path else '?'}stale")
    if answer.status == 404:
        return None
    found = json.loads(answer.body, object_hook=_with_folded_node)
    return sorted(found, key=lambda each: json.dumps(each, sort_keys=True)) if isinstance(found, list) else found


def _with_folded_node(found: dict[str, Any]) -> dict[str, Any]:
    """How a node's name was spelled for each of its services is not in a snapshot of either system."""
    if isinstance(found.get("Node"), str):
        found["Node"] = found["Node"].lower()
    return found


def wait_equal(cluster: Cluster) -> None:
    """Waits until every living server holds the same."""

    def difference() -> str:
        first, *others = cluster.alive()
        for path in READS:
            expected = parsed(first, path)
            for other in others:
                if parsed(other, path) != expected:
                    return f"{path} at {first.node_name}: {expected}\n{other.node_name}: {parsed(other, path)}"
        return ""

    last = [""]

    def equal() -> bool:
        last[0] = difference()
        return not last[0]

    try:
        wait_until(equal, ELECTION_S, "equal states")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{last[0]}") from None


def write_through_all(cluster: Cluster, rng: random.Random) -> None:
    """Random writes of every kind, each at another server."""
    leader = cluster.leader()

    def modify_index(key: str) -> int:
        found = parsed(leader, f"/v1/kv/{key}")
        return found[0]["ModifyIndex"] if found else 0

    def last_index() -> int:
        return int(leader.http("GET", "/v1/catalog/nodes?stale").headers["x-consul-index"])

    kinds: list[Writes | Entries] = [Writes(rng, modify_index, last_index), Entries(rng, last_index)]
    for _ in range(WRITES_EACH):
        write = rng.choice(kinds).next()
        answer = ask(rng.choice(cluster.alive()), write.method, write.path, write.body)
        if answer.status == 200:
            write.command(answer.body)  # it remembers what later writes can refer to


def make_leader(cluster: Cluster, wanted: AnyAgent) -> None:
    """Ours hands the leadership to `wanted`; a real leader is restarted until it is somebody else's."""
    node_id = ask(wanted, "GET", "/v1/agent/self").json()["Config"]["NodeID"]
    handed_over = []
    for _ in range(RESTARTS):
        leader = cluster.leader()
        if leader is wanted:
            return
        if isinstance(leader, Agent):
            # It fails where the wanted one gets no processor in time: another one may win, or nobody.
            handed_over.append(leader.cli("operator", "raft", "transfer-leader", "-id", node_id))
            with contextlib.suppress(AssertionError):
                wait_until(lambda: cluster.leader() is wanted, 10, f"{wanted.node_name} to lead")
            continue
        leader.stop(9)
        cluster.leader()
        bring_back(cluster, leader)
    raise AssertionError(f"{wanted.node_name} never came to lead: {handed_over}")


def bring_back(cluster: Cluster, agent: AnyAgent) -> None:
    """A server that was away may have lost its vote to autopilot: it has it again at the end."""
    agent.start()
    agent.wait_ready()
    cluster.wait_settled()
    wait_for_voters(cluster)


def wait_for_voters(cluster: Cluster) -> None:
    alive = {one.node_name for one in cluster.alive()}
    wait_until(lambda: cluster.voters() == alive, ELECTION_S, f"{alive} to be the voters")


def miss_too_much(cluster: Cluster, away: AnyAgent) -> None:
    """One server is away until the log of the others has been compacted; it comes back by snapshot."""
    away.stop(9)
    leader = cluster.leader()
    had = max(last_log_index(one) for one in cluster.alive())
    with ThreadPoolExecutor(8) as clients:
        for number in range(MISSED):
            clients.submit(ask, leader, "PUT", f"/v1/kv/missed/{number % 7}", str(number))

    def gone_from_the_logs() -> bool:
        """Whoever leads when it comes back: it stands for election, and may cost the leader its office."""
        return all(last_snapshot(one) > had + CONFIG["raft_trailing_logs"] for one in cluster.alive())

    wait_until(gone_from_the_logs, ELECTION_S, "snapshots of the others")
    before = away.output().count("Installed remote snapshot")
    bring_back(cluster, away)
    wait_until(
        lambda: away.output().count("Installed remote snapshot") > before,
        ELECTION_S,
        f"a snapshot of {leader.node_name} for {away.node_name}",
    )


def last_log_index(agent: AnyAgent) -> int:
    found = wait_until(lambda: int(agent.http("GET", "/v1/agent/self").json()["Stats"]["raft"]["last_log_index"]))
    assert found
    return found


def last_snapshot(agent: AnyAgent) -> int:
    """Index of the newest one it has taken."""
    return max(map(int, re.findall(r"snapshot complete up to: index=(\d+)", agent.output())), default=0)


def kinds_of(text: str, real: Callable[..., AnyAgent]) -> list[Callable[..., AnyAgent]]:
    return [real if word == "real" else Agent for word in text.split()]


@pytest.mark.parametrize("kinds", ["real ours ours", pytest.param("real real ours", marks=pytest.mark.slow)])
def test_each_leads_follows_restarts_and_leaves(
    loopback: LoopbackPool, tmp_path: Path, real_consul: Path, kinds: str
) -> None:
    rng = random.Random(seed_of(kinds))
    addresses = [loopback() for _ in range(3)]
    cluster = Cluster(
        [
            server(kind, address, tmp_path / name, name, mode=expecting(3), join=addresses, config=CONFIG)
            for kind, address, name in zip(
                kinds_of(kinds, partial(RealConsul, binary=real_consul)),
                addresses,
                ("server1", "server2", "server3"),
                strict=True,
            )
        ]
    )
    with cluster.running():
        wait_for_voters(cluster)
        for leader in list(cluster):
            make_leader(cluster, leader)
            write_through_all(cluster, rng)
            wait_equal(cluster)
            away = rng.choice([one for one in cluster if type(one) is not type(leader)])
            miss_too_much(cluster, away)
            wait_equal(cluster)
        for leaving in rng.sample(list(cluster), 2):
            left = leaving.cli("leave")  # a real server may be gone before it has answered that it left
            assert left.returncode == 0 or isinstance(leaving, RealConsul), left
            assert leaving.wait_exit(2 * PATIENCE_S) == 0
            wait_for_voters(cluster)
            write_through_all(cluster, rng)
            wait_equal(cluster)
