"""Connections to other servers by address: made when the first call needs one, shared, closed when idle.

One dial goes on for all who want the same server, and to its end, however impatient they are: look-ups have less time
than a dial to a host that swallows packets, so that nobody would ever learn of it."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from shared.config.runtime import join_host_port, split_host_port
from shared.log import get_logger
from shared.server_rpc import hearing
from shared.server_rpc.connection import OnReply, ServerConnection
from shared.server_rpc.door import DoorConnection
from shared.server_rpc.errors import ConnectionEndedError, DialError, ServerCallError
from shared.wire import yamux

_log = get_logger("agent.server")

DIAL_TIMEOUT_S = 10.0
STOPPING = "the agent is being stopped"
IDLE_TIMEOUT_S = 120.0
REAP_INTERVAL_S = 1.0
_ANY_ADDRESS = ("0.0.0.0", "::", "")
AnyConnection = ServerConnection | DoorConnection


class _Dialing:
    """One attempt to connect, and those who wait for it."""

    __slots__ = ("_failure", "_given_up", "_over", "_since")

    def __init__(self) -> None:
        self._since = trio.current_time()
        self._over = trio.Event()
        self._given_up = ""
        self._failure: DialError | None = None

    async def wait(self) -> None:
        """Until it is over. Raises DialError, also if it is given up meanwhile."""
        over = self._over
        await over.wait()
        if over is not self._over:
            raise DialError(self._given_up)
        if self._failure is not None:
            raise self._failure

    def give_up(self, reason: str) -> None:
        """Nobody is to wait any longer. The dial goes on, for those who come later."""
        over, self._over, self._given_up = self._over, trio.Event(), reason
        over.set()

    def end(self, failure: DialError | None = None) -> None:
        self._failure = failure
        self._over.set()

    def is_silent(self, now: float) -> bool:
        return now - self._since >= hearing.PROBE_AFTER_S + hearing.PROBE_TIMEOUT_S


class ServerPool:
    """bind_host: the address calls come from, so that firewalls and limits by address know this agent.
    idle_timeout_s: how long a connection without calls is kept. after_batch: see ServerConnection. only_proven: `begin`
    uses only connections whose server has said something, and nobody waits for a dial. doors: connections are those to
    the doors of servers; then `body` is what msgpack can hold, and calls are begun by `begin` alone."""

    def __init__(
        self,
        bind_host: str,
        *,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        after_batch: Callable[[], None] | None = None,
        only_proven: bool = False,
        doors: bool = False,
    ) -> None:
        self._make: type[AnyConnection] = DoorConnection if doors else ServerConnection
        self._idle_timeout_s, self._after_batch, self._only_proven = idle_timeout_s, after_batch, only_proven
        self._bind_host = "" if bind_host in _ANY_ADDRESS else bind_host
        self._connections: dict[str, AnyConnection] = {}
        self.on_silent: Callable[[str], None] | None = None
        """Called with the address of a server that falls silent, and again and again while it stays so."""
        self._retired: list[tuple[str, AnyConnection]] = []
        """Those that take no more calls, and have been replaced."""
        self._dialing: dict[str, _Dialing] = {}
        self._nursery: trio.Nursery | None = None
        self._in_use = trio.Event()
        """There is a connection, or will be."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves calls until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                while True:
                    if not (self._connections or self._retired or self._dialing):
                        self._in_use = trio.Event()
                        await self._in_use.wait()
                    await trio.sleep(REAP_INTERVAL_S)
                    # Readers first: what came while this process had to wait for the CPU is no silence.
                    await trio.lowlevel.checkpoint()
                    self._reap()
                    if self.on_silent is not None:
                        self._listen(self.on_silent)
            finally:
                self._nursery = None

    def _reap(self) -> None:
        now = trio.current_time()
        for address, connection in list(self._connections.items()):
            if not connection.calls and now - connection.last_used >= self._idle_timeout_s:
                connection.close()
                del self._connections[address]
        for _, connection in self._retired:
            if not connection.calls:
                connection.close()
        self._retired = [one for one in self._retired if not one[1].closed]

    def _listen(self, on_silent: Callable[[str], None]) -> None:
        now = trio.current_time()
        for connection in self._connections.values():
            connection.listen(now)
        for address in [one for one in {*self._connections, *self._dialing} if self.is_silent(one)]:
            on_silent(address)

    # -- calls ---------------------------------------------------------------------------------------

    async def call(
        self, address: str, method: str, body: bytes, *, timeout_s: float = math.inf, repeatable: bool = False
    ) -> Any:
        """The body of the answer. body: the request in msgpack. repeatable: fail it when `leader_is` says that another
        server leads. Raises ServerCallError.

        Cancelled, it lets go of the stream; the other server may still perform the call."""
        done = trio.Event()
        outcome: list[tuple[Any, ServerCallError | None]] = []

        def on_reply(value: Any, error: ServerCallError | None) -> None:
            outcome.append((value, error))
            done.set()

        with trio.move_on_after(timeout_s):
            connection, stream_id = await self._begin(address, method, body, on_reply, repeatable)
            try:
                await done.wait()
            finally:
                if not outcome:
                    connection.abandon(stream_id)
        if not outcome:
            raise ConnectionEndedError("i/o timeout")
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    def post(self, address: str, method: str, body: bytes, on_reply: OnReply) -> bool:
        """Send a call on a connection that is there already; False if there is none: then nothing was sent."""
        return self.begin(address, method, body, on_reply) is not None

    def begin(
        self,
        address: str,
        method: str,
        body: Any,
        on_reply: OnReply,
        *,
        repeatable: bool = False,
        packed: bool = False,
    ) -> Callable[[], None] | None:
        """As `post`; returns what lets go of the call, or None. repeatable: as for `call`. packed: the body of the
        answer is wanted in msgpack."""
        if not self.is_ready(address):
            return None
        connection = self._connections[address]
        try:
            stream_id = connection.post(method, body, on_reply, repeatable=repeatable, packed=packed)
        except (yamux.SessionClosedError, yamux.TooManyStreamsError):
            return None
        return partial(connection.abandon, stream_id)

    async def begin_soon(
        self,
        address: str,
        method: str,
        body: bytes,
        on_reply: OnReply,
        *,
        repeatable: bool = False,
        packed: bool = False,
    ) -> Callable[[], None]:
        """As `begin`, on a connection that is made for it if there is none. Raises DialError: then nothing was sent."""
        connection, stream_id = await self._begin(address, method, body, on_reply, repeatable, packed)
        return partial(connection.abandon, stream_id)

    def flush(self, address: str) -> None:
        """Send what was posted to the server at `address` now, instead of at the end of the batch."""
        if (connection := self._connections.get(address)) is not None:
            connection.flush()

    def give_up(self, address: str, reason: str) -> None:
        """Nothing is to be expected from the server at `address` any more: calls that can be repeated, or have not been
        sent, fail now."""
        if (dialing := self._dialing.get(address)) is not None:
            dialing.give_up(reason)
        for to, connection in [*self._connections.items(), *self._retired]:
            if to == address:
                connection.give_up(reason)

    def is_silent(self, address: str) -> bool:
        """Whether calls to the server at `address` wait in vain, for all that one can tell."""
        now, dialing, connection = trio.current_time(), self._dialing.get(address), self._connections.get(address)
        return (dialing is not None and not self._only_proven and dialing.is_silent(now)) or (
            connection is not None and connection.is_silent(now)
        )

    def leader_is(self, address: str) -> None:
        """From now on only the server at `address` ("" for none) is worth waiting for with what can be repeated: one
        that has lost its office may hang, with the connection to it alive."""
        for other, connection in [*self._connections.items(), *self._retired]:
            if other != address:
                connection.give_up("another server leads")

    async def _begin(
        self, address: str, method: str, body: bytes, on_reply: OnReply, repeatable: bool, packed: bool = False
    ) -> tuple[ServerConnection, int]:
        """A session that turns out to have ended is replaced once."""
        redialed = False
        while True:
            connection = await self._connection(address)
            assert isinstance(connection, ServerConnection)
            try:
                return connection, connection.post(method, body, on_reply, repeatable=repeatable, packed=packed)
            except yamux.TooManyStreamsError:
                await connection.wait_for_room()
            except yamux.SessionClosedError as error:
                if redialed:
                    raise DialError(f"failed to start stream: {error}") from None
                redialed = True
                self._drop(address, connection)

    # -- connections ---------------------------------------------------------------------------------

    def is_ready(self, address: str) -> bool:
        """Whether `begin` would take a call to the server at `address`."""
        connection = self._connections.get(address)
        return connection is not None and connection.usable and (connection.heard or not self._only_proven)

    def is_dialing(self, address: str) -> bool:
        """Whether a connection to the server at `address` is being made."""
        connection = self._connections.get(address)
        return address in self._dialing or (connection is not None and not connection.closed and not connection.heard)

    def open(self, address: str) -> None:
        """Begin to make a connection for calls that come later, unless there is one."""
        connection = self._connections.get(address)
        if self._nursery is not None and (connection is None or not connection.usable):
            self._dial(address)

    def _dial(self, address: str) -> _Dialing:
        """The attempt to connect that is under way, or begins now. Raises DialError."""
        dialing = self._dialing.get(address)
        if dialing is None:
            if self._nursery is None:
                raise DialError(STOPPING)
            dialing = self._dialing[address] = _Dialing()
            self._in_use.set()
            self._nursery.start_soon(self._dial_and_serve, address, dialing)
        return dialing

    async def _connection(self, address: str) -> AnyConnection:
        while True:
            connection = self._connections.get(address)
            if connection is not None and connection.usable:
                return connection
            await self._dial(address).wait()

    async def _dial_and_serve(self, address: str, dialing: _Dialing) -> None:
        failure: DialError | None = DialError(STOPPING)
        try:
            connection = self._make(await self.dial(address), self._after_batch)
            self._keep(address, connection)
            failure = None
        except Exception as error:  # the address is whatever gossip says
            failure = error if isinstance(error, DialError) else DialError(f"dial tcp {address}: {error}")
            return
        finally:
            del self._dialing[address]
            dialing.end(failure)
        await self._serve(address, connection)

    def _keep(self, address: str, connection: AnyConnection) -> None:
        if (before := self._connections.get(address)) is not None:
            self._retired.append((address, before))
        self._connections[address] = connection
        if self._only_proven and isinstance(connection, ServerConnection):
            connection.probe()  # a door greets by itself

    async def dial(self, address: str) -> trio.SocketStream:
        """A connection of the caller's own. Raises DialError."""
        host, port = split_host_port(address)
        where = f"{join_host_port(self._bind_host, 0)}->{address}" if self._bind_host else address
        try:
            with trio.fail_after(DIAL_TIMEOUT_S):
                stream = await trio.open_tcp_stream(host, port, local_address=self._bind_host or None)
        except trio.TooSlowError:
            raise DialError(f"dial tcp {where}: i/o timeout") from None
        except OSError as error:
            raise DialError(f"dial tcp {where}: connect: {_reason(error)}") from None
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return stream

    async def _serve(self, address: str, connection: AnyConnection) -> None:
        try:
            await connection.run()
        except Exception as error:  # a bug met on one connection must not end the others
            _log.error("RPC connection failed", conn=f"to={address}", error=repr(error))
        finally:
            self._drop(address, connection)

    def _drop(self, address: str, connection: AnyConnection) -> None:
        connection.close()
        if self._connections.get(address) is connection:
            del self._connections[address]


def _reason(error: OSError) -> str:
    """The system's word for it; trio wraps what it tried into a group, and adds the address to the text."""
    causes: BaseException | None = error.__cause__
    while isinstance(causes, BaseExceptionGroup):
        causes = causes.exceptions[0]
    found = causes if isinstance(causes, OSError) else error
    return (os.strerror(found.errno) if found.errno else str(found)).lower()
