"""What a server says and does where servers and clients differ: `consul info`, leaving, network segments."""

from __future__ import annotations

from services.rpc_core.core import Core
from services.rpc_core.leave import leave
from shared.ipc import RemoteError
from shared.state.leadership import LEADER

CALL_TIMEOUT_S = 10.0


class ServerDelegate:
    """For AgentMethods."""

    no_wan = "WAN Federation is disabled"

    def __init__(self, core: Core) -> None:
        self._core = core

    def check_segment(self, segment: str) -> None:
        if segment:
            raise RemoteError("rpc", "Network segments are not supported in this version of Consul")

    async def leave(self) -> None:
        await leave(self._core)

    async def stats(self) -> dict[str, dict[str, str]]:
        core = self._core
        config, leadership = core.config, core.router.leadership()
        raft: dict[str, str] = await core.raft.call("Raft.Stats", timeout_s=CALL_TIMEOUT_S, retry_safe=True)
        return {
            "consul": {
                "acl": "enabled" if config.acl.enabled else "disabled",
                "bootstrap": "true" if config.bootstrap else "false",
                "known_datacenters": str(len(core.pools.datacenters())),
                "leader": "true" if leadership.role == LEADER else "false",
                "leader_addr": leadership.leader_address,
                "server": "true",
            },
            "raft": raft,
        }
