"""The snapshot of a pool: the lines of real ones, damaged ones, ours."""

import json

from gossip_rigs import VECTORS, SerfRig, query

from services.gossip.codec.messages import Dead
from services.gossip.codec.serf_messages import (
    JoinIntent,
    UserEventMessage,
)
from services.gossip.serf.effects import (
    SnapshotAppend,
    SnapshotReplace,
)
from services.gossip.serf.snapshot import Recovered, SnapshotLog, replay
from services.gossip.swim.address import Address


def test_real_snapshot_files_are_understood() -> None:
    files = json.loads((VECTORS / "files.json").read_text())
    server = replay(files["serf/local.snapshot of a server"].splitlines(), rejoin_after_leave=False)
    assert server == Recovered({"s2": "127.0.0.1:21321", "s1": "127.0.0.1:21301"}, 5, 3, 0)
    left = files["serf/local.snapshot of a client after graceful leave"].splitlines()
    assert replay(left, rejoin_after_leave=False) == Recovered({}, 2, 0, 0)
    again = replay(left, rejoin_after_leave=True)
    assert (len(again.alive), again.clock, again.event_clock, again.query_clock) == (3, 2, 2, 6)
    assert again.problems == ["serf: Ignoring previous leave in snapshot"]


def test_damaged_snapshot_lines_are_reported_and_skipped() -> None:
    found = replay(
        [
            "alive: x 1.2.3.4:5",
            "alive: broken",
            "clock: abc",
            "clock: " + "9" * 40,
            "???",
            "# note",
            "coordinate: z",
            "not-alive: nobody",
            "event-clock: 7",
            "cloc",
        ],
        rejoin_after_leave=False,
    )
    assert (found.alive, found.event_clock, len(found.problems)) == ({"x": "1.2.3.4:5"}, 7, 5)


def test_a_pool_writes_what_it_needs_to_come_back() -> None:
    rig = SerfRig(snapshot=SnapshotLog(Recovered(), 0, rejoin_after_leave=False), recovered=Recovered())
    rig.hear_serf(JoinIntent(6, "a"))
    rig.run(0.6)
    rig.hear_serf(UserEventMessage(3, "e", None, False))
    rig.hear_serf(query("_serf_ping", ltime=4))
    rig.hear(Dead(1, "a", "me"))
    rig.effects += rig.serf.leave(rig.now, "t")
    text = "".join(one.text for one in rig.effects if isinstance(one, SnapshotAppend))
    assert text.splitlines() == [
        "alive: me 10.0.0.1:8301",
        "# incarnation 1",
        "alive: a 10.0.0.2:8301",
        "clock: 6",
        "event-clock: 3",
        "query-clock: 4",
        "not-alive: a",
        '# gone  ["a","0a000002",8301,{"role":"node"},"010502020504",4,6]',
        "leave",
        "clock: 7",
    ]
    assert [one.sync for one in rig.effects if isinstance(one, SnapshotAppend)][-1]
    recovered = replay(text.splitlines(), rejoin_after_leave=True)
    back = SerfRig(alone=True, recovered=recovered)
    assert (back.serf.clock.time, back.serf.events.clock.time, back.serf.events.min_ltime) == (8, 4, 4)


def test_a_grown_snapshot_is_replaced_by_a_short_one() -> None:
    log = SnapshotLog(Recovered({"a": "1.2.3.4:5"}, 3, 2, 1), 128 * 1024 - 10, rejoin_after_leave=False)
    assert log.compacted() is None
    log.joined("b", Address(bytes(4), 1))
    assert log.compacted() == (
        "# incarnation 0\nalive: a 1.2.3.4:5\nalive: b 0.0.0.0:1\nclock: 3\nevent-clock: 2\nquery-clock: 1\n"
    )
    assert log.take() == ""
    assert log.compacted() is None
    rig = SerfRig(snapshot=SnapshotLog(Recovered(), 1 << 20, rejoin_after_leave=False), alone=True)
    assert any(isinstance(one, SnapshotReplace) for one in rig.effects)


def test_a_hostile_name_cannot_forge_snapshot_lines() -> None:
    log = SnapshotLog(Recovered(), 0, rejoin_after_leave=False)
    log.joined("x\nleave", Address(bytes(4), 1))
    assert "leave" not in log.take().splitlines()
