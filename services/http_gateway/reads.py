"""Reads: where the answer to a query comes from, by consistency mode, and how a query waits for a change.

default     from the local store if this server leads and its lease lives, or once the leader has said how far it has
            to be for that (`rounds`); else rpc_core finds the leader
stale       from the local store of any server that has heard of a leader
consistent  from the local store after one ReadIndex round, asked for by the leader or of it; else through rpc_core
client      always through rpc_core, many reads in one call where that is possible (`asking`)
cached      from the agent cache of rpc_core, for the endpoints that know it

A blocking query whose answer is still the old one parks in a group with all others that asked for the very
same thing; one change evaluates and renders once for all of them.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from services.http_gateway import agent_cache
from services.http_gateway.call import LATER, Call, Later
from services.http_gateway.errors import HttpError, as_http_error
from services.http_gateway.options import ReadOptions
from services.http_gateway.rounds import Rounds, is_answered_elsewhere
from shared import metrics
from shared.ipc.errors import IpcError
from shared.state.answer import Answer
from shared.state.errors import StateUnavailableError
from shared.state.leadership import LEADER
from shared.state.snapshot import Snapshot
from shared.state.watch import Registration

if TYPE_CHECKING:
    from services.http_gateway.gateway import Gateway
    from shared.metrics.lookups import Counter

WAIT_JITTER = 16
"""A wait is stretched by up to a 16th, so that clients which started together do not return together."""
_RPC_GRACE_S = 0.0


@dataclass(frozen=True, slots=True)
class Meta:
    """What the X-Consul-* headers say. last_contact_ms: 0 on the leader."""

    index: int
    last_contact_ms: int
    known_leader: bool

    def headers(self) -> dict[str, str]:
        return {
            "X-Consul-Index": str(self.index or 1),
            "X-Consul-Knownleader": "true" if self.known_leader else "false",
            "X-Consul-Lastcontact": str(self.last_contact_ms),
        }


ZERO_META = Meta(0, 0, False)


@dataclass(frozen=True, slots=True)
class Read:
    """One query. method, arguments: the RPC and its request, without the query options. local: the same query
    on a snapshot. remote: the value in the RPC's reply, as `local` gives it. show: what to answer for it.
    level: whether X-Consul-Effective-Consistency is shown. cached: whether ?cached works for it. unpack: makes a map
    of a reply that is encoded in a way of its own. failed: what the client sees of an error of the RPC. counts: what
    is counted for so many values found here; a server that is asked counts by itself."""

    method: str
    arguments: Mapping[str, Any]
    local: Callable[[Snapshot], Answer[Any]]
    remote: Callable[[Any], Any]
    show: Callable[[Any], Any]
    level: bool = True
    cached: bool = False
    unpack: Callable[[Any], Any] | None = None
    failed: Callable[[IpcError], Exception] | None = None
    counts: Callable[[int], list[Counter]] | None = None


def read(call: Call, options: ReadOptions, query: Read) -> Any:
    """Answer `call` with `query`, now or later. Raises HttpError."""
    gateway = call.gateway
    if options.use_cache and query.cached and agent_cache.wanted(gateway, options):
        show_reply = partial(shown, call, options, query)
        return agent_cache.get(call, options, query.method, query.arguments, show_reply)
    if options.datacenter != gateway.config.datacenter or not gateway.config.server:
        return _forward(call, options, query)
    leadership = gateway.moment.leadership()
    if options.allow_stale:
        contact_ms = gateway.moment.last_contact_ms()
        too_old = 0 < options.max_stale_ns < contact_ms * 1_000_000
        if (leadership.known_leader or leadership.last_contact_ns) and not too_old:
            return _local(call, options, query)
        if too_old:
            options.allow_stale, options.max_stale_ns = False, 0
    if options.require_consistent:
        if gateway.moment.leads_alone():
            return _local(call, options, query)
    elif leadership.may_serve_default(time.monotonic_ns()):
        return _local(call, options, query)
    rounds = gateway.rounds(consistent=options.require_consistent)
    if rounds is None or (options.min_index and leadership.role != LEADER):
        return _forward(call, options, query)  # whoever waits for a change waits at the leader
    return _confirmed(call, options, query, rounds)


def _confirmed(call: Call, options: ReadOptions, query: Read, rounds: Rounds) -> Later:
    gateway = call.gateway

    def on_done(index: Any, error: IpcError | None) -> None:
        leadership = gateway.moment.leadership()
        try:
            if error is not None and not is_answered_elsewhere(error):
                call.failed(error)
            elif error is not None or leadership.applied_index < index:  # also one that leads since the question
                call.done(_forward(call, options, query))
            elif leadership.role == LEADER:
                call.done(_local(call, options, query))
            else:
                call.done(_local_or_forward(call, options, query))
        except (HttpError, StateUnavailableError) as failure:
            call.failed(failure)

    rounds.join(on_done)
    return LATER


def _local_or_forward(call: Call, options: ReadOptions, query: Read) -> Any:
    """What is refused is refused by the leader: its words tell that it was asked."""
    try:
        return _local(call, options, query, keep=False, confirmed=True)
    except HttpError:
        return _forward(call, options, query)


def _local(call: Call, options: ReadOptions, query: Read, *, keep: bool = True, confirmed: bool = False) -> Any:
    """keep: whether the answer is one for everybody who asks the same. One that was waited for is not: whoever asks
    the same again wants to wait again. confirmed: the leader has just vouched for the state."""
    gateway = call.gateway
    try:
        snap = gateway.moment.snapshot()
    except StateUnavailableError:
        return _forward(call, options, query)  # raft_node is away: rpc_core waits for it and says what is wrong
    answer = query.local(snap)
    if options.min_index and answer.index <= options.min_index:
        gateway.blocking.park(call, options, query, answer, snap.generation)
        return LATER
    _count(call, query, answer)
    moment = gateway.moment
    contact_ms = 0 if confirmed else moment.last_contact_ms()
    meta = Meta(answer.index, contact_ms, confirmed or moment.leadership().known_leader)
    result = show(call, options, query, meta, answer.value)
    if keep:
        gateway.remember(call, options, answer, snap)
    return result


def _count(call: Call, query: Read, answer: Answer[Any]) -> None:
    if query.counts is not None:
        for counter in query.counts(len(answer.value)):
            call.count(*counter)


def show(call: Call, options: ReadOptions, query: Read, meta: Meta, value: Any) -> Any:
    """Set the metadata headers and present the value."""
    headers = call.headers
    headers.update(meta.headers())
    if query.level:
        headers["X-Consul-Effective-Consistency"] = options.level
    return query.show(value)


def _forward(call: Call, options: ReadOptions, query: Read) -> Any:
    gateway = call.gateway
    if gateway.asking is not None:
        result = gateway.asking.read(call, options, query)
        if result is not None:
            return result
    payload = {**query.arguments, **options.to_wire(), "Datacenter": options.datacenter}
    timeout_s = gateway.rpc_timeout_s
    if options.min_index:
        wait_s = gateway.wait_s(options)
        timeout_s += wait_s + wait_s / WAIT_JITTER

    then = partial(shown, call, options, query)
    answered = call.on_done(then)

    def on_done(reply: Any, error: IpcError | None) -> None:
        if error is not None and query.failed is not None:
            call.failed(query.failed(error))
        else:
            answered(reply, error)

    gateway.rpc.post(query.method, payload, on_done, timeout_s=timeout_s + _RPC_GRACE_S, retry_safe=True)
    return LATER


def shown(call: Call, options: ReadOptions, query: Read, reply: Any) -> Any:
    """The answer for the reply of an RPC."""
    if query.unpack is not None:
        reply = query.unpack(reply)
    contact_ms = int(reply.get("LastContact") or 0) // 1_000_000
    meta = Meta(int(reply.get("Index") or 0), contact_ms, bool(reply.get("KnownLeader")))
    return show(call, options, query, meta, query.remote(reply))


class _Waiter:
    """One parked call. `group` is None once it was answered."""

    __slots__ = ("call", "deadline", "group", "options")

    def __init__(self, call: Call, options: ReadOptions, deadline: float, group: _Group) -> None:
        self.call, self.options, self.deadline = call, options, deadline
        self.group: _Group | None = group


class _Group:
    """Waiters for the same request with the same index."""

    __slots__ = ("dirty", "generation", "key", "min_index", "query", "registration", "waiters")

    def __init__(self, key: tuple[Any, ...], query: Read, min_index: int, generation: int) -> None:
        self.key, self.query, self.min_index, self.generation = key, query, min_index, generation
        self.waiters: dict[_Waiter, None] = {}
        self.registration: Registration
        self.dirty = False


class Blocking:
    """All parked queries of this process. Bounded by the connections: each holds a few requests at most.

    Changes only mark groups; the owner calls `settle` when it has noted a whole batch of them."""

    def __init__(self, gateway: Gateway, rng: Random, clock: Callable[[], float]) -> None:
        self._gateway, self._rng, self._clock = gateway, rng, clock
        self._groups: dict[tuple[Any, ...], _Group] = {}
        self._dirty: list[_Group] = []
        self._deadlines: list[tuple[float, int, _Waiter]] = []
        self._order = itertools.count()
        self.on_earlier: Callable[[], None] = lambda: None
        """Called when the earliest deadline has moved forward."""

    def __len__(self) -> int:
        return sum(len(group.waiters) for group in self._groups.values())

    @property
    def next_deadline(self) -> float | None:
        return self._deadlines[0][0] if self._deadlines else None

    def park(self, call: Call, options: ReadOptions, query: Read, answer: Answer[Any], generation: int) -> None:
        """Wait until `query` has another answer, at most as long as the options say."""
        request = call.request
        shape = (request.gzip, request.version, request.keep_alive, options.token, options.level)
        key: tuple[Any, ...] = (request.method, request.target, request.plain, shape, generation)
        if not request.plain or request.on_response is not None:
            key = (*key, request)  # its headers may matter, or its answer is not bytes: a group of its own
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key, query, options.min_index, generation)
            self._register(group, answer)
        wait_s = self._gateway.wait_s(options)
        deadline = self._clock() + wait_s + self._rng.random() * wait_s / WAIT_JITTER
        waiter = _Waiter(call, options, deadline, group)
        group.waiters[waiter] = None
        heapq.heappush(self._deadlines, (deadline, next(self._order), waiter))
        if self._deadlines[0][2] is waiter:
            self.on_earlier()
        request.on_abandon = lambda: self._leave(waiter)
        request.on_hurry = lambda: self._give_up_waiting(waiter)

    def _register(self, group: _Group, answer: Answer[Any]) -> None:
        def wake() -> None:
            if not group.dirty:
                group.dirty = True
                self._dirty.append(group)

        group.registration = self._gateway.hub.register(answer.watch, wake)

    def _leave(self, waiter: _Waiter) -> None:
        group, waiter.group = waiter.group, None
        if group is not None:
            group.waiters.pop(waiter, None)
            if not group.waiters:
                self._dissolve(group)

    def _dissolve(self, group: _Group) -> None:
        group.registration.cancel()
        if self._groups.get(group.key) is group:
            del self._groups[group.key]

    def settle(self) -> None:
        """Evaluate the woken groups; answer those whose answer is new, let the others wait on."""
        dirty, self._dirty = self._dirty, []
        for group in dirty:
            group.dirty = False
            if group.waiters:
                self._evaluate(group)

    def _evaluate(self, group: _Group) -> None:
        try:
            snap = self._gateway.moment.snapshot()
        except StateUnavailableError:
            return  # the store is being replaced; its first change record wakes everyone again
        try:
            answer = group.query.local(snap)
        except HttpError as failure:
            waiters = list(group.waiters)
            self._forget(group)
            for waiter in waiters:
                waiter.call.failed(failure)
            return
        if answer.index <= group.min_index and snap.generation == group.generation:
            group.registration.cancel()
            self._register(group, answer)
            return
        metrics.incr("consul.http.blocking.woken", len(group.waiters))
        self._render_once(group, answer)

    def _render_once(self, group: _Group, answer: Answer[Any]) -> None:
        """The first waiter's answer is rendered, and its bytes serve all."""
        moment = self._gateway.moment
        meta = Meta(answer.index, moment.last_contact_ms(), moment.leadership().known_leader)
        waiters = list(group.waiters)
        self._forget(group)
        first = waiters[0]
        counted = len(first.call.counted)
        try:
            _count(first.call, group.query, answer)
            result = show(first.call, first.options, group.query, meta, answer.value)
            first.call.done(result)
        except HttpError as error:
            first.call.failed(error)
        if len(waiters) > 1:
            for name, labels in first.call.counted[counted:]:
                metrics.incr(name, len(waiters) - 1, labels)
        data = self._gateway.last_answer
        self._gateway.finish_all([waiter.call for waiter in waiters[1:]], data, first.call)

    def _forget(self, group: _Group) -> None:
        for waiter in group.waiters:
            waiter.group = None
        group.waiters.clear()
        self._dissolve(group)

    def expire(self, now: float) -> None:
        """Answer everyone whose wait is over with what there is."""
        while self._deadlines and self._deadlines[0][0] <= now:
            waiter = heapq.heappop(self._deadlines)[2]
            self._give_up_waiting(waiter)
        if len(self._deadlines) > 64 and len(self._deadlines) > 4 * len(self):
            self._deadlines = [entry for entry in self._deadlines if entry[2].group is not None]
            heapq.heapify(self._deadlines)

    def answer_everyone(self) -> None:
        """Answer all waiters with what there is: this process is about to end."""
        for group in list(self._groups.values()):
            for waiter in list(group.waiters):
                self._give_up_waiting(waiter)

    def _give_up_waiting(self, waiter: _Waiter) -> None:
        group = waiter.group
        if group is None:
            return
        self._leave(waiter)
        options = waiter.options
        options.min_index = 0
        try:
            result = _local(waiter.call, options, group.query, keep=False)
        except HttpError as error:
            waiter.call.failed(as_http_error(error))
        else:
            waiter.call.done(result)
