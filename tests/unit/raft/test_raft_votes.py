"""Giving votes and asking for them: exact effects of RequestVote, TimeoutNow and the timers."""

from __future__ import annotations

import pytest

from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.types import (
    CANDIDATE,
    FOLLOWER,
    NON_VOTER,
    NOOP,
    Configuration,
    Entry,
    HardState,
    Server,
    SnapshotMeta,
)
from tests.unit.raft.core_under_test import (
    LATER,
    A,
    B,
    C,
    append,
    ask,
    command,
    core_of,
    granted,
    lines,
    make_leader,
    of,
    plain,
    vote,
)


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
    assert ask(core, request) == [ev.Answer("t", None, "operation not supported with current protocol version")]


def test_timeout_now_starts_an_election_as_a_transfer() -> None:
    core = core_of()
    ask(core, append(1))
    effects = ask(core, msg.TimeoutNow())
    assert of(ev.Answer, effects) == [ev.Answer("t", msg.TimeoutNowReply())]
    assert [send.request.leadership_transfer for send in of(ev.Send, effects)] == [True, True]
    assert core.role == CANDIDATE


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
