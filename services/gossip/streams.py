"""The TCP side of a pool: state exchanges, pings and reliable messages, one exchange per connection."""

import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from services.gossip.codec.errors import StreamError
from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import Ack, Err, Ping
from services.gossip.codec.stream import PushPull, StreamDecoder, StreamMessage, encode_stream
from services.gossip.packets import bind_error
from services.gossip.stream_memory import StreamMemory
from services.gossip.swim.address import Address
from shared import metrics
from shared.service import StartError

_STREAMS_MAX = 128  # incoming exchanges at a time, memberlist's limit for push/pulls
_STREAMS_PER_SOURCE = 32  # of them from one address
_BUFFERED_MAX = 64 * 1024 * 1024  # memory of what all of them have received, about
_READ = 65536
_THREAD_FROM = 65536  # larger messages are decoded in a thread: LZW takes 0.1 s per MB

Log = Callable[[str, str], None]
OnMessage = Callable[[StreamMessage], StreamMessage | None]
AfterReply = Callable[[StreamMessage], Awaitable[None]]


class ExchangeError(Exception):
    """An exchange with a peer failed; the text is Go's."""


class Streams:
    """Listens, and opens exchanges. keyring: None for a plain pool.

    on_message(message) -> the reply, or None; after_reply(message) is called once it has been sent, within the
    exchange's time."""

    def __init__(
        self,
        host: str,
        port: int,
        timeout_s: float,
        keyring: Keyring | None,
        verify_incoming: bool,
        verify_outgoing: bool,
        log: Log,
        on_message: OnMessage,
        after_reply: AfterReply,
    ) -> None:
        """Raises StartError naming the address."""
        self._timeout_s = timeout_s
        self._keyring = keyring
        self._verify_incoming = verify_incoming
        self._sealing = keyring if verify_outgoing else None
        self._log = log
        self._on_message = on_message
        self._after_reply = after_reply
        self._open = 0
        self._open_by_source: Counter[str] = Counter()
        self._memory = StreamMemory(_BUFFERED_MAX)
        self._decoding = trio.CapacityLimiter(1)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind((host, port))
            self._listener.listen(_STREAMS_MAX)
        except OSError as error:
            self._listener.close()
            raise StartError(bind_error("TCP", host, port, error)) from None

    def close(self) -> None:
        self._listener.close()

    async def serve(self) -> None:
        """Accept until cancelled; connections over the limit are closed at once and counted."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(self._listener)
                try:
                    accepted, (source, *_) = self._listener.accept()
                except (BlockingIOError, ConnectionAbortedError):
                    continue
                except OSError as error:  # out of descriptors: others have to be closed first
                    self._log("error", f"memberlist: Error accepting TCP connection: {error}")
                    await trio.sleep(0.1)
                    continue
                metrics.incr("consul.memberlist.tcp.accept")
                if self._open >= _STREAMS_MAX or self._open_by_source[source] >= _STREAMS_PER_SOURCE:
                    metrics.incr("consul.memberlist.tcp.rejected")
                    self._log("error", "memberlist: Too many pending push/pull requests")
                    accepted.close()
                    continue
                self._open += 1
                self._open_by_source[source] += 1
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(accepted))
                nursery.start_soon(self._serve_one, stream, source)

    async def push_pull(self, to: Address, state: PushPull) -> PushPull:
        """Send our state, return the peer's. Raises ExchangeError."""
        async with self._dial(to, self._timeout_s) as stream:
            await self._send(stream, state)
            with _within(self._timeout_s, "i/o timeout"):
                answer = await self._read(stream)
        if isinstance(answer, Err):
            raise ExchangeError(f"remote error: {answer.error}")
        if not isinstance(answer, PushPull):
            raise ExchangeError(f"received invalid message ({type(answer).__name__}), expected pushPullMsg (6)")
        return answer

    async def ping(self, to: Address, ping: Ping, timeout_s: float) -> bool:
        """Did the node answer in time? Raises ExchangeError if it answered nonsense."""
        try:
            async with self._dial(to, timeout_s) as stream:
                with trio.move_on_after(timeout_s):
                    await self._send(stream, ping)
                    answer = await self._read(stream)
                    if isinstance(answer, Ack) and answer.seq_no != ping.seq_no:
                        raise ExchangeError(
                            f"Sequence number from ack ({answer.seq_no}) doesn't match ping ({ping.seq_no})"
                        )
                    return isinstance(answer, Ack)
        except _DialError:
            pass  # a dead node: that is what the ping was to find out
        return False

    async def _serve_one(self, stream: trio.SocketStream, source: str) -> None:
        try:
            peer = _peer_name(stream)
            self._log("debug", f"memberlist: Stream connection from={peer}")
            with trio.move_on_after(self._timeout_s) as scope:
                try:
                    await self._exchange(stream, peer)
                except ExchangeError as error:
                    metrics.incr("consul.memberlist.tcp.malformed")
                    self._log("error", f"memberlist: failed to receive: {error} from={peer}")
            if scope.cancelled_caught:
                metrics.incr("consul.memberlist.tcp.malformed")
                self._log("error", f"memberlist: failed to receive: i/o timeout from={peer}")
        finally:
            self._open -= 1
            self._open_by_source[source] -= 1
            if not self._open_by_source[source]:
                del self._open_by_source[source]
            await trio.aclose_forcefully(stream)

    async def _exchange(self, stream: trio.SocketStream, peer: str) -> None:
        try:
            message = await self._read(stream, silent_eof=True)
        except _UnreadableError as error:
            metrics.incr("consul.memberlist.tcp.malformed")
            self._log("error", f"memberlist: failed to receive: {error} from={peer}")
            if error.reply:
                await self._send(stream, Err(str(error)))
            return
        if message is None:
            return
        reply = self._on_message(message)
        if reply is not None:
            await self._send(stream, reply)
        await self._after_reply(message)

    async def _read(self, stream: trio.SocketStream, *, silent_eof: bool = False) -> StreamMessage | None:
        """The message of this direction; None if the peer closed without a word and that is fine."""
        decoder = StreamDecoder(self._keyring, verify_incoming=self._verify_incoming)
        with self._memory.share() as share:
            while True:
                try:
                    chunk = await stream.receive_some(_READ)
                except trio.BrokenResourceError:
                    raise ExchangeError("read: connection reset by peer") from None
                if not chunk:
                    if silent_eof and not decoder.received:
                        return None
                    raise ExchangeError("EOF")
                share.holds(share.held + len(chunk))
                try:
                    if decoder.received < _THREAD_FROM:
                        message = decoder.feed(bytes(chunk))
                    else:
                        message = await trio.to_thread.run_sync(decoder.feed, bytes(chunk), limiter=self._decoding)
                except StreamError as error:
                    raise _UnreadableError(str(error), reply=error.reply) from None
                if message is not None:
                    return message
                share.holds(decoder.held)
        metrics.incr("consul.memberlist.tcp.rejected")
        raise ExchangeError("too much state is being received at the same time")

    async def _send(self, stream: trio.SocketStream, message: StreamMessage) -> None:
        data = encode_stream(message, self._sealing)
        metrics.incr("consul.memberlist.tcp.sent", len(data))
        try:
            with _within(self._timeout_s, "write: i/o timeout"):
                await stream.send_all(data)
        except trio.BrokenResourceError:
            raise ExchangeError("write: broken pipe") from None

    @asynccontextmanager
    async def _dial(self, to: Address, timeout_s: float) -> AsyncIterator[trio.SocketStream]:
        family = socket.AF_INET if len(to.ip) == 4 else socket.AF_INET6
        try:
            sock = trio.socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # no descriptor is left, or the host has no IPv6
            raise _DialError(f"dial tcp {to}: socket: {_reason(error)}") from None
        try:
            with trio.move_on_after(timeout_s) as scope:
                try:
                    await sock.connect((socket.inet_ntop(family, to.ip), to.port))
                except OSError as error:
                    raise _DialError(f"dial tcp {to}: connect: {_reason(error)}") from None
            if scope.cancelled_caught:
                raise _DialError(f"dial tcp {to}: i/o timeout")
            metrics.incr("consul.memberlist.tcp.connect")
            yield trio.SocketStream(sock)
        finally:
            sock.close()


class _DialError(ExchangeError):
    """Nobody there."""


class _UnreadableError(ExchangeError):
    def __init__(self, text: str, *, reply: bool) -> None:
        super().__init__(text)
        self.reply = reply


@contextmanager
def _within(seconds: float, text: str) -> Iterator[None]:
    """A time limit that raises ExchangeError(text)."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise ExchangeError(text)


def _reason(error: OSError) -> str:
    """In Go's words; trio's own text names the address once more."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _peer_name(stream: trio.SocketStream) -> str:
    try:
        name = stream.socket.getpeername()
    except OSError:
        return "unknown"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
