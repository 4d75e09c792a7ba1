"""Pre-vote: asked only of servers that know it, it raises no terms, and it is refused while a leader is well."""

from __future__ import annotations

import pytest

from services.raft_node.core import RaftCore
from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.types import CANDIDATE, FOLLOWER, HardState
from tests.unit.raft.core_under_test import A, B, C, append, ask, core_of, lines, make_leader, of, plain, sends

ALL = ("a", "b", "c")


def follower(term: int = 2, knowing: tuple[str, ...] = ALL, now: float = 0.1) -> RaftCore:
    """Server a, which follows b; b says who knows pre-vote."""
    core = core_of()
    ask(core, append(term)._replace(pre_voters=knowing), now)
    return core


def pre_votes(effects: list[ev.Effect]) -> list[ev.Send]:
    return [send for send in of(ev.Send, effects) if isinstance(send.request, msg.PreVote)]


def test_a_follower_asks_before_it_raises_the_term() -> None:
    core = follower()
    effects = plain(core.step(ev.Tick(), 5.0))
    request = msg.PreVote(3, A.address, 1, 1)
    assert [(send.server, send.request) for send in of(ev.Send, effects)] == [(B, request), (C, request)]
    assert (core.role, core.term) == (FOLLOWER, 2)
    [_, to_c] = pre_votes(effects)
    effects = core.step(ev.RpcReply(to_c.request_id, "c", msg.PreVoteReply(2, True)), 5.1)
    assert (core.role, core.term) == (CANDIDATE, 3)
    assert of(ev.SaveHardState, effects) == [ev.SaveHardState(HardState(3, 3, A.address))]


def test_refused_it_asks_again_and_again_without_a_new_term() -> None:
    core = follower()
    now, said = 5.0, []
    for _ in range(20):
        effects = core.step(ev.Tick(), now)
        said += [line for line in lines(effects) if "heartbeat timeout" in line]
        for send in pre_votes(effects):
            core.step(ev.RpcReply(send.request_id, send.server.id, msg.PreVoteReply(2, False)), now)
        now = max(core.deadline, now)
    assert (core.role, core.term) == (FOLLOWER, 2)
    assert len(said) == 1


def test_the_leader_that_is_back_ends_the_asking() -> None:
    core = follower()
    [to_b, _] = pre_votes(core.step(ev.Tick(), 5.0))
    ask(core, append(2), 5.05)
    core.step(ev.RpcReply(to_b.request_id, "b", msg.PreVoteReply(2, True)), 5.1)
    assert (core.role, core.term, core.state.leader_address) == (FOLLOWER, 2, B.address)


def test_a_newer_term_in_a_refusal_is_adopted() -> None:
    core = follower()
    [to_b, _] = pre_votes(core.step(ev.Tick(), 5.0))
    core.step(ev.RpcReply(to_b.request_id, "b", msg.PreVoteReply(7, False)), 5.1)
    assert (core.role, core.term) == (FOLLOWER, 7)


@pytest.mark.parametrize("knowing", [(), ("b",), ("b", "a")])
def test_servers_that_do_not_know_it_count_as_if_they_agreed(knowing: tuple[str, ...]) -> None:
    """With one of them and itself a server of three has its quorum: then there is nothing to ask."""
    core = follower(knowing=knowing)
    effects = core.step(ev.Tick(), 5.0)
    assert pre_votes(effects) == []
    assert [type(send.request) for send in of(ev.Send, effects)] == [msg.RequestVote, msg.RequestVote]
    assert core.role == CANDIDATE


def test_a_candidate_without_result_asks_before_its_next_term() -> None:
    core = follower()
    [_, to_c] = pre_votes(core.step(ev.Tick(), 5.0))
    core.step(ev.RpcReply(to_c.request_id, "c", msg.PreVoteReply(2, True)), 5.1)
    effects = core.step(ev.Tick(), core.deadline)
    assert len(pre_votes(effects)) == 2
    assert (core.role, core.term) == (CANDIDATE, 3)


# ---- the one who is asked --------------------------------------------------------------------------------------------


def promised(core: RaftCore, term: int, last: tuple[int, int], now: float) -> bool:
    effects = ask(core, msg.PreVote(term, C.address, *last), now)
    [answer] = effects  # nothing is saved, nothing changes
    assert isinstance(answer, ev.Answer)
    assert isinstance(answer.reply, msg.PreVoteReply)
    assert answer.reply.term == core.term
    return answer.reply.granted


def test_it_is_refused_while_the_leader_is_heard() -> None:
    core = follower(now=0.1)
    assert not promised(core, 3, (9, 9), 1.0)
    assert promised(core, 3, (9, 9), 1.2)


def test_it_is_refused_to_older_logs_and_older_terms() -> None:
    core = follower(now=0.1)
    assert not promised(core, 1, (9, 9), 1.2)
    assert not promised(core, 3, (0, 0), 1.2)
    assert promised(core, 3, (1, 1), 1.2)


def test_it_is_refused_in_a_term_in_which_another_has_the_vote() -> None:
    core = core_of()
    ask(core, msg.RequestVote(3, B.address, 9, 9), 1.0)
    assert not promised(core, 3, (9, 9), 3.0)
    assert promised(core, 4, (9, 9), 3.0)


def test_a_leader_refuses_it() -> None:
    core = core_of()
    make_leader(core)
    assert not promised(core, 9, (9, 9), 5.0)


# ---- who knows it ----------------------------------------------------------------------------------------------------


def test_a_leader_tells_all_who_have_said_that_they_know_it() -> None:
    core = core_of()
    [heartbeat] = sends(make_leader(core), B, heartbeat=True)
    assert heartbeat.request.pre_voters == ("a",)
    reply = msg.AppendEntriesReply(2, 1, True, pre_vote=True)
    core.step(ev.RpcReply(heartbeat.request_id, "b", reply), 5.01)
    [heartbeat] = sends(core.step(ev.Tick(), 5.3), B, heartbeat=True)
    assert heartbeat.request.pre_voters == ("a", "b")
    core.step(ev.RpcReply(heartbeat.request_id, "b", reply._replace(pre_vote=False)), 5.31)
    assert core.election.known() == ("a",)


def test_only_a_leader_that_knows_it_is_told() -> None:
    for knowing in ((), ALL):
        [answer] = of(ev.Answer, ask(core_of(), append(1)._replace(pre_voters=knowing)))
        assert answer.reply.pre_vote is bool(knowing)


def test_a_candidate_that_does_not_know_it_any_more_is_not_asked() -> None:
    """It was replaced by a server of another kind."""
    core = follower()
    ask(core, msg.RequestVote(2, C.address, 0, 0), 1.5)
    assert "c" not in core.election.pre_voters


# ---- the leader's connections have ended -----------------------------------------------------------------------------


def test_when_the_leaders_connections_end_only_its_lease_is_waited_for() -> None:
    core = follower(now=3.0)
    core.step(ev.LeaderGone(B.address), 3.1)
    assert 3.6 <= core.deadline <= 3.7  # after 0.5 s of lease and a fifth more; followers spread over a tenth
    assert len(pre_votes(core.step(ev.Tick(), core.deadline))) == 2


def test_a_leader_that_is_heard_again_was_not_gone() -> None:
    core = follower(now=3.0)
    core.step(ev.LeaderGone(B.address), 3.1)
    ask(core, append(2), 3.5)
    assert plain(core.step(ev.Tick(), 3.7)) == []
    assert core.state.leader_address == B.address
    assert core.deadline >= 4.5


def test_the_lease_of_a_leader_that_seems_gone_is_waited_for_in_any_case() -> None:
    """Asking was under way and the next try near when the leader turned up, and was gone once more."""
    core = follower(now=3.0)
    core.step(ev.Tick(), 5.1)
    ask(core, append(3), 5.2)
    core.step(ev.LeaderGone(B.address), 5.21)
    now = core.deadline
    while not pre_votes(core.step(ev.Tick(), now)):
        now = core.deadline
    assert now >= 5.8


@pytest.mark.parametrize(("address", "knowing"), [(C.address, ALL), (B.address, ("b",))])
def test_the_end_of_other_connections_or_among_servers_without_pre_vote_means_nothing(
    address: str, knowing: tuple[str, ...]
) -> None:
    core = follower(knowing=knowing, now=3.0)
    before = core.deadline
    core.step(ev.LeaderGone(address), 3.1)
    assert core.deadline == before
