"""Gateway: what every handler stands on - configuration, state, neighbours - and the way of a request through it.

A batch of requests shares one snapshot and one look at the leadership page, both taken when first needed after
all bytes of the batch were read. What answers outside of the lane's turns (a batch of a neighbour's frames, a
deadline, a task of the application) is a batch of its own: nothing is answered from a state that was looked at
before the question.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any

from services.http_gateway.cache import AnswerCache
from services.http_gateway.call import Call
from services.http_gateway.errors import HttpError, MethodNotAllowedError
from services.http_gateway.go_http import DateLine, render
from services.http_gateway.message import Request, Response, parse_query
from services.http_gateway.options import ReadOptions
from services.http_gateway.policy import Policy
from services.http_gateway.reads import Blocking
from services.http_gateway.redirect import clean_path, is_printable, redirect
from services.http_gateway.routes.table import Route, Routes
from shared import log, metrics
from shared.config.runtime import RuntimeConfig
from shared.ipc import IpcError, Link
from shared.ipc.calls import OnDone
from shared.state.answer import Answer
from shared.state.errors import StateUnavailableError
from shared.state.leadership import Leadership, LeadershipPage
from shared.state.reader import StateReader
from shared.state.snapshot import Snapshot
from shared.state.watch import WatchHub
from shared.structs.gotime import format_duration

_log = log.get_logger("agent.http")

_ASKED_MAX = 4096
VARY = {"Vary": "Accept-Encoding"}


class Links:
    """The neighbours a gateway talks to."""

    def __init__(self, raft: Link, rpc: Link, gossip: Link, supervisor: Link, dns: Link) -> None:
        self.raft, self.rpc, self.gossip, self.supervisor, self.dns = raft, rpc, gossip, supervisor, dns


class Gateway:
    """Everything here runs on the event loop and never waits. `app` takes requests that need a task."""

    def __init__(
        self,
        config: RuntimeConfig,
        links: Links,
        routes: Routes,
        *,
        clock: Callable[[], float],
        rng: Random,
        reader: StateReader | None,
        page: LeadershipPage,
    ) -> None:
        self.links, self.rpc = links, links.rpc
        self._routes, self._clock = routes, clock
        self._reader, self._page = reader, page
        self._snap: Snapshot | None = None
        self._leadership: Leadership | None = None
        self._in_batch = False
        self._read_index_waiters: list[OnDone] | None = None
        self._read_index_next: list[OnDone] = []
        self._asked: set[tuple[str, str]] = set()
        self.hub = WatchHub()
        self.blocking = Blocking(self, rng, clock)
        self.date = DateLine()
        self.last_answer = b""
        """The bytes of the answer rendered last: what a group of waiters shares."""
        self.take_slow: Callable[[Call], None] = _no_slow_door
        self.use_config(config)

    def use_config(self, config: RuntimeConfig) -> None:
        """At start and on reload."""
        self.config = config
        self.policy = Policy(config)
        self.rpc_timeout_s = config.performance.rpc_hold_timeout_s + 1.0
        self.cache = AnswerCache()

    # -- state ----------------------------------------------------------------------------------

    def begin_batch(self) -> None:
        """Everything that is looked at from here to `end_batch` is one state, no older than this moment."""
        self.end_batch()
        self._in_batch = True

    def end_batch(self) -> None:
        self._in_batch = False
        self._leadership = None
        if self._snap is not None:
            self._snap.close()
            self._snap = None

    def snapshot(self) -> Snapshot:
        """The state as of this batch. Raises StateUnavailableError. Not to be kept."""
        snap = self._snap
        if snap is None:
            if self._reader is None:
                raise StateUnavailableError("a client agent")
            snap = self._snap = self._reader.snapshot()
        return snap

    def leadership(self) -> Leadership:
        leadership = self._leadership
        if leadership is None:
            leadership = self._page.read()
            if self._in_batch:
                self._leadership = leadership
        return leadership

    def leads(self) -> bool:
        """Whether a default read may be answered here and now."""
        return self.leadership().may_serve_default(time.monotonic_ns())

    def wait_s(self, options: ReadOptions) -> float:
        """How long a blocking query waits, without jitter: the default for none, never more than the maximum."""
        if options.wait_ns <= 0:
            return self.config.default_query_time_s
        return min(options.wait_ns / 1e9, self.config.max_query_time_s)

    def read_index(self, on_done: OnDone) -> None:
        """One ReadIndex round for all that ask before it is sent; those who come later share the next one."""
        if self._read_index_waiters is None:
            self._read_index_waiters = [on_done]
            self._ask_read_index()
        else:
            self._read_index_next.append(on_done)

    def _ask_read_index(self) -> None:
        def finished(value: Any, error: IpcError | None) -> None:
            waiters, self._read_index_waiters = self._read_index_waiters or [], None
            if self._read_index_next:
                self._read_index_waiters, self._read_index_next = self._read_index_next, []
                self._ask_read_index()
            for waiter in waiters:
                waiter(value, error)

        self.links.raft.post("Raft.ReadIndex", None, finished, timeout_s=self.rpc_timeout_s, retry_safe=True)

    def changed(self, record: Any) -> None:
        """A change record of raft_node: [index, topics]."""
        self.hub.notify(record[1])

    def missed_changes(self) -> None:
        """The feed was interrupted: everyone looks again."""
        self.hub.wake_all()
        self.blocking.settle()
        self.end_batch()

    # -- requests -------------------------------------------------------------------------------

    def dispatch(self, request: Request) -> None:
        """A complete request. Answers now, or arranges that somebody does later."""
        try:
            if request.method == "GET" and request.plain and request.keep_alive and request.version == 11:
                if self.cache.answer(self, request):
                    return
                if request.path.startswith("/v1/kv/") and self._routes.fast_get(self, request):
                    return
            self.handle(request)
        except Exception as error:  # a bug met by one request must not take everybody's connections with it
            self._report(request, error)
            self.finish(request, Response(500, {}, b"internal error"), None)

    def handle(self, request: Request, slow: Callable[[Call], None] | None = None) -> None:
        """The full way: path rules, route, policy, handler. `slow` takes calls whose answer is a stream."""
        path = request.path
        if not is_printable(path) and not self.config.disable_http_unprintable_char_filter:
            self.finish(request, Response(400), None)
            return
        cleaned = clean_path(path)
        if cleaned != path and path != "*":
            self.finish(request, redirect(request, cleaned), None)
            return
        route = self._routes.find(path)
        if route is None:
            self._outside(request, path)
        else:
            self._serve(request, route, slow or self.take_slow)

    def _outside(self, request: Request, path: str) -> None:
        """Paths that are no API: the root, the status page, and everything unknown."""
        if path == "*":
            self.finish(request, Response(200, {"Content-Length": "0"}), None)
        elif path + "/" in self._routes.patterns or (self.config.ui and path + "/" == self.config.ui_content_path):
            self.finish(request, redirect(request, path + "/"), None)
        elif self.config.ui and (path == "/robots.txt" or path.startswith(self.config.ui_content_path)):
            self._routes.page(self, request)
        elif path != "/":
            self.finish(request, Response(404), None)
        elif self.config.ui:
            self.finish(request, redirect(request, self.config.ui_content_path, absolute=True), None)
        else:
            self.finish(request, Response(200, {}, b"Consul Agent"), None)

    def _serve(self, request: Request, route: Route, slow: Callable[[Call], None]) -> None:
        call = Call(self, request, route, {**self.policy.headers, **VARY})
        if request.raw_query and ("%" in request.raw_query):
            error = parse_query(request.raw_query)[1]
            if error:
                _log.error("Failed to decode query", **{"from": request.remote}, error=error)
                self.finish(request, Response(500, call.headers), route.metric)
                return
        try:
            self.policy.check_path(request)
            if request.method == "OPTIONS" and route.methods:
                self.finish(request, Response(200, {**call.headers, "Allow": route.allow}), route.metric)
                return
            if route.methods and request.method not in route.methods:
                raise MethodNotAllowedError(request.method, route.allow)
            self.policy.check_write(request)
            if not request.body_complete and not route.takes_large:
                raise HttpTooLarge(request)
            if route.handler is None:
                slow(call)
            else:
                call.done(route.handler(call))
        except (HttpError, IpcError, StateUnavailableError) as error:
            call.failed(error)
        except Exception as error:  # a bug in one handler must not take the connections of all clients with it
            self.failed_badly(call, error)

    def failed_badly(self, call: Call, error: Exception) -> None:
        """A handler broke: say so in the log, with the place, and answer 500."""
        self._report(call.request, error)
        call.failed(HttpError("internal error"))

    def _report(self, request: Request, error: Exception) -> None:
        import traceback

        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
        _log.error("Handler failed", url=self.policy.shown_url(request), error=repr(error), at=where)
        metrics.incr("consul.http.handler_failed")

    # -- answers --------------------------------------------------------------------------------

    def finish(self, request: Request, response: Response, metric: str | None) -> None:
        """Render and send. `metric`: path part of the metric name, None for what is no API endpoint."""
        if request.on_response is not None:
            request.on_response(response)
            if metric is not None:
                self.note_finished(request, metric)
            return
        data = render(request, response, self.date.text())
        if self.cache.has_offer:
            self.cache.take(request, data)
        self.last_answer = data
        self.finish_rendered(request, data, metric)

    def finish_rendered(self, request: Request, data: bytes, metric: str | None) -> None:
        request.channel.finish(request, data)
        if metric is not None:
            self.note_finished(request, metric)

    def note_finished(self, request: Request, metric: str) -> None:
        """Metric and debug line of a finished API request."""
        latency_s = self._clock() - request.started_s
        metrics.sample(f"consul.http.{request.method}.{metric}", latency_s * 1000)
        if _log.enabled(log.DEBUG):
            _log.debug(
                "Request finished",
                method=request.method,
                url=self.policy.shown_url(request),
                **{"from": request.remote},
                latency=format_duration(int(latency_s * 1e9)),
            )

    def log_failure(self, request: Request, error: HttpError) -> None:
        _log.error(
            "Request error",
            method=request.method,
            url=self.policy.shown_url(request),
            **{"from": request.remote},
            error=str(error),
        )

    def cache_headers(self, method: str, path: str) -> dict[str, str]:
        """X-Cache and Age as the agent cache gives them: a miss the first time, later a hit that is kept fresh."""
        key = (method, path)
        if key in self._asked:
            return {"X-Cache": "HIT", "Age": "0"}
        if len(self._asked) >= _ASKED_MAX:
            self._asked.clear()
        self._asked.add(key)
        return {"X-Cache": "MISS"}

    def remember(self, call: Call, options: ReadOptions, answer: Answer[Any], snap: Snapshot) -> None:
        """The answer about to be given to this call may serve the next who asks the same."""
        self.cache.offer(self, call, options, answer, snap)


class HttpTooLarge(HttpError):
    """A body over the limit, of which nothing was read."""

    status = 413

    def __init__(self, request: Request) -> None:
        size = f"({request.content_length} bytes) " if request.content_length >= 0 else ""
        super().__init__(f"Request body {size}too large")


def _no_slow_door(call: Call) -> None:
    raise HttpError("this endpoint needs the application server, which is not running")
