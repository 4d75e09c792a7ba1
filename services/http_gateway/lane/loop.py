"""Lane: the one task that owns all client sockets. It waits on an inner epoll and drains what is ready.

A turn has three steps. First bytes are read from every socket that has some, once per socket. Then the state is
looked at and requests are worked on: so an answer is never older than its question. Last, what was written for
neighbours and clients is sent, one system call per destination. Work per socket and turn is bounded, and so is
what is kept for a client that does not read.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import trio

from services.http_gateway.lane.connection import Connection, ConnectionLimits
from services.http_gateway.lane.head import HeadParser
from services.http_gateway.lane.patience import Patience
from services.http_gateway.lane.shedding import largest
from services.http_gateway.lane.wheel import TimerWheel
from services.http_gateway.message import Request
from shared import metrics
from shared.ipc.flusher import Flusher
from shared.log import get_logger

_log = get_logger("agent.http")

_READ_BYTES = 64 * 1024
_EVENTS_PER_TURN = 512
_ACCEPTS_PER_TURN = 64
_TURNS_BEFORE_OTHERS = 8
_TURN_S = 0.02
"""Work of a turn after which the requests that are left wait for later ones, one by one: whoever comes meanwhile
with a small question must not wait for all large ones before it."""
_FEW = 2
"""Connections with requests in one turn up to which it pays to wait a moment for the next ones."""
_ALL_KNOWN = 64
"""Connections up to which it is looked whether one of them is busy."""
_UNREAD_GRACE_S = 2.0
_LINGER_S, _LINGER_BYTES_MAX = 2.0, 1 << 20
_WRITE_TIMEOUT_S = 60.0
_TICK_S = 1.0
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_GONE = select.EPOLLHUP | select.EPOLLERR


class Work(Protocol):
    """What the lane calls; all of it without waiting."""

    def dispatch(self, request: Request) -> None:
        """A complete request; answered through its channel, now or later."""

    def answer_known(self, head: bytes) -> bytes | None:
        """The answer to a request that consists of these bytes, None if it has to be dispatched."""

    def begin_batch(self) -> None:
        """All bytes of a turn are read, requests follow."""

    def end_batch(self) -> None:
        """No more requests in this turn."""


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """Connections per client address (as Consul's http_max_conns_per_client; any number if it is not above 0) and
    altogether; bytes of unsent output at which a connection is not read any more; input, and output that is not
    taken, kept for all connections together."""

    connections_per_client: int = 200
    connections: int = 16_384
    unsent_bytes: int = 1 << 20
    buffered_bytes: int = 64 << 20
    unread_bytes: int = 128 << 20


class _Client:
    """A socket and its protocol state. `client` is the address that per-client limits count, "" for none."""

    __slots__ = (
        "client",
        "dirty",
        "discarded",
        "fd",
        "is_late",
        "mask",
        "on_sent",
        "protocol",
        "sock",
        "stuck_until",
        "unsent",
    )

    def __init__(self, sock: socket.socket, client: str) -> None:
        self.sock, self.fd, self.client = sock, sock.fileno(), client
        self.protocol: Connection
        self.unsent = b""
        self.mask = select.EPOLLIN
        self.dirty = False
        self.is_late = False
        self.on_sent: trio.Event | None = None
        self.stuck_until = 0.0
        self.discarded = -1
        """Bytes thrown away while lingering before the close; -1 while the connection is in use."""

    @property
    def deadline(self) -> float:
        return self.stuck_until or self.protocol.deadline


class Lane:
    """Serves listening sockets that were opened by someone else; closes them at the end."""

    def __init__(self, work: Work, *, limits: LaneLimits, connection_limits: ConnectionLimits) -> None:
        self._work, self._limits, self._connection_limits = work, limits, connection_limits
        self._parser = HeadParser()
        self._listeners: dict[int, socket.socket] = {}
        self._clients: dict[int, _Client] = {}
        self._by_protocol: dict[Connection, _Client] = {}
        self._per_client: dict[str, int] = {}
        self._dirty: list[_Client] = []
        self._again: list[_Client] = []
        self._late: dict[str, deque[tuple[_Client, bytes]]] = {}
        """What was read in earlier turns and not worked on, by the address of the client, whose turn comes first
        in front. Nothing more is read from these clients meanwhile."""
        self._in_turn = False
        self._all_answered = False
        """Whether the last turn had few requests, which all have their answers: their clients may ask on at once."""
        self._answered_outside = False
        """The same for the answers that left last outside of a turn, if no other client waits for anything."""
        self._patience_outside = Patience()
        self._awaits_flush = False
        self._accepting_after = 0.0
        self._epoll = select.epoll()
        self._clock: Callable[[], float] = trio.current_time
        self._wheel: TimerWheel[_Client] = TimerWheel(0.0)

    def listen(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._listeners[sock.fileno()] = sock
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    @property
    def connections(self) -> int:
        return len(self._clients)

    @property
    def busy(self) -> bool:
        """Whether anything is under way on any connection."""
        return any(client.unsent or not client.protocol.idle for client in self._clients.values())

    def stop_accepting(self) -> None:
        for fd, sock in self._listeners.items():
            self._epoll.unregister(fd)
            sock.close()
        self._listeners.clear()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._wheel = TimerWheel(self._clock())
        self._token = trio.lowlevel.current_trio_token()
        self._flusher = Flusher.current()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tick)
                task_status.started()
                await self._serve()
        finally:
            for client in list(self._clients.values()):
                self._drop(client)
            for sock in self._listeners.values():
                sock.close()
            self._epoll.close()

    async def _serve(self) -> None:
        fd = self._epoll.fileno()
        poll, flusher, patience = self._epoll.poll, self._flusher, Patience()
        while True:
            if self._again or self._late:
                await trio.lowlevel.checkpoint()
            elif not (self._all_answered and patience.finds(poll)):
                await trio.lowlevel.wait_readable(fd)
            self._all_answered = False
            flusher.begin()  # what the turns write for neighbours leaves together, as they are woken by each send
            try:
                for _ in range(_TURNS_BEFORE_OTHERS):
                    events = poll(0, _EVENTS_PER_TURN)
                    if not (events or self._again or self._late):
                        break
                    self._turn(events)
                    if self._late:
                        break
            finally:
                flusher.end()

    def _turn(self, events: list[tuple[int, int]]) -> None:
        now = self._clock()
        self._answered_outside = False
        arrived: list[tuple[_Client, bytes]] = []
        for fd, event in events:
            client = self._clients.get(fd)
            if client is None:
                if fd in self._listeners:
                    self._accept(self._listeners[fd], now)
                continue
            if event & select.EPOLLOUT:
                self._mark_client(client)
            if event & select.EPOLLIN:
                if client.is_late:
                    if event & _GONE:
                        self._drop(client)
                    continue
                try:
                    data = client.sock.recv(_READ_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    self._drop(client)
                    continue
                if client.discarded >= 0:
                    self._discard(client, data)
                else:
                    arrived.append((client, data))
            elif event & _GONE:
                self._drop(client)
        again, self._again = self._again, []
        self._in_turn = True
        self._flusher.begin()
        self._work.begin_batch()
        try:
            until = time.monotonic() + _TURN_S
            had_late = bool(self._late)
            for position, (client, data) in enumerate(arrived, 1):
                self._receive(client, data, now)
                if time.monotonic() > until:
                    self._postpone(arrived[position:])
                    break
            while had_late and self._late:
                self._receive_late(now)
                if time.monotonic() > until:
                    break
            for client in again:
                if client.fd >= 0 and self._advance(client, now):
                    self._mark_client(client)
            self._flush_clients(now)
            self._all_answered = 0 < len(arrived) <= _FEW and all(client.protocol.idle for client, _ in arrived)
        finally:
            self._work.end_batch()
            self._in_turn = False
            self._flusher.end()

    def _receive(self, client: _Client, data: bytes, now: float) -> None:
        try:
            if data:
                client.protocol.receive(data, now)
            else:
                client.protocol.receive_end(now)
        except Exception as error:  # a bug that one client meets must not cost the others theirs
            self._drop_broken(client, error)
        else:
            self._mark_client(client)

    def _postpone(self, arrived: list[tuple[_Client, bytes]]) -> None:
        for client, data in arrived:
            client.is_late = True
            self._late.setdefault(client.client, deque()).append((client, data))

    def _receive_late(self, now: float) -> None:
        """One of those that wait; addresses take turns, so that many connections of one do not count for more."""
        address = next(iter(self._late))
        waiting = self._late.pop(address)
        client, data = waiting.popleft()
        if waiting:
            self._late[address] = waiting
        client.is_late = False
        if client.fd >= 0:
            self._receive(client, data, now)

    # -- output ---------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what answers from neighbours have produced; for the end of their batch."""
        if self._dirty and not self._in_turn:
            few = len(self._dirty) <= _FEW and len(self._clients) <= _ALL_KNOWN
            self._in_turn = True
            self._work.begin_batch()
            try:
                self._flush_clients(self._clock())
            finally:
                self._work.end_batch()
                self._in_turn = False
            self._answered_outside = few and self._are_all_idle()
        self._awaits_flush = False
        self._see_to_the_rest()

    def _are_all_idle(self) -> bool:
        return bool(self._clients) and all(client.protocol.idle for client in self._clients.values())

    def _see_to_the_rest(self) -> None:
        """The serving task may be asleep."""
        if self._again or self._late:
            self._token.run_sync_soon(self._go_on, idempotent=True)

    def serve_on(self) -> None:
        """Await the next request of clients that a neighbour's answers have just been sent to; see Patience."""
        if self._answered_outside:
            self._answered_outside = False
            self._flusher.flush()  # nobody else is to wait for them
            if self._patience_outside.finds(self._epoll.poll):
                self._turn(self._epoll.poll(0, _EVENTS_PER_TURN))
                self._see_to_the_rest()

    def _go_on(self) -> None:
        if self._again or self._late:
            self._turn([])
        self._see_to_the_rest()

    def _wake(self, protocol: Connection) -> None:
        client = self._by_protocol.get(protocol)
        if client is not None:
            self._mark_client(client)

    def _mark_client(self, client: _Client) -> None:
        if client.dirty:
            return
        client.dirty = True
        self._dirty.append(client)
        if not (self._in_turn or self._awaits_flush):
            self._awaits_flush = True
            self._flusher.mark(self)

    def _flush_clients(self, now: float) -> None:
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for client in dirty:
                client.dirty = False
                if client.fd < 0 or client.discarded >= 0:
                    continue
                protocol = client.protocol
                was_behind = bool(client.unsent)
                held_back = protocol.blocked and not (protocol.unfinished or was_behind)
                if held_back and not self._advance(client, now):
                    continue
                self._send(client, now)
                if client.unsent or client.fd < 0:
                    continue
                if protocol.unfinished or (was_behind and protocol.blocked):
                    self._again.append(client)

    def _advance(self, client: _Client, now: float) -> bool:
        """Let the connection go on with what it held back; whether it is still there."""
        try:
            client.protocol.advance(now)
        except Exception as error:  # as for bytes that arrive
            self._drop_broken(client, error)
        return client.fd >= 0

    def _drop_broken(self, client: _Client, error: Exception) -> None:
        _log.error("Closing a connection that met a bug", remote=client.protocol.remote, error=repr(error))
        metrics.incr("consul.http.connections.broken")
        self._drop(client)

    def _send(self, client: _Client, now: float) -> None:
        protocol = client.protocol
        output = protocol.output
        if output:
            data = output[0] if len(output) == 1 and not client.unsent else b"".join((client.unsent, *output))
            output.clear()
        else:
            data = client.unsent
        if data:
            try:
                sent = client.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._drop(client)
                return
            if sent < len(data):
                if sent or not client.stuck_until:
                    client.stuck_until = now + _WRITE_TIMEOUT_S
                client.unsent = data[sent:]
            else:
                client.unsent = b""
                client.stuck_until = 0.0
        if not client.unsent:
            if client.on_sent is not None:
                client.on_sent.set()
                client.on_sent = None
            if protocol.closing:
                self._close_gently(client, now)
                return
            reading = protocol.settle(now)
        else:
            reading = protocol.wants_data and len(client.unsent) < self._limits.unsent_bytes
        mask = (select.EPOLLIN if reading else 0) | (select.EPOLLOUT if client.unsent else 0)
        if mask != client.mask:
            client.mask = mask
            self._epoll.modify(client.fd, mask)

    def unsent_bytes(self, protocol: Connection) -> int:
        """What a client has not taken yet: streams wait while this is large."""
        client = self._by_protocol.get(protocol)
        return len(client.unsent) + sum(map(len, protocol.output)) if client is not None else 0

    async def wait_sent(self, protocol: Connection) -> None:
        """Until the client has taken all that was sent to it so far, or has gone."""
        client = self._by_protocol.get(protocol)
        if client is None:
            await trio.lowlevel.checkpoint()
            return
        if client.on_sent is None:
            client.on_sent = trio.Event()
        await client.on_sent.wait()

    # -- connections ----------------------------------------------------------------------------

    def _accept(self, listener: socket.socket, now: float) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    _log.error("Cannot accept connections", error=error.strerror, connections=len(self._clients))
                    self._epoll.modify(listener.fileno(), 0)
                    self._accepting_after = now + _TICK_S
                    return
                continue  # the client has gone already
            self._admit(sock, address, now)

    def take_place(self, client_address: str) -> bool:
        """Count a connection that somebody else serves; False (and not counted) if the client has its share already."""
        count = self._per_client.get(client_address, 0)
        if 0 < self._limits.connections_per_client <= count:
            metrics.incr("consul.http.connections.refused")
            return False
        self._per_client[client_address] = count + 1
        return True

    def give_place_back(self, client_address: str) -> None:
        """Such a connection has ended."""
        count = self._per_client[client_address] - 1
        if count:
            self._per_client[client_address] = count
        else:
            del self._per_client[client_address]

    def limit_clients(self, connections_per_client: int) -> None:
        """A new limit, for connections from now on."""
        self._limits = replace(self._limits, connections_per_client=connections_per_client)

    def _admit(self, sock: socket.socket, address: object, now: float) -> None:
        remote, client_address = "@", ""
        if isinstance(address, tuple):
            client_address = str(address[0])
            shown = f"[{client_address}]" if ":" in client_address else client_address
            remote = f"{shown}:{address[1]}"
        count = self._per_client.get(client_address, 0)
        per_client = self._limits.connections_per_client
        if client_address and 0 < per_client <= count:
            metrics.incr("consul.http.connections.refused")
            sock.close()
            return
        sock.setblocking(False)
        if len(self._clients) >= self._limits.connections:
            metrics.incr("consul.http.connections.refused")
            with contextlib.suppress(OSError):
                sock.send(_BUSY)
            sock.close()
            return
        if client_address:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._per_client[client_address] = count + 1
        client = _Client(sock, client_address)
        client.protocol = Connection(
            remote,
            self._connection_limits,
            self._parser,
            self._work.dispatch,
            self._wake,
            now,
            self._work.answer_known,
        )
        self._clients[client.fd] = client
        self._by_protocol[client.protocol] = client
        self._epoll.register(client.fd, client.mask)
        self._wheel.add(client, now)

    def _close_gently(self, client: _Client, now: float) -> None:
        """Close when the answer has left. If the client may still be sending, read on for a moment: a close
        with unread bytes resets the connection and may destroy the answer on its way."""
        if not client.protocol.linger or client.protocol.ended:
            self._drop(client)
            return
        try:
            client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(client)
            return
        client.discarded = 0
        client.stuck_until = now + _LINGER_S
        self._wheel.sooner(client, now)
        if client.mask != select.EPOLLIN:
            client.mask = select.EPOLLIN
            self._epoll.modify(client.fd, client.mask)

    def _discard(self, client: _Client, data: bytes) -> None:
        client.discarded += len(data)
        if not data or client.discarded > _LINGER_BYTES_MAX:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        if client.fd < 0:
            return
        self._epoll.unregister(client.fd)
        del self._clients[client.fd]
        del self._by_protocol[client.protocol]
        self._wheel.discard(client)
        if client.client:
            self.give_place_back(client.client)
        client.fd = -1
        if client.on_sent is not None:
            client.on_sent.set()
        client.unsent = b""
        client.sock.close()
        client.protocol.lost()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(_TICK_S)
            now = self._clock()
            for client in self._wheel.due(now):
                self._drop(client)
            if self._accepting_after and now >= self._accepting_after:
                self._accepting_after = 0.0
                for fd in self._listeners:
                    self._epoll.modify(fd, select.EPOLLIN)
            self._shed(now)
            metrics.gauge("consul.http.connections", len(self._clients))

    def _shed(self, now: float) -> None:
        """Too much altogether: let go of those that hold most of it, half-received input or output they have not
        taken any of for a while."""
        clients = self._clients.values()
        received = [(client.protocol.buffered_bytes, client) for client in clients]
        unread = [(len(client.unsent), client) for client in clients if client.unsent]
        received_bytes, unread_bytes = sum(size for size, _ in received), sum(size for size, _ in unread)
        metrics.gauge("consul.http.buffered_bytes", received_bytes)
        metrics.gauge("consul.http.unread_bytes", unread_bytes)
        since = now + _WRITE_TIMEOUT_S - _UNREAD_GRACE_S
        stuck = [(size, client) for size, client in unread if client.stuck_until < since]
        gone = largest(received, received_bytes - self._limits.buffered_bytes)
        gone += largest(stuck, unread_bytes - self._limits.unread_bytes)
        for client in gone:
            metrics.incr("consul.http.connections.shed")
            self._drop(client)
