"""Serving a process of another agent: frames of the local IPC over TCP, and few of them.

Who is at the other end is not known, as on the rest of the server port; so nothing but calls of the given handlers is
taken, every element of a frame is looked at before it is used, and all that can pile up has a bound. What is said:

    the caller   HELLO [VERSION, name], CALL
    this side    HELLO [VERSION, name], RESULT, RESULTS, ERROR, EVENT ["leaving", nil]: call elsewhere from now on"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from typing import Any, Final

import trio

from shared.ipc import frames
from shared.ipc.errors import ProtocolError
from shared.ipc.serving import Connection, Handlers, Request
from shared.ipc.together import Together
from shared.ipc.transport import Peer

VERSION: Final = 1
PAYLOAD_BYTES_MAX: Final = 544 << 10
"""What a caller may send: a value of the largest size that Consul takes by default, and all around it."""
FRAME_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + (1 << 10)
GREETING_TIMEOUT_S: Final = 10.0
CALLS_MAX: Final = 4096
"""Of one connection without an answer; more are refused."""
LEAVING: Final = "leaving"
_UPGRADE: Final = "it is asked by other ways until both are of one version"
_NO_PROCESS: Final = Peer(0, -1, -1)
_TIMEOUT_MS_MAX: Final = 3_600_000
_FRAME_ITEMS_MAX: Final = 8
_ANSWERS_HIGH_BYTES: Final = 256 << 10


class RemoteRequest(Request):
    """A call of another agent. on_answer: called when it is answered, in whatever way."""

    __slots__ = ("answered", "on_answer")

    def __init__(self, connection: RemoteConnection, request_id: int, method: str, payload: Any, deadline: float):
        super().__init__(connection, request_id, method, payload, deadline)
        self.on_answer: Callable[[], None] | None = None
        self.answered = False
        connection.unanswered += 1

    def reply(self, value: Any = None) -> None:
        if self._ends():
            super().reply(value)

    def reply_with(self, others: Together, value: Any) -> None:
        if self._ends():
            super().reply_with(others, value)

    def fail(self, code: str, message: str, data: Any = None) -> None:
        if self._ends():
            super().fail(code, message, data)

    def _ends(self) -> bool:
        """False: it was answered before, and a bug has come behind the answer."""
        if self.answered:
            return False
        self.answered = True
        assert isinstance(self._connection, RemoteConnection)
        self._connection.unanswered -= 1
        if self.on_answer is not None:
            self.on_answer()
        return True


class RemoteConnection(Connection):
    """Owns `sock`. source: "ip:port" of the peer."""

    frame_bytes_max = FRAME_BYTES_MAX
    items_max = _FRAME_ITEMS_MAX
    answers_high_bytes = _ANSWERS_HIGH_BYTES
    request_type = RemoteRequest

    def __init__(self, handlers: Handlers, sock: socket.socket, source: str) -> None:
        super().__init__(handlers, sock, _NO_PROCESS, receive_fds=False)
        self.peer_name = source
        self.unanswered = 0
        self._greeting: trio.CancelScope

    async def serve(self) -> None:
        with trio.move_on_after(GREETING_TIMEOUT_S) as self._greeting:
            await super().serve()

    def say_leaving(self) -> None:
        self.transport.write(frames.encode((frames.EVENT, LEAVING, None)))

    def hello(self) -> frames.Frame:
        return [frames.HELLO, VERSION, self.handlers.name]

    def handle(self, frame: frames.Frame) -> None:
        kind = frame[0]
        if not self._greeted:
            frames.check_hello(frame, VERSION, _UPGRADE)
            self._greeted = True
            self._greeting.deadline = math.inf
        elif kind == frames.CALL:
            _, request_id, method, timeout_ms, payload = frame[:5]
            if type(request_id) is not int or type(method) is not str or type(timeout_ms) is not int:
                raise ProtocolError("a call has a number, the name of a method and a time")
            if not (0 < request_id < 1 << 63 and 0 <= timeout_ms <= _TIMEOUT_MS_MAX):
                raise ProtocolError(f"call {request_id} is to wait for {timeout_ms} ms")
            if self.unanswered >= CALLS_MAX:
                busy = f"{self.handlers.name} is busy: {CALLS_MAX} calls are running"
                self.transport.write(frames.encode((frames.ERROR, request_id, "unavailable", busy, None)))
            else:
                self._call(request_id, method, timeout_ms, payload)
        else:
            raise ProtocolError(f"unexpected frame kind {kind}")
