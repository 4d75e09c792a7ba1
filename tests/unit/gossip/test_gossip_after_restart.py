"""What a restarted gossip process still knows: who had failed or left, and with which incarnation it is believed."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gossip.codec.messages import Alive, Dead, Message, Suspect, User
from services.gossip.codec.serf_messages import JoinIntent, LeaveIntent, encode_serf, encode_tags
from services.gossip.serf.core import Serf
from services.gossip.serf.effects import MemberEvent, SnapshotAppend
from services.gossip.serf.gone import forgotten_line, gone_line
from services.gossip.serf.member import Member, Status
from services.gossip.serf.settings import SerfSettings
from services.gossip.serf.snapshot import Recovered, SnapshotLog, replay
from services.gossip.snapshot_file import SnapshotFile
from services.gossip.swim.address import Address
from services.gossip.swim.effects import StartPushPull
from services.gossip.swim.settings import SwimSettings
from shared.log import get_logger

VSN = bytes((1, 5, 2, 2, 5, 4))
PEER = Address(bytes((10, 0, 0, 2)), 8301)
FAILED = Member("a", PEER.ip, PEER.port, {"role": "node"}, VSN, Status.FAILED, 7)
LEFT = replace(FAILED, name="b", status=Status.LEFT)


def replayed(*lines: str, run: str = "7") -> dict[str, Member]:
    return replay(lines, rejoin_after_leave=False, run=run).gone


def restarted(*gone: Member) -> Serf:
    settings = SerfSettings(SwimSettings("me", Address(bytes((10, 0, 0, 1)), 8301)), {"role": "node"})
    recovered = Recovered(gone={member.name: member for member in gone})
    serf = Serf(settings, random.Random(3), lambda members: None, recovered=recovered)
    effects = serf.start(0.0)
    assert [one.member.name for one in effects if isinstance(one, MemberEvent)] == ["me"]
    return serf


def test_who_went_is_known_until_it_returns_or_is_forgotten() -> None:
    failed, left = gone_line("7", FAILED), gone_line("7", LEFT)
    assert replayed(failed, left) == {"a": FAILED, "b": LEFT}
    assert replayed(failed, left, "alive: a 10.0.0.2:8301") == {"b": LEFT}
    assert replayed(failed, left, forgotten_line("7", "a")) == {"b": LEFT}
    assert replayed(failed, left, "leave") == {}
    assert replayed(failed, left, run="8") == {}


@given(
    name=st.text(min_size=1),
    tags=st.dictionaries(st.text(), st.text(), max_size=4),
    status=st.sampled_from([Status.FAILED, Status.LEFT]),
    ltime=st.integers(0, 1 << 63),
    junk=st.text(),
)
def test_any_member_survives_and_no_line_does_harm(
    name: str, tags: dict[str, str], status: Status, ltime: int, junk: str
) -> None:
    member = replace(FAILED, name=name, tags=tags, status=status, status_ltime=ltime)
    line = gone_line("7", member)
    assert "\n" not in line
    assert line.isascii()
    assert replayed(line) == {name: member}
    cut = len(junk) % len(line)
    found = replay([line[:cut], f"# gone 7 {junk}", f"# forgotten 7 {junk}"], rejoin_after_leave=False, run="7")
    assert found.problems == []


@pytest.mark.parametrize(
    "damage",
    [
        "[]", "7", '["a",1,2,3,4,5,6]', '["a","zz",1,{},"010502020504",4,1]', '["a","",1,{},"010502020504",4,1]',
        '["a","0a000002",1,{},"",4,1]', '["a","0a000002",65536,{},"010502020504",4,1]',
        '["a","0a000002",1,{},"010502020504",1,1]', '["a","0a000002",1,{},"010502020504",4,null]',
    ],
)  # fmt: skip
def test_damaged_lines_are_passed_over(damage: str) -> None:
    assert replayed(f"# gone 7 {damage}") == {}


def test_the_log_says_so_and_keeps_it_when_it_is_written_anew() -> None:
    log = SnapshotLog(Recovered(), 0, rejoin_after_leave=False, run="7")
    log.joined("a", PEER)
    log.gone(FAILED)
    log.gone(LEFT)
    log.forgotten("b")
    log.forgotten("never heard of")
    text = log.take()
    assert replay(text.split("\n"), rejoin_after_leave=False, run="7") == Recovered(gone={"a": FAILED})
    grown = SnapshotLog(Recovered(gone={"a": FAILED}), 1 << 20, rejoin_after_leave=False, run="7")
    anew = grown.compacted()
    assert anew is not None
    assert replay(anew.split("\n"), rejoin_after_leave=False, run="7").gone == {"a": FAILED}


def test_many_that_went_do_not_make_every_line_a_new_file() -> None:
    log = SnapshotLog(Recovered(), 0, rejoin_after_leave=False)
    written = 0
    for number in range(3000):
        log.gone(replace(FAILED, name=f"node-{number}"))
        written += log.compacted() is not None
    assert written < 10


def test_a_restarted_pool_goes_on_with_who_had_failed() -> None:
    serf = restarted(FAILED, LEFT)
    assert {member.name: member.status for member in serf.members} == {
        "me": Status.ALIVE, "a": Status.FAILED, "b": Status.LEFT,
    }  # fmt: skip
    assert serf.stats()["failed"] == "1"
    # It is tried again, can be sent away, and is alive when it says so.
    tried = [one for at in range(0, 3000, 30) for one in serf.tick(float(at)) if isinstance(one, StartPushPull)]
    assert {one.node for one in tried} == {"a"}
    assert all(one.join for one in tried)
    again = serf.receive([Alive(1, "a", PEER.ip, PEER.port, encode_tags({"x": "y"}), VSN)], PEER, 3000.0)
    [event] = [one for one in again if isinstance(one, MemberEvent)]
    assert (event.kind, event.member.name, event.member.status_ltime) == ("join", "a", 7)


def test_an_older_departure_of_one_that_had_failed_is_no_news() -> None:
    serf = restarted(FAILED)
    for ltime, status in ((7, Status.FAILED), (8, Status.LEFT)):
        serf.receive([User(encode_serf(LeaveIntent(ltime, "a")))], PEER, 1.0)
        member = serf.members.get("a")
        assert member is not None
        assert member.status == status
    serf.receive([User(encode_serf(JoinIntent(9, "a")))], PEER, 1.0)


def test_who_had_failed_is_forgotten_in_the_end() -> None:
    serf = restarted(FAILED, LEFT)
    now, names = 0.0, {"me", "a", "b"}
    while len(names) > 1 and now < 80 * 3600:
        now = serf.deadline
        serf.tick(now)
        names = {member.name for member in serf.members}
    assert names == {"me"}
    assert now > 72 * 3600


def serf_of(
    name: str, address: Address, snapshot: SnapshotLog | None = None, recovered: Recovered | None = None
) -> Serf:
    settings = SerfSettings(SwimSettings(name, address), {"role": "node"})
    return Serf(settings, random.Random(3), lambda members: None, recovered=recovered, snapshot=snapshot)


def test_whatever_was_said_of_it_meanwhile_a_restarted_node_is_believed_at_once() -> None:
    """Also where the peer that it finds first knows nothing of it, and so has nothing to be refuted."""
    mine = Address(bytes((10, 0, 0, 1)), 8301)
    before = serf_of("me", mine, SnapshotLog(Recovered(), 0, rejoin_after_leave=False))
    effects = before.start(0.0)
    rumours: list[Message] = [Alive(1, "a", PEER.ip, PEER.port, encode_tags({}), VSN), Suspect(4, "me", "a")]
    effects += before.receive(rumours, PEER, 1.0)
    text = "".join(one.text for one in effects if isinstance(one, SnapshotAppend))
    recovered = replay(text.split("\n"), rejoin_after_leave=False)
    assert recovered.incarnation == 5
    peer = serf_of("a", PEER)
    peer.start(0.0)
    peer.merge(before.push_pull(join=True), 1.0)
    peer.receive([Dead(5, "me", "b")], PEER, 2.0)
    member = peer.members.get("me")
    assert member is not None
    assert member.status == Status.FAILED
    again = serf_of("me", mine, recovered=recovered)
    again.start(0.0)
    assert again.swim.me.incarnation == 6
    peer.merge(again.push_pull(join=False), 3.0)
    member = peer.members.get("me")
    assert member is not None
    assert member.status == Status.ALIVE


def test_an_incarnation_outlives_a_departure_and_the_file_written_anew() -> None:
    lines = [f"# incarnation {word}" for word in ("3", "9", "8", "x", "77777777777")]
    lines.insert(2, "leave")
    found = replay(lines, rejoin_after_leave=False)
    assert (found.incarnation, found.problems) == (9, [])
    anew = SnapshotLog(found, 1 << 20, rejoin_after_leave=False).compacted()
    assert anew is not None
    assert replay(anew.split("\n"), rejoin_after_leave=False).incarnation == 9


def test_no_line_break_in_a_name_forges_a_departure(tmp_path: Path) -> None:
    path = tmp_path / "local.snapshot"
    for mark in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029":
        path.unlink(missing_ok=True)
        file = SnapshotFile(str(path), "", get_logger("test"))
        file.recover(rejoin_after_leave=False)
        log = SnapshotLog(Recovered(), 0, rejoin_after_leave=False)
        log.joined("good", PEER)
        log.joined(f"x{mark}leave{mark}y", PEER)
        log.gone(replace(FAILED, name=f"x{mark}leave{mark}z"))
        file.append(log.take(), 0.0, sync=False)
        file.close()
        again = SnapshotFile(str(path), "", get_logger("test"))
        found, _ = again.recover(rejoin_after_leave=False)
        again.close()
        assert found.alive["good"] == "10.0.0.2:8301", repr(mark)
