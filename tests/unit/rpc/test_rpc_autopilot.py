"""Autopilot's decisions: who is healthy, who gets a vote, which of the dead have to go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rpc_core.leader.autopilot.health import Judgement, RaftStats, Sample, StatsError, judge
from services.rpc_core.leader.autopilot.promotion import promotable
from services.rpc_core.leader.autopilot.protocol import NoServersError, min_raft_protocol
from services.rpc_core.leader.autopilot.removal import plan
from services.rpc_core.leader.autopilot.succession import successor
from services.rpc_core.leader.raft_server import RaftServer
from services.rpc_core.members import Member, MemberStatus
from shared.structs.operator import AutopilotConfig, OperatorHealthReply

MS, S = 1_000_000, 1_000_000_000
CONFIG = AutopilotConfig(
    cleanup_dead_servers=True, last_contact_threshold=200 * MS, max_trailing_logs=250, server_stabilization_time=10 * S
)
LEADER_INDEX, LEADER_TERM = 1000, 3
UNIX_NS = 1_795_000_000 * S


def member(name: str, status: int = MemberStatus.ALIVE, **tags: str) -> Member:
    """Server `name` at 10.0.0.<last letter's number>, id `id-<name>`."""
    usual = {
        "role": "consul", "dc": "dc1", "id": f"id-{name}", "port": "8300", "vsn": "2", "build": "1.8.7:x",
        "raft_vsn": "3",
    }  # fmt: skip
    return Member(name, address(name), 8301, {**usual, **tags}, status, 1, 5, 2)


def client(name: str) -> Member:
    return Member(name, "10.0.0.99", 8301, {"role": "node", "dc": "dc1", "id": name}, MemberStatus.ALIVE, 1, 5, 2)


def address(name: str) -> str:
    return f"10.0.0.{ord(name[-1])}"


def configured(*names: str, without_vote: str = "") -> list[RaftServer]:
    return [RaftServer(f"id-{name}", f"{address(name)}:8300", name not in without_vote) for name in names]


def good(index: int = LEADER_INDEX, term: int = LEADER_TERM, contact: str = "50ms") -> RaftStats:
    return RaftStats(contact, term, index)


def sample(names: str, stats: dict[str, RaftStats], now: float = 0.0, **changes: Any) -> Sample:
    """The servers `names` (a letter each), all alive, and of those that answered their figures."""
    fields: dict[str, Any] = {
        "configured": configured(*names),
        "members": [*map(member, names), client("c")],
        "stats": {f"id-{name}": one for name, one in stats.items()},
        "leader_address": f"{address('a')}:8300",
        "leader_index": LEADER_INDEX,
        "leader_term": LEADER_TERM,
        "now": now,
        "now_unix_ns": UNIX_NS + round(now * S),
        **changes,
    }
    return Sample(**fields)


def looked_at(stats: RaftStats, status: int = MemberStatus.ALIVE) -> bool:
    """Whether server b with these figures counts as healthy."""
    seen = sample("ab", {"a": good(contact="0"), "b": stats}, members=[member("a"), member("b", status)])
    health = judge(seen, CONFIG, Judgement()).of("id-b")
    assert health is not None
    return health.healthy


@pytest.mark.parametrize(
    ("stats", "status", "healthy"),
    [
        (good(), MemberStatus.ALIVE, True),
        (good(contact="200ms"), MemberStatus.ALIVE, True),
        (good(contact="200.001ms"), MemberStatus.ALIVE, False),
        (good(contact="never"), MemberStatus.ALIVE, False),
        (good(term=LEADER_TERM - 1), MemberStatus.ALIVE, False),
        (good(index=750), MemberStatus.ALIVE, True),
        (good(index=749), MemberStatus.ALIVE, False),
        (good(), MemberStatus.FAILED, False),
        (good(), MemberStatus.LEAVING, False),
        (good(), MemberStatus.LEFT, False),
    ],
)
def test_a_healthy_server_lives_and_keeps_up(stats: RaftStats, status: int, healthy: bool) -> None:
    assert looked_at(stats, status) is healthy


def test_a_short_log_cannot_be_too_far_behind() -> None:
    seen = sample("ab", {"b": good(index=0)}, leader_index=250)
    health = judge(seen, CONFIG, Judgement()).of("id-b")
    assert health is not None
    assert health.healthy


def test_the_whole_cluster_and_how_many_it_can_lose() -> None:
    everybody = {name: good() for name in "abcde"}
    reply = judge(sample("abcde", everybody), CONFIG, Judgement()).reply
    assert (reply.healthy, reply.failure_tolerance) == (True, 2)
    del everybody["e"]
    reply = judge(sample("abcde", everybody), CONFIG, Judgement()).reply
    assert (reply.healthy, reply.failure_tolerance) == (False, 1)
    assert reply.servers is not None
    assert [(one.name, one.healthy, one.leader) for one in reply.servers] == [
        ("a", True, True), ("b", True, False), ("c", True, False), ("d", True, False), ("e", False, False),
    ]  # fmt: skip


def test_a_server_without_a_vote_does_not_count_for_the_tolerance() -> None:
    seen = sample("abc", {name: good() for name in "abc"}, configured=configured(*"abc", without_vote="c"))
    assert judge(seen, CONFIG, Judgement()).reply.failure_tolerance == 0


def test_who_raft_knows_and_gossip_does_not_is_shown_without_a_state() -> None:
    seen = sample("ab", {"a": good(), "b": good()}, members=[member("a")])
    shown = judge(seen, CONFIG, Judgement()).reply.shown()["Servers"][1]
    assert shown == {
        "ID": "id-b", "Name": "", "Address": f"{address('b')}:8300", "SerfStatus": "none", "Version": "",
        "Leader": False, "LastContact": "-1ns", "LastTerm": 0, "LastIndex": 0, "Healthy": False, "Voter": True,
        "StableSince": "0001-01-01T00:00:00Z",
    }  # fmt: skip


def test_stability_counts_from_the_last_change_of_health() -> None:
    first = judge(sample("a", {"a": good()}, 100.0), CONFIG, Judgement())
    second = judge(sample("a", {"a": good()}, 102.4), CONFIG, first)
    assert second.stable_since == {"id-a": 100.0}
    assert shown_since(second) == shown_since(first) == "2026-11-18T11:08:20Z"
    third = judge(sample("a", {"a": good(contact="1s")}, 104.0), CONFIG, second)
    assert third.stable_since == {"id-a": 104.0}
    silent = judge(sample("a", {}, 106.0), CONFIG, third)
    assert silent.stable_since == {}
    again = judge(sample("a", {"a": good(contact="1s")}, 108.0), CONFIG, silent)
    assert again.stable_since == {"id-a": 108.0}


def shown_since(judgement: Judgement) -> str:
    since: str = judgement.reply.shown()["Servers"][0]["StableSince"]
    return since


def test_figures_that_make_no_sense_are_told_and_cost_the_server_its_health() -> None:
    judged = judge(sample("ab", {"a": good(), "b": good(contact="soon")}), CONFIG, Judgement())
    [(server, problem)] = judged.problems
    assert str(server) == f'Server (ID: "id-b" Address: "{address("b")}:8300")'
    assert problem == 'error parsing last_contact duration: time: invalid duration "soon"'
    assert not judged.reply.healthy


@pytest.mark.parametrize("reply", [None, [], "x", {"LastTerm": "x"}])
def test_a_reply_that_is_none_is_refused(reply: Any) -> None:
    with pytest.raises(StatsError):
        RaftStats.from_wire(reply)


def test_the_reply_survives_the_wire() -> None:
    reply = judge(sample("ab", {"a": good(), "b": good(contact="never")}, 5.5), CONFIG, Judgement()).reply
    assert OperatorHealthReply.from_wire(reply.to_wire()) == reply


# ---- votes -----------------------------------------------------------------------------------------------------------


def promoted(seconds: float, stats: RaftStats | None = None) -> list[str]:
    """Who gets a vote so long after c, which has none, was first seen to be healthy; then its figures are `stats`."""
    servers = configured(*"abc", without_vote="c")
    everybody = {name: good() for name in "abc"}
    first = judge(sample("abc", everybody, 100.0, configured=servers), CONFIG, Judgement())
    now = 100.0 + seconds
    second = judge(sample("abc", {**everybody, "c": stats or good()}, now, configured=servers), CONFIG, first)
    return [server.server_id for server in promotable(servers, second, CONFIG, now)]


def test_a_vote_is_given_after_the_stabilization_time() -> None:
    assert promoted(9.9) == []
    assert promoted(10.0) == ["id-c"]


def test_no_vote_for_the_sick() -> None:
    assert promoted(10.0, good(contact="1s")) == []


def test_no_vote_for_strangers() -> None:
    assert promotable(configured("z", without_vote="z"), Judgement(), CONFIG, 1e9) == []


def test_the_next_leader_is_a_healthy_voter_with_most_of_the_log() -> None:
    stats = {"a": good(), "b": good(999), "c": good(1000), "d": good(1000, contact="1s"), "e": good(998)}
    seen = sample("abcde", stats, configured=configured(*"abcde", without_vote="c"))
    assert successor(judge(seen, CONFIG, Judgement())) == "id-b"
    assert successor(judge(sample("a", {"a": good()}), CONFIG, Judgement())) == ""
    assert successor(Judgement()) == ""


# ---- the dead --------------------------------------------------------------------------------------------------------


def test_a_failed_minority_is_forced_out() -> None:
    members = [*map(member, "abc"), member("d", MemberStatus.FAILED), member("e", MemberStatus.FAILED), client("x")]
    removal = plan(configured(*"abcde"), members, 3)
    assert [one.name for one in removal.forced_out] == ["d", "e"]
    assert (removal.stale, removal.refusal) == ([], "")


def test_servers_that_gossip_has_forgotten_leave_raft() -> None:
    removal = plan(configured(*"abc"), [member("a"), member("b")], 0)
    assert ([str(one.server_id) for one in removal.stale], removal.forced_out) == (["id-c"], [])


def test_a_majority_is_never_taken_away() -> None:
    members = [member("a"), member("b", MemberStatus.FAILED)]
    removal = plan(configured(*"abc"), members, 0)
    assert (removal.forced_out, removal.stale) == ([], ())
    assert removal.refusal == "denied, because removing the majority of servers 2/3 is not safe"


def test_the_minimum_is_kept() -> None:
    members = [member("a"), member("b"), member("c", MemberStatus.FAILED)]
    assert plan(configured(*"abc"), members, 2).refusal == ""
    assert plan(configured(*"abc"), members, 3).refusal == (
        "denied, because removing 1/3 servers would leave less then minimal allowed quorum of 3 servers"
    )


def test_a_failed_server_without_a_vote_goes_in_any_case() -> None:
    members = [member("a"), member("b", MemberStatus.FAILED), member("c", MemberStatus.FAILED)]
    removal = plan(configured(*"abc", without_vote="c"), members, 3)
    assert [one.name for one in removal.forced_out] == ["c"]
    assert removal.refusal.startswith("denied, because removing 1/2 servers")


def test_nobody_dead_nothing_to_do() -> None:
    removal = plan(configured(*"abc"), [*map(member, "abc"), member("d", MemberStatus.LEFT)], 9)
    assert (removal.forced_out, removal.stale, removal.refusal) == ([], (), "")


def test_the_oldest_protocol_of_living_servers() -> None:
    old = member("o", MemberStatus.LEFT, raft_vsn="2")
    assert min_raft_protocol([member("a"), old, client("x")]) == 3
    assert min_raft_protocol([member("a"), member("b", raft_vsn="2")]) == 2
    bare = member("n")
    untagged = Member(
        bare.name, bare.addr, bare.port, {k: v for k, v in bare.tags.items() if k != "raft_vsn"}, 1, 1, 5, 2
    )
    assert min_raft_protocol([member("a"), untagged]) == 1
    with pytest.raises(NoServersError, match="No servers found"):
        min_raft_protocol([member("a", MemberStatus.LEAVING), client("x")])


STATES = st.sampled_from([None, MemberStatus.ALIVE, MemberStatus.LEAVING, MemberStatus.LEFT, MemberStatus.FAILED])
"""Of a server in gossip; None if gossip does not know it."""


@given(
    cluster=st.lists(st.tuples(STATES, st.booleans(), st.booleans()), max_size=9),
    min_quorum=st.integers(0, 9),
)
def test_removal_leaves_a_majority_of_voters_and_everybody_who_lives(
    cluster: list[tuple[int | None, bool, bool]], min_quorum: int
) -> None:
    """cluster: per server its state, whether Raft knows it, and whether it votes there."""
    names = "abcdefghi"[: len(cluster)]
    servers, members = [], []
    for name, (state, in_raft, voter) in zip(names, cluster, strict=True):
        if in_raft:
            servers += configured(name, without_vote="" if voter else name)
        if state is not None:
            members.append(member(name, state))
    removal = plan(servers, members, min_quorum)
    gone = {one.tags["id"] for one in removal.forced_out} | {one.server_id for one in removal.stale}
    states = {f"id-{name}": state for name, (state, _, _) in zip(names, cluster, strict=True)}
    assert all(states[server_id] in (None, MemberStatus.FAILED) for server_id in gone)
    voters = [one.server_id for one in servers if one.voter]
    lost = sum(server_id in gone for server_id in voters)
    if lost:
        assert 2 * lost < len(voters)
        assert len(voters) - lost >= min_quorum
    if removal.refusal:
        assert not removal.stale
