"""Gateway: what every handler stands on - configuration, state, neighbours - and the way of a request through it.

A batch of requests looks at one moment (see there). What answers outside of the lane's turns (a batch of a
neighbour's frames, a deadline, a task of the application) is a batch of its own: nothing is answered from a state
that was looked at before the question.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import groupby
from operator import attrgetter
from random import Random
from typing import Any

from services.http_gateway.agent_cache import KnownValues
from services.http_gateway.asking import Asking
from services.http_gateway.cache import AnswerCache
from services.http_gateway.call import VARY, Call
from services.http_gateway.client_line import ClientLine
from services.http_gateway.confirming import Confirming
from services.http_gateway.errors import HttpError, MethodNotAllowedError
from services.http_gateway.go_http import DateLine, render
from services.http_gateway.message import Request, Response, parse_query
from services.http_gateway.moment import Moment
from services.http_gateway.options import ReadOptions
from services.http_gateway.policy import Policy
from services.http_gateway.read_index import ask_leader
from services.http_gateway.reads import Blocking
from services.http_gateway.redirect import clean_path, is_printable, redirect
from services.http_gateway.repeats import Known, Repeats
from services.http_gateway.rounds import Rounds
from services.http_gateway.routes.kv_fast import SetCommand
from services.http_gateway.routes.table import Route, Routes
from services.http_gateway.server_line import ServerLine
from services.http_gateway.writes import Writes
from shared import log, metrics
from shared.config.runtime import RuntimeConfig
from shared.gotext.durations import format_duration_ns
from shared.ipc import IpcError, Link
from shared.ipc.calls import OnDone
from shared.spool import Spool
from shared.state.answer import Answer
from shared.state.errors import StateUnavailableError
from shared.state.leadership import LEADER, LeadershipPage
from shared.state.reader import StateReader
from shared.state.snapshot import Snapshot
from shared.state.watch import WatchHub

_log = log.get_logger("agent.http")

_SERVER_S = 45.0
"""How long after the hold timeout a client's connection to a server that hangs is given up at the latest."""
_started_s = attrgetter("started_s")


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
        self.date = DateLine()
        self.moment = Moment(reader, page, self.date)
        self.writes = Writes(links.raft, links.rpc, self.moment.leads)
        self._batch_started_s = 0.0
        self._own_rounds = Rounds(self, self._post_own_round, self._flush_own_round, at_once=2)
        self._leaders_rounds = Rounds(self, partial(ask_leader, self, True), self.flush_calls, at_once=2)
        self._leases_rounds = Rounds(self, partial(ask_leader, self, False), self.flush_calls, at_once=2)
        self.leader_without_index = ""
        """Address of a leader that has to be asked for each answer: a Consul server."""
        self._answered: dict[Known, int] = {}
        self._logs_requests = False
        self.asking: Asking | None = None
        """How a client agent reads."""
        self.line: ClientLine | None = None
        """A client's way to the server that its rpc_core names."""
        self.door: ServerLine | None = None
        """The way to the leader's raft_node."""
        self.confirming: Confirming | None = None
        """How a leader asks other voters."""
        self.known_values = KnownValues()
        self.hub = WatchHub()
        self.blocking = Blocking(self, rng, clock)
        self.last_answer = b""
        """The bytes of the answer rendered last: what a group of waiters shares."""
        self.take_slow: Callable[[Call], None] = _no_slow_door
        self.spool = Spool(config.data_dir or config.run_dir, "http_gateway")
        self.use_config(config)
        if not config.server:
            self.asking = Asking(self)

    def use_lines(self, door: ServerLine, line: ClientLine | None) -> None:
        """Send what clients and followers write, and what followers ask the leader, by `door` where it may go so; what
        clients read, and write where there is no door, by `line`."""
        self.door, self.line = self.writes.door, self.writes.line = door, line
        self._configure_lines()

    def use_config(self, config: RuntimeConfig) -> None:
        """At start and on reload."""
        self.config = config
        if self.asking is not None:
            self.asking.reset(limited=config.limits.limits_calls)
        self.policy = Policy(config)
        self.rpc_timeout_s = config.performance.rpc_hold_timeout_s + (1.0 if config.server else _SERVER_S)
        self.writes.may_pass = not config.limits.limits_calls
        self._configure_lines()
        self.cache, self.repeats = AnswerCache(), Repeats()
        self.known_values.distrust_all()
        self.set_command = SetCommand(config.datacenter, config.acl.tokens.default)

    def _configure_lines(self) -> None:
        for line in (self.door, self.line):
            if line is not None:
                line.may_pass = not self.config.limits.limits_calls
                line.hold_timeout_s = self.config.performance.rpc_hold_timeout_s

    # -- state ----------------------------------------------------------------------------------

    def begin_batch(self) -> None:
        """What is looked at from here to `end_batch` is one moment."""
        self.moment.begin()
        self._batch_started_s = self._clock()
        self._logs_requests = _log.enabled(log.DEBUG)

    def end_batch(self) -> None:
        """Count what was answered at once, and ask for all who need a confirmed state."""
        self.moment.end()
        if self._answered:
            latency_ms = (self._clock() - self._batch_started_s) * 1000
            for known, times in self._answered.items():
                metrics.sample(f"consul.http.GET.{known.metric}", latency_ms, times=times)
                for name, labels in known.counters:
                    metrics.incr(name, times, labels)
            self._answered.clear()
        self.writes.end_batch()
        for rounds in (self._own_rounds, self._leaders_rounds, self._leases_rounds):
            rounds.start()
        if self.asking is not None:
            self.asking.start()

    def flush_calls(self) -> None:
        """Send what was posted to rpc_core or a server now, instead of at the end of the batch."""
        self.rpc.flush()
        for line in (self.door, self.line):
            if line is not None:
                line.flush()

    def wait_s(self, options: ReadOptions) -> float:
        """How long a blocking query waits, without jitter: the default for none, never more than the maximum."""
        if options.wait_ns <= 0:
            return self.config.default_query_time_s
        return min(options.wait_ns / 1e9, self.config.max_query_time_s)

    def rounds(self, *, consistent: bool) -> Rounds | None:
        """What confirms that a read may be answered from the state here; None: it has to be passed on."""
        leadership = self.moment.leadership()
        if leadership.role == LEADER:
            return self._own_rounds if consistent else None
        leader = leadership.leader_address if leadership.known_leader else ""
        if not leader or leader == self.leader_without_index:
            return None
        return self._leaders_rounds if consistent else self._leases_rounds

    def _post_own_round(self, on_done: OnDone) -> None:
        if self.confirming is not None:
            self.confirming.ask(on_done)
        else:
            self.ask_raft_node(on_done)

    def _flush_own_round(self) -> None:
        self.links.raft.flush()
        if self.confirming is not None:
            self.confirming.flush()

    def ask_raft_node(self, on_done: OnDone) -> None:
        """on_done is called with the index up to which the state has to be applied, once this server's raft_node has
        had its leadership confirmed."""
        self.links.raft.post("Raft.ReadIndex", None, on_done, timeout_s=self.rpc_timeout_s, retry_safe=True)

    # -- requests -------------------------------------------------------------------------------

    def answer_known(self, head: bytes) -> bytes | None:
        """The answer to a request that was seen before, byte for byte; None: it has to be dispatched."""
        known = self.repeats.find(head)
        if known is None or self._logs_requests:
            return None
        try:
            data = known.answer(self.moment)
        except Exception:  # whatever it was, the full way meets it too, and knows what to say
            self.repeats.forget(head)
            return None
        if data is not None:
            self._answered[known] = self._answered.get(known, 0) + 1
        return data

    def dispatch(self, request: Request) -> None:
        """A complete request. Answers now, or arranges that somebody does later."""
        try:
            short = request.plain and request.keep_alive and request.version == 11
            if not (short and self._answer_shortly(request)):
                self.handle(request)
        except Exception as error:  # a bug met by one request must not take everybody's connections with it
            self._report(request, error)
            self.finish(request, Response(500, {}, b"internal error"), None)

    def dispatch_fully(self, request: Request) -> None:
        """The same for a request that the short ways could not answer after all."""
        try:
            self.handle(request)
        except Exception as error:
            self._report(request, error)
            self.finish(request, Response(500, {}, b"internal error"), None)

    def _answer_shortly(self, request: Request) -> bool:
        method = request.method
        if method == "GET":
            if self.asking is not None:
                return self.asking.answer(request)
            if self.cache.answer(self, request):
                return True
            return request.path.startswith("/v1/kv/") and self._routes.fast_get(self, request)
        return method == "PUT" and request.path.startswith("/v1/kv/") and self._routes.fast_put(self, request)

    def handle(self, request: Request, slow: Callable[[Call], None] | None = None) -> None:
        """The full way: path rules, route, policy, handler. `slow` takes calls whose answer is a stream."""
        path = request.path
        if not is_printable(path) and not self.config.disable_http_unprintable_char_filter:
            self.finish(request, Response(400), None)
            return
        cleaned = clean_path(path)
        if cleaned != path and path != "*":
            slash = "/" if cleaned not in self._routes.patterns and cleaned + "/" in self._routes.patterns else ""
            self.finish(request, redirect(request, cleaned + slash), None)
            return
        route = self._routes.find(path)
        if route is None or (route.pattern != path and path + "/" in self._routes.patterns):
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

    def _call(self, request: Request, route: Route) -> Call:
        return Call(self, request, route, {**self.policy.headers, **VARY})

    def fail(self, request: Request, error: Exception) -> None:
        """Answer a request of an API endpoint with an error of the foreseen kinds."""
        route = self._routes.find(request.path)
        assert route is not None
        self._call(request, route).failed(error)

    def _serve(self, request: Request, route: Route, slow: Callable[[Call], None]) -> None:
        call = self._call(request, route)
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

    def finish_all(self, calls: list[Call], data: bytes, like: Call) -> None:
        """Answer many with the bytes that `like`, a call for the same thing, was answered with."""
        for call in calls:
            call.request.keep_alive = like.request.keep_alive
        self.finish_group([call.request for call in calls], data, like.route.metric)

    def finish_group(self, requests: list[Request], data: bytes, metric: str) -> None:
        """Answer all with the same bytes, which say the same of keeping the connection as the requests do."""
        if not requests:
            return
        if _log.enabled(log.DEBUG):
            for request in requests:
                self.finish_rendered(request, data, metric)
            return
        now, name = self._clock(), f"consul.http.{requests[0].method}.{metric}"
        for request in requests:
            request.channel.finish(request, data)
        for started_s, together in groupby(requests, _started_s):
            metrics.sample(name, (now - started_s) * 1000, times=len(list(together)))

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
                latency=format_duration_ns(int(latency_s * 1e9)),
            )

    def log_failure(self, request: Request, error: HttpError) -> None:
        _log.error(
            "Request error",
            method=request.method,
            url=self.policy.shown_url(request),
            **{"from": request.remote},
            error=str(error),
        )

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
