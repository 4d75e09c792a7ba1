"""LeaderLine: a follower's writes, and its questions how far the leader is, go straight to the leader."""

from __future__ import annotations

from collections.abc import Callable

from services.http_gateway.server_line import LineCall, ServerLine
from shared.ipc.link import Link
from shared.server_rpc.errors import UNKNOWN_THERE, ServerCallError
from shared.state.leadership import Leadership


class LeaderLine(ServerLine):
    """leadership: what the leadership page says now. own_address: RPC address of this server."""

    def __init__(
        self,
        raft: Link,
        leadership: Callable[[], Leadership],
        own_address: str,
        bind_host: str,
        after_batch: Callable[[], None],
    ) -> None:
        super().__init__(bind_host, after_batch)
        self._leadership, self._own_address = leadership, own_address
        raft.subscribe("leadership", lambda _: self._changed())
        raft.on_up(self._changed)

    def server(self) -> str:
        return self._leadership().leader_elsewhere(self._own_address)

    def may_try_again(self, call: LineCall, error: ServerCallError) -> bool:
        """As of rpc_core's forwarding, which holds calls from their first failure on. Questions are answered with the
        codes of rpc_core, which decide what becomes of their readers; a leader that knows none (Consul's) says so."""
        return error.retry_always or (call.repeatable and UNKNOWN_THERE not in str(error))

    def _changed(self) -> None:
        """A leader of before may hang, with the connection to it alive."""
        self._pool.leader_is(self.server())
