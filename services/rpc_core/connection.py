"""Serving calls on one connection to the RPC port: plain msgpack-rpc, or yamux with calls on every stream.

Calls on one stream (or on a plain connection) are answered strictly one after another; concurrency comes from
more streams. What can be answered at once is, without a task, and the answers of a batch leave together. A caller that
does not read its answers is not read from either."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

import trio

from services.rpc_core.forwarding import WRITES
from shared import metrics
from shared.ipc.flusher import Flusher
from shared.log import get_logger
from shared.receiving import read_some
from shared.server_rpc.outlet import WRITE_TIMEOUT_S, Outlet
from shared.wire import rpc, yamux

_log = get_logger("agent.server.rpc")
_yamux_log = get_logger("agent.server")

READ_BYTES = 1 << 16
AT_ONCE_BYTES_MAX = 64 << 10
"""What is longer is sent by a task, which waits until the stream's window has let it go."""
UNSENT_BYTES_MAX = 64 << 20
"""Answers that one connection may have waiting for its peer; beyond it the session is given up."""
HELD_BYTES_MAX = 256 << 20
"""Incomplete calls that one connection may have us hold, over all streams."""
DECODER_BYTES = 48 << 10
"""What a decoder takes by itself, which counts as held."""
SPARE_DECODERS_MAX = 4
ENDED_GRACE_S = 10.0
"""How long a call may go on after its caller has closed the stream: it may still read the answer."""

Answer = Callable[[rpc.Request], Awaitable[tuple[bytes, bool]]]
"""Takes a call, gives the encoded response and whether the stream can go on. Must not raise."""

AnswerNow = Callable[[rpc.Request], bytes | None]
"""Takes a call, gives the encoded response, or None if it has to be waited for. Must not raise."""

BeginWrite = Callable[[rpc.Request, Callable[[bytes | None], None]], bool]
"""Takes a call and what is called with its encoded response, or with None if it has to be waited for after all; False
if it has to be in the first place. Must not raise."""


async def serve_plain(stream: trio.SocketStream, answer: Answer, source: str) -> None:
    """Calls straight on the connection, until it ends."""
    decoder = rpc.RequestDecoder()
    try:
        while data := await stream.receive_some(READ_BYTES):
            for call in decoder.feed(data):
                response, go_on = await answer(call)
                with trio.fail_after(WRITE_TIMEOUT_S + len(response) / READ_BYTES):
                    await stream.send_all(response)
                if not go_on:
                    return
    except rpc.WireError as error:
        await _refuse_plain(stream, error, source)
    except (trio.BrokenResourceError, trio.TooSlowError):
        return


async def _refuse_plain(stream: trio.SocketStream, error: rpc.WireError, source: str) -> None:
    _log_request_error(error, source)
    if error.method is not None:
        with trio.move_on_after(WRITE_TIMEOUT_S):
            await stream.send_all(rpc.encode_error(error.seq, error.method, str(error)))


def _log_request_error(error: rpc.WireError, source: str) -> None:
    metrics.incr("consul.rpc.request_error")
    _log.error("RPC error", conn=f"from={source}", error=f"rpc: server cannot decode request: {error}")


class _StreamCalls:
    """The calls of one stream that wait for their turn."""

    __slots__ = ("busy", "decoder", "failure", "held_credit", "peer_ended", "queue", "ready", "scope")

    def __init__(self) -> None:
        self.decoder: rpc.RequestDecoder | None = None
        """Only while a call is incomplete: a decoder is large, and most streams rest between calls."""
        self.queue: deque[rpc.Request] = deque()
        self.ready: bytes | None = None
        """The response to the first of them, which is too long to be sent at once."""
        self.busy = False
        self.peer_ended = False
        self.held_credit = 0  # received bytes whose credit goes back when the queued calls are answered
        self.failure: rpc.WireError | None = None
        self.scope = trio.CancelScope()


class MultiplexedConnection:
    """One yamux connection of a client or another server."""

    def __init__(
        self,
        stream: trio.SocketStream,
        answer: Answer,
        source: str,
        answer_now: AnswerNow | None = None,
        begin_write: BeginWrite | None = None,
    ) -> None:
        self._stream = stream
        self._answer = answer
        self._answer_now, self._begin_write = answer_now, begin_write
        self._source = source
        self._session = yamux.Session(client=False, now=trio.current_time())
        self._streams: dict[int, _StreamCalls] = {}
        self._spare_decoders: list[rpc.RequestDecoder] = []
        self._held_bytes = 0
        self.writes = 0
        """Writes without an answer yet."""
        self._room = trio.lowlevel.ParkingLot()
        self._outlet = Outlet(stream, self._session.take_outgoing, on_room=self._room.unpark_all)
        self._flusher = Flusher.current()

    def go_away(self) -> None:
        """No new streams: the next calls go elsewhere, those under way are answered."""
        self._session.go_away()
        self._kick()

    async def run(self) -> None:
        """Serves until the connection ends."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._outlet.run)
                nursery.start_soon(self._keep_alive)
                await self._read(nursery)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass
        finally:
            self._outlet.closed = True
        if self._session.ended is not None:
            _log.error("multiplex conn accept failed", conn=f"from={self._source}", error=self._session.ended)
            with trio.move_on_after(1.0), _ignore_broken():
                await self._stream.send_all(self._session.take_outgoing())

    async def _read(self, nursery: trio.Nursery) -> None:
        flusher = self._flusher
        while self._session.ended is None:
            data = await read_some(self._stream)
            if not data:
                return
            flusher.begin()
            try:
                for event in self._session.receive(data, trio.current_time()):
                    self._handle(event, nursery)
                self._kick()
                self._room.unpark_all()
            finally:
                flusher.end()
            if self._session.pending_bytes > UNSENT_BYTES_MAX or self._held_bytes > HELD_BYTES_MAX:
                self._session.go_away(yamux.GoAwayCode.INTERNAL_ERROR)
                _log.error("closing connection with too much unread data", conn=f"from={self._source}")
                return

    def _handle(self, event: yamux.Event, nursery: trio.Nursery) -> None:
        if isinstance(event, yamux.StreamData):
            self._on_data(event.stream_id, event.data, nursery)
        elif isinstance(event, yamux.StreamOpened):
            self._streams[event.stream_id] = _StreamCalls()
        elif isinstance(event, yamux.StreamEnded):
            calls = self._streams.get(event.stream_id)
            if calls is not None:
                calls.peer_ended = True
                if calls.busy:
                    calls.scope.deadline = trio.current_time() + ENDED_GRACE_S
                else:
                    self._close(event.stream_id)
        elif isinstance(event, yamux.StreamReset):
            self._drop(event.stream_id)
        elif isinstance(event, yamux.SessionEnded):
            _yamux_log.error(f"yamux: {event.reason}")

    def _on_data(self, stream_id: int, data: bytes, nursery: trio.Nursery) -> None:
        calls = self._streams.get(stream_id)
        if calls is None or calls.failure is not None:
            return
        self._decode(calls, data)
        if len(calls.queue) == 1 and not calls.busy and calls.failure is None:
            self._answer_at_once(stream_id, calls)
            if calls.queue and calls.ready is None and self._writes(stream_id, calls, nursery):
                calls.held_credit += len(data)
                return
        if not calls.busy and not calls.queue and calls.failure is None:
            self._session.consumed(stream_id, len(data))
            return
        calls.held_credit += len(data)
        if not calls.busy:
            calls.busy = True
            calls.scope = trio.CancelScope()
            nursery.start_soon(self._serve_stream, stream_id, calls)

    def _decode(self, calls: _StreamCalls, data: bytes) -> None:
        """Takes the calls that are complete with `data` into the queue, or notes why that is no call."""
        decoder = self._take_decoder(calls)
        try:
            calls.queue.extend(decoder.feed(data))
        except rpc.WireError as error:
            calls.failure = error
            return
        if not decoder.is_between_calls:
            calls.decoder = decoder
            self._held_bytes += decoder.held_bytes + DECODER_BYTES
        elif len(self._spare_decoders) < SPARE_DECODERS_MAX:
            self._spare_decoders.append(decoder)

    def _take_decoder(self, calls: _StreamCalls) -> rpc.RequestDecoder:
        """The decoder that holds the stream's incomplete call, else one that is between calls."""
        decoder, calls.decoder = calls.decoder, None
        if decoder is not None:
            self._held_bytes -= decoder.held_bytes + DECODER_BYTES
            return decoder
        return self._spare_decoders.pop() if self._spare_decoders else rpc.RequestDecoder()

    def _answer_at_once(self, stream_id: int, calls: _StreamCalls) -> None:
        """Answers the one call that waits, if nothing has to be waited for."""
        response = self._answer_now(calls.queue[0]) if self._answer_now is not None else None
        if response is None:
            return
        if len(response) > AT_ONCE_BYTES_MAX or self._session.unsent(stream_id):
            calls.ready = response
            return
        calls.queue.clear()
        with contextlib.suppress(yamux.SessionClosedError):  # its caller has gone with the same bytes
            self._session.send(stream_id, response)

    def _writes(self, stream_id: int, calls: _StreamCalls, nursery: trio.Nursery) -> bool:
        """Begins the one call that waits, if it is a write that takes no task."""
        call = calls.queue[0]

        def finished(response: bytes | None) -> None:
            self.writes -= 1
            if self._outlet.closed or self._streams.get(stream_id) is not calls:
                return
            if response is None:
                calls.queue.appendleft(call)
            else:
                with contextlib.suppress(yamux.SessionClosedError):
                    self._session.send(stream_id, response)
                self._kick()
                if not calls.queue and calls.failure is None:
                    self._rest(stream_id, calls)
                    return
            calls.scope = trio.CancelScope()
            nursery.start_soon(self._serve_stream, stream_id, calls)

        self.writes += 1
        if self._begin_write is None or not self._begin_write(call, finished):
            self.writes -= 1
            return False
        calls.queue.popleft()
        calls.busy = True
        return True

    def _rest(self, stream_id: int, calls: _StreamCalls) -> None:
        """All calls of the stream are answered."""
        calls.busy = False
        if calls.peer_ended:
            self._close(stream_id)
            return
        self._session.consumed(stream_id, calls.held_credit)
        calls.held_credit = 0
        self._kick()

    async def _serve_stream(self, stream_id: int, calls: _StreamCalls) -> None:
        """Answers what is queued, in order, then rests until more comes."""
        with calls.scope:
            while calls.queue:
                call, ready = calls.queue.popleft(), calls.ready
                calls.ready = None
                writes = call.method in WRITES
                self.writes += writes
                try:
                    response, go_on = (ready, True) if ready is not None else await self._answer(call)
                    await self._send(stream_id, response)
                finally:
                    self.writes -= writes
                if not go_on:
                    self._close(stream_id)
                    return
            if calls.failure is not None:
                failure = calls.failure
                _log_request_error(failure, self._source)
                if failure.method is not None:
                    response = rpc.encode_error(failure.seq, failure.method, str(failure))
                    await self._send(stream_id, response)
                self._close(stream_id)
                return
        if calls.scope.cancelled_caught:
            self._close(stream_id)
        else:
            self._rest(stream_id, calls)

    async def _send(self, stream_id: int, data: bytes) -> None:
        """Sends, and waits until the peer's window has let all of it go."""
        try:
            self._session.send(stream_id, data)
        except yamux.SessionClosedError:
            return
        self._kick()
        while self._session.unsent(stream_id):
            await self._room.park()

    def _close(self, stream_id: int) -> None:
        self._session.close_stream(stream_id, trio.current_time())
        self._drop(stream_id)
        self._kick()

    def _drop(self, stream_id: int) -> None:
        calls = self._streams.pop(stream_id, None)
        if calls is not None:
            if calls.decoder is not None:
                self._take_decoder(calls)
            calls.queue.clear()
            calls.scope.cancel()

    def _kick(self) -> None:
        self._outlet.mark()

    async def _keep_alive(self) -> None:
        while self._session.ended is None:
            await trio.sleep_until(self._session.deadline)
            for event in self._session.tick(trio.current_time()):
                if isinstance(event, yamux.StreamReset):
                    self._drop(event.stream_id)
                elif isinstance(event, yamux.SessionEnded):
                    _yamux_log.error(f"yamux: {event.reason}")
                    raise trio.BrokenResourceError(event.reason)
            self._kick()


class _ignore_broken:
    """Context manager: the connection may be gone already."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, trio.BrokenResourceError | trio.ClosedResourceError)
