"""A snapshot that a leader restored for a user, and that came to nothing: another was elected before a quorum had it.

Whoever has that state must not take it for the new leader's history, nor say that it stored what it did not."""

from __future__ import annotations

import json
import random

import pytest

from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.progress import PROBE, REFUSED_SNAPSHOT_PAUSE_S
from services.raft_node.core.types import NOOP, SnapshotMeta
from services.raft_node.log import FileSnapshots, Wal
from services.raft_node.log.errors import StorageError
from services.raft_node.recovery import recover
from services.raft_node.snapshotting import SnapshotTaking
from tests.simulation.raft_cluster import SimCluster
from tests.simulation.raft_disk import SimDisk
from tests.simulation.raft_machine import SimMachine
from tests.simulation.raft_oracle import Oracle
from tests.simulation.raft_server import SimServer
from tests.unit.raft.core_under_test import THREE, B, append, ask, command, core_of, install, make_leader, of

RESTORED = SnapshotMeta("", 50, 2, THREE, 1)
"""Entries 1 to 9 were the log of term 2; the new leader's goes on with entry 10 of term 3."""


def _replaced_after_a_restore(trailing_logs: int, above: int) -> tuple[SimCluster, SimServer, SimServer]:
    """The leader that has restored a state for itself alone, and the one that the others elect."""
    cluster = SimCluster(3, seed=3, slow_disks=0.0, trailing_logs=trailing_logs)
    old = cluster.leader()
    cluster.write(old, 3)
    cluster.run_for(0.3)
    cluster.isolate(old)
    old.restore(above)
    new = cluster.leader(other_than=old)
    cluster.write(new, 30)
    cluster.run_until(lambda: len(new.outcomes) == 30)
    return cluster, old, new


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("trailing_logs", [3, 100])
@pytest.mark.parametrize("above", [1, 7, 1000])
def test_a_restore_that_came_to_nothing_is_replaced_by_the_new_leaders_snapshot(
    above: int, trailing_logs: int, killed: bool
) -> None:
    cluster, old, new = _replaced_after_a_restore(trailing_logs, above)
    restored = old.machine.values
    if killed:
        old.kill(power=False)
        old.boot()
    cluster.heal()
    cluster.run_for(0.5)
    assert old.core.term == new.core.term
    assert old.machine.values == restored, "nothing can be applied to a state that is not the cluster's"
    assert new.core.leader is not None
    assert new.core.leader.progress[old.server.id].match_index == 0
    cluster.settle()
    assert old.machine.values == new.machine.values
    assert old.applied_index == new.applied_index


def test_what_the_leader_has_at_the_place_of_the_restored_state_is_refused() -> None:
    core = core_of(snapshot=RESTORED)
    no = [ev.Answer("t", msg.AppendEntriesReply(3, 0, False))]
    yes = [ev.Answer("t", msg.AppendEntriesReply(3, 50, True))]
    assert ask(core, append(3, (8, 2), (command(9, 2), command(10, 3))))[1:] == no
    assert ask(core, append(3, (0, 0), (command(1, 1), command(2, 1)))) == no
    assert ask(core, append(3, (8, 2))) == no
    assert ask(core, append(3)) == yes  # a heartbeat
    assert (core.commit_index, core.log.last_index) == (50, 50)


def test_a_later_leader_may_have_the_restored_state_after_all() -> None:
    core = core_of(snapshot=RESTORED)
    ask(core, append(3, (49, 3)))
    effects = ask(core, append(4, (50, 2), (command(51, 4),)))
    [stored] = of(ev.AppendLog, effects)
    assert list(stored.entries) == [command(51, 4)]
    assert of(ev.Answer, effects) == [ev.Answer("t", msg.AppendEntriesReply(4, 50, True))]


def test_only_a_snapshot_that_contradicts_the_restored_one_helps() -> None:
    core = core_of(snapshot=RESTORED)
    ask(core, append(3, (50, 3)))
    assert ask(core, install(20)) == [ev.Answer("t", msg.InstallSnapshotReply(3, False))]
    request = install(20)._replace(last_log_term=3)
    assert ask(core, request) == [ev.ReceiveSnapshot("t", request)]
    effects = core.step(ev.SnapshotReceived("t", request), 0.2)
    assert of(ev.RestoreSnapshot, effects) == [ev.RestoreSnapshot(20, 3)]
    assert of(ev.ResetLog, effects) == [ev.ResetLog(21)]
    assert of(ev.Answer, effects) == [ev.Answer("t", msg.InstallSnapshotReply(3, True))]
    assert (core.commit_index, core.log.applied_index, core.log.last_index, core.log.last_term) == (20, 20, 20, 3)


def test_a_leader_sends_its_snapshot_to_whom_refuses_the_beginning_of_the_log() -> None:
    """One that is refused, too, is followed by none for a while, and the leader wants one that ends in its term."""
    core = core_of(command(2, 1))
    make_leader(core)
    leader = core.leader
    assert leader is not None
    peer = leader.progress[B.id]
    core.step(ev.Durable(3, core.term), 5.0)

    def refused(now: float) -> list[ev.SendSnapshot]:
        """What is sent when b refuses what follows nothing."""
        peer.give_up_log_requests()
        peer.mode, peer.next_index, peer.retry_at = PROBE, 1, now
        effects = core.step(ev.Propose("t", [(NOOP, b"", b"")]), now)
        [send] = [send for send in of(ev.Send, effects) if send.server == B]
        assert send.request.prev_log_index == 0
        return of(
            ev.SendSnapshot,
            core.step(ev.RpcReply(send.request_id, B.id, msg.AppendEntriesReply(core.term, 0, False)), now),
        )

    assert (refused(5.1), leader.wants_snapshot) == ([], True)
    core.step(ev.SnapshotTaken(SnapshotMeta("", 2, 1, THREE, 1)), 5.1)
    [sent] = refused(5.1)
    assert (sent.last_index, leader.wants_snapshot) == (2, True)
    core.step(ev.RpcReply(sent.request_id, B.id, msg.InstallSnapshotReply(core.term, False)), 5.2)
    peer.reachable(5.2)
    assert peer.retry_at == 5.2 + REFUSED_SNAPSHOT_PAUSE_S
    core.step(ev.SnapshotTaken(SnapshotMeta("", 3, core.term, THREE, 1)), 5.2)
    assert [snapshot.last_index for snapshot in refused(5.3)] == [3]
    assert not leader.wants_snapshot


def test_a_snapshot_of_the_restored_state_that_is_done_late_is_not_the_logs() -> None:
    cluster, old, _ = _replaced_after_a_restore(100, 7)
    assert old.replica is not None
    taking = SnapshotTaking(old.replica, 99)
    cluster.settle()
    ends = (old.core.log.snapshot_index, old.core.log.snapshot_term)
    while taking.step():
        pass
    taking.done(taking.finish()._replace(index=10_000))
    assert (old.core.log.snapshot_index, old.core.log.snapshot_term) == ends
    cluster.settle()


# ---- crashes in between ---------------------------------------------------------------------------------------------


class _Disk:
    """A server's log and snapshots."""

    def __init__(self) -> None:
        disk = SimDisk(random.Random(1))
        self.log = Wal.open(disk, "/raft/wal", 1 << 14)
        self.snapshots = FileSnapshots(disk, "/raft/snapshots")
        self.machine = SimMachine(Oracle())

    def store(self, index: int, term: int) -> None:
        writer = self.snapshots.create(index, term, THREE, 1, index)
        writer.write(json.dumps([[index, f"state of term {term}"]]).encode())
        writer.finish()


def test_a_restored_state_that_was_stored_and_then_not_wanted_is_not_believed() -> None:
    """Its leader was replaced while it came in; what the new one sent since is in the log, and was answered for."""
    server = _Disk()
    server.store(5, 1)
    server.log.reset(6)
    server.log.append([command(6, 1), command(7, 3)])
    server.store(50, 2)
    found = recover(server.log, server.snapshots, server.machine)
    assert found.snapshot is not None
    assert (found.snapshot.index, server.log.last_index, server.machine.applied_index) == (5, 7, 5)


@pytest.mark.parametrize("entries", [0, 2])
def test_a_crash_before_the_log_begins_anew_behind_the_leaders_snapshot(entries: int) -> None:
    server = _Disk()
    server.store(50, 2)
    server.log.reset(51)
    if entries:
        server.log.append([command(index, 2) for index in range(51, 51 + entries)])
    server.machine.applied_index = 50
    server.store(20, 3)
    found = recover(server.log, server.snapshots, server.machine)
    assert found.snapshot is not None
    assert (found.snapshot.index, found.snapshot.term, found.applied_index) == (20, 3, 20)
    assert (server.log.first_index, server.log.last_index, server.machine.applied_index) == (21, 20, 20)


def test_a_snapshot_that_is_missing_before_the_log_is_still_missed() -> None:
    server = _Disk()
    server.store(20, 3)
    server.log.reset(51)
    with pytest.raises(StorageError, match="the raft log begins with entry 51"):
        recover(server.log, server.snapshots, server.machine)
    server.log.append([command(51, 3)])
    with pytest.raises(StorageError, match="the raft log begins with entry 51"):
        recover(server.log, server.snapshots, server.machine)
