"""Asking: how a client agent reads - the questions of a batch go to a server in one call (shared.many_reads).

An answer is kept, rendered, with the tag that the server gave it, and is given again when the server says that it is
still the right one. Whoever comes while calls are under way waits for the next one: nothing is answered from a state
that was looked at before the question came. What a server does not answer in this way, and everything while the server
does not know it (Consul's do not), is asked alone."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from services.http_gateway.call import LATER, Call
from shared import many_reads, metrics
from shared.ipc.errors import IpcError, RemoteError

if TYPE_CHECKING:
    from services.http_gateway.gateway import Gateway
    from services.http_gateway.message import Request
    from services.http_gateway.options import ReadOptions
    from services.http_gateway.reads import Read

ENTRIES_MAX: Final = 4096
BYTES_MAX: Final = 16 << 20
ENTRY_BYTES_MAX: Final = 1 << 20
READS_MAX: Final = 256
"""Questions in one call."""
AT_ONCE: Final = 2
"""Calls under way beyond which whoever comes waits for the next one: while one is on its way, this process works on
the other. More would be smaller ones, of which each wakes every process on the way."""
PATIENCE_S: Final = 0.05
"""Calls that take longer do not keep the next one waiting any more."""
CALLS_MAX: Final = 16
ALONE_S: Final = 5.0
"""How long after a server that does not know the call it is not tried."""
_OK: Final = b"HTTP/1.1 200 "
_DATE: Final = b"\r\nDate: "
_DATE_LENGTH: Final = len("Date: Sat, 21 Nov 2026 02:38:27 GMT\r\n")

Key = tuple[str, bool]
"""Target of a request without a body, and whether its answer may be compressed: what such an answer depends on."""


class _Answer:
    """What a server said: body in msgpack, its tag; before, after: rendered, without the date."""

    __slots__ = ("after", "before", "body", "tag")

    def __init__(self, tag: bytes, body: bytes) -> None:
        self.tag, self.body = tag, body
        self.before = self.after = b""


class _Question:
    """One request that may come again. waiters: who has asked since the last call."""

    __slots__ = ("answer", "key", "method", "metric", "packed", "size", "stale", "waiters")

    def __init__(self, key: Key, method: str, packed: bytes, stale: bool, metric: str) -> None:
        self.key, self.method, self.packed, self.stale, self.metric = key, method, packed, stale, metric
        self.waiters: list[Request] = []
        self.answer: _Answer | None = None
        self.size = len(packed) + len(key[0])


class _Queue:
    """Questions of one consistency that wait for their call. calls: under way, the latest since `asked_at`."""

    __slots__ = ("asked_at", "calls", "waiting")

    def __init__(self) -> None:
        self.waiting: list[_Question] = []
        self.calls = 0
        self.asked_at = 0.0


Asked = tuple[_Question, _Answer | None, list["Request"]]
"""What is in a call: a question, the answer whose tag was sent, who waits."""


def _reply(answer: _Answer, meta: dict[str, Any]) -> dict[str, Any] | RemoteError:
    try:
        return {**many_reads.unpacked(answer.body), **meta}
    except ValueError as error:
        return _misshapen(error)


def _misshapen(error: ValueError) -> RemoteError:
    return RemoteError("rpc", f"rpc error making call: {error}")


class Asking:
    """One per client agent. Bounded by entries and bytes; when full, what was asked first goes first."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._questions: dict[Key, _Question] = {}
        self._bytes = 0
        self._default, self._stale = _Queue(), _Queue()
        self._alone_until = 0.0
        self.on_kept_waiting: Callable[[], None] = lambda: None
        """Called when somebody has to wait for calls under way; `start` has to come again after PATIENCE_S."""
        self._answering: tuple[Request, Any] | None = None
        """A request, and what it is to be answered with: a reply, an IpcError, or None if it has to ask alone."""
        self.reset(limited=gateway.config.limits.limits_calls)

    def reset(self, *, limited: bool) -> None:
        """Another configuration: no answer may be given again. limited: calls are counted one by one."""
        self._limited = limited
        for question in list(self._questions.values()):
            self._remove(question)

    # -- requests -------------------------------------------------------------------------------

    def answer(self, request: Request) -> bool:
        """Take a GET as everybody sends it, if its question is known."""
        question = self._questions.get((request.target, request.gzip))
        if question is None or request.on_response is not None or monotonic() < self._alone_until:
            return False
        self._wait(question, request)
        return True

    def read(self, call: Call, options: ReadOptions, query: Read) -> Any:
        """What a handler returns for this read; None if it has to be asked alone."""
        request = call.request
        answering = self._answering
        if answering is not None and answering[0] is request:
            return self._given(call, options, query, answering[1])
        if not self._is_for_many(call, options, query):
            return None
        key = (request.target, request.gzip)
        question = self._questions.get(key)
        if question is None:
            wanted = {**query.arguments, **options.to_wire(), "Datacenter": options.datacenter}
            packed = many_reads.pack(wanted)
            if len(packed) + len(key[0]) > ENTRY_BYTES_MAX:
                return None
            question = _Question(key, query.method, packed, options.allow_stale, call.route.metric)
            self._questions[key] = question
            self._bytes += question.size
            self._make_room()
        self._wait(question, request)
        return LATER

    def _is_for_many(self, call: Call, options: ReadOptions, query: Read) -> bool:
        request = call.request
        as_usual = request.plain and request.keep_alive and request.version == 11 and request.on_response is None
        return (
            as_usual
            and request.method == "GET"
            and query.method in many_reads.METHODS
            and options.datacenter == self._gateway.config.datacenter
            and not (options.min_index or options.require_consistent or options.max_stale_ns)
            and not self._limited
            and monotonic() >= self._alone_until
        )

    def _given(self, call: Call, options: ReadOptions, query: Read, reply: Any) -> Any:
        from services.http_gateway.reads import shown

        if reply is None:
            return None
        if isinstance(reply, IpcError):
            call.failed(reply if query.failed is None else query.failed(reply))
            return LATER
        return shown(call, options, query, reply)

    def _wait(self, question: _Question, request: Request) -> None:
        if not question.waiters:
            (self._stale if question.stale else self._default).waiting.append(question)
        question.waiters.append(request)
        if not self._gateway.moment.in_batch:
            self.start()

    # -- calls ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Ask for all who wait."""
        for queue in (self._default, self._stale):
            if not queue.waiting:
                continue
            takes_long = monotonic() - queue.asked_at >= PATIENCE_S
            if queue.calls < AT_ONCE or (takes_long and queue.calls < CALLS_MAX):
                self._ask(queue)
            else:
                self.on_kept_waiting()

    def _ask(self, queue: _Queue) -> None:
        gateway = self._gateway
        questions, queue.waiting = queue.waiting[:READS_MAX], queue.waiting[READS_MAX:]
        asked: list[Asked] = []
        reads: list[tuple[str, bytes, bytes]] = []
        for question in questions:
            known = question.answer
            waiters, question.waiters = question.waiters, []
            asked.append((question, known, waiters))
            reads.append((question.method, question.packed, b"" if known is None else known.tag))
        queue.calls += 1
        queue.asked_at = monotonic()

        def finished(value: Any, error: IpcError | None) -> None:
            queue.calls -= 1
            self.start()  # first of all: others work on it while these are answered
            gateway.flush_calls()
            gateway.begin_batch()
            try:
                if error is None:
                    self._replied(asked, value)
                else:
                    self._failed(asked, error)
            finally:
                gateway.end_batch()

        def by_rpc_core(timeout_s: float) -> None:
            gateway.rpc.post(many_reads.DOOR, request, finished, timeout_s=timeout_s, retry_safe=True)

        request = many_reads.request(gateway.config.datacenter, reads, stale=queue is self._stale)
        timeout_s, line = gateway.rpc_timeout_s, gateway.line
        if not (
            line is not None
            and line.knows_many_reads
            and line.post(many_reads.METHOD, request, finished, by_rpc_core, timeout_s=timeout_s, repeatable=True)
        ):
            by_rpc_core(timeout_s)

    def _failed(self, asked: list[Asked], error: IpcError) -> None:
        reply: IpcError | None = error
        if isinstance(error, RemoteError) and error.code == many_reads.UNKNOWN:
            self._alone_until, reply = monotonic() + ALONE_S, None
        for _, _, waiters in asked:
            for request in waiters:
                self._dispatch(request, reply)

    def _replied(self, asked: list[Asked], value: Any) -> None:
        try:
            contact_ns, known_leader, answers = many_reads.answers(value, len(asked))
        except ValueError as error:
            self._failed(asked, _misshapen(error))
        else:
            self._answered(asked, contact_ns, known_leader, answers)

    def _answered(self, asked: list[Asked], contact_ns: int, known_leader: bool, answers: list[Any]) -> None:
        as_leader = known_leader and not contact_ns
        for (question, known, waiters), (what, tag, body) in zip(asked, answers, strict=True):
            if what == many_reads.ALONE or (what == many_reads.SAME and known is None):
                for request in waiters:
                    self._dispatch(request, None)
                continue
            if what == many_reads.VALUE or known is None:
                known = _Answer(tag, body)
                self._keep(question, known)
            if as_leader and known.before:
                self._finish(question, waiters, known)
            else:
                meta = {"LastContact": contact_ns, "KnownLeader": known_leader}
                self._render(question, waiters, known, meta, keep=as_leader)

    def _render(
        self, question: _Question, waiters: list[Request], known: _Answer, meta: dict[str, Any], *, keep: bool
    ) -> None:
        """Answer the first in full, and the others with the same bytes."""
        gateway = self._gateway
        gateway.last_answer = b""
        self._dispatch(waiters[0], _reply(known, meta))
        data = gateway.last_answer
        if not data.startswith(_OK):
            for request in waiters[1:]:
                self._dispatch(request, _reply(known, meta))
            return
        at = data.index(_DATE) + 2
        rendered = _Answer(b"", b"") if question.answer is not known or not keep else known
        rendered.before, rendered.after = data[:at], data[at + _DATE_LENGTH :]
        if rendered is known:
            self._resize(question, len(data))
        self._finish(question, waiters[1:], rendered)

    def _finish(self, question: _Question, waiters: list[Request], known: _Answer) -> None:
        gateway = self._gateway
        data = b"".join((known.before, gateway.moment.date_line(), known.after))
        gateway.finish_group(waiters, data, question.metric)

    def _dispatch(self, request: Request, reply: Any) -> None:
        """Send a request the full way again; its read is answered with `reply`, see `_answering`."""
        self._answering = (request, reply)
        try:
            self._gateway.dispatch_fully(request)
        finally:
            self._answering = None

    # -- what is kept ---------------------------------------------------------------------------

    def _keep(self, question: _Question, answer: _Answer) -> None:
        if self._questions.get(question.key) is not question:
            return
        question.answer = answer if answer.tag and len(answer.body) <= ENTRY_BYTES_MAX else None
        base = len(question.packed) + len(question.key[0])
        kept = len(answer.body) if question.answer is not None else 0
        self._resize(question, base + kept - question.size)

    def _resize(self, question: _Question, more: int) -> None:
        if self._questions.get(question.key) is question:
            question.size += more
            self._bytes += more
            self._make_room()

    def _make_room(self) -> None:
        while len(self._questions) > ENTRIES_MAX or self._bytes > BYTES_MAX:
            self._remove(next(iter(self._questions.values())))
        metrics.gauge("consul.http.answer_cache.entries", len(self._questions))
        metrics.gauge("consul.http.answer_cache.bytes", self._bytes)

    def _remove(self, question: _Question) -> None:
        """Who waits for it is answered all the same."""
        del self._questions[question.key]
        self._bytes -= question.size
        question.answer = None
