"""The RPC port (8300): accepts, reads the first byte and hands the connection to what that byte announces."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Awaitable, Callable

import trio

from services.rpc_core.connection import Answer, AnswerNow, BeginWrite, MultiplexedConnection, serve_plain
from services.rpc_core.limits import ConnectionCounter
from shared import metrics
from shared.config.runtime import split_host_port
from shared.log import get_logger
from shared.wire.demux import ConnectionKind, classify

_log = get_logger("agent.server.rpc")

BACKLOG = 1024
DRAIN_S = 0.5
"""A write takes some milliseconds where there is a leader; where there is none, nobody waits for one."""
TLS_RECORD_HANDSHAKE = 0x16
TLS_ALERT_INTERNAL_ERROR = b"\x15\x03\x01\x00\x02\x02\x50"
"""What a TLS server without a certificate has to say: a fatal alert, "internal error"."""

Handoff = Callable[[int, str, ConnectionKind], bool]
"""Takes the descriptor of a connection to raft_node, its source and its kind; False if nobody is there to take it."""
ServeSnapshot = Callable[[trio.SocketStream], Awaitable[None]]

_BIND_ADVICE = {
    errno.EADDRINUSE: " (another program has this port: stop it, or choose another with -server-port)",
    errno.EADDRNOTAVAIL: " (the address belongs to no interface of this host: choose another one with -bind)",
    errno.EACCES: " (ports below 1024 need privileges: choose another with -server-port)",
}


class RpcListener:
    """Listens on one address. `run` serves until cancelled."""

    def __init__(
        self,
        address: str,
        *,
        handshake_timeout_s: float,
        connections_per_client_max: int,
        answer: Answer,
        answer_now: AnswerNow | None = None,
        begin_write: BeginWrite | None = None,
        handoff: Handoff,
        serve_snapshot: ServeSnapshot,
    ) -> None:
        """address: "ip:port". handshake_timeout_s: for the first byte, zero and below waits for ever."""
        self.address = address
        self._handshake_timeout_s = handshake_timeout_s
        self._counter = ConnectionCounter(connections_per_client_max)
        self._answer = answer
        self._answer_now, self._begin_write = answer_now, begin_write
        self._handoff = handoff
        self._serve_snapshot = serve_snapshot
        self._accepting: trio.CancelScope | None = None
        self._multiplexed: set[MultiplexedConnection] = set()

    def configure(self, *, handshake_timeout_s: float, connections_per_client_max: int) -> None:
        """New limits, for connections accepted from now on."""
        self._handshake_timeout_s = handshake_timeout_s
        self._counter.limit = connections_per_client_max

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Raises OSError with the address in its text if it cannot listen."""
        listener = self._bind()
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as self._accepting:
                task_status.started()
                try:
                    await self._accept(listener, nursery)
                finally:
                    listener.close()

    async def drain(self) -> None:
        """Before an end: nobody else is let in, all are sent elsewhere with their next calls, and writes that are under
        way get their answers, if these come soon. Without them their callers could not know what became of them."""
        if self._accepting is not None:
            self._accepting.cancel()
        for connection in self._multiplexed:
            connection.go_away()
        with trio.move_on_after(DRAIN_S):
            while any(one.writes for one in self._multiplexed):  # noqa: ASYNC110  once per process life
                await trio.sleep(0.01)
            await trio.lowlevel.checkpoint()  # the last answers leave at the end of this turn

    async def _accept(self, listener: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        while True:
            try:
                sock, peer = await listener.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    _log.error("failed to accept RPC conn", error=error.strerror)
                    await trio.sleep(0.1)
                continue
            self._admit(sock, peer[0], peer[1], nursery)

    def _bind(self) -> trio.socket.SocketType:
        host, port = split_host_port(self.address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and ipaddress.ip_address(host).is_unspecified:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind((host, port))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            reason = (error.strerror or str(error)).lower()
            raise OSError(
                error.errno,
                "Failed to start Consul server: Failed to start RPC layer: "
                f"listen tcp {self.address}: bind: {reason}{_BIND_ADVICE.get(error.errno or 0, '')}",
            ) from None
        sock.setblocking(False)
        return trio.socket.from_stdlib_socket(sock)

    def _admit(self, sock: trio.socket.SocketType, host: str, port: int, nursery: trio.Nursery) -> None:
        source = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if not self._counter.acquire(host):
            _log.error("rejecting RPC conn from because rpc_max_conns_per_client exceeded", conn=f"from={source}")
            sock.close()
            return
        metrics.incr("consul.rpc.accept_conn")
        nursery.start_soon(self._serve, sock, host, source)

    async def _serve(self, sock: trio.socket.SocketType, host: str, source: str) -> None:
        try:
            first = await self._first_byte(sock, source)
            if first is not None:
                await self._dispatch(sock, first, source)
        except OSError as error:
            _log.debug("RPC connection lost", conn=f"from={source}", error=error.strerror or str(error))
        except Exception as error:  # a bug met by one caller must not end the others' connections
            _log.error("RPC connection failed", conn=f"from={source}", error=repr(error))
        finally:
            sock.close()
            self._counter.release(host)

    async def _first_byte(self, sock: trio.socket.SocketType, source: str) -> int | None:
        """The type byte; nothing behind it is read, what follows may be meant for another process."""
        with trio.move_on_after(self._handshake_timeout_s or float("inf")):
            try:
                data = await sock.recv(1)
            except OSError as error:
                _log.error("failed to read byte", conn=f"from={source}", error=error.strerror or str(error))
                return None
            return data[0] if data else None
        _log.error("failed to read byte", conn=f"from={source}", error="i/o timeout")
        return None

    async def _dispatch(self, sock: trio.socket.SocketType, first: int, source: str) -> None:
        match classify(first):
            case ConnectionKind.RPC:
                await serve_plain(trio.SocketStream(sock), self._answer, source)
            case ConnectionKind.MULTIPLEX:
                connection = MultiplexedConnection(
                    trio.SocketStream(sock), self._answer, source, self._answer_now, self._begin_write
                )
                self._multiplexed.add(connection)
                try:
                    await connection.run()
                finally:
                    self._multiplexed.discard(connection)
            case ConnectionKind.RAFT | ConnectionKind.DOOR as kind:
                if kind == ConnectionKind.RAFT:
                    metrics.incr("consul.rpc.raft_handoff")
                if not self._handoff(sock.fileno(), source, kind):
                    _log.warn("closing Raft connection: raft_node is not there", conn=f"from={source}")
            case ConnectionKind.SNAPSHOT:
                await self._serve_snapshot(trio.SocketStream(sock))
            case ConnectionKind.TLS | ConnectionKind.TLS_INSECURE:
                await self._refuse_tls(sock, source)
            case None:
                _log.error("unrecognized RPC byte", byte=first, conn=f"from={source}")

    async def _refuse_tls(self, sock: trio.socket.SocketType, source: str) -> None:
        """Without a certificate there is no handshake: wait for its first record, answer with an alert."""
        with trio.move_on_after(self._handshake_timeout_s or float("inf")) as scope:
            record = await sock.recv(1 << 14)
            if not record:
                return
            if record[0] == TLS_RECORD_HANDSHAKE:
                error = "tls: no certificates configured"
                await sock.send(TLS_ALERT_INTERNAL_ERROR)
            else:
                error = "tls: first record does not look like a TLS handshake"
            _log.error("failed to read byte", conn=f"from={source}", error=error)
        if scope.cancelled_caught:
            _log.error("failed to read byte", conn=f"from={source}", error="i/o timeout")
