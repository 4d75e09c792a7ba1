"""A server that is given more proposals than it can work off refuses the rest, in Consul's words."""

from __future__ import annotations

import pytest

from services.raft_node import replica
from tests.simulation.raft_cluster import SimCluster


def test_proposals_beyond_the_bound_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = SimCluster(3, seed=5)
    leader = cluster.leader()
    monkeypatch.setattr(replica, "MAX_PENDING", leader.replica.pending + 3 if leader.replica else 3)
    values = cluster.write(leader, 5)
    assert leader.outcomes[-2:] == [(value, "timed out enqueuing operation") for value in values[3:]]
    cluster.run_until(lambda: [outcome for value, outcome in leader.outcomes if value in values[:3]] == ["ok"] * 3)
    [later] = cluster.write(leader)
    cluster.run_until(lambda: leader.outcomes[-1] == (later, "ok"))
    cluster.settle()
