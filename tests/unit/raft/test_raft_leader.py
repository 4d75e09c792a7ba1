"""What a leader does: replication, commitment, linearizable reads, its lease, and a disk that fails."""

from __future__ import annotations

import pytest

from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.configuration import REMOVE_SERVER
from services.raft_node.core.progress import backoff_s
from services.raft_node.core.types import (
    COMMAND,
    FOLLOWER,
    Configuration,
    SnapshotMeta,
)
from tests.unit.raft.core_under_test import THREE, A, B, C, command, core_of, lines, make_leader, of, plain, sends


def test_an_entry_is_committed_when_a_quorum_has_it_on_disk() -> None:
    core = core_of()
    [probe] = sends(make_leader(core), B)
    assert core.step(ev.Durable(2, 2), 5.0) == []
    effects = core.step(ev.RpcReply(probe.request_id, "b", msg.AppendEntriesReply(2, 1, True)), 5.0)
    assert ev.Commit(2) in effects
    assert [entry.index for entry in core.take_committed()] == [1, 2]


def test_the_leaders_own_copy_counts_only_when_it_is_durable() -> None:
    core = core_of(configuration=Configuration((A, B)))
    [probe] = sends(make_leader(core), B)
    effects = core.step(ev.RpcReply(probe.request_id, "b", msg.AppendEntriesReply(2, 1, True)), 5.0)
    assert of(ev.Commit, effects) == []
    assert of(ev.Commit, core.step(ev.Durable(2, 2), 5.0)) == [ev.Commit(2)]


def test_entries_of_older_terms_are_committed_only_with_one_of_the_own() -> None:
    core = core_of(command(2, 1), command(3, 1))
    [probe] = sends(make_leader(core), B)
    rejected = msg.AppendEntriesReply(2, 2, False, no_retry_backoff=True)
    [again] = sends(core.step(ev.RpcReply(probe.request_id, "b", rejected), 5.0), B)
    assert [entry.index for entry in again.request.entries] == [3, 4]
    core.step(ev.Durable(4, 2), 5.0)
    effects = core.step(ev.RpcReply(again.request_id, "b", msg.AppendEntriesReply(2, 2, True)), 5.0)
    assert of(ev.Commit, effects) == [ev.Commit(4)]


def test_that_a_quorum_has_an_entry_of_an_older_term_commits_nothing() -> None:
    """Another leader may still replace it (Raft paper, figure 8)."""
    core = core_of(command(2, 1), command(3, 1))
    core.state.settings = core.state.settings._replace(max_append_entries=1)
    [probe] = sends(make_leader(core), B)
    core.step(ev.Durable(4, 2), 5.0)
    rejected = msg.AppendEntriesReply(2, 1, False, no_retry_backoff=True)
    [old] = sends(core.step(ev.RpcReply(probe.request_id, "b", rejected), 5.0), B)
    assert [entry.index for entry in old.request.entries] == [2]
    effects = core.step(ev.RpcReply(old.request_id, "b", msg.AppendEntriesReply(2, 1, True)), 5.0)
    [older, new] = sends(effects, B)
    effects += core.step(ev.RpcReply(older.request_id, "b", msg.AppendEntriesReply(2, 2, True)), 5.0)
    assert of(ev.Commit, effects) == []
    effects = core.step(ev.RpcReply(new.request_id, "b", msg.AppendEntriesReply(2, 3, True)), 5.0)
    assert of(ev.Commit, effects) == [ev.Commit(4)]


def test_a_refused_probe_goes_back_to_what_the_follower_has() -> None:
    core = core_of(*[command(index, 1) for index in range(2, 40)])
    [probe] = sends(make_leader(core), B)
    assert probe.request.prev_log_index == 39
    rejected = msg.AppendEntriesReply(2, 7, False, no_retry_backoff=True)
    [again] = sends(core.step(ev.RpcReply(probe.request_id, "b", rejected), 5.0), B)
    assert (again.request.prev_log_index, len(again.request.entries)) == (7, 33)


def test_a_follower_that_lacks_what_was_compacted_gets_the_snapshot() -> None:
    core = core_of(command(11, 2), snapshot=SnapshotMeta("s", 10, 2, THREE, 1))
    [probe] = sends(make_leader(core), B)
    rejected = msg.AppendEntriesReply(3, 3, False, no_retry_backoff=True)
    effects = core.step(ev.RpcReply(probe.request_id, "b", rejected), 5.0)
    [snapshot] = of(ev.SendSnapshot, effects)
    assert (snapshot.server, snapshot.term) == (B, 3)
    effects = core.step(ev.RpcReply(snapshot.request_id, "b", msg.InstallSnapshotReply(3, True)), 5.0)
    [after] = sends(effects, B)
    assert after.request.prev_log_index == 10


def test_pipelined_requests_do_not_wait_for_answers() -> None:
    core = core_of()
    [probe] = sends(make_leader(core), B)
    core.step(ev.RpcReply(probe.request_id, "b", msg.AppendEntriesReply(2, 1, True)), 5.0)
    for number in range(3):
        effects = core.step(ev.Propose("p", [(COMMAND, b"%d" % number, b"")]), 5.0)
        assert [entry.data for entry in sends(effects, B)[0].request.entries] == [b"%d" % number]
        assert sends(effects, C) == []  # its probe is still out


def test_a_failed_request_is_repeated_after_a_pause() -> None:
    core = core_of()
    [probe] = sends(make_leader(core), B)
    assert plain(core.step(ev.RpcReply(probe.request_id, "b", None), 5.0)) == []
    assert sends(core.step(ev.Tick(), 5.005), B) == []
    [again] = sends(core.step(ev.Tick(), 5.02), B)
    assert again.request.entries == probe.request.entries
    assert [round(backoff_s(n), 2) for n in (1, 2, 3, 4, 12, 50)] == [0.01, 0.01, 0.02, 0.04, 10.24, 10.24]


def test_a_leader_without_its_quorum_steps_down() -> None:
    core = core_of()
    make_leader(core)
    core.step(ev.Propose("p", [(COMMAND, b"x", b"")]), 5.1)
    effects = core.step(ev.Tick(), 5.6)
    assert "failed to contact quorum of nodes, stepping down" in lines(effects)
    assert of(ev.Dropped, effects) == [ev.Dropped(1, "leadership lost while committing log", True)]
    assert core.role == FOLLOWER


def test_a_proposal_to_a_follower_is_refused() -> None:
    core = core_of()
    assert core.step(ev.Propose("p", [(COMMAND, b"x", b"")]), 0.1) == [ev.Refused("p", "node is not the leader")]
    assert core.step(ev.ReadIndex("r"), 0.1) == [ev.ReadFailed(("r",), "node is not the leader")]


def test_a_lease_counts_from_when_the_answered_request_was_sent() -> None:
    core = core_of()
    [heartbeat] = sends(make_leader(core, now=5.0), B, heartbeat=True)
    assert core.lease_end < 5.0
    core.step(ev.RpcReply(heartbeat.request_id, "b", msg.AppendEntriesReply(2, 1, True)), 5.3)
    assert core.lease_end == pytest.approx(5.5)


def test_a_disk_that_fails_costs_a_leader_with_followers_its_leadership() -> None:
    core = core_of()
    make_leader(core)
    effects = core.step(ev.AppendFailed(2, "disk full"), 5.0)
    assert of(ev.Dropped, effects)[0] == ev.Dropped(2, "disk full", True)
    assert core.role == FOLLOWER
    assert core.log.last_index == 1


@pytest.mark.parametrize("first_lost", [3, 4])
def test_a_leader_whose_last_follower_was_about_to_go_steps_down_too(first_lost: int) -> None:
    """The disk refuses the removal, or what was sent to the follower just before: that one may have stored it."""
    core = core_of(configuration=Configuration((A, B)))
    [probe] = sends(make_leader(core), B)
    core.step(ev.Durable(2, 2), 5.0)
    core.step(ev.RpcReply(probe.request_id, "b", msg.AppendEntriesReply(2, 1, True)), 5.0)
    [sent] = sends(core.step(ev.Propose("p", [(COMMAND, b"x", b"")]), 5.0), B)
    assert [entry.index for entry in sent.request.entries] == [3]
    core.step(ev.ChangeConfiguration("c", REMOVE_SERVER, "b"), 5.0)
    effects = core.step(ev.AppendFailed(first_lost, "disk full"), 5.0)
    assert of(ev.Dropped, effects)[0] == ev.Dropped(first_lost, "disk full", True)
    assert (core.role, core.state.configurations.latest) == (FOLLOWER, Configuration((A, B)))
