"""The same requests to a follower of three real servers and to one of three of ours: equal answers.

The scenarios are those of a lone agent. PROCONSUL_DIFFERENTIAL=consul compares real servers with real ones."""

from __future__ import annotations

import json
import re
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent, RealConsul
from tests.clusters import AnyAgent, Cluster, clusters_running, with_follower
from tests.integration.differential import (
    scenarios,
    scenarios_config,
    scenarios_query,
    scenarios_session,
    scenarios_txn,
)
from tests.integration.differential.exchange import LENGTH_MAY_DIFFER, Answer, Request
from tests.integration.differential.pairs import COMPARED, STILL, ask, assert_none, compared, shown
from tests.integration.differential.script import Run, Step
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

Clusters = tuple[Cluster, Cluster]
SCRIPTS: dict[str, list[Request | Step]] = {
    name: list(steps)
    for module in (scenarios_session, scenarios_txn, scenarios_query)
    for name, steps in module.SCRIPTS.items()
} | {
    name: list(requests)
    for module in (scenarios, scenarios_config, scenarios_query)
    for name, requests in module.SCENARIOS.items()
}
"""Those that end with nothing come first."""
SHORT = ("session creation", "txn keys", "status", "kv", "catalog", "health")
"""What is compared without --long."""
KNOWN_DIFFERENCES = {
    "PUT /v1/agent/join/": "the reason why an empty address does not resolve is worded otherwise",
}
UNORDERED = ("/v1/status/peers", "/v1/agent/members", "/v1/operator/raft/configuration")
"""Consul lists these in the order in which gossip found the servers, or in none."""
SETTLES_WITHIN_S = 10.0
_VOTER = re.compile(r'("Voter": ?)(true|false)')
"""Followers get their votes some time after they joined."""
_CONTACT = re.compile(r'("LastContact": ?)[1-9]\d*')


CLUSTERS = {
    "consul": (True, True, True),
    "proconsul": (False, False, False),
    "our follower": (False, True, True),
    "our leader": (True, False, False),
}
"""What is compared with three real servers: which of node1, the follower that is asked, node2, the leader, and node3
are real ones."""
SLOW = ("our follower", "our leader")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, marks=pytest.mark.slow if kind in SLOW else ())
        for kind in CLUSTERS
        if (kind == "consul") == (COMPARED == ["consul"])
    ],
)
def clusters(
    request: pytest.FixtureRequest,
    real_consul: Path,
    loopback: LoopbackPool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Clusters]:
    """Three real servers first, then those that are compared with them. The first of each is a follower."""
    real = partial(RealConsul, binary=real_consul)
    made = [
        with_follower(
            loopback, tmp_path_factory.mktemp("cluster"), [real if one else Agent for one in CLUSTERS[which]], STILL
        )
        for which in ("consul", request.param)
    ]
    with clusters_running(*made):
        yield made[0], made[1]


def ask_follower(cluster: Cluster, request: Request) -> Answer:
    """The first server's answer, with the addresses of the others and the age of its state masked."""
    answer = scenarios_config.any_chain(ask(cluster.servers[0], request))
    masked = _VOTER.sub(r'\1"IN TIME"', _CONTACT.sub(r"\1NANOSECONDS", answer.body))
    for one in cluster.servers[1:]:
        masked = masked.replace(one.address, f"ADDRESS-OF-{one.node_name}")
    if request.path.startswith(UNORDERED) and masked.startswith(("[", "{")):
        masked = json.dumps(_ordered(json.loads(masked)))
    headers = dict(answer.headers)
    if masked != answer.body and "Content-Length" in headers:
        headers["Content-Length"] = [LENGTH_MAY_DIFFER]
    if ("stale" in request.path or "cached" in request.path) and "X-Consul-Lastcontact" in headers:
        headers["X-Consul-Lastcontact"] = ["MILLISECONDS"]
    return replace(answer, body=masked, headers=headers)


def _ordered(value: Any) -> Any:
    """Lists in an order of their own."""
    if isinstance(value, dict):
        return {key: _ordered(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted(map(_ordered, value), key=json.dumps)
    return value


def compared_in_time(known: Run, tried: Run, step: Request | Step) -> list[str]:
    """Stale answers may lag behind on either side, and what the servers say about themselves may come at any moment:
    looks are repeated until they show the same, for a while."""
    patience_s = SETTLES_WITHIN_S if str(step).startswith("GET") else 0.0
    give_up_at = time.monotonic() + (PATIENCE_S if "stale" in str(step) else patience_s)
    while (lines := compared(known.take(step), lambda: tried.take(step))) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    return lines


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SHORT else pytest.mark.slow) for name in SCRIPTS]
)
def test_same_answers_of_a_follower(clusters: Clusters, name: str) -> None:
    known, tried = (Run(partial(ask_follower, cluster)) for cluster in clusters)
    found = []
    for step in SCRIPTS[name]:
        lines = compared_in_time(known, tried, step)
        if lines and str(step) in KNOWN_DIFFERENCES and _is_ours(clusters[1].servers[0]):
            warnings.warn(f"{step}: {KNOWN_DIFFERENCES[str(step)]}", stacklevel=1)
            continue
        found += shown(step, lines)
    assert_none(found)


def _is_ours(agent: AnyAgent) -> bool:
    return isinstance(agent, Agent)
