"""One HTTP/1.1 server connection without I/O: bytes go in, requests come out, answers leave in order.

Reads of a pipeline may be worked on at the same time and be answered internally in any order; a write is worked on
alone, as writes may go different ways, so that a client sees its own pipeline as if it were served one by one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from services.http_gateway.lane.body import BodyTooLargeError, ChunkedBody, ChunkError, SpooledBody
from services.http_gateway.lane.head import BARE_LF, HEAD_BYTES_MAX, HeadError, HeadParser
from services.http_gateway.message import Request, TargetError
from shared.spool import Spool

_BAD_REQUEST = HeadError("400 Bad Request").answer
_HEADERS_TOO_LARGE = HeadError("431 Request Header Fields Too Large").answer
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_EXPECTATION_FAILED = b"HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_REFUSED_TARGET = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


SPOOLED_PATH = "/v1/snapshot"
"""Bodies that are put here are of any size, and go into a file."""
SPOOLED_BYTES_MAX = 1 << 40


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bytes and seconds. value_bytes_max applies to `/v1/kv/`, body_bytes_max to everything else but what is
    spooled, if there is a spool."""

    value_bytes_max: int = 512 * 1024
    body_bytes_max: int = 16 << 20
    pipeline_max: int = 32
    head_timeout_s: float = 30.0
    body_timeout_s: float = 60.0
    body_rate_min: float = 16 * 1024
    idle_timeout_s: float = 600.0
    requests_per_turn: int = 64
    output_bytes_max: int = 256 * 1024
    spool: Spool | None = None


def _nothing_known(_head: bytes) -> None:
    return None


class Connection:
    """Protocol state of one client connection.

    known(head): the answer to a request that consists of these bytes, None if it has to be dispatched.
    dispatch(request): called for every complete request; it, or someone later, answers through the request's
    channel, which is this object. wake(connection): called when there is output, or room to go on, outside of
    `receive`; the owner then calls `advance`. `output` is what to send, in order;
    `closing` means: close once `output` is sent.
    """

    __slots__ = (
        "_body",
        "_body_bytes",
        "_body_left",
        "_buffer",
        "_current",
        "_dispatch",
        "_held",
        "_is_last",
        "_known",
        "_limits",
        "_output_bytes",
        "_parser",
        "_pending",
        "_pumping",
        "_refused",
        "_scanned",
        "_wake",
        "closing",
        "deadline",
        "ended",
        "linger",
        "output",
        "remote",
        "unfinished",
    )

    def __init__(
        self,
        remote: str,
        limits: ConnectionLimits,
        parser: HeadParser,
        dispatch: Callable[[Request], None],
        wake: Callable[[Connection], None],
        now: float,
        known: Callable[[bytes], bytes | None] = _nothing_known,
    ) -> None:
        self.remote, self._limits, self._parser = remote, limits, parser
        self._dispatch, self._wake, self._known = dispatch, wake, known
        self.output: list[bytes] = []
        self.closing = False
        self.ended = False
        """The client sends no more (it may still read)."""
        self.linger = False
        """Bytes of the client may be unread: closing at once could destroy the last answer on its way."""
        self.unfinished = False
        """There is more to do without new bytes: call `advance` in the next turn, but not before what is in
        `output` has been taken by the client."""
        self.deadline = now + limits.idle_timeout_s
        self._buffer = bytearray()
        self._scanned = 0
        self._pending: deque[Request] = deque()
        self._held: Request | None = None
        self._current: Request | None = None
        self._body: ChunkedBody | None = None
        self._body_left = 0
        self._body_bytes: bytearray | SpooledBody = bytearray()
        self._pumping = False
        self._refused = False
        self._is_last = False
        self._output_bytes = 0

    @property
    def wants_data(self) -> bool:
        """Whether more bytes may be read: not while a request waits for its turn, nor after the end."""
        return not (self.closing or self.ended or self._refused or self.unfinished or self._held is not None) and (
            len(self._pending) < self._limits.pipeline_max
        )

    @property
    def idle(self) -> bool:
        """Nothing is under way: the connection may be closed without anybody missing anything."""
        return not (self._pending or self._held or self._current or self._buffer or self.output)

    @property
    def buffered_bytes(self) -> int:
        """Input that is kept: an incomplete head or body."""
        body = self._body.size if self._body is not None else len(self._body_bytes)
        return len(self._buffer) + (body if type(self._body_bytes) is bytearray else 0)

    # -- input ----------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the client. Never raises: a mistake of the client becomes an answer and `closing`."""
        if self.closing or self.ended or self._refused:
            return
        if self._is_last:  # read only to notice when the client goes
            self.linger = True
            return
        if not (self._pending or self._buffer or self._output_bytes or self._held or self._current):
            answer = self._known(data)  # between requests, and all output is taken: a request of its own
            if answer is not None:
                self.output.append(answer)
                self._output_bytes = len(answer)
                self.deadline = now + self._limits.idle_timeout_s
                return
            said = self._parser.find(data)
            if said is not None:
                self._repeat(Request.again(said, self, self.remote), now)
                return
        if self._buffer:
            self._buffer += data
            if self._current is None and self._held is None and not self._head_is_complete():
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        self._pump(data, now)

    def _repeat(self, request: Request, now: float) -> None:
        """A request that was taken before as it is, with nothing before or behind it."""
        request.started_s = now
        self._pumping = True
        self._hand_over(request)
        self._pumping = False
        self.deadline = math.inf if self._pending else now + self._limits.idle_timeout_s

    def receive_end(self, now: float) -> None:
        """The client has shut down its sending side. What it asked for completely is still answered."""
        if self._scanned and self._buffer and self._current is None and self._held is None:
            self._refuse(_BAD_REQUEST)  # half a head; half a body is nobody's request, and gets no answer
        self.ended = True
        self._close_if_done()
        self.deadline = min(self.deadline, now + self._limits.body_timeout_s)
        for request in tuple(self._pending):
            if request.on_hurry is not None:
                request.on_hurry()

    def lost(self) -> None:
        """The socket is gone: tell everyone who still works for this client."""
        self.closing = self.ended = True
        pending, self._pending = self._pending, deque()
        for request in pending:
            request.abandon()
        self._held = self._current = self._body = None
        self._buffer.clear()
        self._clear_body()
        self.output.clear()

    def _head_is_complete(self) -> bool:
        """Looks only at what is new: a head that trickles in must not cost quadratic time."""
        seen = self._scanned
        found = self._buffer.find(b"\r\n\r\n", max(0, seen - 3))
        self._scanned = len(self._buffer)
        if found < 0:
            self._refuse_hopeless_head(seen)
        return found >= 0

    def _refuse_hopeless_head(self, seen: int = 0) -> None:
        """Does not wait for an end of the head that is over the limit or that such a client will never send."""
        if len(self._buffer) > HEAD_BYTES_MAX:
            self._refuse(_HEADERS_TOO_LARGE)
        elif BARE_LF.search(self._buffer, seen):
            self._refuse(_BAD_REQUEST)

    def _pump(self, data: bytes, now: float) -> None:
        """Take requests off `data` as far as they are complete and their turn has come; keep the rest."""
        at = 0
        turn = self._limits.requests_per_turn
        self._pumping = True
        while not (self.closing or self._refused):
            if self._is_last:
                self.linger = self.linger or at < len(data)
                break
            turn -= 1
            if self._current is None and (turn < 0 or self._output_bytes > self._limits.output_bytes_max):
                # Others wait, or this client does not read what it asked for: go on in a later turn.
                self._buffer += data[at:]
                self._scanned = 0
                self.unfinished = bool(self._buffer)
                break
            if self._current is not None:
                data, at = self._read_body(data, at)
                if self._current is not None:
                    if type(self._body_bytes) is not bytearray:  # of any size: what counts is that it goes on
                        self.deadline = now + self._limits.body_timeout_s
                    break
            elif self._held is not None or len(self._pending) >= self._limits.pipeline_max:
                self._buffer += data[at:] if at else data
                self._scanned = 0
                break
            else:
                end = data.find(b"\r\n\r\n", at)
                if end < 0:
                    self._keep_incomplete_head(data[at:] if at else data, now)
                    break
                start, at = at, end + 4
                self._begin(data[start:end], data if start == 0 and at == len(data) else b"", now)
        self._pumping = False
        if self._pending and self._current is None:
            self.deadline = math.inf

    @property
    def blocked(self) -> bool:
        """Something was held back that `advance` may be able to let go: not an incomplete head or body, which
        only more bytes can complete, and which is not looked at again without them."""
        return self._held is not None or (bool(self._buffer) and self._holds_unseen_bytes)

    @property
    def _holds_unseen_bytes(self) -> bool:
        return bool(self._buffer) and self._scanned == 0 and self._current is None

    def _keep_incomplete_head(self, rest: bytes, now: float) -> None:
        if not rest:
            if not self._pending:
                self.deadline = now + self._limits.idle_timeout_s
            return
        self._buffer += rest
        self._scanned = len(rest)
        self.deadline = now + self._limits.head_timeout_s
        self._refuse_hopeless_head()

    def _begin(self, head: bytes, alone: bytes, now: float) -> None:
        """A complete head: make the request, and read its body or hand it over.

        alone: the head with its end if nothing came before or after it."""
        try:
            if len(head) > HEAD_BYTES_MAX:
                self._refuse(_HEADERS_TOO_LARGE)
                return
            method, target, version, block = self._parser.parse(head)
            keep_alive = not block.close and (version == 11 or block.keep_alive)
            request = Request(
                self,
                method,
                target,
                block.fields,
                remote=self.remote,
                version=version,
                keep_alive=keep_alive,
                gzip=block.gzip,
                plain=block.plain,
            )
        except HeadError as error:
            self._refuse(error.answer)
            return
        except TargetError:
            self._refuse(_BAD_REQUEST)
            return
        if request.path == "*" and method != "OPTIONS":
            self._refuse(_REFUSED_TARGET)
            return
        if block.unmet:
            self._refuse(_EXPECTATION_FAILED)
            return
        request.started_s = now
        length = request.content_length = block.content_length if block.content_length > 0 else 0
        if block.chunked or length:
            limit = self._limits.value_bytes_max
            if not request.path.startswith("/v1/kv/"):
                limit = self._limits.body_bytes_max
                if request.path == SPOOLED_PATH and method == "PUT" and self._limits.spool is not None:
                    limit = SPOOLED_BYTES_MAX
                    self._body_bytes = request.spooled = SpooledBody(self._limits.spool)
            if length > limit:
                request.body_complete = request.keep_alive = False
            else:
                self._expect_body(request, length, limit, block.chunked, now)
                if block.expects_continue and version == 11:
                    self._invite_body()
                return
        elif alone:
            request.head = alone
            self._parser.learn(request)
        self._hand_over(request)

    def _expect_body(self, request: Request, length: int, limit: int, chunked: bool, now: float) -> None:
        self._current = request
        self._body_left = length
        sink = self._body_bytes
        self._body = ChunkedBody(limit, sink if type(sink) is SpooledBody else None) if chunked else None
        self.deadline = now + self._limits.body_timeout_s + (length or limit) / self._limits.body_rate_min

    def _invite_body(self) -> None:
        """100 Continue, unless answers are due before it: then the client's own timer lets it go on."""
        if not self._pending:
            self.output.append(_CONTINUE)

    def _read_body(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Feed the body of the current request; returns what follows as (data, position)."""
        request = self._current
        assert request is not None
        if self._body is not None:
            return self._read_chunks(request, self._body, data[at:])
        part = data[at : at + self._body_left]
        self._body_left -= len(part)
        if self._body_left:
            self._body_bytes += part  # type: ignore[operator]  # both kinds know how
            return b"", 0
        if self._body_bytes:
            self._body_bytes += part  # type: ignore[operator]
            request.body = bytes(self._body_bytes)
            self._clear_body()
        else:
            request.body = part
        self._current = None
        self._hand_over(request)
        return data, at + len(part)

    def _read_chunks(self, request: Request, body: ChunkedBody, data: bytes) -> tuple[bytes, int]:
        self._buffer += data
        try:
            if not body.feed(self._buffer):
                return b"", 0
            request.body, request.content_length = body.data, body.size
        except BodyTooLargeError:
            request.body_complete = request.keep_alive = False
            request.content_length = -1
        except ChunkError:
            self._refuse(_BAD_REQUEST)
            return b"", 0
        data = bytes(self._buffer)
        self._buffer.clear()
        self._current = self._body = None
        self._clear_body()
        self._hand_over(request)
        return data, 0

    def _clear_body(self) -> None:
        self._body_bytes.clear()
        if type(self._body_bytes) is not bytearray:
            self._body_bytes = bytearray()

    def _hand_over(self, request: Request) -> None:
        """Dispatch, unless it has to wait for what is ahead of it in the pipeline."""
        pending = self._pending
        self._is_last = not request.keep_alive  # what the client sends behind it must have no effect
        if pending and (request.writes or pending[-1].writes):
            self._held = request
            return
        pending.append(request)
        self._dispatch(request)

    def _refuse(self, answer: bytes) -> None:
        """The client made a mistake after which nothing it sends can be trusted: answer last, then close."""
        self._buffer.clear()
        self._current = self._body = self._held = None
        self._clear_body()
        self.linger = True
        refusal = Request(self, "GET", "/", {}, remote=self.remote, keep_alive=False)
        self._pending.append(refusal)
        self._refused = True
        self.finish(refusal, answer)

    # -- output ---------------------------------------------------------------------------------

    def finish(self, request: Request, data: bytes) -> None:
        """The answer, or its last part. Answers wait here until those before them are complete."""
        pending = self._pending
        if request.abandoned or request.output is not None:
            return
        request.output = data
        if pending[0] is not request:
            return
        while pending and pending[0].output is not None:
            done = pending.popleft()
            if done.backlog:
                self.output += done.backlog
            if done.output:
                self.output.append(done.output)
                self._output_bytes += len(done.output)
            if not done.keep_alive:
                self.linger = self.linger or not done.body_complete
                self._close_after(pending)
        if pending and pending[0].backlog:
            self.output += pending[0].backlog
            pending[0].backlog = []
        if not self._pumping:
            self._close_if_done()
            self._wake(self)

    def stream(self, request: Request, data: bytes) -> None:
        """A part of an answer. Parts of an answer that is not yet at the front wait in its backlog."""
        if request.abandoned or request.output is not None:
            return
        if self._pending[0] is request:
            self.output.append(data)
        elif request.backlog is None:
            request.backlog = [data]
        else:
            request.backlog.append(data)
        if not self._pumping:
            self._wake(self)

    def _close_after(self, pending: deque[Request]) -> None:
        """No request after this one is answered: the client was told, or told us."""
        self.closing = True
        self.linger = self.linger or self._held is not None or self._current is not None or bool(self._buffer)
        self._held = self._current = None
        while pending:
            pending.popleft().abandon()

    def advance(self, now: float) -> None:
        """Let go on what was held back, now that answers have come from outside of `receive`."""
        self.unfinished = False
        if self.closing or self._refused:
            return
        held = self._held
        if held is not None and not (self._pending and (held.writes or self._pending[-1].writes)):
            self._held = None
            self._pumping = True
            self._hand_over(held)
            self._pumping = False
        if self._held is None and self._holds_unseen_bytes:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._pump(data, now)
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self.ended and not self._pending and not self.blocked:
            self.closing = True

    def settle(self, now: float) -> bool:
        """The client has taken all output: if nothing is pending, it is idle (or a slow sender) from now on.

        Returns whether more bytes may be read."""
        self._output_bytes = 0
        if not self._pending:
            if self.deadline == math.inf:
                limits = self._limits
                self.deadline = now + (limits.head_timeout_s if self._buffer else limits.idle_timeout_s)
            if not (self._buffer or self.ended):
                return not self._refused
        return self.wants_data
