"""A yamux session: many flow-controlled streams over one connection.

Frame: version u8 = 0, type u8, flags u16, stream id u32, length u32, all big endian; a data frame carries
`length` bytes behind it. The session holds no socket and no clock: `receive` takes bytes and returns events,
`take_outgoing` gives the bytes to write, `deadline` says when `tick` is to be called next (seconds of the
caller's monotonic clock).

Differences from the Go library that a peer may notice: a stream that stays silent never blocks the others, a peer
that sends need not answer pings in time, received data beyond `Limits.unconsumed_bytes_max` over all streams ends the
session, and a stream which only we have closed is reset after `Limits.close_linger_s`, or when its place is needed, so
that a forgetful peer cannot fill our memory, nor keep us from opening others."""

from __future__ import annotations

import struct
from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import IntEnum

PROTOCOL_VERSION = 0
HEADER = struct.Struct(">BBHII")
INITIAL_WINDOW = 262_144
PROBE_ID = 0
"""Ping id of a probe; those of the keepalive begin at 1."""

TYPE_DATA, TYPE_WINDOW_UPDATE, TYPE_PING, TYPE_GO_AWAY = range(4)
FLAG_SYN, FLAG_ACK, FLAG_FIN, FLAG_RST = 1, 2, 4, 8


class GoAwayCode(IntEnum):
    """Why a side opens no more streams; anything but NORMAL ends the session."""

    NORMAL = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


class SessionClosedError(Exception):
    """The session has ended or goes away: no stream can be opened or written. Dial again."""


class TooManyStreamsError(Exception):
    """As many opened streams as the peer's backlog holds wait for its acknowledgement: try again later."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one session; the first three are yamux's defaults, which Consul uses."""

    accept_backlog: int = 256
    keepalive_interval_s: float = 30.0
    ping_timeout_s: float = 10.0
    streams_max: int = 8192
    unconsumed_bytes_max: int = 64 << 20
    close_linger_s: float = 300.0


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer has opened a stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamData:
    """Bytes of a stream, in order. The receiver calls `Session.consumed` when it is done with them."""

    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The peer sends nothing more on this stream; it may still read."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The stream is gone in both directions."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class GoingAway:
    """The peer takes no new streams; existing ones work on."""


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """Nothing works any more: write what is outgoing, then close the connection."""

    reason: str


Event = StreamOpened | StreamData | StreamEnded | StreamReset | GoingAway | SessionEnded


class _Stream:
    """One stream's windows and the halves that are closed."""

    __slots__ = (
        "acknowledged",
        "fin_queued",
        "local_closed",
        "receive_window",
        "remote_closed",
        "send_queue",
        "send_queued",
        "send_window",
        "unconsumed",
        "unreturned",
    )

    def __init__(self, acknowledged: bool) -> None:
        self.acknowledged = acknowledged
        self.send_window = INITIAL_WINDOW
        self.receive_window = INITIAL_WINDOW
        self.unconsumed = 0  # delivered by an event, not yet reported as consumed
        self.unreturned = 0  # consumed, credit not yet given back
        self.send_queue: deque[memoryview] = deque()
        self.send_queued = 0
        self.fin_queued = False
        self.local_closed = False
        self.remote_closed = False


class Session:
    """One end of a yamux connection; `client` decides the parity of the ids it opens."""

    def __init__(self, *, client: bool, now: float, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.ended: str | None = None
        """The reason of the end, None while the session lives."""
        self.remote_going_away = False
        self.deadline = now + self.limits.keepalive_interval_s
        self._next_stream_id = 1 if client else 2
        self._streams: dict[int, _Stream] = {}
        self._unacknowledged = 0
        self._unconsumed = 0
        self._local_going_away = False
        self._out: list[bytes | memoryview] = []
        self._out_bytes = 0
        self._queued_bytes = 0
        self._input = bytearray()
        self._payload_stream = 0
        self._payload_left = 0
        self._payload_fin = False
        self._next_ping_at = self.deadline
        self._ping_id = 0
        self._ping_sent_at: float | None = None
        self._heard_at = now
        self._lingering: OrderedDict[int, float] = OrderedDict()
        """Streams that only we have closed, and until when they may stay; the first ends first."""
        self.round_trip_s: float | None = None
        """Latest answered ping, seconds."""

    # -- what the application does -------------------------------------------------------------------

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    @property
    def pending_bytes(self) -> int:
        """Bytes accepted by `send` that the connection has not taken yet, frames included."""
        return self._out_bytes + self._queued_bytes

    def unsent(self, stream_id: int) -> int:
        """Bytes of one stream that wait for the peer's window."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.send_queued

    def open_stream(self) -> int:
        """Open a stream and return its id. A Consul server needs data to follow at once.

        Raises SessionClosedError after an end or go away, TooManyStreamsError at the backlog's limit."""
        if self.ended is not None or self.remote_going_away:
            raise SessionClosedError(self.ended or "remote end is not accepting connections")
        limits = self.limits
        if len(self._streams) >= limits.streams_max and (closed := self._longest_closed()) is not None:
            self.reset_stream(closed)
        if self._unacknowledged >= limits.accept_backlog or len(self._streams) >= limits.streams_max:
            raise TooManyStreamsError(f"{self._unacknowledged} opened streams wait for acknowledgement")
        stream_id = self._next_stream_id
        self._next_stream_id += 2
        self._streams[stream_id] = _Stream(acknowledged=False)
        self._unacknowledged += 1
        self._frame(TYPE_WINDOW_UPDATE, FLAG_SYN, stream_id, 0)
        return stream_id

    def send(self, stream_id: int, data: bytes | memoryview) -> None:
        """Queue `data`; what the peer's window does not allow yet waits in the session.

        Raises SessionClosedError if the stream cannot be written to."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.local_closed or stream.fin_queued or self.ended is not None:
            raise SessionClosedError(f"stream {stream_id} is closed")
        if not data:
            return
        stream.send_queue.append(memoryview(data))
        stream.send_queued += len(data)
        self._queued_bytes += len(data)
        self._pump(stream_id, stream)

    def consumed(self, stream_id: int, count: int) -> None:
        """Report `count` delivered bytes as processed: credit goes back to the peer in half-window steps."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        count = min(count, stream.unconsumed)
        stream.unconsumed -= count
        self._unconsumed -= count
        stream.unreturned += count
        if stream.unreturned >= INITIAL_WINDOW // 2 and not stream.remote_closed and self.ended is None:
            stream.receive_window += stream.unreturned
            self._frame(TYPE_WINDOW_UPDATE, 0, stream_id, stream.unreturned)
            stream.unreturned = 0

    def close_stream(self, stream_id: int, now: float) -> None:
        """End our direction after everything queued has been sent. Closing twice does nothing."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.local_closed or stream.fin_queued or self.ended is not None:
            return
        stream.fin_queued = True
        if not stream.remote_closed:
            self._lingering[stream_id] = now + self.limits.close_linger_s
            self._set_deadline()
        self._pump(stream_id, stream)

    def reset_stream(self, stream_id: int) -> None:
        """Drop the stream in both directions at once."""
        if stream_id in self._streams and self.ended is None:
            self._frame(TYPE_WINDOW_UPDATE, FLAG_RST, stream_id, 0)
            self._forget(stream_id)

    def go_away(self, code: GoAwayCode = GoAwayCode.NORMAL) -> None:
        """Refuse streams from now on; existing ones live on."""
        if not self._local_going_away and self.ended is None:
            self._local_going_away = True
            self._frame(TYPE_GO_AWAY, 0, 0, code)

    def probe(self) -> None:
        """Ask the peer for a word. Unlike the keepalive nothing ends if none comes: that is for the caller to judge."""
        if self.ended is None:
            self._frame(TYPE_PING, FLAG_SYN, 0, PROBE_ID)

    def tick(self, now: float) -> list[Event]:
        """Keepalive and lingering streams; call when `deadline` has passed (more often does no harm)."""
        if self.ended is not None:
            return []
        events: list[Event] = []
        while (stream_id := self._longest_closed()) is not None and self._lingering[stream_id] <= now:
            self.reset_stream(stream_id)
            events.append(StreamReset(stream_id))
        if self._ping_sent_at is not None and now >= self._give_up_at(self._ping_sent_at):
            self._end(events, "keepalive timeout")
        elif self._ping_sent_at is None and now >= self._next_ping_at:
            self._ping_id = (self._ping_id + 1) & 0xFFFFFFFF
            self._ping_sent_at = now
            self._frame(TYPE_PING, FLAG_SYN, 0, self._ping_id)
        self._set_deadline()
        return events

    def take_outgoing(self) -> bytes:
        """All bytes that are to be written now, in order; they are the caller's from here on."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        return data

    # -- what arrives --------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take bytes from the connection, however they are cut. The last event may be SessionEnded."""
        events: list[Event] = []
        if self.ended is not None:
            return events
        self._heard_at = now
        if self._input:
            self._input += data
            source = bytes(self._input)
            self._input.clear()
        else:
            source = data
        position, size = 0, len(source)
        while position < size:
            if self._payload_left:
                chunk = source[position : position + self._payload_left]
                position += len(chunk)
                self._payload_left -= len(chunk)
                self._deliver(chunk, events)
                if not self._payload_left and self._payload_fin:
                    self._payload_fin = False
                    if (closing := self._streams.get(self._payload_stream)) is not None:
                        self._on_fin(self._payload_stream, closing, events)
                if self.ended is not None:
                    break
                continue
            if size - position < HEADER.size:
                self._input += source[position:]
                break
            version, kind, flags, stream_id, length = HEADER.unpack_from(source, position)
            position += HEADER.size
            if version != PROTOCOL_VERSION:
                self._end(events, f"invalid protocol version {version}")
            elif kind <= TYPE_WINDOW_UPDATE:
                self._on_stream_frame(kind, flags, stream_id, length, events)
            elif kind == TYPE_PING:
                self._on_ping(flags, length, now)
            elif kind == TYPE_GO_AWAY:
                self._on_go_away(length, events)
            else:
                self._end(events, f"invalid message type {kind}")
            if self.ended is not None:
                break
        return events

    def _deliver(self, chunk: bytes, events: list[Event]) -> None:
        stream = self._streams.get(self._payload_stream)
        if stream is None or stream.local_closed or stream.fin_queued:
            return  # nobody reads it: read off the connection and dropped
        stream.unconsumed += len(chunk)
        self._unconsumed += len(chunk)
        if self._unconsumed > self.limits.unconsumed_bytes_max:
            self._frame(TYPE_GO_AWAY, 0, 0, GoAwayCode.INTERNAL_ERROR)
            self._end(events, "too much unread data in the session")
            return
        events.append(StreamData(self._payload_stream, chunk))

    def _on_stream_frame(self, kind: int, flags: int, stream_id: int, length: int, events: list[Event]) -> None:
        if kind == TYPE_DATA:
            self._payload_stream, self._payload_left = stream_id, length
        if flags & FLAG_SYN and not self._on_syn(flags, stream_id, events):
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if kind == TYPE_DATA and length > stream.receive_window:
            self._protocol_error(events, f"receive window exceeded on stream {stream_id}")
            return
        if flags & FLAG_ACK and not stream.acknowledged:
            stream.acknowledged = True
            self._unacknowledged -= 1
        if kind == TYPE_DATA:
            stream.receive_window -= length
        elif length:
            stream.send_window += length
            self._pump(stream_id, stream)
        if flags & FLAG_FIN:
            if stream.remote_closed:
                self._protocol_error(events, f"second FIN on stream {stream_id}")
                return
            # The data of a frame comes before its FIN, so that one waits for the end of the payload.
            if self._payload_left:
                self._payload_fin = True
            else:
                self._on_fin(stream_id, stream, events)
        if flags & FLAG_RST and stream_id in self._streams:  # a FIN of the same frame may have been all that it lacked
            self._forget(stream_id)
            events.append(StreamReset(stream_id))

    def _on_syn(self, flags: int, stream_id: int, events: list[Event]) -> bool:
        """A new stream of the peer; False if there is no stream to apply the rest of the frame to."""
        if self._local_going_away or len(self._streams) >= self.limits.streams_max:
            self._frame(TYPE_WINDOW_UPDATE, FLAG_RST, stream_id, 0)
            return False
        if stream_id in self._streams:
            self._protocol_error(events, f"stream {stream_id} is already open")
            return False
        self._streams[stream_id] = _Stream(acknowledged=True)
        if not flags & FLAG_FIN:
            self._frame(TYPE_WINDOW_UPDATE, FLAG_ACK, stream_id, 0)
        events.append(StreamOpened(stream_id))
        return True

    def _on_fin(self, stream_id: int, stream: _Stream, events: list[Event]) -> None:
        stream.remote_closed = True
        events.append(StreamEnded(stream_id))
        if stream.local_closed:
            self._forget(stream_id)

    def _on_ping(self, flags: int, ping_id: int, now: float) -> None:
        if flags & FLAG_SYN:
            self._frame(TYPE_PING, FLAG_ACK, 0, ping_id)
        elif self._ping_sent_at is not None and ping_id == self._ping_id:
            self.round_trip_s = now - self._ping_sent_at
            self._ping_sent_at = None
            self._next_ping_at = now + self.limits.keepalive_interval_s
            self._set_deadline()

    def _on_go_away(self, code: int, events: list[Event]) -> None:
        if code == GoAwayCode.NORMAL:
            self.remote_going_away = True
            events.append(GoingAway())
        elif code == GoAwayCode.PROTOCOL_ERROR:
            self._end(events, "yamux protocol error")
        elif code == GoAwayCode.INTERNAL_ERROR:
            self._end(events, "remote yamux internal error")
        else:
            self._end(events, "unexpected go away received")

    # -- what both share -----------------------------------------------------------------------------

    def _pump(self, stream_id: int, stream: _Stream) -> None:
        """Turn queued data into frames as far as the peer's window reaches, then the FIN."""
        while stream.send_queue and stream.send_window:
            head = stream.send_queue[0]
            count = min(len(head), stream.send_window)
            if count == len(head):
                stream.send_queue.popleft()
            else:
                stream.send_queue[0] = head[count:]
            stream.send_window -= count
            stream.send_queued -= count
            self._queued_bytes -= count
            self._frame(TYPE_DATA, 0, stream_id, count)
            self._out.append(head[:count])
            self._out_bytes += count
        if stream.fin_queued and not stream.send_queue and not stream.local_closed:
            stream.local_closed = True
            self._frame(TYPE_WINDOW_UPDATE, FLAG_FIN, stream_id, 0)
            if stream.remote_closed:
                self._forget(stream_id)

    def _frame(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        self._out.append(HEADER.pack(PROTOCOL_VERSION, kind, flags, stream_id, length))
        self._out_bytes += HEADER.size

    def _forget(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id)
        self._unconsumed -= stream.unconsumed
        self._queued_bytes -= stream.send_queued
        if not stream.acknowledged:
            self._unacknowledged -= 1
        if self._lingering.pop(stream_id, None) is not None:
            self._set_deadline()

    def _longest_closed(self) -> int | None:
        return next(iter(self._lingering), None)

    def _protocol_error(self, events: list[Event], reason: str) -> None:
        self._frame(TYPE_GO_AWAY, 0, 0, GoAwayCode.PROTOCOL_ERROR)
        self._end(events, reason)

    def _end(self, events: list[Event], reason: str) -> None:
        if self.ended is None:
            self.ended = reason
            self._streams.clear()
            self._lingering.clear()
            self._queued_bytes = 0
            events.append(SessionEnded(reason))

    def _give_up_at(self, ping_sent_at: float) -> float:
        """A peer that sends is there: on a slow link its answer to the ping comes behind what it sent before."""
        return max(ping_sent_at, self._heard_at) + self.limits.ping_timeout_s

    def _set_deadline(self) -> None:
        if self._ping_sent_at is not None:
            self.deadline = self._give_up_at(self._ping_sent_at)
        else:
            self.deadline = self._next_ping_at
        if self._lingering:
            self.deadline = min(self.deadline, next(iter(self._lingering.values())))
