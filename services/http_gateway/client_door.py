"""ClientDoor: a client's writes go to the door of the leader's raft_node.

The server that rpc_core names is asked first; one that does not lead says who does. Consul's servers have no doors, nor
has a leader of theirs among servers of ours: then writes take the client's line, or rpc_core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from services.http_gateway.client_line import ClientLine
from services.http_gateway.server_line import LineCall, ServerLine
from shared.server_rpc.errors import ConnectionEndedError, NotTakenError, ServerCallError

PAUSE_S: Final = 1.0
"""After a server that does not lead, and knows no leader with a door that can be reached."""


class ClientDoor(ServerLine):
    """line: the client's other one, which knows the server that rpc_core names."""

    def __init__(self, line: ClientLine, bind_host: str, after_batch: Callable[[], None]) -> None:
        super().__init__(bind_host, after_batch, doors=True)
        self._line = line
        self._named = self._leader = ""
        """The server that was named last, and the leader that it has named, "" for itself."""
        self._quiet_until = 0.0

    def server(self) -> str:
        named = self._line.server()
        if not self._line.knows_many_reads:
            self._line.look_closer()
            named = ""
        if named != self._named:
            self._named, self._leader, self._quiet_until = named, "", 0.0
        elif self._quiet_until and trio.current_time() < self._quiet_until:
            return ""
        return self._leader or named

    def may_try_again(self, call: LineCall, error: ServerCallError) -> bool:
        return error.retry_always

    def on_failure(self, call: LineCall, error: ServerCallError) -> None:
        if isinstance(error, NotTakenError):
            self._leader = error.leader if error.leader != call.address else ""
            if not self._leader:
                self._quiet_until = trio.current_time() + PAUSE_S
        elif call.address == self._named:
            self._line.on_failure(call, error)
        elif call.address == self._leader and isinstance(error, ConnectionEndedError):
            self._leader = ""

    def on_silence(self, address: str) -> None:
        if address == self._named:
            self._line.on_silence(address)
        elif address == self._leader:
            self._leader = ""

    def on_unreachable(self, address: str) -> None:
        if address == self._leader:
            self._leader = ""
            self._quiet_until = trio.current_time() + PAUSE_S  # the named server would send us there again
