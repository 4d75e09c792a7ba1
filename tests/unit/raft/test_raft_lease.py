"""What a leader may rely on: voters keep from electing another as long as its lease may live."""

from __future__ import annotations

import pytest

from services.raft_node.core import RaftCore
from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.codec import encode_configuration
from services.raft_node.core.types import (
    CANDIDATE,
    CONFIGURATION,
    FOLLOWER,
    LEADER,
    Configuration,
    Entry,
    HardState,
    SnapshotMeta,
)
from tests.unit.raft.core_under_test import (
    A,
    B,
    append,
    ask,
    command,
    core_of,
    granted,
    lines,
    make_leader,
    of,
    sends,
    vote,
)

GUARD_S = 0.6
"""The lease of 0.5 s and a fifth."""


def test_a_restarted_voter_waits_until_a_lease_that_it_has_forgotten_is_over() -> None:
    core = core_of(hard=HardState(5))
    assert not granted(ask(core, vote(6), GUARD_S - 0.01))
    assert granted(ask(core, vote(6), GUARD_S + 0.01))


def test_a_voter_of_a_new_cluster_waits_for_nobody() -> None:
    assert granted(ask(core_of(), vote(2), 0.01))


def test_a_transfer_does_not_wait_for_leases() -> None:
    assert granted(ask(core_of(hard=HardState(5)), vote(6, transfer=True), 0.01))


def test_a_refused_append_holds_the_voter_too() -> None:
    """Its answer counts for the leader's lease, as it proves that the term is the leader's."""
    core = core_of()
    [answer] = of(ev.Answer, ask(core, append(2, (7, 2)), 3.0))
    assert answer.reply == msg.AppendEntriesReply(2, 1, False, no_retry_backoff=True)
    assert not granted(ask(core, vote(3), 3.0 + GUARD_S - 0.01))


def test_a_newer_term_heard_of_does_not_free_the_voter() -> None:
    core = core_of()
    core.step(ev.Tick(), 2.5)  # it stands for election, and asks b with request 1
    ask(core, append(2), 3.0)  # b has won
    core.step(ev.RpcReply(1, "b", msg.RequestVoteReply(7, False)), 3.1)
    assert (core.term, core.state.leader_address) == (7, "")
    assert not granted(ask(core, vote(8), 3.0 + GUARD_S - 0.01))
    assert granted(ask(core, vote(8), 3.0 + GUARD_S + 0.01))


def test_a_voter_hears_out_a_silent_leader_for_the_heartbeat_timeout_only() -> None:
    core = core_of()
    ask(core, append(2), 3.0)
    assert not granted(ask(core, vote(3), 3.99))
    assert granted(ask(core, vote(3), 4.01))


def test_the_answer_to_timeout_now_confirms_nothing() -> None:
    core = core_of()
    [probe] = sends(make_leader(core), B)
    core.step(ev.Durable(2, 2), 5.0)
    core.step(ev.RpcReply(probe.request_id, "b", msg.AppendEntriesReply(2, 1, True)), 5.0)
    core.step(ev.ReadIndex("r"), 5.1)
    [asked] = [
        send
        for send in of(ev.Send, core.step(ev.TransferLeadership("t", "b"), 5.1))
        if isinstance(send.request, msg.TimeoutNow)
    ]
    assert asked.request.term == 2
    effects = core.step(ev.RpcReply(asked.request_id, "b", msg.TimeoutNowReply()), 5.2)
    assert of(ev.ReadReady, effects) == []


def test_after_a_transfer_that_failed_a_lease_needs_a_new_term() -> None:
    core = core_of()
    effects = make_leader(core)
    core.step(ev.Durable(2, 2), 5.0)
    for send in (*sends(effects, B), *sends(effects, B, heartbeat=True)):
        core.step(ev.RpcReply(send.request_id, "b", msg.AppendEntriesReply(2, 1, True)), 5.0)
    core.step(ev.TransferLeadership("t", "b"), 5.1)
    for now in (5.4, 5.8, 6.05):  # b is well, and does nothing
        for send in sends(core.step(ev.Tick(), now), B, heartbeat=True):
            core.step(ev.RpcReply(send.request_id, "b", msg.AppendEntriesReply(2, 2, True)), now)
    effects = core.step(ev.Tick(), 6.11)
    assert ev.TransferDone("t", "leadership transfer timeout") in effects
    assert (core.role, core.term, core.lease_end) == (CANDIDATE, 3, float("-inf"))


@pytest.mark.parametrize(("term", "role"), [(0, CANDIDATE), (3, CANDIDATE), (2, FOLLOWER)])
def test_timeout_now_of_a_term_that_is_over_is_ignored(term: int, role: str) -> None:
    """0: from a server that sends no term."""
    core = core_of()
    ask(core, append(3))
    ask(core, msg.TimeoutNow(term=term), 0.2)
    assert core.role == role


def test_timeout_now_means_nothing_to_a_leader() -> None:
    core = core_of()
    make_leader(core)
    ask(core, msg.TimeoutNow(), 5.1)
    assert (core.role, core.term) == (LEADER, 2)


def test_local_reads_wait_for_what_earlier_leaders_have_acknowledged() -> None:
    """That the first entry of the own term is committed is not enough: those before it may not be applied yet."""
    core = core_of(command(2, 1), command(3, 1))
    [probe] = sends(make_leader(core), B)
    assert not core.all_acknowledged_is_applied(3)
    core.step(ev.Durable(4, 2), 5.0)
    effects = core.step(ev.RpcReply(probe.request_id, "b", msg.AppendEntriesReply(2, 3, True)), 5.0)
    assert ev.Commit(4) in effects
    assert core.has_committed_in_term
    assert not core.all_acknowledged_is_applied(3)
    assert core.all_acknowledged_is_applied(4)


def test_check_quorum() -> None:
    core = core_of()
    make_leader(core)
    assert "failed to contact quorum of nodes, stepping down" in lines(core.step(ev.Tick(), 5.51))


# ---- a server that is left alone -------------------------------------------------------------------------------------


def left_alone() -> tuple[RaftCore, float]:
    """Leader b removes itself when a's patience with it is nearly over: core a, and when that was."""
    core = core_of(configuration=Configuration((A, B)))
    ask(core, append(2, (1, 1), commit=1), 0.1)
    removed_at = core.deadline - 0.01
    removal = Entry(2, 2, CONFIGURATION, encode_configuration(Configuration((A,))))
    ask(core, append(2, (1, 1), (removal,), commit=1), removed_at)
    assert core.state.is_sole_server
    return core, removed_at


def test_a_server_whose_leader_removed_itself_waits_until_that_leaders_lease_is_over() -> None:
    """The leader may not know yet that its removal is committed, and answer on the word of its lease until then."""
    core, removed_at = left_alone()
    assert not core.state.is_alone
    while core.deadline < removed_at + GUARD_S:
        core.step(ev.Tick(), core.deadline)
        assert (core.role, core.term) == (FOLLOWER, 2)
    assert core.deadline == removed_at + GUARD_S
    core.step(ev.Tick(), core.deadline)
    assert (core.role, core.term) == (LEADER, 3)


def test_a_server_that_knows_of_the_removal_of_its_leader_waits_for_nobody() -> None:
    """The one that removed itself leads no more when that is committed."""
    core, removed_at = left_alone()
    ask(core, append(2, (2, 2), commit=2), removed_at)
    assert core.state.is_alone
    assert core.deadline < removed_at + GUARD_S
    core.step(ev.Tick(), core.deadline)
    assert (core.role, core.term) == (LEADER, 3)


def test_a_sole_server_stands_at_once_after_a_normal_start() -> None:
    """New, or with its configuration among what it knows to be committed, as it does with its state or a snapshot."""
    only = Configuration((A,))
    for core in (
        core_of(configuration=only),
        core_of(command(6, 5), hard=HardState(5), snapshot=SnapshotMeta("s", 5, 5, only, 1)),
    ):
        assert core.deadline < GUARD_S
        core.step(ev.Tick(), core.deadline)
        assert core.role == LEADER


def test_a_sole_server_that_lost_its_state_waits_for_a_lease_that_it_has_forgotten() -> None:
    """Nothing shows that the entry that made it the only one is committed."""
    core = core_of(configuration=Configuration((A,)), hard=HardState(5))
    core.step(ev.Tick(), core.deadline)
    assert (core.role, core.deadline) == (FOLLOWER, GUARD_S)
    core.step(ev.Tick(), GUARD_S)
    assert core.role == LEADER
