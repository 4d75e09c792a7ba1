"""Whole clusters in virtual time, scenario by scenario. Whatever happens, the oracle checks what Raft promises."""

from __future__ import annotations

import random

from services.raft_node.core import events as ev
from services.raft_node.core.configuration import ADD_VOTER, REMOVE_SERVER
from tests.simulation.raft_cluster import HEARTBEAT_S, SimCluster, SimServer


def test_a_server_alone_elects_itself_and_commits() -> None:
    cluster = SimCluster(1, seed=1, slow_disks=0)
    [node] = cluster.nodes.values()
    cluster.run_until(lambda: bool(node.lines) and "entering leader state" in node.lines[-1])
    assert node.lines == [
        "[info] initial configuration: index=1 servers=[{Suffrage:Voter ID:n0 Address:n0:8300}]",
        "[info] entering follower state: follower=Node at n0:8300 [Follower] leader=",
        "[warn] heartbeat timeout reached, starting election: last-leader=",
        "[info] entering candidate state: node=Node at n0:8300 [Candidate] term=2",
        "[debug] votes: needed=1",
        "[debug] vote granted: from=n0 term=2 tally=1",
        "[info] election won: tally=1",
        "[info] entering leader state: leader=Node at n0:8300 [Leader]",
    ]
    [value] = cluster.write(node)
    assert node.outcomes == [(value, "ok")]
    assert node.core.lease_end == float("inf")


def test_a_leader_cut_off_from_its_quorum_commits_nothing() -> None:
    cluster = SimCluster(3, seed=2)
    old = cluster.leader()
    cluster.isolate(old)
    [lost] = cluster.write(old)
    new = cluster.leader(other_than=old)
    kept = cluster.write(new, 3)
    cluster.run_until(lambda: new.outcomes == [(value, "ok") for value in kept])
    cluster.run_until(lambda: bool(old.outcomes))
    assert old.outcomes == [(lost, "leadership lost while committing log")]
    cluster.settle()
    assert lost.decode() not in dict(old.machine.values).values()


def test_writes_go_on_while_a_minority_is_down() -> None:
    cluster = SimCluster(5, seed=3)
    leader = cluster.leader()
    for node in [node for node in cluster.live() if node is not leader][:2]:
        node.kill(power=True)
    values = cluster.write(leader, 20)
    cluster.run_until(lambda: len(leader.outcomes) == len(values))
    assert all(outcome == "ok" for _, outcome in leader.outcomes)
    cluster.settle()


def test_a_follower_that_was_away_too_long_gets_a_snapshot() -> None:
    cluster = SimCluster(3, seed=4, trailing_logs=5)
    leader = cluster.leader()
    [away] = [node for node in cluster.live() if node is not leader][:1]
    away.kill(power=False)
    for _ in range(15):
        cluster.write(leader, 100)
        cluster.run_for(0.3)
    for node in cluster.live():
        node.take_snapshot()
    cluster.run_for(1.0)
    assert leader.core.log.first_index > 100
    cluster.settle()
    assert any("Installed remote snapshot" in line for line in away.lines)


def test_a_follower_that_has_a_leader_refuses_others() -> None:
    """A server that was cut off comes back with a higher term: it must not disturb the others more than once."""
    cluster = SimCluster(3, seed=5)
    leader = cluster.leader()
    [away] = [node for node in cluster.live() if node is not leader][:1]
    cluster.isolate(away)
    cluster.run_for(2.0)
    assert away.core.term > leader.core.term
    assert leader.core.role == "Leader"
    cluster.settle()


def test_leadership_can_be_handed_over() -> None:
    cluster = SimCluster(3, seed=6, slow_disks=0)
    leader = cluster.leader()
    target = next(node for node in cluster.live() if node is not leader)
    cluster.write(leader, 5)
    leader.event(ev.TransferLeadership("t", target.server.id))
    assert leader.core.lease_end == float("-inf")
    [refused] = cluster.write(leader)
    cluster.run_until(lambda: (refused, "leadership transfer in progress") in leader.outcomes)
    assert cluster.leader(other_than=leader) is target
    cluster.run_until(lambda: (b"transfer", "") in leader.outcomes)
    cluster.settle()


def test_reads_are_confirmed_in_shared_rounds() -> None:
    cluster = SimCluster(3, seed=7)
    leader = cluster.leader()
    cluster.run_for(0.05)
    before = leader.core.state.request_id
    for _ in range(100):
        leader.read()
    cluster.run_until(lambda: cluster.oracle.reads == 100)
    assert leader.core.state.request_id - before < 30


def test_a_leader_that_was_stopped_answers_no_read_from_before() -> None:
    for seed in range(8):
        cluster = SimCluster(3, seed)
        old = cluster.leader()
        cluster.write(old, 3)
        cluster.run_for(0.1)
        old.freeze()
        cluster.run_for(0.02)  # answers to its last heartbeats come
        cluster.isolate(old)  # nobody can tell it what has happened
        new = cluster.leader(other_than=old)
        cluster.write(new, 3)
        cluster.run_until(lambda new=new: len(new.outcomes) == 3)
        before = cluster.oracle.reads
        old.read()  # looked at before or after its timers
        old.thaw()
        assert not old.has_lease()
        cluster.settle()
        assert cluster.oracle.reads == before


def test_servers_can_be_added_and_removed_one_at_a_time() -> None:
    cluster = SimCluster(3, seed=8)
    leader = cluster.leader()
    cluster.write(leader, 30)
    new = cluster.nodes["n3"] = SimServer(cluster, "n3")
    new.boot()
    add(cluster, leader, "n3")
    cluster.run_until(lambda: new.replica is not None and new.replica.applied_index >= 30)
    leader.change_configuration(REMOVE_SERVER, leader.server.id)
    cluster.run_until(lambda: "[info] removed ourself, transitioning to follower" in leader.lines)
    assert leader.core.role == "Follower"
    successor = cluster.leader(other_than=leader)
    assert not successor.core.state.configurations.latest.has_vote(leader.server.id)
    cluster.write(successor, 5)
    cluster.settle()


def add(cluster: SimCluster, leader: SimServer, server_id: str) -> None:
    server = cluster.nodes[server_id].server
    leader.change_configuration(ADD_VOTER, server.id, server.address)
    cluster.run_until(lambda: leader.core.state.configurations.committed.has_vote(server_id))


def test_a_lease_excludes_other_leaders() -> None:
    """Also when voters are killed and forget whom they have answered: the oracle looks at each election."""
    for seed in range(8):
        cluster = SimCluster(3, seed, drop=0.05, delay_s_max=HEARTBEAT_S / 5)
        rng = random.Random(seed)
        for _ in range(200):
            for _ in range(20):
                cluster.step()
            for leader in cluster.leaders():
                cluster.oracle.may_read_locally(leader)
                cluster.write(leader)
            what = rng.random()
            if what < 0.02:
                cluster.isolate(*rng.sample(cluster.live(), 1))
            elif what < 0.05:
                cluster.cut.clear()
            elif what < 0.09:
                node = rng.choice(cluster.live())
                node.kill(power=False)
                node.boot()
        assert cluster.oracle.lease_checks > 50
        assert len(cluster.oracle.leaders) > 1


def test_a_lease_outlives_the_memory_of_a_voter() -> None:
    """The third server, which does not hear the leader, asks it for a vote as soon as it has been restarted."""
    for seed in range(10):
        cluster = SimCluster(3, seed, slow_disks=0)
        leader = cluster.leader()
        cluster.run_for(0.2)
        voter, third = [node for node in cluster.live() if node is not leader]
        for ends in ((leader, third), (third, leader)):
            cluster.cut[ends[0].server.id, ends[1].server.id] = None
        cluster.run_for(3 * HEARTBEAT_S)
        assert leader.has_lease()
        for _ in range(10):
            voter.kill(power=False)
            voter.boot()
            cluster.run_for(HEARTBEAT_S / 2)
        cluster.settle()
