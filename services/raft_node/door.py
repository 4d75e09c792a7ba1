"""Door: what the gateways of other agents ask of this server's consensus, without its rpc_core in between.

They come over the server port, by a first byte of their own, and speak `shared.ipc.remote`:

    Raft.Apply       FSM command (shared.structs.encoded_commands) -> [index, result]
    Raft.ReadIndex   [id, term]: a server that is no leader, and the term in which it was after the read had come ->
                     index; this server led then, and a state with everything up to index is current
    Raft.LeaseIndex  -> index; the same on the word of this leader's lease
    Raft.Term        -> [id, term] of this server, now

Failures are those of `methods`; `bad_request` and `unknown_method` say that nothing was done."""

from __future__ import annotations

import contextlib
import resource
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from services.raft_node.core.state import NOT_LEADER
from shared import metrics
from shared.config.runtime import RuntimeConfig
from shared.ipc.remote import RemoteConnection
from shared.ipc.serving import Handlers, Request
from shared.log import get_logger
from shared.structs.encoded_commands import checked
from shared.structs.errors import RefusedError

if TYPE_CHECKING:
    from services.raft_node.shell import RaftNode

_log = get_logger("agent.server.raft")

CONNECTIONS_MAX: Final = 2048
"""Or half of the descriptors that the process may have, if these are fewer: the log and others need some."""
DRAIN_S: Final = 0.5
"""How long calls may still take when this server is stopped. A write takes some milliseconds."""
_READS_MAX: Final = 4096
"""That wait for a round of heartbeats."""
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))


class Door:
    """One per process."""

    def __init__(self, node: RaftNode, config: RuntimeConfig) -> None:
        self._node, self._datacenter = node, config.datacenter
        self.configure(config)
        self._handlers = Handlers("raft_node", node.batch_end)
        self._handlers.fast["Raft.Apply"] = self._apply
        self._handlers.fast["Raft.ReadIndex"] = self._read_index
        self._handlers.fast["Raft.LeaseIndex"] = self._lease_index
        self._handlers.fast["Raft.Term"] = self._term
        self._connections: dict[RemoteConnection, str] = {}
        self._connections_max = min(CONNECTIONS_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._reads = 0
        self._leaving = False

    def configure(self, config: RuntimeConfig) -> None:
        """Take over a reloaded limit, for connections that come from now on."""
        self.connections_per_client = config.limits.rpc_max_conns_per_client

    async def serve(self, sock: socket.socket, source: str) -> None:
        """Serves one connection until it ends."""
        host = source.rpartition(":")[0]
        of_host = sum(1 for other in self._connections.values() if other == host)
        if (
            self._leaving
            or len(self._connections) >= self._connections_max
            or 0 < self.connections_per_client <= of_host
        ):
            _log.debug("closing a connection of a gateway: too many, or the server is being stopped", source=source)
            sock.close()
            return
        with contextlib.suppress(OSError):  # it may have ended already, as reading will show
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        connection = RemoteConnection(self._handlers, sock, source)
        self._connections[connection] = host
        try:
            await connection.serve()
        except Exception as error:  # a bug met on one connection must not end the others, and consensus with them
            _log.error("connection of a gateway failed", source=source, error=repr(error))
        finally:
            del self._connections[connection]

    async def drain(self) -> None:
        """Before an end: all are sent elsewhere with their next calls, and get the answers that come soon. Without them
        the callers could not know what became of their writes."""
        self._leaving = True
        for connection in self._connections:
            connection.say_leaving()
        with trio.move_on_after(DRAIN_S):
            while any(one.unanswered for one in self._connections):  # noqa: ASYNC110  once per process life
                await trio.sleep(0.01)
            await trio.lowlevel.checkpoint()  # the last answers leave at the end of this turn

    # ---- calls -------------------------------------------------------------------------------------------------

    def _apply(self, request: Any) -> None:
        try:
            command, metric = checked(request.payload, self._datacenter)
        except RefusedError as error:
            request.fail("bad_request", str(error))
            return
        metrics.incr("consul.rpc.request")
        request.on_answer = partial(_sample, metric, trio.current_time())
        request.payload = command
        self._node.methods.apply(request)

    def _read_index(self, request: Any) -> None:
        payload = request.payload
        sound = type(payload) is list and len(payload) == 2 and type(payload[0]) is str and type(payload[1]) is int
        if not sound:
            request.fail("bad_request", "the id and the term of a server are needed")
        elif self._reads >= _READS_MAX:
            request.fail("unavailable", "too many reads wait for a round of heartbeats")
        else:
            self._reads += 1
            request.on_answer = self._read_ends
            self._node.methods.read_index(request, *payload)

    def _read_ends(self) -> None:
        self._reads -= 1

    def _lease_index(self, request: Request) -> None:
        replica = self._node.replica
        core, applied = replica.core, replica.applied_index
        if core.lease_end > trio.current_time() and core.all_acknowledged_is_applied(applied):
            request.reply(applied)
        else:
            self._node.methods.refused(request, NOT_LEADER)

    def _term(self, request: Request) -> None:
        core = self._node.replica.core
        request.reply([core.state.settings.node_id, core.term])


def _sample(metric: str, started: float) -> None:
    metrics.sample(metric, (trio.current_time() - started) * 1000)
