"""While the disk of a server is busy its heartbeats go on, and so do its answers to the heartbeats of others."""

from __future__ import annotations

from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from tests.simulation.raft_cluster import HEARTBEAT_S, SimCluster


def test_a_leader_whose_disk_hangs_stays_the_leader() -> None:
    cluster = SimCluster(3, seed=3, slow_disks=1.0)
    leader = cluster.leader()
    cluster.run_for(0.05)
    assert leader.replica is not None
    term, done = leader.core.term, leader.replica.sync_done
    leader.replica.sync_done = lambda error: None  # type: ignore[method-assign]  # the disk does not answer
    cluster.write(leader, 8)
    cluster.run_for(20 * HEARTBEAT_S)
    assert (leader.core.role, leader.core.term) == ("Leader", term)
    done(None)
    cluster.run_until(lambda: [outcome for _, outcome in leader.outcomes] == ["ok"] * 8)


def test_a_follower_whose_disk_hangs_is_not_given_up() -> None:
    cluster = SimCluster(3, seed=3, slow_disks=1.0)
    leader = cluster.leader()
    cluster.run_for(0.05)
    one, other = [node for node in cluster.live() if node is not leader]
    other.kill(power=False)
    assert one.replica is not None
    done, one.replica.sync_done = one.replica.sync_done, lambda error: None  # type: ignore[method-assign]
    cluster.write(leader, 8)
    cluster.run_for(20 * HEARTBEAT_S)
    assert leader.core.role == "Leader"
    assert leader.outcomes == []
    done(None)
    cluster.run_until(lambda: len(leader.outcomes) == 8)


def test_a_term_that_is_not_saved_yet_is_not_answered_for() -> None:
    cluster = SimCluster(3, seed=3, slow_disks=1.0)
    leader = cluster.leader()
    cluster.run_for(0.05)
    one = next(node for node in cluster.live() if node is not leader)
    assert one.replica is not None
    done, one.replica.sync_done = one.replica.sync_done, lambda error: None  # type: ignore[method-assign]
    cluster.write(leader, 8)
    cluster.run_until(lambda: one.replica is not None and one.replica._syncing is not None)
    answers: list[msg.Reply | None] = []
    newer = msg.AppendEntries(leader.core.term + 5, leader.server.address)
    one.event(ev.RpcRequest((answers.append, None, newer), newer))
    assert answers == []
    done(None)
    assert answers == [msg.AppendEntriesReply(newer.term, one.core.log.last_index, True)]
