"""DoorConnection: one connection to the door of another server's raft_node (services.raft_node.door).

Calls are frames of the local IPC, without streams and windows: a call is posted in one frame, and the answers that one
event brings come in one. It has the face of ServerConnection, so a ServerPool keeps either."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from typing import Any, Final

import trio

from shared.ipc import frames
from shared.ipc.errors import ProtocolError
from shared.ipc.reading import Reader
from shared.ipc.remote import LEAVING, VERSION
from shared.ipc.transport import Transport
from shared.log import get_logger
from shared.server_rpc.errors import ConnectionEndedError, NotTakenError, RemoteCallError, ServerCallError
from shared.server_rpc.hearing import Hearing
from shared.wire.yamux import TooManyStreamsError

_log = get_logger("agent.server")

DOOR_BYTE: Final = b"\x70"
ANSWER_BYTES_MAX: Final = 1 << 20
CALLS_MAX: Final = 4096
"""Under way; the other side takes no more."""
_NOT_TAKEN: Final = ("not_leader", "no_leader", "bad_request", "unknown_method")
_CALL_MS: Final = 60_000
"""What the other side is told. Who calls looks at his own time."""
_PROBE: Final = "Raft.Term"

OnReply = Callable[[Any, ServerCallError | None], None]


class DoorConnection:
    """`run` serves until the connection ends or `close` was called; every call ends by then. after_batch: called when
    all that one read brought was handled, before what it led to leaves."""

    def __init__(self, stream: trio.SocketStream, after_batch: Callable[[], None] | None = None) -> None:
        self._transport = Transport(socket.socket(fileno=stream.socket.detach()))
        self._after_batch = after_batch
        self._hearing = Hearing(self.probe)
        self._calls: dict[int, tuple[OnReply, bool]] = {}
        self._ids = itertools.count(1)
        self._leaving = False
        self._scope = trio.CancelScope()
        self.last_used = trio.current_time()
        self.closed = False

    @property
    def usable(self) -> bool:
        """Whether a call can still be begun here."""
        return not (self.closed or self._leaving)

    @property
    def heard(self) -> bool:
        """Whether the peer has greeted: it knows what it is talked to in."""
        return self._hearing.heard

    @property
    def calls(self) -> int:
        """Calls without an answer."""
        return len(self._calls)

    def post(self, method: str, body: Any, on_reply: OnReply, *, repeatable: bool = False, packed: bool = False) -> int:
        """Send a call; `on_reply` is called later. Returns what `abandon` takes. body, and the answer: what msgpack can
        hold, also where it is wanted packed. repeatable: see `give_up`. Raises TooManyStreamsError while as many are
        under way as the other side takes, and then nothing was sent."""
        if len(self._calls) >= CALLS_MAX:
            raise TooManyStreamsError
        call_id = next(self._ids)
        self.last_used = now = trio.current_time()
        self._hearing.called(now)
        self._calls[call_id] = (on_reply, repeatable)
        self._transport.write(frames.encode((frames.CALL, call_id, method, _CALL_MS, body)))
        return call_id

    def flush(self) -> None:
        """Send what was posted now, instead of at the end of the batch."""
        self._transport.flush()

    def probe(self) -> None:
        """Ask the peer for a word."""
        self._transport.write(frames.encode((frames.CALL, next(self._ids), _PROBE, _CALL_MS, None)))

    def listen(self, now: float) -> None:
        self._hearing.listen(now)

    def is_silent(self, now: float) -> bool:
        return not self.closed and self._hearing.is_silent(now)

    def abandon(self, call_id: int) -> None:
        """Nobody waits for this call any more. The other side may still perform it."""
        self._calls.pop(call_id, None)

    def give_up(self, reason: str) -> None:
        """Fail the calls that are repeatable: another server is the one to ask."""
        for call_id, (_, repeatable) in list(self._calls.items()):
            if repeatable:
                self._finish(call_id, None, ConnectionEndedError(reason))

    def close(self) -> None:
        """End the connection now; calls under way fail."""
        self.closed = True
        self._scope.cancel()

    # -- the connection ------------------------------------------------------------------------------

    async def run(self) -> None:
        transport = self._transport
        transport.write(DOOR_BYTE + frames.encode((frames.HELLO, VERSION, "http_gateway")))
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(transport.finish_sending)
                    await self._read()
                    nursery.cancel_scope.cancel()
        except* trio.ClosedResourceError:
            pass
        finally:
            self.closed = True
            transport.close()
            for call_id in list(self._calls):
                self._finish(call_id, None, ConnectionEndedError("EOF"))

    async def _read(self) -> None:
        where = ("server", _peer(self._transport.sock))
        reader = Reader(self._transport, self._handle, lambda: where, ANSWER_BYTES_MAX, CALLS_MAX)
        while True:
            await self._transport.wait_readable()
            if not reader.turn(self._batch_ends):
                return

    def _batch_ends(self) -> None:
        if self.heard:  # of a greeting that is not complete nobody can tell what follows
            self._hearing.spoke()
        if self._after_batch is not None:
            self._after_batch()

    def _handle(self, frame: frames.Frame) -> None:
        kind = frame[0]
        if not self.heard:
            frames.check_hello(frame, VERSION, "calls go by other ways")
            self._hearing.spoke()
            return
        try:
            if kind == frames.RESULT:
                self._finish(frame[1], frame[2], None)
            elif kind == frames.RESULTS:
                for call_id, value in frame[1]:
                    self._finish(call_id, value, None)
            elif kind == frames.ERROR:
                self._finish(frame[1], None, _failure(*frame[2:5]))
            elif kind == frames.EVENT and frame[1] == LEAVING:
                self._leaving = True
            else:
                raise ProtocolError(f"unexpected frame kind {kind}")
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"not an answer: {error}") from None

    def _finish(self, call_id: int, value: Any, error: ServerCallError | None) -> None:
        call = self._calls.pop(call_id, None)
        if call is not None:
            try:
                call[0](value, error)
            except Exception as bug:  # met by one caller, it must not cost the others their connection
                _log.error("RPC caller failed", error=repr(bug))


def _failure(code: Any, text: Any, data: Any) -> ServerCallError:
    text = text if type(text) is str else "an error without a text"
    if code not in _NOT_TAKEN:
        return RemoteCallError(text)
    leader, door = (data.get("leader"), data.get("door")) if isinstance(data, dict) else (None, None)
    return NotTakenError(text, leader if code == "not_leader" and door is True and type(leader) is str else "")


def _peer(sock: socket.socket) -> str:
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return "unknown"
    return f"{host}:{port}"
