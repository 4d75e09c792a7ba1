"""The agent cache: what is a hit, what is fetched when, how failures age what is there, how many fetches there are."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest
import trio
import trio.testing

from services.rpc_core.errors import NoLeaderError, RpcError
from services.rpc_core.limits import TokenBucket
from services.rpc_core.local.cache import AgentCache, cache
from services.rpc_core.local.cache.entry import Entry, Wanted
from services.rpc_core.local.cache.types import QUERY_TIMEOUT_S, TTL_S, TYPES

HEALTH = "health-services"
DATACENTERS = "catalog-datacenters"
RATE_NONE = 1e308


class Server:
    """A server whose answers a test decides: blocking reads wait for `set`."""

    def __init__(self) -> None:
        self.index, self.value = 5, "a"
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.error: RpcError | None = None
        self._changed = trio.Event()

    def set(self, value: str) -> None:
        self.value, self.index = value, self.index + 1
        self.wake()

    def wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def fetch(self, method: str, request: dict[str, Any]) -> Any:
        self.calls.append((method, request))
        await trio.lowlevel.checkpoint()
        if request.get("MinQueryIndex", 0) >= self.index and self.error is None:
            with trio.move_on_after(request["MaxQueryTime"] / 1e9):
                await self._changed.wait()
        if self.error is not None:
            raise self.error
        return {"Index": self.index, "Nodes": self.value}


@asynccontextmanager
async def running(server: Server, *, rate: float = RATE_NONE, burst: int = 2) -> AsyncIterator[AgentCache]:
    made = AgentCache(server.fetch, random.Random(1), rate=rate, burst=burst)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()


def request(name: str = "web", **more: Any) -> dict[str, Any]:
    return {"Datacenter": "dc1", "Token": "", "ServiceName": name, **more}


def value_of(hit: cache.Hit) -> Any:
    assert hit.value is not None
    return msgpack.unpackb(hit.value)["Nodes"]


async def test_the_first_read_is_a_miss_and_the_next_a_hit(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    async with running(server) as made:
        first, second = await made.get(HEALTH, request()), await made.get(HEALTH, request())
    assert (first.hit, value_of(first)) == (False, "a")
    assert (second.hit, value_of(second), second.age_s) == (True, "a", 0.0)
    assert server.calls[0][1]["AllowStale"] is True


async def test_a_value_the_reader_has_is_not_sent_again(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    async with running(server) as made:
        first = await made.get(HEALTH, request())
        again = await made.get(HEALTH, request(), have=first.number)
        server.set("b")
        await trio.testing.wait_all_tasks_blocked()
        newer = await made.get(HEALTH, request(), have=first.number)
    assert (again.value, again.number) == (None, first.number)
    assert value_of(newer) == "b"
    assert newer.number != first.number


async def test_values_are_kept_fresh_without_readers(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    async with running(server) as made:
        await made.get(HEALTH, request())
        server.set("b")
        await trio.testing.wait_all_tasks_blocked()
        found = await made.get(HEALTH, request(), have=0)
    assert (found.hit, value_of(found)) == (True, "b")
    assert server.calls[1][1]["MinQueryIndex"] == 5
    assert server.calls[1][1]["MaxQueryTime"] == QUERY_TIMEOUT_S * 1e9


async def test_a_thousand_readers_share_one_fetch(autojump_clock: trio.testing.MockClock) -> None:
    server, found = Server(), []

    async def read() -> None:
        found.append(await made.get(HEALTH, request()))

    async with running(server) as made:
        async with trio.open_nursery() as readers:
            for _ in range(1000):
                readers.start_soon(read)
        fetches = len(server.calls)
    assert len(found) == 1000
    assert fetches <= 2


async def test_a_blocking_read_waits_for_a_newer_value(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    async with running(server) as made, trio.open_nursery() as nursery:
        await made.get(HEALTH, request())

        async def change() -> None:
            await trio.sleep(3)
            server.set("b")

        nursery.start_soon(change)
        started = trio.current_time()
        found = await made.get(HEALTH, request(MinQueryIndex=5))
    assert (found.hit, value_of(found), trio.current_time() - started) == (False, "b", 3)


async def test_a_blocking_read_ends_with_what_there_is(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    async with running(server) as made:
        await made.get(HEALTH, request())
        started = trio.current_time()
        found = await made.get(HEALTH, request(MinQueryIndex=5, MaxQueryTime=int(2e9)))
        server.index = 0
        with pytest.raises(RpcError, match="response type not correct"):
            await made.get(HEALTH, request("other", MinQueryIndex=9, MaxQueryTime=int(1e9)))
    assert (found.hit, value_of(found), trio.current_time() - started) == (False, "a", 3)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (request("web"), request("db")),
        (request(Datacenter="dc1"), request(Datacenter="dc2")),
        (request(Token="a"), request(Token="b")),
        (request(Filter="a == b"), request(Filter="")),
        (request(Connect=True), request(Connect=False)),
        (request(NodeMetaFilters={"a": "b"}), request(NodeMetaFilters={"a": "c"})),
        (request(ServiceTags=["a"]), request(ServiceTags=["a", "b"])),
    ],
)
def test_what_may_be_answered_otherwise_is_another_entry(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert TYPES[HEALTH].entry_key(left) != TYPES[HEALTH].entry_key(right)


def test_what_does_not_matter_is_the_same_entry() -> None:
    key = TYPES[HEALTH].entry_key
    assert key(request(ServiceTags=["b", "a"])) == key(request(ServiceTags=["a", "b"], MinQueryIndex=7, MaxAge=5))
    datacenters = TYPES[DATACENTERS].entry_key
    assert datacenters({"Token": "a"}) == datacenters({"Token": "b", "Datacenter": "dc2"})


async def test_what_is_not_refreshed_ages_until_somebody_wants_it_younger(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    async with running(server) as made:
        await made.get(DATACENTERS, {})
        await trio.sleep(10)
        old = await made.get(DATACENTERS, {})
        young = await made.get(DATACENTERS, {"MaxAge": int(5e9)})
        await trio.sleep(4)
        good_enough = await made.get(DATACENTERS, {"MaxAge": int(5e9)})
        fresh = await made.get(DATACENTERS, {"MustRevalidate": True})
    assert (old.hit, old.age_s) == (True, 10)
    assert (young.hit, young.age_s) == (False, 0)
    assert (good_enough.hit, good_enough.age_s) == (True, 4)
    assert (fresh.hit, fresh.age_s) == (False, 0)
    assert len(server.calls) == 3


async def test_max_age_and_must_revalidate_mean_nothing_for_what_is_refreshed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(Server()) as made:
        await made.get(HEALTH, request())
        await trio.sleep(10)
        assert (await made.get(HEALTH, request(MaxAge=1))).hit
        assert (await made.get(HEALTH, request(MustRevalidate=True))).hit


async def test_while_the_refresh_fails_the_value_stays_and_ages(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    async with running(server) as made:
        await made.get(HEALTH, request())
        server.error = NoLeaderError()
        server.wake()
        await trio.sleep(20)
        stale = await made.get(HEALTH, request())
        server.error = None
        await trio.sleep(130)
        again = await made.get(HEALTH, request())
    assert stale.hit
    assert value_of(stale) == "a"
    assert 19 < stale.age_s <= 20
    assert again.hit
    assert again.age_s == 0


async def test_a_first_read_that_fails_says_why_and_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    server.error = NoLeaderError()
    async with running(server) as made:
        for _ in range(3):
            with pytest.raises(NoLeaderError):
                await made.get(HEALTH, request())
        await trio.sleep(600)
        asked = len(server.calls)
        server.error = None
        found = await made.get(HEALTH, request())
    assert asked == 3  # nobody keeps asking for what nobody ever got
    assert (found.hit, value_of(found)) == (False, "a")


async def test_a_bug_in_one_fetch_is_an_error_of_its_readers_only(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    async with running(server) as made:
        await made.get(HEALTH, request())
        server.error = ValueError("a bug")  # type: ignore[assignment]
        with pytest.raises(RpcError, match="failed inside the agent"):
            await made.get(HEALTH, request("other"))
        assert (await made.get(HEALTH, request())).hit


async def test_fetches_of_an_entry_are_limited(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    async with running(server, rate=0.5, burst=1) as made:
        await made.get(DATACENTERS, {})
        started = trio.current_time()
        await made.get(DATACENTERS, {"MustRevalidate": True})
        assert trio.current_time() - started == pytest.approx(2)
        made.configure(RATE_NONE, 1)
        started = trio.current_time()
        await made.get(DATACENTERS, {"MustRevalidate": True})
        assert trio.current_time() == started


async def test_what_nobody_reads_for_three_days_is_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    async with running(server) as made:
        await made.get(HEALTH, request("old"))
        await trio.sleep(TTL_S / 2)
        await made.get(HEALTH, request("young"))
        await trio.sleep(TTL_S / 2 + 120)
        assert len(made) == 1
        asked = len(server.calls)
        await trio.sleep(QUERY_TIMEOUT_S)
        assert {call[1]["ServiceName"] for call in server.calls[asked:]} == {"young"}


async def test_what_never_had_an_answer_does_not_keep_the_rest_alive(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    server.error = NoLeaderError()
    async with running(server) as made:
        with pytest.raises(RpcError):
            await made.get(HEALTH, request("unanswered"))
        server.error = None
        await made.get(HEALTH, request("web"))
        await trio.sleep(TTL_S + 120)
        assert len(made) == 0


async def test_a_reply_that_comes_as_its_entry_is_evicted_counts_nothing(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "ENTRIES_MAX", 1)
    server = Server()
    async with running(server) as made:
        await made.get(HEALTH, request("a"))
        await trio.testing.wait_all_tasks_blocked()
        server.set("b")  # the fetch for "a" goes on in the next turn
        await made.get(HEALTH, request("b"))  # which takes its place in this one
        await trio.testing.wait_all_tasks_blocked()
        (kept,) = made._kept.values()
        assert made._bytes == kept.request_bytes + len(kept.entry.value or b"")


async def test_a_full_cache_forgets_what_was_read_longest_ago(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "ENTRIES_MAX", 3)
    async with running(Server()) as made:
        for name in ("a", "b", "c", "a", "d"):
            await made.get(HEALTH, request(name))
        assert len(made) == 3
        assert (await made.get(HEALTH, request("a"))).hit
        assert not (await made.get(HEALTH, request("b"))).hit


async def test_long_requests_fill_the_cache_as_values_do(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "BYTES_MAX", 2500)
    async with running(Server()) as made:
        for name in ("a", "b", "c"):
            await made.get(HEALTH, {**request(name), "Filter": name * 1000})
        assert len(made) == 2


async def test_a_reader_that_goes_away_leaves_the_fetch_to_the_others(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    async with running(server) as made:
        await made.get(HEALTH, request())
        with trio.move_on_after(1):
            await made.get(HEALTH, request(MinQueryIndex=5))
        server.set("b")
        await trio.testing.wait_all_tasks_blocked()
        assert value_of(await made.get(HEALTH, request())) == "b"


def test_failures_pause_longer_and_longer_but_not_for_ever() -> None:
    entry = Entry(refreshes=True, blocks=True, limiter=TokenBucket(0, 1, 0.0))
    pauses = []
    for _ in range(12):
        entry.failed(RpcError("no"), 0.0)
        pauses.append(entry.backoff_s(random.Random(0)))
    assert pauses[:3] == [0, 0, 0]
    assert 2 <= pauses[3] <= 4
    assert 4 <= pauses[4] <= 8
    assert all(60 <= pause <= 120 for pause in pauses[-3:])


def test_a_refresh_that_blocks_for_half_a_minute_has_reached_a_server() -> None:
    entry = Entry(refreshes=True, blocks=True, limiter=TokenBucket(0, 1, 0.0))
    entry.fetched(b"x", 7, 1, 0.0)
    entry.failed(RpcError("no"), 10.0)
    entry.started(11.0)
    assert entry.age_s(30.0) == 20.0
    assert entry.age_s(42.0) == 0.0
    assert entry.satisfies(Wanted(min_index=6), 42.0)
    assert not entry.satisfies(Wanted(min_index=7), 42.0)
