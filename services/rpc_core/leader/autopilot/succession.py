"""Which server may lead next when the leader hands its office over to anybody.

Raft itself knows who has most of the log, but may hold a server for the furthest that has just died."""

from __future__ import annotations

from services.rpc_core.leader.autopilot.health import Judgement


def successor(judgement: Judgement) -> str:
    """Id of the healthy voter that has most of the log, the leader excepted; "" if there is none."""
    able = [one for one in judgement.reply.servers or () if one.healthy and one.voter and not one.leader]
    best = max(able, key=lambda one: one.last_index, default=None)
    return best.id if best is not None else ""
