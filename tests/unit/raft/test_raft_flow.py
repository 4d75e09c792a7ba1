"""What is on its way to one follower: bounded in requests and bytes, and taken up again when the follower is back."""

from __future__ import annotations

from typing import Any

from services.raft_node.core import RaftCore
from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.types import COMMAND
from tests.unit.raft.core_under_test import B, append, ask, command, core_of, install, make_leader, of, sends

KIB = bytes(1024)


def pipelining(**settings: int) -> RaftCore:
    """A leader whose follower b has answered its first request."""
    core = core_of()
    core.state.settings = core.state.settings._replace(**settings)  # type: ignore[arg-type]
    effects = make_leader(core)
    for send in (*sends(effects, B), *sends(effects, B, heartbeat=True)):
        core.step(ev.RpcReply(send.request_id, "b", msg.AppendEntriesReply(2, 1, True)), 5.0)
    return core


def propose(core: RaftCore, data: bytes, now: float = 5.0) -> list[Any]:
    return sends(core.step(ev.Propose("p", [(COMMAND, data, b"")]), now), B)


def test_a_follower_that_does_not_answer_is_sent_so_many_bytes_and_no_more() -> None:
    core = pipelining(max_in_flight_bytes=3000)
    sent = [request for _ in range(5) for request in propose(core, KIB)]
    assert [send.request.entries[0].index for send in sent] == [3, 4, 5]
    effects = core.step(ev.RpcReply(sent[0].request_id, "b", msg.AppendEntriesReply(2, 2, True)), 5.01)
    assert [entry.index for send in sends(effects, B) for entry in send.request.entries] == [6, 7]


def test_a_full_pipeline_asks_for_no_turns() -> None:
    """A deadline in the past that nothing moves would keep the processor busy with nothing."""
    for settings in ({"pipeline_depth": 2}, {"max_in_flight_bytes": 1}):
        core = pipelining(**settings)
        for _ in range(3):
            propose(core, KIB)
        for now in (5.0, 5.08, 5.1):
            core.step(ev.Tick(), now)
        assert core.deadline > 5.1


def test_a_dead_follower_hears_a_heartbeat_soon_after_it_is_back() -> None:
    core = pipelining()
    assert core.leader is not None
    peer, now = core.leader.progress["b"], 5.0
    for _ in range(30):
        core.leader.lease_check_due = now + 99
        for send in of(ev.Send, core.step(ev.Tick(), now)):
            if send.server == B:
                core.step(ev.RpcReply(send.request_id, "b", None), now)
        assert peer.heartbeat_due - now <= 0.501  # half of its heartbeat timeout
        now = max(now, peer.heartbeat_due)


def test_what_a_disk_refused_is_not_taken_for_committed() -> None:
    """The follower had heard that the entries are committed. Later the leader has only a snapshot of them."""
    core = core_of()
    ask(core, append(2, (1, 1), (command(2, 2), command(3, 2)), commit=3))
    core.step(ev.AppendFailed(2, "disk full"), 0.2)
    assert (core.commit_index, core.log.last_index) == (1, 1)
    request = install(3, term=2)
    assert of(ev.ReceiveSnapshot, ask(core, request, 0.3)) == [ev.ReceiveSnapshot("t", request)]


def test_what_a_disk_refused_before_a_snapshot_came_takes_nothing_from_it() -> None:
    core = core_of()
    ask(core, append(2, (1, 1), (command(2, 2),)))  # its disk is slow
    core.step(ev.SnapshotReceived("t", install(50, term=2)), 0.2)
    ask(core, append(2, (50, 2), (command(51, 2),)), 0.3)
    core.step(ev.AppendFailed(2, "disk full"), 0.4)
    assert (core.log.last_index, core.log.last_term, core.commit_index) == (50, 2, 50)
    core.step(ev.AppendFailed(2, "disk full"), 0.5)
    assert core.log.last_index == 50
