"""One core at a time: exact effects for the receiver's rules, elections, the leader's rules."""

from __future__ import annotations

import random
from typing import Any

import pytest

from services.raft_node.core import RaftCore, bootstrap_entry, codec
from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.configuration import (
    ADD_NON_VOTER,
    ADD_VOTER,
    DEMOTE_VOTER,
    REMOVE_SERVER,
    ConfigurationError,
    next_configuration,
)
from services.raft_node.core.log import RaftLog
from services.raft_node.core.progress import backoff_s
from services.raft_node.core.quorum import quorum_index, quorum_time
from services.raft_node.core.types import (
    BARRIER,
    CANDIDATE,
    COMMAND,
    CONFIGURATION,
    FOLLOWER,
    LEADER,
    NON_VOTER,
    NOOP,
    Configuration,
    Entry,
    HardState,
    Server,
    Settings,
    SnapshotMeta,
)
from services.raft_node.log import MemoryLog

A, B, C = (Server(name, f"{name}:8300") for name in "abc")
THREE = Configuration((A, B, C))


def command(index: int, term: int, data: bytes = b"x") -> Entry:
    return Entry(index, term, COMMAND, data)


def core_of(
    *entries: Entry,
    configuration: Configuration = THREE,
    hard: HardState | None = None,
    snapshot: SnapshotMeta | None = None,
) -> RaftCore:
    """Server a, started at time 0, with entry 1 and `entries` stored (or a snapshot and `entries`)."""
    log = MemoryLog(snapshot.index + 1 if snapshot else 1)
    stored = [*([] if snapshot else [bootstrap_entry(configuration)]), *entries]
    if stored:
        log.append(stored)
    core = RaftCore(
        Settings("a", A.address, 1.0, 1.0, 0.5, 0.05, trailing_logs=2),
        log,
        hard or HardState(max([entry.term for entry in stored], default=1)),
        snapshot=snapshot,
        configurations=log.recovered_configurations,
        rng=random.Random(7),
        now=0.0,
    )
    core.start(0.0)
    return core


def ask(core: RaftCore, request: msg.Request, now: float = 0.1) -> list[ev.Effect]:
    """Effects of an incoming request, without log lines and counters."""
    return plain(core.step(ev.RpcRequest("t", request), now))


def plain(effects: list[ev.Effect]) -> list[ev.Effect]:
    return [effect for effect in effects if not isinstance(effect, (ev.Log, ev.Count, ev.RoleChanged))]


def of(kind: type[Any], effects: list[ev.Effect]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def lines(effects: list[ev.Effect]) -> list[str]:
    return [effect.message for effect in effects if isinstance(effect, ev.Log)]


def append(term: int, prev: tuple[int, int] = (0, 0), entries: tuple[Entry, ...] = (), commit: int = 0) -> Any:
    return msg.AppendEntries(term, B.address, prev[0], prev[1], entries, commit)


def make_leader(core: RaftCore, now: float = 5.0) -> list[ev.Effect]:
    """Runs an election that b votes in."""
    effects = core.step(ev.Tick(), now)
    [vote] = [send for send in of(ev.Send, effects) if send.server == B]
    effects = core.step(ev.RpcReply(vote.request_id, "b", msg.RequestVoteReply(core.term, True)), now)
    assert core.role == LEADER
    return effects


# ---- AppendEntries ---------------------------------------------------------------------------------------------------


def test_an_older_term_is_refused_with_the_newer_one() -> None:
    core = core_of(hard=HardState(5))
    assert ask(core, append(4)) == [ev.Answer("t", msg.AppendEntriesReply(5, 1, False))]


def test_a_newer_term_is_persisted_before_the_answer() -> None:
    core = core_of(hard=HardState(5, 5, "x:1"))
    effects = ask(core, append(6))
    assert effects == [
        ev.SaveHardState(HardState(6, 5, "x:1")),
        ev.Answer("t", msg.AppendEntriesReply(6, 1, True)),
    ]
    assert core.state.leader_address == B.address


def test_new_entries_are_stored_before_the_answer_which_names_the_last_entry_before() -> None:
    core = core_of()
    new = (command(2, 1), command(3, 1))
    assert ask(core, append(1, (1, 1), new)) == [
        ev.AppendLog(list(new)),
        ev.Answer("t", msg.AppendEntriesReply(1, 1, True)),
    ]


def test_a_gap_is_refused_without_backoff() -> None:
    core = core_of()
    assert ask(core, append(1, (4, 1), (command(5, 1),))) == [
        ev.Answer("t", msg.AppendEntriesReply(1, 1, False, no_retry_backoff=True))
    ]


def test_a_different_previous_term_is_refused_without_backoff() -> None:
    core = core_of(command(2, 1))
    assert ask(core, append(3, (2, 2)))[-1] == ev.Answer(
        "t", msg.AppendEntriesReply(3, 2, False, no_retry_backoff=True)
    )


def test_a_conflicting_suffix_is_replaced_and_the_rest_is_skipped() -> None:
    core = core_of(command(2, 1), command(3, 1), command(4, 1))
    new = (command(2, 1), command(3, 2, b"new"))
    effects = core.step(ev.RpcRequest("t", append(2, (1, 1), new)), 0.1)
    assert of(ev.AppendLog, effects) == [ev.AppendLog([command(3, 2, b"new")])]
    assert "clearing log suffix" in lines(effects)
    assert (core.log.last_index, core.log.last_term) == (3, 2)


def test_an_older_request_that_arrives_late_takes_nothing_away() -> None:
    core = core_of(command(2, 1), command(3, 1))
    assert of(ev.AppendLog, ask(core, append(1, (1, 1), (command(2, 1),)))) == []
    assert core.log.last_index == 3


def test_only_what_was_verified_is_committed() -> None:
    """Entries behind those of the request may be an old leader's, whatever the leader has committed."""
    core = core_of(command(2, 1), command(3, 1), command(4, 1))
    assert ask(core, append(2, (1, 1), (command(2, 1),), commit=4))[-2:] == [
        ev.Commit(2),
        ev.Answer("t", msg.AppendEntriesReply(2, 4, True)),
    ]
    assert [entry.index for entry in core.take_committed()] == [1, 2]


def test_entries_that_do_not_follow_each_other_are_refused() -> None:
    core = core_of()
    for broken in ((command(3, 1),), (command(2, 1), command(4, 1)), (command(2, 9),)):
        assert ask(core, append(1, (1, 1), broken)) == [ev.Answer("t", msg.AppendEntriesReply(1, 1, False))]


def test_a_configuration_that_does_not_decode_is_refused() -> None:
    core = core_of()
    for data in (b"junk", codec.encode_configuration(Configuration())):
        effects = ask(core, append(1, (1, 1), (Entry(2, 1, CONFIGURATION, data),)))
        assert effects == [ev.Answer("t", msg.AppendEntriesReply(1, 1, False))]


def test_a_configuration_rules_when_it_is_stored_and_falls_back_when_it_is_cut() -> None:
    core = core_of(command(2, 1))
    two = Configuration((A, B))
    ask(core, append(1, (2, 1), (Entry(3, 1, CONFIGURATION, codec.encode_configuration(two)),)))
    assert core.state.configurations.latest == two
    ask(core, append(2, (2, 1), (command(3, 2),)))
    assert core.state.configurations.latest == THREE


def test_a_prefix_that_a_snapshot_covers_is_skipped() -> None:
    core = core_of(command(6, 2), snapshot=SnapshotMeta("s", 5, 2, THREE, 1))
    new = (command(4, 1), command(5, 2), command(6, 2), command(7, 2))
    assert of(ev.AppendLog, ask(core, append(2, (3, 1), new))) == [ev.AppendLog([command(7, 2)])]


# ---- RequestVote -----------------------------------------------------------------------------------------------------


def vote(term: int, last: tuple[int, int] = (9, 9), candidate: str = C.address, transfer: bool = False) -> Any:
    return msg.RequestVote(term, candidate, last[0], last[1], transfer)


LATER = 0.9
"""A moment at which a server that has just started is free to vote."""


def granted(effects: list[ev.Effect]) -> bool:
    return bool(of(ev.Answer, effects)[0].reply.granted)


def test_a_vote_is_persisted_before_it_is_given() -> None:
    core = core_of()
    effects = ask(core, vote(3))
    assert effects == [
        ev.SaveHardState(HardState(3)),
        ev.SaveHardState(HardState(3, 3, C.address)),
        ev.Answer("t", msg.RequestVoteReply(3, True)),
    ]


def test_one_vote_per_term_and_the_same_candidate_gets_it_again() -> None:
    core = core_of()
    assert granted(ask(core, vote(3)))
    assert not granted(ask(core, vote(3, candidate=B.address)))
    assert granted(ask(core, vote(3)))


def test_a_server_with_a_leader_refuses_without_adopting_the_term() -> None:
    core = core_of()
    ask(core, append(2))
    assert ask(core, vote(9)) == [ev.Answer("t", msg.RequestVoteReply(2, False))]
    assert granted(ask(core, vote(9, transfer=True)))


def test_a_candidate_with_an_older_log_is_refused() -> None:
    core = core_of(command(2, 3))
    assert not granted(ask(core, vote(5, last=(8, 2)), LATER))
    assert not granted(ask(core, vote(6, last=(1, 3)), LATER))
    assert granted(ask(core, vote(7, last=(2, 3)), LATER))


def test_an_unknown_protocol_version_is_refused_in_words() -> None:
    core = core_of()
    request = vote(50)._replace(protocol_version=1)
    assert ask(core, request) == [
        ev.Answer("t", None, "operation not supported with current protocol version")
    ]


def test_timeout_now_starts_an_election_as_a_transfer() -> None:
    core = core_of()
    ask(core, append(1))
    effects = ask(core, msg.TimeoutNow())
    assert of(ev.Answer, effects) == [ev.Answer("t", msg.TimeoutNowReply())]
    assert [send.request.leadership_transfer for send in of(ev.Send, effects)] == [True, True]
    assert core.role == CANDIDATE


# ---- elections -------------------------------------------------------------------------------------------------------


def test_a_candidate_persists_its_vote_before_it_asks() -> None:
    core = core_of()
    effects = plain(core.step(ev.Tick(), 2.5))
    request = msg.RequestVote(2, A.address, 1, 1, pre_vote=True)
    assert effects == [
        ev.SaveHardState(HardState(2, 2, A.address)),
        ev.Send(1, B, request),
        ev.Send(2, C, request),
    ]


def test_votes_of_a_quorum_make_a_leader_which_appends_a_noop() -> None:
    core = core_of()
    effects = make_leader(core)
    assert of(ev.AppendLog, effects) == [ev.AppendLog([Entry(2, 2, NOOP, b"")])]
    assert [send.server for send in of(ev.Send, effects) if send.heartbeat] == [B, C]
    sent = [send.request for send in of(ev.Send, effects) if not send.heartbeat]
    assert sent == [msg.AppendEntries(2, A.address, 1, 1, (Entry(2, 2, NOOP, b""),), 0)] * 2


def test_an_answer_that_comes_twice_is_one_vote() -> None:
    core = core_of(configuration=Configuration((A, B, C, Server("d", "d:1"), Server("e", "e:1"))))
    core.step(ev.Tick(), 2.5)
    for _ in range(3):
        core.step(ev.RpcReply(1, "b", msg.RequestVoteReply(2, True)), 2.6)
    assert core.role == CANDIDATE


def test_a_newer_term_in_an_answer_ends_the_candidacy() -> None:
    core = core_of()
    core.step(ev.Tick(), 2.5)
    effects = core.step(ev.RpcReply(1, "b", msg.RequestVoteReply(7, False)), 2.6)
    assert of(ev.SaveHardState, effects) == [ev.SaveHardState(HardState(7, 2, A.address))]
    assert core.role == FOLLOWER


def test_an_election_without_result_is_repeated_in_the_next_term() -> None:
    core = core_of()
    core.step(ev.Tick(), 2.5)
    effects = core.step(ev.Tick(), core.deadline)
    assert "Election timeout reached, restarting election" in lines(effects)
    assert core.term == 3


def test_a_follower_that_hears_of_its_leader_stays_one() -> None:
    core = core_of()
    for tick in range(1, 40):
        now = tick * 0.4
        ask(core, append(1), now)
        core.step(ev.Tick(), now + 0.1)
    assert core.role == FOLLOWER


@pytest.mark.parametrize(
    ("configuration", "line"),
    [
        (Configuration(), "no known peers, aborting election"),
        (Configuration((B, C)), "not part of stable configuration, aborting election"),
        (Configuration((A._replace(suffrage=NON_VOTER), B)), "not part of stable configuration, aborting election"),
    ],
)
def test_servers_without_a_vote_do_not_stand_for_election(configuration: Configuration, line: str) -> None:
    core = core_of(snapshot=SnapshotMeta("s", 5, 2, configuration, 1 if configuration.servers else 0))
    said = []
    for now in (3.0, 6.0, 9.0):
        said += lines(core.step(ev.Tick(), now))
    assert said == [line]
    assert core.role == FOLLOWER


# ---- the leader ------------------------------------------------------------------------------------------------------


def sends(effects: list[ev.Effect], server: Server, *, heartbeat: bool = False) -> list[Any]:
    return [send for send in of(ev.Send, effects) if send.server == server and send.heartbeat is heartbeat]


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
    assert core.step(ev.Propose("p", [(COMMAND, b"x", b"")]), 0.1) == [
        ev.Refused("p", "node is not the leader")
    ]
    assert core.step(ev.ReadIndex("r"), 0.1) == [ev.ReadFailed(("r",), "node is not the leader")]


def test_reads_wait_for_an_entry_of_the_term_and_for_a_heartbeat_round() -> None:
    core = core_of()
    [probe] = sends(make_leader(core), B)
    assert core.step(ev.ReadIndex("r1"), 5.0) == []
    core.step(ev.Durable(2, 2), 5.0)
    effects = core.step(ev.RpcReply(probe.request_id, "b", msg.AppendEntriesReply(2, 1, True)), 5.0)
    [round_one] = sends(effects, B, heartbeat=True)
    assert core.step(ev.ReadIndex("r2"), 5.0) == []  # shares the round after this one
    assert core.step(ev.ReadIndex("r3"), 5.0) == []
    effects = core.step(ev.RpcReply(round_one.request_id, "b", msg.AppendEntriesReply(2, 2, True)), 5.01)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r1"], 2)]
    [round_two] = sends(effects, C, heartbeat=True)
    effects = core.step(ev.RpcReply(round_two.request_id, "c", msg.AppendEntriesReply(2, 2, True)), 5.02)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r2", "r3"], 2)]


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


# ---- a server alone --------------------------------------------------------------------------------------------------


def perform(core: RaftCore, effects: list[ev.Effect]) -> list[ev.Effect]:
    """Stores what AppendLog asks for, and returns what follows."""
    [wanted] = of(ev.AppendLog, effects)
    core.log._storage.append(wanted.entries)  # type: ignore[attr-defined]
    return core.step(ev.Durable(wanted.entries[-1].index, wanted.entries[-1].term), 5.0)


def alone() -> RaftCore:
    core = core_of(configuration=Configuration((A,)))
    perform(core, core.step(ev.Tick(), 5.0))
    core.take_committed()
    assert core.role == LEADER
    return core


def test_a_server_alone_commits_what_is_on_its_disk_and_never_loses_its_lease() -> None:
    core = alone()
    items = [(COMMAND, b"a", b""), (BARRIER, b"", b"")]
    expected = [Entry(3, 2, COMMAND, b"a"), Entry(4, 2, BARRIER, b"")]
    effects = core.step(ev.Propose("p", items), 5.0)
    assert effects == [ev.Accepted("p", 3, 2), ev.AppendLog(expected)]
    assert core.step(ev.ReadIndex("r"), 5.0) == [ev.ReadReady(["r"], 2)]
    assert perform(core, effects) == [ev.Commit(4)]
    assert core.take_committed() == expected
    assert core.take_committed() == []
    assert core.lease_end == core.deadline == float("inf")


def test_a_full_disk_withdraws_the_entries_of_a_server_alone_and_it_stays_leader() -> None:
    core = alone()
    core.step(ev.Propose("p", [(COMMAND, b"a", b"")]), 5.0)
    effects = plain(core.step(ev.AppendFailed(3, "disk full"), 5.0))
    assert effects == [ev.Dropped(3, "disk full", False)]
    assert core.role == LEADER
    assert ev.Accepted("q", 3, 2) in core.step(ev.Propose("q", [(COMMAND, b"b", b"")]), 5.0)


def test_a_server_alone_waits_only_a_moment_before_its_election() -> None:
    core = core_of(configuration=Configuration((A,)))
    assert 0.035 <= core.deadline <= 0.07


def test_a_late_durable_of_a_replaced_entry_is_not_believed() -> None:
    core = alone()
    core.step(ev.Propose("p", [(COMMAND, b"a", b"")]), 5.0)
    assert core.step(ev.Durable(3, 1), 5.0) == []
    assert core.log.durable_index == 2


# ---- snapshots -------------------------------------------------------------------------------------------------------


def install(index: int, term: int = 3) -> msg.InstallSnapshot:
    return msg.InstallSnapshot(term, B.address, index, 2, THREE, 1, 100)


def test_an_installed_snapshot_replaces_state_and_log() -> None:
    core = core_of(command(2, 1))
    request = install(50)
    assert ask(core, request)[-1] == ev.ReceiveSnapshot("t", request)
    effects = plain(core.step(ev.SnapshotReceived("t", request), 0.2))
    assert effects == [
        ev.RestoreSnapshot(50, 2),
        ev.ResetLog(51),
        ev.Answer("t", msg.InstallSnapshotReply(3, True)),
    ]
    assert (core.log.last_index, core.log.last_term, core.commit_index) == (50, 2, 50)
    assert of(ev.AppendLog, ask(core, append(3, (50, 2), (command(51, 3),)))) == [
        ev.AppendLog([command(51, 3)])
    ]


def test_a_snapshot_that_fits_the_log_keeps_what_follows_it() -> None:
    core = core_of(*[command(index, 2) for index in range(2, 9)], hard=HardState(3))
    effects = core.step(ev.SnapshotReceived("t", install(5)), 0.1)
    assert of(ev.ResetLog, effects) == []
    assert of(ev.CompactLog, effects) == [ev.CompactLog(5)]
    assert core.log.last_index == 8


def test_an_old_snapshot_is_answered_without_being_restored() -> None:
    core = core_of(command(2, 1))
    ask(core, append(1, (2, 1), commit=2))
    assert ask(core, install(2, term=1)) == [ev.Answer("t", msg.InstallSnapshotReply(1, True))]


def test_a_snapshot_that_came_in_a_term_that_is_over_is_not_used() -> None:
    core = core_of()
    ask(core, install(50))
    ask(core, append(4), 0.2)
    effects = plain(core.step(ev.SnapshotReceived("t", install(50)), 0.3))
    assert effects == [ev.Answer("t", msg.InstallSnapshotReply(4, False))]


def test_unknown_snapshot_versions_are_refused() -> None:
    effects = ask(core_of(), install(50)._replace(snapshot_version=2))
    assert effects[0].error == "unsupported snapshot version 2"  # type: ignore[union-attr]


def test_after_a_snapshot_trailing_entries_are_kept() -> None:
    core = core_of(*[command(index, 1) for index in range(2, 11)])
    ask(core, append(1, (10, 1), commit=10))
    core.take_committed()
    effects = core.step(ev.SnapshotTaken(SnapshotMeta("s", 10, 1, THREE, 1)), 0.2)
    assert effects == [
        ev.Log("info", "compacting logs", (("from", 1), ("to", 8))),
        ev.CompactLog(8),
    ]


# ---- configurations --------------------------------------------------------------------------------------------------


def test_changes_go_one_at_a_time() -> None:
    core = alone()
    effects = core.step(ev.ChangeConfiguration("c", ADD_NON_VOTER, "b", B.address), 5.0)
    assert ev.Accepted("c", 3, 2) in effects
    assert core.state.configurations.latest == Configuration((A, B._replace(suffrage=NON_VOTER)))
    [refused] = of(ev.Refused, core.step(ev.ChangeConfiguration("d", ADD_VOTER, "c", C.address), 5.0))
    assert "in progress" in refused.error
    assert of(ev.Commit, perform(core, effects)) == [ev.Commit(3)]  # a non-voter does not count
    effects = core.step(ev.ChangeConfiguration("e", ADD_VOTER, "b", B.address), 5.0)
    assert ev.Accepted("e", 4, 2) in effects
    assert of(ev.Commit, perform(core, effects)) == []  # now it does


@pytest.mark.parametrize(
    ("command_name", "server_id", "address", "expected"),
    [
        (ADD_VOTER, "c", "c:1", (A, B, Server("c", "c:1"))),
        (ADD_NON_VOTER, "c", "c:1", (A, B, Server("c", "c:1", NON_VOTER))),
        (ADD_NON_VOTER, "b", "b:9", (A, Server("b", "b:9"))),
        (DEMOTE_VOTER, "b", "", (A, B._replace(suffrage=NON_VOTER))),
        (DEMOTE_VOTER, "zzz", "", (A, B)),
        (REMOVE_SERVER, "b", "", (A,)),
        (REMOVE_SERVER, "zzz", "", (A, B)),
    ],
)
def test_next_configuration(
    command_name: str, server_id: str, address: str, expected: tuple[Server, ...]
) -> None:
    assert next_configuration(Configuration((A, B)), 5, command_name, server_id, address, 5).servers == expected


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((ADD_VOTER, "c", A.address), "Found duplicate address in configuration: a:8300"),
        ((ADD_VOTER, "", "x:1"), "Empty ID in configuration"),
        ((ADD_VOTER, "c", ""), "Empty address in configuration"),
        ((REMOVE_SERVER, "a"), "Need at least one voter in configuration"),
        ((REMOVE_SERVER, "a", "", 3), r"Configuration changed since 3 \(latest is 5\)"),
        (("Dance", "a"), "unknown configuration change"),
    ],
)
def test_invalid_changes_are_refused(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        next_configuration(Configuration((A,)), 5, *arguments)


def test_a_new_server_can_be_bootstrapped_once() -> None:
    core = core_of(snapshot=None, configuration=THREE)
    assert core.step(ev.Bootstrap("b", THREE), 0.1) == [
        ev.Refused("b", "bootstrap only works on new clusters")
    ]
    log = MemoryLog()
    fresh = RaftCore(Settings("a", A.address), log, HardState(), rng=random.Random(1), now=0.0)
    effects = fresh.step(ev.Bootstrap("b", THREE), 0.1)
    assert effects == [
        ev.SaveHardState(HardState(1)),
        ev.Accepted("b", 1, 1),
        ev.AppendLog([bootstrap_entry(THREE)]),
    ]
    assert fresh.state.configurations.latest == THREE


# ---- small parts -----------------------------------------------------------------------------------------------------


def test_quorum_values() -> None:
    assert quorum_index({"a": 9, "b": 4, "c": 7}, ["a", "b", "c"]) == 7
    assert quorum_index({"a": 9}, ["a", "b"]) == 0
    assert quorum_index({"a": 9, "b": 9, "x": 99}, ["a", "b", "c", "d", "e"]) == 0
    assert quorum_time({"a": 1.0}, ["a", "b", "c"]) == float("-inf")
    with pytest.raises(ValueError, match="without voters"):
        quorum_index({}, [])


def test_the_log_reads_across_storage_and_memory() -> None:
    storage = MemoryLog()
    storage.append([command(index, 1) for index in range(1, 6)])
    log = RaftLog(storage)
    log.append([command(6, 2), command(7, 2)])
    assert [entry.index for entry in log.read(3, 7, 1000)] == [3, 4, 5, 6, 7]
    assert [entry.index for entry in log.read(3, 7, 2)] == [3, 4]
    assert [log.term_at(index) for index in (0, 5, 6, 8)] == [0, 1, 2, None]
    log.cut(4)
    assert (log.last_index, log.last_term, log.durable_index) == (3, 1, 3)


def test_the_cache_of_entries_is_bounded() -> None:
    storage = MemoryLog()
    log = RaftLog(storage)
    log.cached_entries = 512
    for index in range(1, 5000):
        log.append([command(index, 1)])
        storage.append([command(index, 1)])
        log.mark_durable(index, 1)
        log.take_committed(index, 100, 1000)
        assert len(log._tail) <= 1025
    assert [entry.index for entry in log.read(1, 3, 1000)] == [1, 2, 3]
