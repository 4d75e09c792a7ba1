"""One core at a time: servers a, b and c, of which a is the one under test, and short ways to ask it."""

from __future__ import annotations

import random
from typing import Any

from services.raft_node.core import RaftCore, bootstrap_entry
from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.types import (
    COMMAND,
    LEADER,
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
    """Runs an election that b votes in, and as many more as are needed."""
    votes = [send for send in of(ev.Send, core.step(ev.Tick(), now)) if isinstance(send.request, msg.RequestVote)]
    effects: list[ev.Effect] = []
    for vote in sorted(votes, key=lambda vote: vote.server.id):
        if core.role != LEADER:
            effects = core.step(
                ev.RpcReply(vote.request_id, vote.server.id, msg.RequestVoteReply(core.term, True)), now
            )
    assert core.role == LEADER
    return effects


def sends(effects: list[ev.Effect], server: Server, *, heartbeat: bool = False) -> list[Any]:
    return [send for send in of(ev.Send, effects) if send.server == server and send.heartbeat is heartbeat]


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


def vote(term: int, last: tuple[int, int] = (9, 9), candidate: str = C.address, transfer: bool = False) -> Any:
    return msg.RequestVote(term, candidate, last[0], last[1], transfer)


def granted(effects: list[ev.Effect]) -> bool:
    return bool(of(ev.Answer, effects)[0].reply.granted)


LATER = 0.9
"""A moment at which a server that has just started is free to vote."""


def install(index: int, term: int = 3) -> msg.InstallSnapshot:
    return msg.InstallSnapshot(term, B.address, index, 2, THREE, 1, 100)
