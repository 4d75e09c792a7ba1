"""LeaderLine: a follower's writes, and its questions how far the leader is, at the door of the leader's raft_node."""

from __future__ import annotations

from collections.abc import Callable

from services.http_gateway.server_line import LineCall, ServerLine
from shared.ipc.link import Link
from shared.server_rpc.errors import ServerCallError
from shared.state.leadership import LEADER, Leadership


class LeaderLine(ServerLine):
    """leadership: what the leadership page says now."""

    def __init__(
        self, raft: Link, leadership: Callable[[], Leadership], bind_host: str, after_batch: Callable[[], None]
    ) -> None:
        super().__init__(bind_host, after_batch, doors=True)
        self._leadership = leadership
        raft.subscribe("leadership", lambda _: self._changed())
        raft.on_up(self._changed)

    def server(self) -> str:
        """The page of a follower names its leader among the peers if that has a door: Consul's have none."""
        now = self._leadership()
        return "" if now.role == LEADER else next(iter(now.peer_addresses().values()), "")

    def may_try_again(self, call: LineCall, error: ServerCallError) -> bool:
        """As of rpc_core's forwarding, which holds calls from their first failure on. Questions are answered with the
        codes of rpc_core, which decide what becomes of their readers."""
        return error.retry_always or call.repeatable

    def _changed(self) -> None:
        """A leader of before may hang, with the connection to it alive."""
        self._pool.leader_is(self.server())
