"""Which servers get a vote: those that have been healthy for the stabilization time.

At once, and not only when their number becomes odd: a rolling update adds a server, waits, and takes an old one
away. To wait with the vote would leave fewer voters in between, and removing servers is what needs the care."""

from __future__ import annotations

from collections.abc import Sequence

from services.rpc_core.leader.autopilot.health import Judgement
from services.rpc_core.leader.raft_server import RaftServer
from shared.structs.operator import AutopilotConfig


def promotable(
    configured: Sequence[RaftServer], judgement: Judgement, config: AutopilotConfig, now: float
) -> list[RaftServer]:
    """Servers without a vote that have earned one, in the order of the configuration. now: as in the judgement."""
    return [server for server in configured if not server.voter and _is_stable(server, judgement, config, now)]


def _is_stable(server: RaftServer, judgement: Judgement, config: AutopilotConfig, now: float) -> bool:
    health, since = judgement.of(server.server_id), judgement.stable_since.get(server.server_id)
    if health is None or not health.healthy or since is None:
        return False
    return now - since >= config.server_stabilization_time / 1e9
