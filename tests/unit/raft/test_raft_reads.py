"""Linearizable reads: rounds of heartbeats that confirm the leadership, and whom they ask."""

from __future__ import annotations

import pytest

from services.raft_node.core import RaftCore
from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.configuration import DEMOTE_VOTER, REMOVE_SERVER
from services.raft_node.core.reads import PATIENCE_S
from services.raft_node.core.state import NOT_LEADER
from services.raft_node.core.types import NON_VOTER, VOTER, Configuration, Server
from tests.unit.raft.core_under_test import THREE, A, B, C, core_of, make_leader, of, sends

NOW = 5.0
FIVE = Configuration((A, B, C, Server("d", "d:8300"), Server("e", "e:8300")))


def done(term: int = 2, last: int = 2) -> msg.AppendEntriesReply:
    return msg.AppendEntriesReply(term, last, True)


def settled(configuration: Configuration = THREE) -> RaftCore:
    """A leader whose followers have its first entry and have answered all heartbeats, the last in the alphabet last."""
    core = core_of(configuration=configuration)
    flying = [effect for effect in make_leader(core, now=NOW) if isinstance(effect, ev.Send)]
    core.step(ev.Durable(2, 2), NOW)
    at = NOW
    for send in sorted(flying, key=lambda send: send.server.id):
        at += 0.001
        flying = of(ev.Send, core.step(ev.RpcReply(send.request_id, send.server.id, done()), at))
        for again in flying:
            core.step(ev.RpcReply(again.request_id, again.server.id, done()), at)
    core.take_committed()
    assert core.commit_index == 2
    return core


def asked(effects: list[ev.Effect]) -> list[str]:
    return [send.server.id for send in of(ev.Send, effects) if send.heartbeat]


def test_reads_wait_for_an_entry_of_the_term_and_for_a_heartbeat_round() -> None:
    core = core_of()
    [probe] = sends(make_leader(core), B)
    assert core.step(ev.ReadIndex("r1"), NOW) == []
    core.step(ev.Durable(2, 2), NOW)
    effects = core.step(ev.RpcReply(probe.request_id, "b", msg.AppendEntriesReply(2, 1, True)), NOW)
    [round_one] = sends(effects, B, heartbeat=True)
    assert core.step(ev.ReadIndex("r2"), NOW) == []  # shares the round after this one
    assert core.step(ev.ReadIndex("r3"), NOW) == []
    effects = core.step(ev.RpcReply(round_one.request_id, "b", done()), NOW + 0.01)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r1"], 2)]
    [round_two] = sends(effects, B, heartbeat=True)
    effects = core.step(ev.RpcReply(round_two.request_id, "b", done()), NOW + 0.02)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r2", "r3"], 2)]


def test_a_round_asks_as_many_as_a_quorum_needs_those_that_were_heard_of_last() -> None:
    assert asked(settled().step(ev.ReadIndex("r"), NOW + 0.02)) == ["c"]
    assert asked(settled(FIVE).step(ev.ReadIndex("r"), NOW + 0.02)) == ["e", "d"]


def test_the_others_are_asked_when_the_first_take_too_long() -> None:
    core, now = settled(), NOW + 0.02
    core.step(ev.ReadIndex("r"), now)
    assert core.deadline <= now + PATIENCE_S
    [to_b] = sends(core.step(ev.Tick(), now + PATIENCE_S), B, heartbeat=True)
    now += PATIENCE_S + 0.01
    effects = core.step(ev.RpcReply(to_b.request_id, "b", done()), now)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r"], 2)]
    assert asked(core.step(ev.ReadIndex("next"), now)) == ["b"]  # who answers is asked again


def test_the_others_are_asked_at_once_when_one_cannot_be_reached() -> None:
    core, now = settled(), NOW + 0.02
    [to_c] = sends(core.step(ev.ReadIndex("r"), now), C, heartbeat=True)
    effects = core.step(ev.RpcReply(to_c.request_id, "c", None), now)
    [to_b] = sends(effects, B, heartbeat=True)
    effects = core.step(ev.RpcReply(to_b.request_id, "b", done()), now)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r"], 2)]


def test_who_cannot_be_reached_is_left_in_peace_until_its_pause_is_over() -> None:
    core, now = settled(), NOW + 0.02
    assert core.leader is not None
    failing = core.leader.progress["c"]
    failing.heartbeat_failures, failing.heartbeat_due = 7, now + 0.4
    assert asked(core.step(ev.ReadIndex("r"), now)) == ["b"]
    assert failing.heartbeat_due == now + 0.4


def test_an_answer_to_what_was_asked_before_the_round_confirms_nothing() -> None:
    core, now = settled(), NOW + 0.02
    [early] = sends(core.step(ev.ReadIndex("r1"), now), C, heartbeat=True)
    [late] = sends(core.step(ev.Tick(), now + PATIENCE_S), B, heartbeat=True)
    core.step(ev.RpcReply(late.request_id, "b", done()), now + 0.06)
    assert asked(core.step(ev.ReadIndex("r2"), now + 0.06)) == ["b"]
    effects = core.step(ev.RpcReply(early.request_id, "c", done()), now + 0.07)
    assert of(ev.ReadReady, effects) == []


def test_an_entry_that_is_stored_after_the_question_confirms_as_well() -> None:
    core, now = settled(), NOW + 0.02
    core.step(ev.ReadIndex("r"), now)
    [entry] = sends(core.step(ev.Propose("p", [(0, b"x", b"")]), now), B)
    effects = core.step(ev.RpcReply(entry.request_id, "b", done(last=3)), now)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r"], 2)]


def test_a_round_does_not_wait_for_a_server_that_was_removed_meanwhile() -> None:
    """The last other one: nobody is left whose answer could end the round, and with it all that wait for the next."""
    core, now = settled(Configuration((A, B))), NOW + 0.02
    core.step(ev.ReadIndex("r"), now)
    effects = core.step(ev.ChangeConfiguration("c", REMOVE_SERVER, "b"), now)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r"], 2)]
    assert of(ev.ReadReady, core.step(ev.ReadIndex("next"), now)) == [ev.ReadReady(["next"], 2)]


def test_answers_to_heartbeats_that_were_on_their_way_confirm_nothing() -> None:
    """The voters sent them before the round began, and may have elected another leader since."""
    core, now = settled(), NOW + 0.3
    flying = [send for send in of(ev.Send, core.step(ev.Tick(), now)) if send.heartbeat]
    assert [send.server.id for send in flying] == ["b", "c"]
    asked_for_it = of(ev.Send, core.step(ev.ReadIndex("r"), now))
    effects: list[ev.Effect] = []
    for send in flying:
        effects += core.step(ev.RpcReply(send.request_id, send.server.id, done()), now + 0.01)
    assert of(ev.ReadReady, effects) == []
    [send, *_] = asked_for_it
    effects = core.step(ev.RpcReply(send.request_id, send.server.id, done()), now + 0.01)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r"], 2)]


# ---- vouched reads: the question of a voter that is in this term is its own confirmation ----------------------------


def configuration_of(*names: str, non_voters: str = "") -> Configuration:
    return Configuration(
        tuple(Server(name, f"{name}:8300", NON_VOTER if name in non_voters else VOTER) for name in names)
    )


@pytest.mark.parametrize(
    "configuration", [THREE, configuration_of("a", "b"), configuration_of(*"abcd", non_voters="d")]
)
def test_a_voter_of_this_term_confirms_its_own_read_where_one_is_enough(configuration: Configuration) -> None:
    core = settled(configuration)
    assert core.step(ev.ReadIndex("r", "b", 2), NOW + 0.02) == [ev.ReadReady(["r"], 2)]


def test_a_confirmed_read_does_not_wait_for_the_round_of_others() -> None:
    core, now = settled(), NOW + 0.02
    [to_c] = sends(core.step(ev.ReadIndex("r1"), now), C, heartbeat=True)
    assert core.step(ev.ReadIndex("r2"), now) == []
    assert core.step(ev.ReadIndex("vouched", "b", 2), now) == [ev.ReadReady(["vouched"], 2)]
    effects = core.step(ev.RpcReply(to_c.request_id, "c", done()), now + 0.01)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r1"], 2)]
    [to_c] = sends(effects, C, heartbeat=True)
    effects = core.step(ev.RpcReply(to_c.request_id, "c", done()), now + 0.02)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r2"], 2)]


def test_a_confirmed_read_is_ready_at_what_is_committed_and_not_at_what_is_logged() -> None:
    core, now = settled(), NOW + 0.02
    [entry] = sends(core.step(ev.Propose("p", [(0, b"x", b"")]), now), B)
    core.step(ev.Durable(3, 2), now)
    assert core.step(ev.ReadIndex("r1", "b", 2), now) == [ev.ReadReady(["r1"], 2)]
    core.step(ev.RpcReply(entry.request_id, "b", done(last=3)), now)
    assert core.step(ev.ReadIndex("r2", "b", 2), now) == [ev.ReadReady(["r2"], 3)]


@pytest.mark.parametrize(
    ("configuration", "voter", "term"),
    [
        pytest.param(THREE, "b", 1, id="an earlier term"),
        pytest.param(THREE, "b", 3, id="a later term"),
        pytest.param(THREE, "b", 0, id="no term"),
        pytest.param(THREE, "z", 2, id="an unknown server"),
        pytest.param(THREE, "", 2, id="nobody"),
        pytest.param(THREE, "a", 2, id="the leader itself"),
        pytest.param(configuration_of(*"abcd", non_voters="d"), "d", 2, id="a server without a vote"),
        pytest.param(configuration_of(*"abcd"), "b", 2, id="four voters"),
        pytest.param(FIVE, "b", 2, id="five voters"),
    ],
)
def test_what_no_voter_of_this_term_confirms_waits_for_a_round(
    configuration: Configuration, voter: str, term: int
) -> None:
    core, now = settled(configuration), NOW + 0.02
    effects = core.step(ev.ReadIndex("r", voter, term), now)
    asked_of = of(ev.Send, effects)
    assert of(ev.ReadReady, effects) == []
    assert len(asked_of) == configuration.quorum - 1
    for send in asked_of:
        assert send.heartbeat
        effects = core.step(ev.RpcReply(send.request_id, send.server.id, done()), now + 0.01)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r"], 2)]


def test_a_leader_without_a_vote_is_no_half_of_a_quorum() -> None:
    """It was demoted, and leads on until that is committed."""
    core, now = settled(), NOW + 0.02
    core.step(ev.ChangeConfiguration("c", DEMOTE_VOTER, "a"), now)
    effects = core.step(ev.ReadIndex("r", "b", 2), now)
    assert of(ev.ReadReady, effects) == []
    assert sorted(asked(effects)) == ["b", "c"]


def test_no_voter_confirms_a_read_before_something_of_the_term_is_committed() -> None:
    """The leader does not know yet what earlier leaders have acknowledged."""
    core = core_of()
    [probe] = sends(make_leader(core), B)
    assert core.step(ev.ReadIndex("r", "b", 2), NOW) == []
    core.step(ev.Durable(2, 2), NOW)
    assert core.step(ev.ReadIndex("again", "b", 2), NOW) == []
    effects = core.step(ev.RpcReply(probe.request_id, "b", msg.AppendEntriesReply(2, 1, True)), NOW)
    assert of(ev.Commit, effects) == [ev.Commit(2)]
    assert core.step(ev.ReadIndex("now", "b", 2), NOW) == [ev.ReadReady(["now"], 2)]
    [round_one] = sends(effects, B, heartbeat=True)
    effects = core.step(ev.RpcReply(round_one.request_id, "b", done()), NOW + 0.01)
    assert of(ev.ReadReady, effects) == [ev.ReadReady(["r", "again"], 2)]


def test_a_server_that_does_not_lead_is_not_made_to_by_a_voter() -> None:
    core = core_of()
    assert core.step(ev.ReadIndex("r", "b", core.term), 0.1) == [ev.ReadFailed(("r",), NOT_LEADER)]
