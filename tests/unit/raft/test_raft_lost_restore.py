"""A snapshot that a leader restored for a user, and that came to nothing: another was elected before a quorum had it.

Whoever has that state must not take it for the new leader's history, nor say that it stored what it did not."""

from __future__ import annotations

import json
import random

import pytest

from services.raft_node.core import RaftCore, bootstrap_entry
from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.types import FOLLOWER, SnapshotMeta
from services.raft_node.log import FileSnapshots, Wal
from services.raft_node.log.errors import StorageError
from services.raft_node.recovery import recover
from services.raft_node.snapshotting import SnapshotTaking
from tests.simulation.raft_cluster import SimCluster
from tests.simulation.raft_disk import SimDisk
from tests.simulation.raft_machine import SimMachine
from tests.simulation.raft_oracle import Oracle
from tests.simulation.raft_server import SimServer
from tests.unit.raft.core_under_test import THREE, append, ask, command, core_of, granted, install, of, plain, vote

RESTORED = SnapshotMeta("", 50, 2, THREE, 1)
"""Entries 1 to 9 were the log of term 2; the new leader's goes on with entry 10 of term 3."""


def kinds(effects: list[ev.Effect]) -> list[str]:
    return [type(effect).__name__ for effect in plain(effects)]


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
def test_a_server_whose_restore_came_to_nothing_starts_over(above: int, trailing_logs: int, killed: bool) -> None:
    """From the new leader's snapshot, which may end earlier than what was restored, or from entry 1."""
    cluster, old, new = _replaced_after_a_restore(trailing_logs, above)
    if trailing_logs == 3:
        new.take_snapshot()
        cluster.run_for(0.1)
        assert new.core.log.first_index > 1
    if killed:
        old.kill(power=False)
        old.boot()
    cluster.settle()
    assert old.machine.values == new.machine.values
    assert old.applied_index == new.applied_index


def test_readers_are_not_shown_a_state_that_was_restored_in_vain() -> None:
    """Its index is above all that the new leader has: a follower may answer from it only when it is the leader's."""
    cluster, old, new = _replaced_after_a_restore(trailing_logs=100, above=1000)
    assert old.applied_index > new.applied_index
    cluster.heal()
    hidden = 0
    while old.machine.applied_index != new.machine.applied_index:
        cluster.step()
        page = old.page.read()
        if page.term == new.core.term and page.leader_address == new.server.address:
            assert page.applied_index <= new.applied_index
            hidden += page.applied_index == 0 and old.applied_index > new.applied_index
    assert hidden
    assert old.page.read().applied_index == new.applied_index


def test_nothing_is_taken_that_follows_the_restored_state() -> None:
    core = core_of(snapshot=RESTORED)
    assert ask(core, append(3, (8, 2), (command(9, 2),)))[1:] == [
        ev.Answer("t", msg.AppendEntriesReply(3, 50, True))
    ], "up to here it may be the leader's"
    no = [ev.Answer("t", msg.AppendEntriesReply(3, 0, False))]
    assert ask(core, append(3, (8, 2), (command(9, 2), command(10, 3)))) == no
    assert ask(core, append(3, (8, 2))) == no
    assert ask(core, append(3)) == [ev.Answer("t", msg.AppendEntriesReply(3, 50, True))]  # a heartbeat
    assert (core.commit_index, core.log.last_index) == (50, 50)


def test_a_later_leader_may_have_the_restored_state_after_all() -> None:
    core = core_of(snapshot=RESTORED)
    ask(core, append(3, (49, 3)))
    effects = ask(core, append(4, (50, 2), (command(51, 4),)))
    [stored] = of(ev.AppendLog, effects)
    assert list(stored.entries) == [command(51, 4)]
    assert of(ev.Answer, effects) == [ev.Answer("t", msg.AppendEntriesReply(4, 50, True))]


def _started_over() -> RaftCore:
    core = core_of(snapshot=RESTORED)
    ask(core, append(3, (50, 3)))
    effects = ask(core, append(3, (0, 0), (bootstrap_entry(THREE), command(2, 2)), commit=2))
    assert kinds(effects) == ["StartOver", "ResetLog", "AppendLog", "Commit", "Answer"]
    assert of(ev.ResetLog, effects) == [ev.ResetLog(1)]
    assert (core.commit_index, core.log.last_index, core.log.last_term) == (2, 2, 2)
    assert core.state.configurations.latest == THREE
    return core


def test_who_starts_over_elects_nobody_that_may_lack_what_it_had_acknowledged() -> None:
    core = _started_over()
    assert not granted(ask(core, vote(4, (49, 2)), 5.0))
    assert granted(ask(core, vote(4, (50, 2)), 5.0))


def test_who_starts_over_stands_again_when_it_has_a_log_of_a_higher_term() -> None:
    core = _started_over()
    assert not of(ev.Send, core.step(ev.Tick(), 5.0))
    core.step(ev.RpcRequest("t", msg.TimeoutNow(term=3)), 5.0)
    assert core.role == FOLLOWER
    ask(core, append(3, (2, 2), (command(3, 3),)), 5.0)
    assert of(ev.Send, core.step(ev.Tick(), 9.0))


@pytest.mark.parametrize(("index", "term"), [(20, 3), (20, 2)])
def test_a_leaders_snapshot_takes_the_place_of_the_restored_one(index: int, term: int) -> None:
    core = core_of(snapshot=RESTORED)
    ask(core, append(3, (50, 3)))
    request = install(index)._replace(last_log_term=term)
    assert ask(core, request) == [ev.ReceiveSnapshot("t", request)]
    effects = core.step(ev.SnapshotReceived("t", request), 0.2)
    assert kinds(effects) == ["RestoreSnapshot", "ResetLog", "Answer"]
    assert of(ev.Answer, effects) == [ev.Answer("t", msg.InstallSnapshotReply(3, True))]
    assert (core.commit_index, core.log.applied_index, core.log.last_index, core.log.last_term) == (20, 20, 20, term)
    assert not granted(ask(core, vote(4, (49, 2)), 5.0))


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


def test_a_crash_while_the_log_is_sent_again() -> None:
    """The restored state is given up for good with the first entry of a higher term than its own."""
    server = _Disk()
    server.store(50, 2)
    server.log.append([command(1, 1), command(2, 2)])
    server.machine.applied_index = server.machine.applied_term = 2
    found = recover(server.log, server.snapshots, server.machine)
    assert found.applied_index == server.machine.applied_index == 50
    assert (server.log.first_index, server.log.last_index) == (51, 50)
    server.log.reset(1)
    server.log.append([command(1, 1), command(2, 2), command(3, 3)])
    server.machine.applied_index = server.machine.applied_term = 2
    for _ in range(60):
        found = recover(server.log, server.snapshots, server.machine)
        assert (found.snapshot, found.applied_index) == (None, 2)
        server.log.append([command(server.log.last_index + 1, 3)])


@pytest.mark.parametrize("entries", [0, 2])
def test_a_crash_before_the_log_begins_anew_behind_the_leaders_snapshot(entries: int) -> None:
    server = _Disk()
    server.store(50, 2)
    server.log.reset(51)
    if entries:
        server.log.append([command(index, 2) for index in range(51, 51 + entries)])
    server.machine.applied_index, server.machine.applied_term = 50, 2
    server.store(20, 3)
    found = recover(server.log, server.snapshots, server.machine)
    assert found.snapshot is not None
    assert (found.snapshot.index, found.snapshot.term, found.applied_index) == (20, 3, 20)
    assert (server.log.first_index, server.log.last_index, server.machine.applied_index) == (21, 20, 20)


@pytest.mark.parametrize("stored", [False, True])
def test_a_crash_before_what_the_leaders_snapshot_replaces_is_dropped(stored: bool) -> None:
    """Entries of a higher term that nobody else had: they do not speak against a snapshot which is the machine's state
    already (seed 800072 of the nemesis, five servers). Without it, that state is none that they lead to."""
    server = _Disk()
    server.log.append([command(1, 1), command(2, 6), command(3, 6)])
    server.machine.applied_index, server.machine.applied_term = 2, 5
    if stored:
        server.store(2, 5)
    found = recover(server.log, server.snapshots, server.machine)
    assert (found.snapshot is not None) == stored
    assert found.applied_index == server.machine.applied_index == (2 if stored else 0)
    assert (server.log.first_index, server.log.last_index) == ((3, 2) if stored else (1, 3))


def test_a_snapshot_that_is_missing_before_the_log_is_still_missed() -> None:
    server = _Disk()
    server.store(20, 3)
    server.log.reset(51)
    with pytest.raises(StorageError, match="the raft log begins with entry 51"):
        recover(server.log, server.snapshots, server.machine)
    server.log.append([command(51, 3)])
    with pytest.raises(StorageError, match="the raft log begins with entry 51"):
        recover(server.log, server.snapshots, server.machine)
