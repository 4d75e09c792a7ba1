"""While the disk of a server is busy its heartbeats go on, and so do its answers to the heartbeats of others."""

from __future__ import annotations

from typing import Any

import pytest

from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.types import COMMAND, Entry, SnapshotMeta
from tests.simulation.raft_cluster import HEARTBEAT_S, SimCluster
from tests.simulation.raft_server import SimServer


def _cut_off_with_a_hanging_disk(cluster: SimCluster) -> tuple[SimServer, SimServer]:
    """The leader, and a follower that hears no more of it."""
    leader = cluster.leader()
    cluster.run_for(0.3)
    one = next(node for node in cluster.live() if node is not leader)
    cluster.isolate(one)
    return leader, one


def _snapshot_of(cluster: SimCluster, leader: SimServer) -> tuple[SnapshotMeta, msg.InstallSnapshot, bytes]:
    """A snapshot after four more writes, how it is announced, and its body."""
    assert leader.replica is not None
    last = leader.core.log.last_index
    cluster.write(leader, 4)
    cluster.run_until(lambda: leader.applied_index == last + 4)
    leader.take_snapshot()
    cluster.run_for(0.03)
    meta = leader.replica.snapshots.newest()
    assert meta is not None
    assert meta.index == last + 4
    body = leader.replica.snapshots.open(meta).read()
    configuration = (meta.configuration, meta.configuration_index, len(body))
    term, address = leader.core.term, leader.server.address
    return meta, msg.InstallSnapshot(term, address, meta.index, meta.term, *configuration), body


def _append(one: SimServer, leader: SimServer, after: int, count: int, commit: int) -> None:
    """The leader's entries behind `after` come to `one` by some other way than the cluster's links."""
    log = leader.core.log
    entries = tuple(log.read(after + 1, after + count, 1 << 20)) if count else ()
    previous = (after, log.term_at(after) or 0)
    request = msg.AppendEntries(leader.core.term, leader.server.address, *previous, entries, commit)
    one.event(ev.RpcRequest((lambda _reply: None, None, request), request))


def _hang(one: SimServer) -> Any:
    """The disk does not answer any more, until `_go_on`."""
    assert one.replica is not None
    done, one.replica.sync_done = one.replica.sync_done, lambda error: None  # type: ignore[method-assign]
    return done


def _go_on(one: SimServer, done: Any) -> None:
    assert one.replica is not None
    one.replica.sync_done = done  # type: ignore[method-assign]
    done(None)


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


def test_what_was_to_replace_entries_that_the_disk_then_refused_is_not_stored() -> None:
    """A leader's disk hangs; meanwhile it follows another one, whose entries take the place of older ones than those
    that hang. They wait for the disk as well, and are given up with what it refuses (seed 302773 of an older nemesis
    had them counted as stored)."""
    cluster = SimCluster(3, seed=3, slow_disks=1.0)
    old = cluster.leader()
    cluster.run_for(0.05)
    assert old.replica is not None
    cluster.isolate(old)
    cluster.write(old)
    cluster.run_for(0.025)
    assert old.core.log.durable_index == old.core.log.last_index == old.core.commit_index + 1
    done, old.replica.sync_done = old.replica.sync_done, lambda error: None  # type: ignore[method-assign]
    cluster.write(old, 4)
    durable, term = old.core.log.durable_index, old.core.term
    before = (durable - 1, old.core.log.term_at(durable - 1))
    entry = Entry(durable, term + 5, COMMAND, b"of another leader")
    newer = msg.AppendEntries(term + 5, "n1:8300", before[0], before[1] or 0, (entry,))
    answers: list[msg.Reply | None] = []
    old.event(ev.RpcRequest((answers.append, None, newer), newer))
    cluster.run_for(0.025)
    old.replica.sync_done = done  # type: ignore[method-assign]
    done("no space left on device")
    assert [type(answer) for answer in answers] == [msg.AppendEntriesReply]
    assert answers[0] == msg.AppendEntriesReply(term + 5, durable + 4, False)
    old.event(ev.RpcRequest((answers.append, None, newer), newer))
    cluster.run_for(0.05)
    assert answers[1:] == [msg.AppendEntriesReply(term + 5, durable - 1, True)]
    assert (old.wal.last_index, old.wal.term_at(durable)) == (durable, term + 5)


@pytest.mark.parametrize("trailing_logs", [3, 20])
@pytest.mark.parametrize("behind", [0, 1])
def test_a_snapshot_that_fits_entries_which_the_disk_then_refuses_leaves_no_hole(
    trailing_logs: int, behind: int
) -> None:
    """The body of a snapshot is on its way when entries up to its last one, and perhaps more, come late; the disk
    hangs with them while the snapshot is installed. Without them the log has to begin anew behind the snapshot."""
    cluster = SimCluster(3, seed=3, slow_disks=1.0, trailing_logs=trailing_logs)
    leader = cluster.leader()
    cluster.run_for(0.3)
    one = next(node for node in cluster.live() if node is not leader)
    assert leader.replica is not None
    assert one.replica is not None
    cluster.isolate(one)
    cluster.write(leader, 4)
    cluster.run_until(lambda: len(leader.outcomes) == 4)
    leader.take_snapshot()
    cluster.run_for(0.03)
    meta = leader.replica.snapshots.newest()
    assert meta is not None
    cluster.write(leader)
    term, address, log = leader.core.term, leader.server.address, leader.core.log
    body = leader.replica.snapshots.open(meta).read()
    configuration = (meta.configuration, meta.configuration_index, len(body))
    snapshot = msg.InstallSnapshot(term, address, meta.index, meta.term, *configuration)
    entries = tuple(log.read(meta.index - 3, meta.index + behind, 1 << 20))
    late = msg.AppendEntries(term, address, meta.index - 4, log.term_at(meta.index - 4) or 0, entries, 1)
    answers: list[msg.Reply | None] = []
    one.event(ev.RpcRequest((answers.append, body, snapshot), snapshot))
    done, one.replica.sync_done = one.replica.sync_done, lambda error: None  # type: ignore[method-assign]
    one.event(ev.RpcRequest((answers.append, None, late), late))
    cluster.run_for(0.06)
    assert one.core.log.snapshot_index == meta.index
    assert answers == []
    one.replica.sync_done = done  # type: ignore[method-assign]
    done("no space left on device")
    assert [getattr(answer, "success", None) for answer in answers] == [False, True]
    assert (one.applied_index, one.core.log.last_index, one.wal.last_index) == (meta.index,) * 3
    cluster.settle()


@pytest.mark.parametrize("seed", [3, 4, 5, 6])
def test_two_snapshots_that_come_while_the_disk_hangs_leave_the_newer(seed: int) -> None:
    cluster = SimCluster(3, seed=seed, slow_disks=1.0, trailing_logs=20)
    leader, one = _cut_off_with_a_hanging_disk(cluster)
    older = _snapshot_of(cluster, leader)
    newer = _snapshot_of(cluster, leader)
    answers: list[msg.Reply | None] = []
    for _, request, body in (older, newer):
        one.event(ev.RpcRequest((answers.append, body, request), request))
    done = _hang(one)
    _append(one, leader, older[0].index - 4, 2, commit=1)
    cluster.run_for(0.06)
    assert one.core.log.snapshot_index == newer[0].index
    assert answers == []
    _go_on(one, done)
    assert [getattr(answer, "success", None) for answer in answers] == [True] * 2
    assert one.applied_index == newer[0].index
    assert one.machine.values == leader.machine.values
    cluster.settle()


def test_what_is_committed_behind_a_snapshot_waits_for_it() -> None:
    """The disk hangs; meanwhile something is committed, then a snapshot comes that fits the log, then the entries
    behind it are committed too. The state must be that of the snapshot before they are applied to it."""
    cluster = SimCluster(3, seed=3, slow_disks=1.0, trailing_logs=20)
    leader, one = _cut_off_with_a_hanging_disk(cluster)
    meta, request, body = _snapshot_of(cluster, leader)
    cluster.write(leader, 2)
    cluster.run_until(lambda: leader.core.commit_index == meta.index + 2)
    answers: list[msg.Reply | None] = []
    _append(one, leader, meta.index - 4, 6, commit=1)
    cluster.run_for(0.05)
    one.event(ev.RpcRequest((answers.append, body, request), request))
    done = _hang(one)
    cluster.write(leader)
    cluster.run_until(lambda: leader.core.commit_index == meta.index + 3)
    _append(one, leader, meta.index + 2, 1, commit=meta.index - 1)
    cluster.run_for(0.06)
    _append(one, leader, meta.index + 3, 0, commit=meta.index + 3)
    assert one.core.log.snapshot_index == meta.index
    assert answers == []
    _go_on(one, done)
    assert one.machine.values == leader.machine.values
    cluster.settle()


def test_entries_that_were_replaced_and_put_back_are_durable_when_they_are_stored_again() -> None:
    """Two leaders follow one another; the second has the entries again that the first took away."""
    cluster = SimCluster(3, seed=3, slow_disks=1.0)
    leader, one = _cut_off_with_a_hanging_disk(cluster)
    last, term = leader.core.log.last_index, leader.core.term
    answers: list[msg.Reply | None] = []

    def append(leads: int, wrote: int, count: int, commit: int) -> None:
        numbers = range(last + 1, last + 1 + count)
        entries = tuple(Entry(index, wrote, COMMAND, b"%d of %d" % (index, wrote)) for index in numbers)
        request = msg.AppendEntries(leads, "n9:8300", last, term, entries, commit)
        one.event(ev.RpcRequest((answers.append, None, request), request))

    done = _hang(one)
    append(term + 2, term + 2, 4, last)
    append(term + 3, term + 1, 2, last)
    append(term + 4, term + 2, 4, last + 4)
    cluster.run_for(0.05)
    _go_on(one, done)
    assert len(answers) == 1
    assert (one.core.log.durable_index, one.applied_index) == (last, last)
    cluster.run_for(0.05)
    assert len(answers) == 3
    assert (one.core.log.durable_index, one.applied_index, one.wal.last_index) == (last + 4,) * 3


def test_a_candidate_whose_disk_refuses_what_it_stands_with_is_elected_by_nobody() -> None:
    """An entry is committed by the others; its copy here hangs in the disk, the election timeout passes, and the disk
    refuses. The requests for votes wait behind that, and speak of the entry (seed 660495 of five servers)."""
    cluster = SimCluster(3, seed=3, slow_disks=1.0)
    leader, one = _cut_off_with_a_hanging_disk(cluster)
    other = next(node for node in cluster.live() if node not in (leader, one))
    cluster.write(leader)
    cluster.run_until(lambda: leader.core.commit_index == leader.core.log.last_index == other.core.log.durable_index)
    last = leader.core.log.last_index
    done = _hang(one)
    _append(one, leader, last - 1, 1, commit=last)
    cluster.run_for(0.03)
    leader.kill(power=False)
    one.event(ev.RpcRequest((lambda _reply: None, None, msg.TimeoutNow()), msg.TimeoutNow()))
    assert (one.core.role, one.core.log.last_index) == ("Candidate", last)
    cluster.cut.clear()
    assert one.replica is not None
    one.replica.sync_done = done  # type: ignore[method-assign]
    done("no space left on device")
    assert (one.core.role, one.core.log.last_index) == ("Follower", last - 1)
    cluster.run_for(4 * HEARTBEAT_S)
    assert cluster.leader() is other
    cluster.settle()
