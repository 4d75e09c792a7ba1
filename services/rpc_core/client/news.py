"""News: which server to call, told to the processes of this agent that call it themselves (docs/decisions/029).

Agent.Server         -> [address, whether it knows shared.many_reads] of the server to ask; None: there is none
topic "server"       the same, whenever it changes
topic "server_gone"  [address]: nothing is to be expected from there any more
Agent.ServerFailed   (notification) [address, method, error]: a call failed there
Agent.ServerSilent   (notification) [address]: nothing comes from there any more"""

from __future__ import annotations

from typing import Any

from services.rpc_core.client.manager import ServerManager
from shared.ipc import Request, Server
from shared.server_rpc.errors import ServerCallError


class News:
    """Of one client."""

    def __init__(self, manager: ServerManager, server: Server) -> None:
        self._manager, self._publish = manager, server.publish
        self._told: Any = None
        manager.on_change = self._changed
        manager.on_gone = lambda address: self._publish("server_gone", [address])
        server.fast("Agent.Server", lambda request: request.reply(self._now()))
        server.fast("Agent.ServerFailed", self._failed)
        server.fast("Agent.ServerSilent", lambda request: manager.silent(request.payload[0]))

    def _now(self) -> Any:
        server = self._manager.servers.first()
        if server is None:
            return None
        return [server.address, self._manager.knows_many_reads.get(server.address, False)]

    def _changed(self) -> None:
        now = self._now()
        if now != self._told:
            self._told = now
            self._publish("server", now)

    def _failed(self, request: Request) -> None:
        address, method, error = request.payload
        for server in self._manager.servers.all():
            if server.address == address:
                self._manager.failed(server, method, ServerCallError(error))
                return
