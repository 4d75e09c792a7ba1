"""Connections to other servers: for each one a lane for the log, pipelined, and one for heartbeats and votes.

A request ends exactly once as RpcReply: with the answer, or with None when the lane broke, was full, or no answer
came in time. Snapshots have a connection of their own."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import trio

from services.raft_node import wire
from services.raft_node.core import events as ev
from services.raft_node.core.messages import AppendEntries, InstallSnapshot, PreVote, Reply, Request, RequestVote
from services.raft_node.core.types import Server, Settings
from services.raft_node.log.errors import StorageError
from services.raft_node.log.snapshots import SnapshotReader, Snapshots
from services.raft_node.outgoing import Outgoing
from shared.config.runtime import split_host_port
from shared.ipc.flusher import Flusher
from shared.log import get_logger
from shared.receiving import read_some

_log = get_logger("agent.server.raft")

RAFT_BYTE: Final = b"\x01"
"""First byte of a connection to the server port: what follows is Raft."""
IO_TIMEOUT_S: Final = 10.0
IDLE_TIMEOUT_S: Final = 60.0
OUTSTANDING_MAX: Final = 256
_SNAPSHOT_BYTES_PER_TIMEOUT: Final = 256 << 10
_READ_BYTES: Final = 64 << 10

MIN_URGENT_TIMEOUT_S: Final = 1.0

Feed = Callable[[ev.Event], None]
Connect = Callable[[Server], Awaitable[trio.abc.Stream]]


class _Outstanding(NamedTuple):
    request_id: int
    kind: int
    give_up_at: float


class Peers:
    """Performs Send and SendSnapshot effects. `feed` takes the resulting events.

    connect: to the server port of another server, by TCP or by TLS over it; raises OSError."""

    def __init__(self, feed: Feed, snapshots: Snapshots, settings: Settings, connect: Connect | None = None) -> None:
        self._feed = feed
        self._connect = connect or connect_plain
        # A heartbeat that got no answer for so long is worth less than one over a new connection.
        self._urgent_timeout_s = min(IO_TIMEOUT_S, max(MIN_URGENT_TIMEOUT_S, settings.heartbeat_timeout_s))
        self._snapshots = snapshots
        self._settings = settings
        self._nursery: trio.Nursery | None = None
        self._lanes: dict[tuple[str, bool], _Lane] = {}
        self.active = False
        """Whether this server has ever had others to talk to, or been talked to."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def send(self, effect: ev.Send) -> None:
        urgent = effect.heartbeat or isinstance(effect.request, (RequestVote, PreVote))
        key = (effect.server.id, urgent)
        lane = self._lanes.get(key)
        if lane is None or lane.server.address != effect.server.address or lane.ended:
            timeout_s = self._urgent_timeout_s if urgent else IO_TIMEOUT_S
            lane = self._lanes[key] = _Lane(effect.server, self._feed, self._connect, timeout_s)
            self._start(self._run_lane, key, lane)
        lane.offer(effect)

    def send_snapshot(self, effect: ev.SendSnapshot) -> None:
        self._start(self._send_snapshot, effect)

    def _start(self, function: Callable[..., Any], *arguments: Any) -> None:
        assert self._nursery is not None
        self.active = True
        self._nursery.start_soon(function, *arguments)

    async def _run_lane(self, key: tuple[str, bool], lane: _Lane) -> None:
        await lane.run()
        if self._lanes.get(key) is lane:
            del self._lanes[key]

    async def _send_snapshot(self, effect: ev.SendSnapshot) -> None:
        reply: Reply | None = None
        try:
            reply = await self._call_with_snapshot(effect)
        except (OSError, StorageError, wire.WireError, ValueError, trio.TooSlowError) as error:
            _log.error("failed to send snapshot to", peer=str(effect.server), error=_reason(error))
        self._feed(ev.RpcReply(effect.request_id, effect.server.id, reply))

    async def _call_with_snapshot(self, effect: ev.SendSnapshot) -> Reply:
        # Not just the newest: there may be one that was stored and is not this server's state.
        meta = next((meta for meta in self._snapshots.list() if meta.index == effect.last_index), None)
        if meta is None:
            raise StorageError("no snapshots found")
        reader = await trio.to_thread.run_sync(self._snapshots.open, meta)  # it is read through for its checksum
        try:
            request = InstallSnapshot(
                effect.term,
                self._settings.address,
                meta.index,
                meta.term,
                meta.configuration,
                meta.configuration_index,
                meta.size,
            )
            timeout_s = IO_TIMEOUT_S * max(1.0, meta.size / _SNAPSHOT_BYTES_PER_TIMEOUT)
            with trio.fail_after(timeout_s):
                return await self._stream_snapshot(effect.server, wire.encode_request(request), reader)
        finally:
            reader.close()

    async def _stream_snapshot(self, server: Server, head: bytes, reader: SnapshotReader) -> Reply:
        """A receiver that takes nothing for a while is given up; when all is sent it may take its time."""
        with trio.fail_after(IO_TIMEOUT_S):
            stream = await self._connect(server)
        async with stream:
            data = RAFT_BYTE + head
            while data:
                with trio.fail_after(IO_TIMEOUT_S):
                    await _send(stream, data)
                data = reader.read(_READ_BYTES)
            return await _one_answer(stream)


class _Lane:
    """One connection to one server, made when there is something to send. timeout_s: for each request."""

    def __init__(self, server: Server, feed: Feed, connect: Connect, timeout_s: float) -> None:
        self.server = server
        self.ended = False
        self._feed = feed
        self._connect = connect
        self._timeout_s = timeout_s
        self._queue: deque[ev.Send] = deque()
        """Requests from before the connection."""
        self._outstanding: deque[_Outstanding] = deque()
        self._outgoing: Outgoing | None = None
        self._last_used = trio.current_time()
        self._wake = trio.Event()

    def offer(self, effect: ev.Send) -> None:
        """Sends a request, or queues it while there is no connection. When more wait for an answer than a healthy
        connection ever has, the lane breaks and all fail."""
        if self._outgoing is None or len(self._outstanding) >= OUTSTANDING_MAX:
            self._queue.append(effect)
            self._wake.set()
        else:
            self._write(self._outgoing, effect)

    def _write(self, outgoing: Outgoing, effect: ev.Send) -> None:
        self._last_used = trio.current_time()
        kind = wire.request_kind(effect.request)
        self._outstanding.append(_Outstanding(effect.request_id, kind, self._last_used + self._timeout_s))
        outgoing.write(wire.encode_request(effect.request))

    async def run(self) -> None:
        try:
            while await self._something_to_send():
                try:
                    await self._converse()
                except* (OSError, ValueError, wire.WireError, trio.TooSlowError) as group:
                    self._fail_all(_reason(group.exceptions[0]))
        finally:
            self.ended = True

    async def _something_to_send(self) -> bool:
        """False when nothing was sent for a while. Returns at once while something is queued."""
        while not self._queue:
            self._wake = trio.Event()
            with trio.move_on_at(self._last_used + IDLE_TIMEOUT_S):
                await self._wake.wait()
            if not self._queue and self._last_used + IDLE_TIMEOUT_S <= trio.current_time():
                return False
        return True

    async def _converse(self) -> None:
        with trio.fail_after(self._timeout_s):
            stream = await self._connect(self.server)
        async with stream:
            with trio.fail_after(self._timeout_s):
                await _send(stream, RAFT_BYTE)
            outgoing = Outgoing(stream, self._timeout_s)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read, stream)
                    nursery.start_soon(self._give_up)
                    nursery.start_soon(self._send_left_over, outgoing)
                    while self._queue:
                        self._write(outgoing, self._queue.popleft())
                    self._outgoing = outgoing
                    if await self._something_to_send():
                        raise trio.TooSlowError  # only what there is no room for is queued now
                    nursery.cancel_scope.cancel()
            finally:
                self._outgoing = None
                outgoing.close()

    async def _send_left_over(self, outgoing: Outgoing) -> None:
        try:
            await outgoing.run()
        except trio.BrokenResourceError as error:
            raise ConnectionError(str(error.__cause__ or error)) from error

    async def _give_up(self) -> None:
        """Ends the conversation when an answer is overdue. A task of its own: a deadline for each read would cost more
        than the read."""
        while True:
            await trio.sleep_until(min(self._oldest_ends, trio.current_time() + self._timeout_s))
            if trio.current_time() >= self._oldest_ends:
                # Where the whole process stood still, the answer may be there: in one turn it is noticed, in the next
                # one it has been taken, whichever of the tasks that are due comes first.
                for _ in range(2):
                    await trio.lowlevel.checkpoint()
                if trio.current_time() >= self._oldest_ends:
                    raise trio.TooSlowError

    @property
    def _oldest_ends(self) -> float:
        return self._outstanding[0].give_up_at if self._outstanding else math.inf

    async def _read(self, stream: trio.abc.Stream) -> None:
        decoder, flusher = wire.AnswerDecoder(), Flusher.current()
        while True:
            data = await _receive(stream)
            flusher.begin()  # what follows from an answer, results above all, leaves now
            try:
                self._take(decoder, data)
            finally:
                flusher.end()

    def _take(self, decoder: wire.AnswerDecoder, data: bytes) -> None:
        while self._outstanding:
            answer = decoder.feed(data, self._outstanding[0].kind)
            if answer is None:
                return
            data = b""
            done = self._outstanding.popleft()
            if answer[1]:
                _log.error("a server refused a raft rpc", peer=str(self.server), error=answer[1])
            self._feed(ev.RpcReply(done.request_id, self.server.id, answer[0]))
        if data:
            raise wire.WireError("an answer that nobody asked for")

    def _fail_all(self, reason: str) -> None:
        failed = [done.request_id for done in self._outstanding]
        failed += [effect.request_id for effect in self._queue]
        if self._queue:
            self._say(self._queue[-1].request, reason)
        elif failed:
            _log.error("failed to appendEntries to", peer=str(self.server), error=reason)
        self._outstanding.clear()
        self._queue.clear()
        for request_id in failed:
            self._feed(ev.RpcReply(request_id, self.server.id, None))

    def _say(self, request: Request, reason: str) -> None:
        if isinstance(request, RequestVote):
            _log.error("failed to make requestVote RPC", target=str(self.server), error=reason)
        elif isinstance(request, PreVote):
            _log.debug("failed to make pre-vote RPC", target=str(self.server), error=reason)
        elif isinstance(request, AppendEntries) and not request.prev_log_index and not request.entries:
            _log.error("failed to heartbeat to", peer=self.server.address, error=reason)
        else:
            _log.error("failed to appendEntries to", peer=str(self.server), error=reason)


async def connect_plain(server: Server) -> trio.abc.Stream:
    host, port = split_host_port(server.address)
    return await trio.open_tcp_stream(host, port)


async def _send(stream: trio.abc.Stream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError as error:
        raise ConnectionError(str(error.__cause__ or error)) from error


async def _receive(stream: trio.abc.Stream) -> bytes:
    """Something, or ConnectionError at the end."""
    try:
        data = await read_some(stream)
    except trio.BrokenResourceError as error:
        raise ConnectionError(str(error.__cause__ or error)) from error
    if not data:
        raise ConnectionError("EOF")
    return data


async def _one_answer(stream: trio.abc.Stream) -> Reply:
    decoder = wire.AnswerDecoder()
    while True:
        answer = decoder.feed(await _receive(stream), wire.INSTALL_SNAPSHOT)
        if answer is not None:
            reply, error = answer
            if reply is None:
                raise ConnectionError(error)
            return reply


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return "i/o timeout" if isinstance(error, trio.TooSlowError) else str(error)
