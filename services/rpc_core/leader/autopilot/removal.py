"""Which dead servers have to go, and whether so many may.

Dead are servers that Serf holds for failed, and those in the Raft configuration that Serf does not know at all.
They are taken out together or not at all, and only a minority of the voters: a leader that is cut off from most
servers must not declare the rest the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.rpc_core.leader.raft_server import RaftServer
from services.rpc_core.members import Member, MemberStatus, server_of


@dataclass(frozen=True, slots=True)
class Removal:
    """forced_out: failed servers that gossip has to be told to forget; stale: servers to take out of the Raft
    configuration; refusal: why dead voters stay, "" if there is no such reason."""

    forced_out: Sequence[Member]
    stale: Sequence[RaftServer]
    refusal: str


def plan(configured: Sequence[RaftServer], members: Iterable[Member], min_quorum: int) -> Removal:
    """What to do about the dead. A failed server without a vote goes in any case."""
    stale = {server.address: server for server in configured}
    failed_voters: list[Member] = []
    failed_others: list[Member] = []
    for member in members:
        server = server_of(member)
        if server is None:
            continue
        found = stale.pop(server.address, None)
        if member.status == MemberStatus.FAILED:
            (failed_others if found is not None and not found.voter else failed_voters).append(member)
    dead = len(failed_voters) + len(stale)
    if dead == 0:
        return Removal(failed_others, (), "")
    refusal = _refusal(sum(server.voter for server in configured), dead, min_quorum)
    if refusal:
        return Removal(failed_others, (), refusal)
    return Removal([*failed_others, *failed_voters], list(stale.values()), "")


def _refusal(voters: int, dead: int, min_quorum: int) -> str:
    if voters - dead < min_quorum:
        return (
            f"denied, because removing {dead}/{voters} servers would leave less then minimal allowed quorum "
            f"of {min_quorum} servers"
        )
    if dead > (voters - 1) // 2:
        return f"denied, because removing the majority of servers {dead}/{voters} is not safe"
    return ""
