"""Leadership transfer: TimeoutNow goes to a voter that has the whole log, and goes once."""

from __future__ import annotations

import random
from typing import Any

from services.raft_node.core import RaftCore, bootstrap_entry
from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.types import LEADER, NON_VOTER, Configuration, HardState, Server, Settings
from services.raft_node.log import MemoryLog

A, B, C = (Server(name, f"{name}:8300") for name in "abc")
NOW = 5.0


def leader_of(*servers: Server, durable: bool = True) -> RaftCore:
    """Server a, elected by b; nobody has answered an AppendEntries yet. durable: its own disk has everything."""
    log = MemoryLog(1)
    log.append([bootstrap_entry(Configuration(servers))])
    core = RaftCore(
        Settings("a", A.address, 1.0, 1.0, 0.5, 0.05),
        log,
        HardState(1),
        configurations=log.recovered_configurations,
        rng=random.Random(7),
        now=0.0,
    )
    core.start(0.0)
    effects = core.step(ev.Tick(), NOW)
    if core.role != LEADER:
        [request] = [send for send in of(ev.Send, effects) if send.server == B]
        effects = core.step(ev.RpcReply(request.request_id, "b", msg.RequestVoteReply(core.term, True)), NOW)
    assert core.role == LEADER
    if durable:
        core.step(ev.Durable(core.log.last_index, core.term), NOW)
    return core


def of(kind: type[Any], effects: list[ev.Effect]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def timeout_nows(effects: list[ev.Effect]) -> list[Any]:
    return [send for send in of(ev.Send, effects) if isinstance(send.request, msg.TimeoutNow)]


def catch_up(core: RaftCore, server: Server, now: float) -> list[ev.Effect]:
    """Effects of answers by which `server` has the whole log. The requests are those that the leader has open."""
    assert core.leader is not None
    effects: list[ev.Effect] = []
    for request_id in list(core.leader.progress[server.id].in_flight):
        reply = msg.AppendEntriesReply(core.term, core.log.last_index, True)
        effects += core.step(ev.RpcReply(request_id, server.id, reply), now)
    return effects


def test_timeout_now_waits_for_the_log_and_is_sent_once() -> None:
    core = leader_of(A, B, C)
    assert timeout_nows(core.step(ev.TransferLeadership("t", "b"), NOW)) == []
    [asked] = timeout_nows(catch_up(core, B, NOW))
    assert asked.server == B
    effects = core.step(ev.RpcReply(asked.request_id, "b", msg.TimeoutNowReply()), NOW)
    effects += core.step(ev.Tick(), NOW + 0.2)
    effects += catch_up(core, B, NOW + 0.2)
    assert timeout_nows(effects) == []


def test_timeout_now_that_was_lost_is_sent_again() -> None:
    core = leader_of(A, B, C)
    core.step(ev.TransferLeadership("t", "b"), NOW)
    [asked] = timeout_nows(catch_up(core, B, NOW))
    core.step(ev.RpcReply(asked.request_id, "b", None), NOW)
    core.step(ev.Tick(), NOW + 0.3)
    assert len(timeout_nows(catch_up(core, B, NOW + 0.3))) == 1


def test_a_server_without_a_vote_is_never_chosen() -> None:
    core = leader_of(A, B, C._replace(suffrage=NON_VOTER))
    catch_up(core, C, NOW)
    core.step(ev.TransferLeadership("t"), NOW)
    [asked] = timeout_nows(catch_up(core, B, NOW))
    assert asked.server == B


def test_a_transfer_to_a_server_without_a_vote_is_refused() -> None:
    core = leader_of(A, B, C._replace(suffrage=NON_VOTER))
    [done] = of(ev.TransferDone, core.step(ev.TransferLeadership("t", "c"), NOW))
    assert done.error == "cannot find replication state for c"


def test_nothing_that_is_not_committed_is_left_behind() -> None:
    """Whoever waits for an entry would be told that nobody knows what became of it."""
    core = leader_of(A, B, C, durable=False)
    core.step(ev.TransferLeadership("t", "b"), NOW)
    assert timeout_nows(catch_up(core, B, NOW)) == []  # b has it all, but our own disk has not: one of three
    assert len(timeout_nows(core.step(ev.Durable(core.log.last_index, core.term), NOW))) == 1
