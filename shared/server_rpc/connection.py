"""One connection to another server's RPC port: calls on streams of a yamux session, as Consul's pool makes them.

Each call has a stream to itself until its answer is there. A stream whose call succeeded is used again, the latest
first; one whose call failed is closed. No task exists per call: `post` queues bytes, which leave when the batch of
work is over (`outlet`); the reader calls back."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import trio

from shared.ipc.flusher import Flusher
from shared.log import get_logger
from shared.receiving import read_some
from shared.server_rpc.errors import ConnectionEndedError, DialError, RemoteCallError, ServerCallError
from shared.server_rpc.hearing import Hearing
from shared.server_rpc.outlet import Outlet
from shared.wire import rpc, yamux

_log = get_logger("agent.server")

MULTIPLEX_BYTE = b"\x04"
IDLE_STREAMS_MAX = 64
SPARE_DECODERS_MAX = 8
EOF = "EOF"
HELD_BYTES_MAX = 256 << 20
"""Of answers that are not complete. The call whose answer goes beyond it fails."""

OnReply = Callable[[Any, ServerCallError | None], None]
"""Called once with the body of the answer (in msgpack if it was wanted so), or with why there is none."""

_sequence = itertools.count(1)


class _Call:
    """One stream's call that waits for its answer."""

    __slots__ = ("decoder", "held_bytes", "on_reply", "packed", "repeatable", "seq")

    def __init__(self, seq: int, on_reply: OnReply, repeatable: bool, packed: bool) -> None:
        self.seq, self.on_reply, self.repeatable, self.packed = seq, on_reply, repeatable, packed
        self.held_bytes = 0
        self.decoder: rpc.ResponseDecoder | None = None
        """Only while an answer is incomplete."""

    def tell(self, body: Any, error: ServerCallError | None) -> None:
        try:
            self.on_reply(body, error)
        except Exception as bug:  # met by one caller, it must not cost the others their connection
            _log.error("RPC caller failed", error=repr(bug))


class ServerConnection:
    """`run` serves until the connection ends or `close` was called; every call ends by then."""

    def __init__(self, stream: trio.SocketStream, after_batch: Callable[[], None] | None = None) -> None:
        """after_batch: called when all that one read brought was handled, before what it led to leaves."""
        self._stream, self._after_batch = stream, after_batch
        self._session = yamux.Session(client=True, now=trio.current_time())
        self._calls: dict[int, _Call] = {}
        self._idle_streams: list[int] = []
        self._spare_decoders: list[rpc.ResponseDecoder] = []
        self._outlet = Outlet(stream, self._session.take_outgoing, first=MULTIPLEX_BYTE)
        self._flusher = Flusher.current()
        self._scope = trio.CancelScope()
        self._room = trio.lowlevel.ParkingLot()
        self._given_up = ""
        self._hearing = Hearing(self.probe)
        self._held_bytes = 0
        self.last_used = trio.current_time()
        self.closed = False

    @property
    def usable(self) -> bool:
        """Whether a call can still be begun here."""
        return not self.closed and self._session.ended is None and not self._session.remote_going_away

    @property
    def calls(self) -> int:
        """Calls without an answer."""
        return len(self._calls)

    def post(
        self, method: str, body: bytes, on_reply: OnReply, *, repeatable: bool = False, packed: bool = False
    ) -> int:
        """Send a call; `on_reply` is called later. Returns what `abandon` takes. repeatable: see `give_up`. packed: the
        body of the answer is wanted as it came, in msgpack.

        Raises yamux.SessionClosedError or yamux.TooManyStreamsError, and then nothing was sent."""
        stream_id = self._idle_streams.pop() if self._idle_streams else self._session.open_stream()
        self.last_used = trio.current_time()
        seq = next(_sequence)
        self._session.send(stream_id, rpc.encode_request_header(seq, method) + body)
        self._calls[stream_id] = _Call(seq, on_reply, repeatable, packed)
        self._hearing.called(self.last_used)
        self._outlet.mark()
        return stream_id

    def flush(self) -> None:
        """Send what was posted now, instead of at the end of the batch."""
        self._outlet.flush()

    def probe(self) -> None:
        """Ask the peer for a word."""
        self._session.probe()
        self._outlet.mark()

    @property
    def heard(self) -> bool:
        """Whether the peer has said anything."""
        return self._hearing.heard

    def listen(self, now: float) -> None:
        """See Hearing."""
        self._hearing.listen(now)

    def is_silent(self, now: float) -> bool:
        """Whether the peer does not even answer pings, and the connection has not ended."""
        return not self.closed and self._hearing.is_silent(now)

    async def wait_for_room(self) -> None:
        """Returns when the peer has said something, so that a stream may be free or acknowledged.

        Raises DialError if the peer is given up meanwhile: nothing was sent."""
        room = self._room
        if self.usable:
            await room.park()
        if self._room is not room:
            raise DialError(self._given_up)

    def abandon(self, stream_id: int) -> None:
        """Nobody waits for this call any more. The other side may still perform it."""
        if self._forget(stream_id) is not None:
            self._end_stream(stream_id)

    def give_up(self, reason: str) -> None:
        """Fail the calls that are repeatable, and those that wait for room: another server is the one to ask."""
        for stream_id, call in list(self._calls.items()):
            if call.repeatable and self._calls.get(stream_id) is call:  # another's end may have been its end, too
                self._finish(stream_id, call, ConnectionEndedError(reason))
        room, self._room, self._given_up = self._room, trio.lowlevel.ParkingLot(), reason
        room.unpark_all()

    def close(self) -> None:
        """End the connection now; calls under way fail."""
        self.closed = True
        self._scope.cancel()

    # -- the connection ------------------------------------------------------------------------------

    async def run(self) -> None:
        reason = EOF
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._outlet.run)
                    nursery.start_soon(self._keep_alive)
                    await self._read()
                    nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as group:
            reason = _reason(group)
        finally:
            self.closed = self._outlet.closed = True
            self._room.unpark_all()
            calls, self._calls = self._calls, {}
            for call in calls.values():
                call.tell(None, ConnectionEndedError(reason))
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        session, flusher = self._session, self._flusher
        self._outlet.mark()
        while session.ended is None:
            data = await read_some(self._stream)
            if not data:
                return
            self._hearing.spoke()
            flusher.begin()  # what the answers lead to leaves together
            try:
                for event in session.receive(data, trio.current_time()):
                    self._handle(event)
                self._outlet.mark()
                self._room.unpark_all()
                if self._after_batch is not None:
                    self._after_batch()
            finally:
                flusher.end()

    def _handle(self, event: yamux.Event) -> None:
        if isinstance(event, yamux.StreamData):
            self._on_data(event.stream_id, event.data)
            self._session.consumed(event.stream_id, len(event.data))
        elif isinstance(event, yamux.StreamEnded | yamux.StreamReset):
            self._on_stream_end(event.stream_id)
        elif isinstance(event, yamux.StreamOpened):
            self._session.reset_stream(event.stream_id)  # servers have nothing to ask
        elif isinstance(event, yamux.SessionEnded):
            _log.error(f"yamux: {event.reason}")

    def _on_data(self, stream_id: int, data: bytes) -> None:
        call = self._calls.get(stream_id)
        if call is None:
            self._on_unasked(stream_id)
            return
        decoder = call.decoder or (self._spare_decoders.pop() if self._spare_decoders else rpc.ResponseDecoder())
        call.decoder = decoder
        try:
            response = next(decoder.feed(data, packed=call.packed), None)
        except rpc.TooLargeError as error:
            self._finish(stream_id, call, RemoteCallError(str(error)))
            return
        except rpc.WireError as error:
            self._finish(stream_id, call, ConnectionEndedError(str(error)))
            return
        if response is None:
            call.held_bytes += len(data)
            self._held_bytes += len(data)
            if self._held_bytes > HELD_BYTES_MAX:
                reason = f"the answers under way exceed {HELD_BYTES_MAX} bytes"
                self._finish(stream_id, call, RemoteCallError(reason))
            return
        if response.seq != call.seq:
            reason = f"answer with sequence number {response.seq} to call {call.seq}"
            self._finish(stream_id, call, ConnectionEndedError(reason))
            return
        if response.error:
            self._finish(stream_id, call, RemoteCallError(response.error))
            return
        self._forget(stream_id)
        reusable = decoder.is_between_calls
        if reusable and len(self._spare_decoders) < SPARE_DECODERS_MAX:
            self._spare_decoders.append(decoder)
        if reusable and len(self._idle_streams) < IDLE_STREAMS_MAX and self.usable:
            self._idle_streams.append(stream_id)
        else:
            self._end_stream(stream_id)
        call.tell(response.body, None)

    def _on_unasked(self, stream_id: int) -> None:
        """Data behind an answer. What follows on this stream could be taken for the answer to its next call."""
        if stream_id in self._idle_streams:
            self._idle_streams.remove(stream_id)
            self._end_stream(stream_id)

    def _finish(self, stream_id: int, call: _Call, error: ServerCallError) -> None:
        """End a call that failed, and its stream."""
        self._forget(stream_id)
        self._end_stream(stream_id)
        call.tell(None, error)

    def _forget(self, stream_id: int) -> _Call | None:
        call = self._calls.pop(stream_id, None)
        if call is not None:
            self._held_bytes -= call.held_bytes
        return call

    def _on_stream_end(self, stream_id: int) -> None:
        call = self._calls.get(stream_id)
        if call is not None:
            self._finish(stream_id, call, ConnectionEndedError(EOF))
            return
        if stream_id in self._idle_streams:
            self._idle_streams.remove(stream_id)
        self._end_stream(stream_id)

    def _end_stream(self, stream_id: int) -> None:
        self._session.close_stream(stream_id, trio.current_time())
        self._outlet.mark()

    async def _keep_alive(self) -> None:
        while self._session.ended is None:
            await trio.sleep_until(self._session.deadline)
            for event in self._session.tick(trio.current_time()):
                self._handle(event)
            self._outlet.mark()
        raise trio.BrokenResourceError(self._session.ended)


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, trio.TooSlowError):
        return "i/o timeout"
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return str(error) or EOF
