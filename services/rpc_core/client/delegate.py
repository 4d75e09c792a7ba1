"""What a client says and does where servers and clients differ: `consul info`, leaving, network segments."""

from __future__ import annotations

from services.rpc_core.agent_core import AgentCore
from services.rpc_core.client.server_list import ServerList
from services.rpc_core.pool import LAN
from shared.gotext.quoting import quote
from shared.ipc import IpcError, RemoteError
from shared.log import get_logger

_log = get_logger("agent.client")

LEAVE_TIMEOUT_S = 20.0
"""The leave message is spread first."""


class ClientDelegate:
    """For AgentMethods."""

    no_wan = "Must be a server to join WAN cluster"

    def __init__(self, core: AgentCore, servers: ServerList) -> None:
        self._core, self._servers = core, servers

    def check_segment(self, segment: str) -> None:
        if segment != self._core.config.segment:
            raise RemoteError("rpc", f"segment {quote(segment)} not found")

    async def leave(self) -> None:
        """Failures are logged only, as in Consul."""
        _log.info("client starting leave")
        try:
            await self._core.gossip.call("Gossip.Leave", {"pool": LAN}, timeout_s=LEAVE_TIMEOUT_S)
        except IpcError as error:
            _log.error("Failed to leave LAN Serf cluster", error=str(error))

    async def stats(self) -> dict[str, dict[str, str]]:
        return {
            "consul": {
                "acl": "enabled" if self._core.config.acl.enabled else "disabled",
                "known_servers": str(len(self._servers)),
                "server": "false",
            }
        }
