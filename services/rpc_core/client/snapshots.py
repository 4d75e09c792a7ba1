"""Snapshots for users on a client agent: the archive goes between a file of the gateway's spool and a server."""

from __future__ import annotations

from typing import Any

from services.rpc_core.agent_core import AgentCore
from services.rpc_core.client.manager import ServerManager
from services.rpc_core.errors import NoServersError, RateExceededError, RpcError
from shared import metrics
from shared.ipc import RemoteError, Request, Server


class ClientSnapshots:
    """One per process."""

    def __init__(self, core: AgentCore, manager: ServerManager) -> None:
        self._core, self._manager = core, manager

    def serve(self, server: Server) -> None:
        server.slow("Agent.Snapshot", self._ask)

    async def _ask(self, request: Request) -> dict[str, Any]:
        """Payload: a SnapshotRequest in wire form and `path`, that of the archive. The reply is a QueryMeta.

        Asked once: half an archive cannot be taken back."""
        from services.rpc_core.snapshot_port import ask_server
        from services.rpc_core.snapshots import SnapshotRequest

        server = self._manager.find()
        try:
            if server is None:
                raise NoServersError
            if not self._core.allow_call():
                metrics.incr("consul.client.rpc.exceeded")
                raise RateExceededError
            args, path = SnapshotRequest.from_wire(request.payload), request.payload["path"]
            try:
                return (await ask_server(self._core.servers.dial, server.address, args, path)).to_wire()
            except RpcError:
                self._manager.turn_away(server)
                raise
        except RpcError as error:
            raise RemoteError(error.code, str(error)) from None
