"""Connections from other servers: requests in, answers out in the same order, snapshot bodies to the store.

rpc_core accepts them on the server port, reads the first byte and hands the descriptor over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from services.raft_node import wire
from services.raft_node.core import events as ev
from services.raft_node.core.messages import AppendEntries, InstallSnapshot, Reply, Request
from services.raft_node.installing import Installing
from services.raft_node.leader_watch import LeaderWatch
from services.raft_node.log.errors import StorageError
from services.raft_node.log.snapshots import SnapshotWriter
from services.raft_node.outgoing import Outgoing
from shared.log import get_logger
from shared.receiving import read_some

_log = get_logger("agent.server.raft")

MAX_CONNECTIONS: Final = 256
MAX_UNANSWERED: Final = 256
"""Requests of one connection without an answer; while there are as many, nothing is read from it."""
STALL_TIMEOUT_S: Final = 10.0
"""A peer that has begun a request must go on with it within this time, and must take its answers."""


class Slot:
    """The place of one answer in the order of a connection; the token of an RpcRequest."""

    __slots__ = ("body", "data", "error", "inbound", "reply", "request", "wanted")

    def __init__(self, inbound: Inbound, request: Request) -> None:
        self.inbound = inbound
        self.request = request
        self.reply: Reply | None = None
        self.error = ""
        self.data: bytes | None = None
        self.wanted = False
        """The core wants the body that follows."""
        self.body = trio.Event() if isinstance(request, InstallSnapshot) else None
        """Set when it is decided what is to be done with the body that follows."""

    def answer(self, reply: Reply | None, error: str) -> None:
        """The core's answer; it is sent when those before it were, and the body of its request was read."""
        self.reply, self.error = reply, error
        if self.body is not None and not self.body.is_set():
            self.body.set()
            return
        self.release()

    def want_body(self) -> None:
        """The core wants the body as a snapshot."""
        self.wanted = True
        if self.body is not None:
            self.body.set()

    def release(self) -> None:
        self.data = wire.encode_answer(self.reply, self.error)
        self.inbound.answers_ready()


class Inbound:
    """One connection. `feed(event)` gives the core an event; it may answer before it returns.

    stream: TCP, or TLS over it."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        source: str,
        feed: Callable[[ev.Event], None],
        watch: LeaderWatch,
        installing: Installing,
    ) -> None:
        self._stream = stream
        self._source = source
        self._feed = feed
        self._watch = watch
        self._installing = installing
        self._leader = ""
        self._slots: deque[Slot] = deque()
        self._outgoing = Outgoing(stream, STALL_TIMEOUT_S)
        self._room = trio.Event()

    async def serve(self) -> None:
        """Returns when the peer has gone, or was sent away for what it sent."""
        async with self._stream:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._outgoing.run)
                    await self._receive()
                    nursery.cancel_scope.cancel()
            except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                _log.debug("raft connection ended", remote_address=self._source)
            finally:
                self._outgoing.close()
        self._watch.ended(self._leader)

    async def _receive(self) -> None:
        decoder = wire.RequestDecoder()
        body: _Body | None = None
        try:
            while True:
                if decoder.in_message:
                    with trio.fail_after(STALL_TIMEOUT_S):
                        data = await read_some(self._stream)
                else:
                    data = await read_some(self._stream)
                if not data:
                    return
                for item in decoder.feed(data):
                    if isinstance(item, wire.SnapshotPiece):
                        assert body is not None
                        await body.take(item)
                    else:
                        body = await self._request(item)
        except wire.WireError as error:
            _log.error("failed to decode incoming command", error=str(error), **{"from": self._source})
        finally:
            if body is not None:
                body.abandon()

    async def _request(self, request: Request) -> _Body | None:
        while len(self._slots) >= MAX_UNANSWERED:
            self._room = trio.Event()
            await self._room.wait()
        slot = Slot(self, request)
        self._slots.append(slot)
        if isinstance(request, AppendEntries) and request.leader != self._leader:
            self._watch.used(self._leader, request.leader)
            self._leader = request.leader
        self._feed(ev.RpcRequest(slot, request))
        return _Body(slot, self._installing) if slot.body is not None else None

    def answers_ready(self) -> None:
        """Sends what is answered, in order."""
        parts = []
        while self._slots and (data := self._slots[0].data) is not None:
            parts.append(data)
            self._slots.popleft()
        if parts:
            self._room.set()
            self._outgoing.write(b"".join(parts))


class _Body:
    """The body behind one InstallSnapshot: into the snapshot store, or nowhere if the core does not want it."""

    def __init__(self, slot: Slot, installing: Installing) -> None:
        assert isinstance(slot.request, InstallSnapshot)
        self._slot, self._request = slot, slot.request
        self._installing = installing
        self._writer: SnapshotWriter | None = None
        self._error = ""

    async def take(self, piece: wire.SnapshotPiece) -> None:
        slot = self._slot
        assert slot.body is not None
        await slot.body.wait()
        if slot.wanted and not self._error:
            self._store(piece.data)
        if not piece.last:
            return
        writer, self._writer = self._writer, None
        if not slot.wanted:
            slot.release()
        elif writer is None:
            self._installing.failed(slot, self._request, self._error)
        else:
            await self._installing.finish(slot, self._request, writer)

    def _store(self, data: bytes) -> None:
        try:
            if self._writer is None:
                self._writer = self._installing.create(self._request)
            self._writer.write(data)
        except StorageError as error:
            self._error = f"failed to create snapshot: {error}"
            self.abandon()

    def abandon(self) -> None:
        """The connection ended, or the disk refused: nothing of it is kept."""
        if self._writer is not None:
            self._writer.cancel()
            self._writer = None
