"""AgentCache: the entries, the tasks that fetch for them, and the readers who wait. One fetch serves all readers."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgpack
import trio

from services.rpc_core.errors import RpcError
from services.rpc_core.limits import TokenBucket
from services.rpc_core.local.cache.entry import Entry, Wanted
from services.rpc_core.local.cache.types import QUERY_TIMEOUT_S, TTL_S, TYPES, CacheType, Request
from shared import metrics
from shared.ipc import RemoteError
from shared.ipc import Request as Call
from shared.log import get_logger

Fetch = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""`await fetch(method, request)`: the reply struct in wire form. Raises RpcError."""

ENTRIES_MAX: Final = 2048
BYTES_MAX: Final = 64 << 20
"""Beyond these, what nobody has read for the longest time goes. (Consul has no bound but the time to live.)"""
_EXPIRY_PERIOD_S: Final = 60.0
_LIMITER_LOOK_S: Final = 1.0

_log = get_logger("agent")


@dataclass(frozen=True, slots=True)
class Hit:
    """hit: it was there when the reader came. age_s: see Entry. number: which value it is."""

    hit: bool
    age_s: float
    number: int
    value: bytes | None


class _Kept:
    """An entry with its tasks."""

    __slots__ = ("changed", "entry", "fetching", "hurry", "kind", "request", "request_bytes", "scope", "waiters")

    def __init__(self, kind: CacheType, request: dict[str, Any], entry: Entry) -> None:
        self.kind, self.request, self.entry = kind, request, entry
        self.request_bytes = len(_packed(request))
        """Counted as the value is: a filter may be longer than what it lets through."""
        self.changed = trio.Event()
        """Set when the fetch under way has ended; then replaced."""
        self.hurry = trio.Event()
        """Set when a reader wants the pause between two refreshes to end."""
        self.fetching = False
        self.scope: trio.CancelScope | None = None
        self.waiters = 0


class AgentCache:
    """Belongs to one event loop. `run` has to run for `get` to work."""

    def __init__(self, fetch: Fetch, rng: random.Random, *, rate: float, burst: int) -> None:
        """rate, burst: of the fetches of each entry, per second."""
        self._fetch, self._rng = fetch, rng
        self._rate, self._burst = rate, burst
        self._kept: dict[tuple[Any, ...], _Kept] = {}  # in the order of their last reads
        self._bytes = 0
        self._number = rng.getrandbits(62)  # values of an earlier process of this agent must not look like ours
        self._nursery: trio.Nursery | None = None
        self.on_end: Callable[[int], None] = lambda number: None
        """Called with the number of a value that was replaced, forgotten, or is not kept fresh any more."""

    def __len__(self) -> int:
        return len(self._kept)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The home of all fetches; until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                await trio.sleep(_EXPIRY_PERIOD_S)
                self._expire(trio.current_time())

    def configure(self, rate: float, burst: int) -> None:
        """Take over reloaded options; they hold for the entries that exist, too."""
        if (rate, burst) == (self._rate, self._burst):
            _log.debug("Cache options have not been modified")
            return
        self._rate, self._burst = rate, burst
        for kept in self._kept.values():
            kept.entry.limiter = self._limiter()
        _log.info("Cache options have been updated")

    # -- reading ------------------------------------------------------------------------------------

    async def get(self, type_name: str, request: dict[str, Any], have: int = 0) -> Hit:
        """The reply to `request`. have: number of the value the reader knows; that one is not sent again.

        Waits for a value newer than MinQueryIndex (types that block), at most MaxQueryTime; what is there is returned
        then. Raises RpcError: of the fetch that was made for this reader, or when there is nothing after that time."""
        kind = TYPES[type_name]
        wanted = Wanted(
            int(request.get("MinQueryIndex") or 0),
            int(request.get("MaxAge") or 0) / 1e9,
            bool(request.get("MustRevalidate")),
        )
        kept = self._find(kind, request)
        entry = kept.entry
        if entry.satisfies(wanted, trio.current_time()):
            metrics.incr(f"consul.consul.cache.{kind.name}.hit")
            return self._hit(kept, True, have)
        metrics.incr(f"consul.consul.cache.{kind.name}.{'miss_block' if wanted.min_index else 'miss_new'}")
        timeout_s = int(request.get("MaxQueryTime") or 0) / 1e9
        kept.waiters += 1
        try:
            with trio.move_on_after(min(timeout_s, QUERY_TIMEOUT_S) if timeout_s > 0 else QUERY_TIMEOUT_S):
                await self._wait(kept, wanted)
        finally:
            kept.waiters -= 1
        if entry.value is None:
            raise RpcError("internal error: response type not correct")  # what Consul says for "not in that time"
        return self._hit(kept, False, have)

    async def _wait(self, kept: _Kept, wanted: Wanted) -> None:
        entry = kept.entry
        while True:
            await self._next_fetch(kept)
            wanted = Wanted(wanted.min_index, wanted.max_age_s)  # it has been revalidated
            if entry.satisfies(wanted, trio.current_time()):
                return
            if entry.error is not None:
                raise entry.error.with_traceback(None)  # many readers may get this very one

    async def _next_fetch(self, kept: _Kept) -> None:
        """Until the fetch that is under way, or else a new one, has ended."""
        changed = kept.changed
        if kept.scope is None:
            assert self._nursery is not None
            kept.scope = trio.CancelScope()
            self._nursery.start_soon(self._keep, kept, kept.scope)
        elif not kept.fetching:
            kept.hurry.set()
        await changed.wait()

    def _hit(self, kept: _Kept, hit: bool, have: int) -> Hit:
        entry, now = kept.entry, trio.current_time()
        entry.expires_at = now + TTL_S
        return Hit(hit, entry.age_s(now), entry.number, None if entry.number == have else entry.value)

    def _find(self, kind: CacheType, request: Request) -> _Kept:
        key = kind.entry_key(request)
        kept = self._kept.pop(key, None)
        if kept is None:
            entry = Entry(refreshes=kind.refreshes, blocks=kind.blocks, limiter=self._limiter())
            kept = _Kept(kind, _for_refresh(request), entry)
            self._bytes += kept.request_bytes
        self._kept[key] = kept
        kept.entry.expires_at = trio.current_time() + TTL_S  # also if there never is a value: `_expire` counts on order
        self._make_room()
        return kept

    def _limiter(self) -> TokenBucket:
        return TokenBucket(self._rate, self._burst, trio.current_time())

    # -- fetching -----------------------------------------------------------------------------------

    async def _keep(self, kept: _Kept, scope: trio.CancelScope) -> None:
        """Fetch once; a type that is refreshed: for ever, with pauses after failures."""
        with scope:
            while True:
                await self._fetch_once(kept)
                if not kept.kind.refreshes or kept.entry.value is None:
                    break  # a request that never had an answer is asked again when somebody wants to know
                pause_s = kept.entry.backoff_s(self._rng)
                if pause_s:
                    kept.hurry = trio.Event()
                    with trio.move_on_after(pause_s):
                        await kept.hurry.wait()
        if kept.scope is scope:
            kept.scope = None

    async def _fetch_once(self, kept: _Kept) -> None:
        kept.fetching = True
        entry, kind = kept.entry, kept.kind
        request = kept.request
        if kind.blocks:
            request = {**request, "MinQueryIndex": entry.index, "MaxQueryTime": int(QUERY_TIMEOUT_S * 1e9)}
        try:
            await _allowed(entry)
            entry.started(trio.current_time())
            reply = await self._fetch(kind.method, request)
        except RpcError as error:
            self._failed(kept, error)
        except Exception as error:  # a bug met by one entry must not end the others
            _log.error("cache fetch failed", type=kind.name, error=repr(error))
            self._failed(kept, RpcError(f"{kind.method} failed inside the agent"))
        else:
            if kept.scope is not None and kept.scope.cancel_called:
                return  # evicted in the turn in which the reply came: its bytes would be counted for ever
            self._end(entry)
            value = _packed(reply)
            self._number += 1
            self._bytes += len(value) - len(entry.value or b"")
            entry.fetched(value, _index_of(reply), self._number, trio.current_time())
            self._count(kind, "fetch_success")
        finally:
            kept.fetching = False
            kept.changed.set()
            kept.changed = trio.Event()
        self._make_room()

    def _failed(self, kept: _Kept, error: RpcError) -> None:
        self._end(kept.entry)
        kept.entry.failed(error, trio.current_time())
        self._count(kept.kind, "fetch_error")

    def _end(self, entry: Entry) -> None:
        if entry.value is not None:
            self.on_end(entry.number)

    def _count(self, kind: CacheType, what: str) -> None:
        metrics.incr(f"consul.consul.cache.{what}")
        metrics.incr(f"consul.consul.cache.{kind.name}.{what}")
        metrics.gauge("consul.consul.cache.entries_count", len(self._kept))

    # -- forgetting ---------------------------------------------------------------------------------

    def _make_room(self) -> None:
        if len(self._kept) <= ENTRIES_MAX and self._bytes <= BYTES_MAX:
            return
        for key, kept in list(self._kept.items())[:-1]:
            if not kept.waiters:
                self._evict(key, kept)
            if len(self._kept) <= ENTRIES_MAX and self._bytes <= BYTES_MAX:
                return

    def _expire(self, now: float) -> None:
        for key, kept in list(self._kept.items()):
            if kept.entry.expires_at > now:
                break  # the rest was read later
            if not kept.waiters:
                self._evict(key, kept)
                metrics.incr("consul.consul.cache.evict_expired")

    def _evict(self, key: tuple[Any, ...], kept: _Kept) -> None:
        del self._kept[key]
        self._end(kept.entry)
        self._bytes -= kept.request_bytes + len(kept.entry.value or b"")
        kept.entry.value = None
        if kept.scope is not None:
            kept.scope.cancel()
        metrics.gauge("consul.consul.cache.entries_count", len(self._kept))


def _packed(value: Any) -> bytes:
    data: bytes = msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape")
    return data


def _for_refresh(request: Request) -> dict[str, Any]:
    """The request as it is repeated for all readers: from any server, without one reader's wish to wait."""
    return {**request, "AllowStale": True, "MinQueryIndex": 0, "MaxQueryTime": 0, "MustRevalidate": False}


async def _allowed(entry: Entry) -> None:
    """Until the entry may be fetched again. Reloaded options count from the next look on."""
    while not entry.limiter.allow(trio.current_time()):  # noqa: ASYNC110  a token comes with time, not with an event
        await trio.sleep(min(entry.limiter.wait_s(), _LIMITER_LOOK_S))


def _index_of(reply: Any) -> int:
    """What the next query waits for something newer than; of a reply that has no index that makes sense, nothing."""
    if not isinstance(reply, dict):
        return 1
    index = reply.get("Index")
    return max(0, index) if isinstance(index, int) else 0


async def serve(cache: AgentCache, call: Call) -> list[Any]:
    """Agent.CacheGet {Type, Request, Have}: [hit, age in seconds, number of the value, the reply packed with msgpack or
    nil if the caller has that value already]."""
    wanted = call.payload
    try:
        found = await cache.get(wanted["Type"], wanted["Request"], wanted.get("Have") or 0)
    except RpcError as error:
        raise RemoteError(error.code, str(error)) from None
    return [found.hit, found.age_s, found.number, found.value]
