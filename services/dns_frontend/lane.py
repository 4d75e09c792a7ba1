"""The DNS lane: one task per UDP socket that drains what has arrived and answers most of it from ready-made bytes.

A packet whose bytes (id aside) were seen before costs two dictionary look-ups and a `sendto`, as long as the state
store (or the agent cache, where that is used) says that nothing the answer was made of has changed. Everything else is
resolved, from what is at hand at once, or in a task of its own when another process or a recursor has to be asked.
"""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import trio

from services.dns_frontend import message as dns
from services.dns_frontend.answers import Resolver, Rules
from services.dns_frontend.cache import AnswerCache, Entry, Mark
from services.dns_frontend.known_replies import TRUSTED_S, KnownReplies, KnownReply, Replies
from services.dns_frontend.recursors import Recursors
from services.dns_frontend.request_log import log_served, logging_send
from services.dns_frontend.sources import CACHE_TYPES, RECURSE, REFRESHED, NeedsAnswer, Reading, Source
from shared import many_reads, metrics
from shared.ipc import IpcError, Link
from shared.log import DEBUG, get_logger
from shared.state.errors import StateUnavailableError
from shared.state.leadership import LeadershipPage
from shared.state.reader import StateReader
from shared.state.snapshot import Snapshot

_log = get_logger("agent.dns")

_PACKETS_PER_TURN: Final = 256
_MAX_QUERY_BYTES: Final = 4096
"""A buffer of 64 KiB per packet would cost as much as all the rest; what is longer gets FORMERR."""
_SHUFFLE_INTERVAL_S: Final = 0.005
_MAX_SLOW_QUERIES: Final = 1024
_MAX_LOOKUPS: Final = 8
_STALE_COUNTER_S: Final = 5.0
"""Answers from servers that have not heard of the leader for so long are counted."""
_FOR_EVER: Final = float("inf")

Send = Callable[[bytes], None]


class Lane:
    """Everything the listeners of one process share. `reconfigure` replaces rules and recursors while running."""

    def __init__(
        self,
        rules: Rules,
        reading: Reading,
        recursors: Recursors,
        rpc: Link,
        state: StateReader | None,
        page: LeadershipPage | None,
        rng: random.Random,
        *,
        rpc_timeout_s: float,
        node_name: str,
    ) -> None:
        self._rpc = rpc
        self._measured_on = (("node", node_name),)
        self._state = state
        self._page = page
        self._rng = rng
        self._rpc_timeout_s = rpc_timeout_s
        self._slow_queries = 0
        self._mark: Mark = None
        self._shuffle_at = 0.0
        self.cache = AnswerCache(rng)
        self._known = KnownReplies()
        self.reconfigure(rules, reading, recursors)

    def reconfigure(self, rules: Rules, reading: Reading, recursors: Recursors) -> None:
        self._rules = rules
        self._reading = reading
        self._recursors = recursors
        self.cache.clear()
        self._known.clear()

    def gauges(self) -> dict[str, float]:
        """What this lane keeps in memory."""
        return {
            "consul.dns.cache.entries": len(self.cache),
            "consul.dns.cache.bytes": self.cache.size_bytes,
            "consul.dns.known_replies": len(self._known),
            "consul.dns.slow_queries": self._slow_queries,
        }

    # -- listeners ------------------------------------------------------------------------------

    async def serve_udp(self, sock: socket.socket) -> None:
        """Drains one bound UDP socket until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(sock)
                received = self._drain(sock, nursery)
                if received == _PACKETS_PER_TURN:
                    # More is waiting: let the other tasks of this process have their turn first.
                    await trio.lowlevel.checkpoint()

    def _drain(self, sock: socket.socket, nursery: trio.Nursery) -> int:
        started = time.perf_counter()
        received = 0
        recvfrom, sendto, get = sock.recvfrom, sock.sendto, self.cache.get
        hits: dict[tuple[KnownReply, ...], int] = {}
        with self._snapshot() as snapshot:
            mark = self._mark = _mark(snapshot, self._mark)
            now = time.monotonic()
            debugging = _log.enabled(DEBUG)
            while received < _PACKETS_PER_TURN:
                try:
                    packet, client = recvfrom(_MAX_QUERY_BYTES)
                except BlockingIOError:
                    break
                except OSError:
                    continue
                received += 1
                entry = get(packet[2:])
                if entry is not None and (snapshot is not None or entry.known):
                    # Most packets take this way: checked in this very state, one possible answer.
                    if entry.known:
                        body = self._still_known(entry, now)
                        if body is not None:
                            hits[entry.known] = hits.get(entry.known, 0) + 1
                    elif entry.mark is mark and now < entry.expires_at:
                        body = entry.only or self._rotated(entry, now)
                    else:
                        assert snapshot is not None
                        body = self._still_valid(entry, snapshot, mark, now)
                    if body is not None:
                        try:
                            sendto(packet[:2] + body, client)
                        except OSError:
                            metrics.incr("consul.dns.send_failed")
                        if debugging:
                            log_served(_log, dns.parse_query(packet), client, "udp", time.perf_counter() - started)
                        continue

                def send(reply: bytes, client: Any = client) -> None:
                    try:
                        sendto(reply, client)
                    except OSError:
                        metrics.incr("consul.dns.send_failed")

                self._answer(packet, False, snapshot, send, nursery, client)
        for known, times in hits.items():
            for reply in known:
                metrics.incr(f"consul.consul.cache.{reply.cache_type}.hit", times)
        if received:
            metrics.incr("consul.dns.queries", received)
            share_ms = (time.perf_counter() - started) * 1000 / received
            metrics.sample("consul.dns.domain_query", share_ms, self._measured_on, received)
        return received

    async def serve_tcp(self, stream: trio.SocketStream, client: Any, idle_s: float, max_queries: int) -> None:
        """One TCP client: length-prefixed queries, answered in order, until it is idle for `idle_s`.

        client: its socket address."""
        buffer = bytearray()
        async with trio.open_nursery() as nursery:
            for _ in range(max_queries):
                with trio.move_on_after(idle_s) as idle:
                    while len(buffer) < 2 or len(buffer) < 2 + int.from_bytes(buffer[:2], "big"):
                        data = await stream.receive_some(65_536)
                        if not data:
                            return
                        buffer += data
                if idle.cancelled_caught:
                    return
                end = 2 + int.from_bytes(buffer[:2], "big")
                packet = bytes(buffer[2:end])
                del buffer[:end]
                replies: list[bytes] = []
                answered = trio.Event()

                def send(reply: bytes, replies: list[bytes] = replies, answered: trio.Event = answered) -> None:
                    replies.append(reply)
                    answered.set()

                with self._snapshot() as snapshot:
                    if not self._answer(packet, True, snapshot, send, nursery, client):
                        return
                with trio.move_on_after(self._rpc_timeout_s + idle_s) as scope:
                    await answered.wait()
                    await stream.send_all(len(replies[0]).to_bytes(2, "big") + replies[0])
                if scope.cancelled_caught:
                    return

    # -- one query ------------------------------------------------------------------------------

    def _still_valid(self, entry: Entry, snapshot: Snapshot, mark: Mark, now: float) -> bytes | None:
        if entry.mark is not mark:
            if entry.mark != mark and snapshot.versions(entry.watch) != entry.versions:
                return None
            entry.mark = mark
        if now >= entry.expires_at:
            return None
        return entry.only or self._rotated(entry, now)

    def _still_known(self, entry: Entry, now: float) -> bytes | None:
        for known in entry.known:
            if now >= known.trusted_until:
                return None
        if now >= entry.expires_at:
            return None
        return entry.only or self._rotated(entry, now)

    def _rotated(self, entry: Entry, now: float) -> bytes | None:
        """One of several equivalent answers; None when it is time to make another one.

        A quiet server shuffles for every query, as Consul does; a busy one spends a bounded share of its time on it."""
        if now >= self._shuffle_at:
            self._shuffle_at = now + _SHUFFLE_INTERVAL_S
            return None
        return entry.take()

    def _answer(
        self, packet: bytes, tcp: bool, snapshot: Snapshot | None, send: Send, nursery: trio.Nursery, client: Any
    ) -> bool:
        """Answers through `send`, now or later. False if the packet deserves no answer at all.

        client: the socket address of whoever asks."""
        try:
            query = dns.parse_query(packet)
        except dns.QueryError as error:
            metrics.incr("consul.dns.bad_packets")
            if error.rcode is None:
                return False
            send(dns.error_reply(packet, error.rcode))
            return True
        name = query.name.lower()
        foreign = not (self._rules.is_ours(name) or name.endswith(".arpa.") or name == "arpa.")
        if _log.enabled(DEBUG) and (self._recursors or not foreign):
            send = logging_send(_log, query, client, "tcp" if tcp else "udp", send, recursed=foreign)
        if foreign:
            if self._recursors:
                self._slowly(nursery, self._forward, packet, query, tcp, send)
            else:
                send(_refused(query))
            return True
        try:
            replies = Replies(self._known, time.monotonic())
            reply = self._resolve(packet, query, tcp, snapshot, replies, client[0])
        except NeedsAnswer as need:
            self._slowly(nursery, self._fetch_and_resolve, packet, query, tcp, send, need, client[0])
            return True
        if reply is None:
            self._slowly(nursery, self._forward, packet, query, tcp, send)
        else:
            send(reply)
        return True

    def _resolve(
        self, packet: bytes, query: dns.Query, tcp: bool, snapshot: Snapshot | None, fetched: Replies, client: str
    ) -> bytes | None:
        fetched.used.clear()
        rules = self._rules
        asker = client if query.subnet is None else query.subnet.ip
        source = Source(snapshot, self._reading, fetched, asker=asker)
        answer = Resolver(rules, source, self._rng, int(time.time())).resolve(query, tcp=tcp)
        if answer is None:
            return None
        if answer.name_is_invalid:
            _log.warn("QName invalid", qname=rules.without_domain(query.name.lower()))
        reply = answer.pack(query, compress=rules.compress)
        if not tcp:
            if snapshot is not None and source.is_local:
                self._remember(packet, source.watch, snapshot, answer, reply)
            elif fetched.only_known and not source.watch:
                self._remember(packet, [], None, answer, reply, known=tuple(fetched.used))
        return reply

    def _remember(
        self,
        packet: bytes,
        watched: list[Any],
        snapshot: Snapshot | None,
        answer: dns.Answer,
        reply: bytes,
        *,
        known: tuple[KnownReply, ...] = (),
    ) -> None:
        key = packet[2:]
        watch = tuple(watched)
        entry = self.cache.get(key)
        versions = () if snapshot is None else snapshot.versions(watch)
        has_time = any(
            record.rtype == dns.SOA for section in (answer.answers, answer.authorities) for record in section
        )
        # A SOA record holds the time in seconds: such an answer is good for this second only.
        expires_at = time.monotonic() + 1 - time.time() % 1 if has_time else _FOR_EVER
        if entry is None or (entry.versions, entry.watch, entry.known) != (versions, watch, known) or has_time:
            mark = _mark(snapshot, self._mark)
            shuffled = len(answer.answers) > 1
            entry = Entry(watch, versions, mark, expires_at=expires_at, shuffled=shuffled, known=known)
        self.cache.put(key, entry, reply[2:])

    # -- what takes longer ----------------------------------------------------------------------

    def _slowly(
        self, nursery: trio.Nursery, task: Callable[..., Any], packet: bytes, query: dns.Query, *args: Any
    ) -> None:
        if self._slow_queries >= _MAX_SLOW_QUERIES:
            metrics.incr("consul.dns.overloaded")
            send: Send = args[1]
            send(_failed(query))
            return
        self._slow_queries += 1
        nursery.start_soon(self._counted, task, packet, query, *args)

    async def _counted(self, task: Callable[..., Any], *args: Any) -> None:
        try:
            await task(*args)
        finally:
            self._slow_queries -= 1

    async def _forward(self, packet: bytes, query: dns.Query, tcp: bool, send: Send) -> None:
        reply = await self._recursors.forward(packet, tcp=tcp)
        send(_failed(query) if reply is None else reply)

    async def _fetch_and_resolve(
        self, packet: bytes, query: dns.Query, tcp: bool, send: Send, need: NeedsAnswer, client: str
    ) -> None:
        fetched = Replies(self._known, time.monotonic())
        for _ in range(_MAX_LOOKUPS):
            reply = await self._fetch(need)
            if not isinstance(reply, KnownReply):  # else it is found where it is known, as long as it is
                fetched[need.key] = reply
            elif not reply.trusted_until:
                fetched[need.key] = reply.reply
            try:
                with self._snapshot() as snapshot:
                    data = self._resolve(packet, query, tcp, snapshot, fetched, client)
            except NeedsAnswer as next_need:
                need = next_need
                continue
            if data is None:
                await self._forward(packet, query, tcp, send)
            else:
                send(data)
            return
        send(_failed(query))

    async def _fetch(self, need: NeedsAnswer, *, cached: bool = True) -> Any:
        """What `need` asks for, a KnownReply if that is kept fresh, or the IpcError that came instead."""
        if need.method == RECURSE:
            return await self._recursors.addresses_of(need.payload["name"], self._rng.randrange(1 << 16))
        known: KnownReply | None = None
        try:
            if cached and self._reading.use_cache and need.method in CACHE_TYPES:
                reply, known = await self._read_cached(need)
            else:
                reply = await self._rpc.call(need.method, need.payload, timeout_s=self._rpc_timeout_s, retry_safe=True)
        except IpcError as error:
            _log.error("rpc error", error=str(error))
            return error
        if need.payload["AllowStale"]:
            contact_s = ((reply or {}).get("LastContact") or 0) / 1e9
            if contact_s > self._reading.max_stale_s:
                _log.warn("Query results too stale, re-requesting")
                fresh = NeedsAnswer(need.method, {**need.payload, "AllowStale": False}, need.key)
                return await self._fetch(fresh, cached=False)
            if contact_s > _STALE_COUNTER_S:
                metrics.incr("consul.dns.stale_queries")
                known = None  # the next such answer counts, too
        if known is None:
            return reply
        self._known.put(need.key, known)
        return known

    async def _read_cached(self, need: NeedsAnswer) -> tuple[Any, KnownReply | None]:
        """The reply out of the agent cache; also as a KnownReply if it is kept fresh there."""
        self._known.attach(self._rpc)
        cache_type = CACHE_TYPES[need.method]
        payload = {"Type": cache_type, "Request": need.payload, "Have": 0}
        found = await self._rpc.call("Agent.CacheGet", payload, timeout_s=self._rpc_timeout_s, retry_safe=True)
        hit, age_s, number, packed = found
        reply = many_reads.unpacked(packed)
        if not hit or age_s or cache_type not in REFRESHED:
            return reply, None
        return reply, KnownReply(cache_type, number, reply, len(packed), time.monotonic() + TRUSTED_S)

    def _snapshot(self) -> contextlib.AbstractContextManager[Snapshot | None]:
        """The local store if it may answer now and exists."""
        if self._state is None or not self._may_read_locally():
            return _no_snapshot()
        try:
            return self._state.snapshot()
        except StateUnavailableError:
            return _no_snapshot()

    def _may_read_locally(self) -> bool:
        """Servers answer from their own store: stale reads always (within max_stale), others with a live lease."""
        if self._page is None:
            return False
        leadership, now_ns = self._page.read(), time.monotonic_ns()
        if leadership.may_serve_default(now_ns):
            return True
        last_contact_ns = leadership.last_contact_ns
        reading = self._reading
        return reading.allow_stale and (not last_contact_ns or now_ns - last_contact_ns <= reading.max_stale_s * 1e9)


@contextlib.contextmanager
def _no_snapshot() -> Iterator[None]:
    yield None


def _mark(snapshot: Snapshot | None, last: Mark) -> Mark:
    """What a snapshot shows: equal marks, equal state. The very object `last` if nothing has changed since."""
    mark = None if snapshot is None else (snapshot.generation, snapshot.applied()[0])
    return last if mark == last else mark


def _refused(query: dns.Query) -> bytes:
    return dns.Answer(rcode=dns.REFUSED, authoritative=False, edns=False).pack(query, compress=False)


def _failed(query: dns.Query) -> bytes:
    return dns.Answer(rcode=dns.SERVFAIL, authoritative=False, recursion_available=True).pack(query, compress=False)
