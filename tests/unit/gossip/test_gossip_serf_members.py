"""The Serf core: intents, leaving, members that failed, what a push-pull carries."""

import itertools

import pytest
from gossip_rigs import PEER, VSN, SerfRig, serf_messages

from services.gossip.codec.messages import Alive, Dead, User
from services.gossip.codec.serf_messages import (
    JoinIntent,
    LeaveIntent,
    PastEvent,
    PastEvents,
    SerfState,
    UserEventMessage,
    decode_state,
    encode_state,
    encode_tags,
)
from services.gossip.codec.stream import PushPull
from services.gossip.serf import SerfError, Status
from services.gossip.serf.effects import (
    CommandDone,
    UserEvent,
)
from services.gossip.serf.lamport import LamportClock
from services.gossip.swim.effects import StartPushPull


def test_the_clock_stays_ahead_of_what_it_witnesses() -> None:
    clock = LamportClock()
    assert clock.time == 1
    clock.witness(0)
    assert clock.time == 1
    clock.witness(1)
    assert clock.time == 2
    clock.witness(40)
    assert (clock.take(), clock.time) == (41, 42)
    clock.witness((1 << 64) - 1)
    assert clock.time == 42


def test_a_member_that_announced_it_left_and_one_that_did_not_failed() -> None:
    rig = SerfRig()
    rig.hear_serf(LeaveIntent(5, "a"))
    assert rig.status("a") == Status.LEAVING
    rig.hear(Dead(1, "a", "a"))
    assert rig.status("a") == Status.LEFT
    other = SerfRig()
    other.hear(Dead(1, "a", "me"))
    assert other.status("a") == Status.FAILED
    assert (rig.events()[-1], other.events()[-1]) == (("leave", "a"), ("failed", "a"))


def test_without_the_intent_a_leaving_node_counts_as_failed() -> None:
    rig = SerfRig()
    rig.hear(Dead(1, "a", "a"))
    assert rig.status("a") == Status.FAILED


def test_intents_are_passed_on_once_and_old_ones_not() -> None:
    rig = SerfRig()
    rig.hear_serf(JoinIntent(7, "a"))
    before = int(rig.serf.stats()["intent_queue"])
    rig.hear_serf(JoinIntent(7, "a"))
    rig.hear_serf(JoinIntent(6, "a"))
    assert int(rig.serf.stats()["intent_queue"]) == before == 1
    assert rig.serf.clock.time == 8


def test_an_intent_may_arrive_before_its_node() -> None:
    rig = SerfRig()
    rig.hear_serf(LeaveIntent(9, "b"))
    rig.hear(Alive(1, "b", bytes((10, 0, 0, 3)), 8301, encode_tags({}), VSN))
    assert rig.status("b") == Status.LEAVING
    rig.hear_serf(JoinIntent(10, "b"))
    assert rig.status("b") == Status.ALIVE


def test_a_forced_leave_about_ourselves_is_refuted() -> None:
    rig = SerfRig()
    effects = [*rig.hear_serf(LeaveIntent(20, "me")), *rig.run(2)]
    assert rig.status("me") == Status.ALIVE
    assert JoinIntent(21, "me") in serf_messages(effects)


def test_failed_becomes_left_by_an_intent_and_prune_erases() -> None:
    rig = SerfRig()
    rig.hear(Dead(1, "a", "me"))
    rig.hear_serf(LeaveIntent(20, "a"))
    assert rig.status("a") == Status.LEFT
    rig.hear_serf(LeaveIntent(21, "a", True))
    assert rig.status("a") == Status.NONE
    assert rig.events()[-2:] == [("leave", "a"), ("reap", "a")]


def test_prune_of_a_living_member_waits_until_it_is_gone() -> None:
    rig = SerfRig()
    rig.hear_serf(LeaveIntent(20, "a", True))
    assert rig.status("a") == Status.LEAVING
    rig.run(8.1)
    assert rig.status("a") == Status.NONE


def test_leaving_alone_takes_no_time() -> None:
    rig = SerfRig(alone=True)
    effects = rig.serf.leave(rig.now, "token")
    assert CommandDone("token") in effects
    assert rig.status("me") == Status.LEFT


def test_leaving_with_only_failed_members_takes_no_time() -> None:
    rig = SerfRig()
    rig.hear(Dead(1, "a", "me"))
    assert CommandDone("token") in rig.serf.leave(rig.now, "token")


def test_leaving_a_pool_whose_members_do_not_answer_ends_all_the_same() -> None:
    rig = SerfRig()
    assert CommandDone("token") not in rig.serf.leave(rig.now, "token")
    effects = rig.run(5 + 5 + 3 + 1)
    assert CommandDone("token") in effects
    assert rig.serf.leave(rig.now, "again") == [CommandDone("again")]
    with pytest.raises(SerfError, match="can't Join after Leave"):
        rig.serf.check_can_join()


def test_a_failed_member_is_tried_again_in_step_with_the_start() -> None:
    rig = SerfRig()
    rig.run(25)
    rig.hear(Dead(1, "a", "x"))
    tries = [one for one in rig.run(10) if isinstance(one, StartPushPull)]
    assert [(one.node, one.to, one.join) for one in tries] == [("a", PEER, True)]
    assert len([one for one in rig.run(60) if isinstance(one, StartPushPull)]) == 2


def test_state_of_a_push_pull_is_complete_and_merges() -> None:
    rig = SerfRig()
    rig.hear_serf(JoinIntent(4, "a"))
    rig.serf.user_event("deploy", b"1", False, rig.now)
    state = decode_state(rig.serf.push_pull(True).user_state)
    assert (state.ltime, state.event_ltime, state.query_ltime) == (5, 2, 1)
    assert state.status_ltimes == {"me": 0, "a": 4}
    assert state.left_members == ()
    assert state.events is not None
    assert len(state.events) == 512
    assert state.events[1] == PastEvents(1, (PastEvent("deploy", b"1"),))

    remote = SerfState(30, {"a": 12, "gone": 8}, ("gone",), 9, (PastEvents(8, (PastEvent("e", None),)), None), 5)
    effects = rig.serf.merge(PushPull(False, (), encode_state(remote)), rig.now)
    assert (rig.serf.clock.time, rig.serf.events.clock.time, rig.serf.asking.ring.clock.time) == (30, 9, 5)
    assert [one.name for one in effects if isinstance(one, UserEvent)] == ["e"]


def test_the_time_of_a_leaving_member_does_not_pass_for_that_of_a_join() -> None:
    leaver, peer = SerfRig(), SerfRig()
    leaver.serf.leave(leaver.now, "token")
    leaver.hear_serf(LeaveIntent(7, "a"))
    state = leaver.serf.push_pull(False)
    assert decode_state(state.user_state).left_members == ("me", "a")
    peer.serf.merge(PushPull(False, (), state.user_state), peer.now)
    assert peer.status("a") == Status.LEAVING
    peer.hear_serf(LeaveIntent(7, "a"))
    peer.hear(Dead(1, "a", "a"))
    assert peer.status("a") == Status.LEFT


def test_a_leaving_that_is_told_on_and_on_does_not_outgrow_its_refutation() -> None:
    rigs = [SerfRig() for _ in range(3)]
    for rig in rigs:
        rig.hear_serf(JoinIntent(5, "a"))
    rigs[0].hear_serf(LeaveIntent(10, "a"))  # of a member that is alive
    for _ in range(4):
        for teller, hearer in itertools.permutations(rigs, 2):
            hearer.serf.merge(PushPull(False, (), teller.serf.push_pull(False).user_state), hearer.now)
    assert [rig.serf.members.get("a") for rig in rigs] == [rigs[0].serf.members.get("a")] * 3
    for rig in rigs[:2]:
        rig.hear_serf(LeaveIntent(10, "a"))
        rig.hear_serf(JoinIntent(11, "a"))
    for teller, hearer in itertools.permutations(rigs, 2):
        hearer.serf.merge(PushPull(False, (), teller.serf.push_pull(False).user_state), hearer.now)
    assert {rig.status("a") for rig in rigs} == {Status.ALIVE}


def test_a_join_that_ends_during_the_leaving_is_not_announced() -> None:
    rig = SerfRig()
    rig.serf.leave(rig.now, "token")
    rig.serf.joined(rig.now)
    assert rig.status("me") == Status.LEAVING
    assert not any(isinstance(one, JoinIntent) for one in serf_messages(rig.run(20)))


def test_a_join_may_ignore_what_was_before() -> None:
    rig = SerfRig()
    remote = SerfState(1, {}, (), 9, (PastEvents(8, (PastEvent("e", None),)),), 1)
    effects = rig.serf.merge(PushPull(True, (), encode_state(remote)), rig.now, ignore_old=True)
    assert not [one for one in effects if isinstance(one, UserEvent)]
    rig.hear_serf(UserEventMessage(9, "new", None, False))
    assert [one.name for one in rig.effects if isinstance(one, UserEvent)] == ["new"]


def test_junk_instead_of_serf_state_changes_nothing() -> None:
    rig = SerfRig()
    for junk in (b"\x05abc", b"\x02\xc1", b"\x02"):
        rig.serf.merge(PushPull(False, (), junk), rig.now)
    rig.hear(User(b""), User(b"\xff\xff"), User(b"\x01\xc1"))
    assert rig.status("a") == Status.ALIVE


def test_too_long_tags_are_refused() -> None:
    rig = SerfRig(alone=True)
    with pytest.raises(SerfError, match="Encoded length of tags exceeds limit of 512 bytes"):
        rig.serf.set_tags({"x": "y" * 600}, rig.now, "t")
    effects = rig.serf.set_tags({"x": "y"}, rig.now, "t")
    assert CommandDone("t") in effects
    assert rig.serf.members.get("me").tags == {"x": "y"}  # type: ignore[union-attr]
