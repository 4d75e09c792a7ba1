"""The cores that keep time: rate limit, tombstones, session TTLs, anti-entropy."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rpc_core.leader.session_timers import SessionTimers
from services.rpc_core.leader.tombstones import TombstoneTimer
from services.rpc_core.limits import ConnectionCounter, TokenBucket
from services.rpc_core.local.coordinates import wait_s
from services.rpc_core.local.schedule import SyncKind, SyncSchedule, scale_factor


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=2.0, burst=3, now=0.0)
    assert [bucket.allow(0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.allow(0.25)
    assert bucket.allow(0.5)
    assert [bucket.allow(100.0) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("rate", [-1.0, 0.0, 1.7976931348623157e308])
def test_no_rate_is_no_limit(rate: float) -> None:
    bucket = TokenBucket(rate=rate, burst=1, now=0.0)
    assert bucket.unlimited
    assert all(bucket.allow(0.0) for _ in range(100))


@given(st.lists(st.floats(0, 0.5), max_size=200))
def test_a_bucket_never_gives_more_than_rate_and_burst(steps: list[float]) -> None:
    bucket, now, given_tokens = TokenBucket(rate=5.0, burst=4, now=0.0), 0.0, 0
    for step in steps:
        now += step
        given_tokens += bucket.allow(now)
    assert given_tokens <= 4 + 5.0 * now + 1e-6


def test_connections_are_counted_per_source() -> None:
    counter = ConnectionCounter(2)
    assert [counter.acquire("a"), counter.acquire("a"), counter.acquire("a")] == [True, True, False]
    assert counter.acquire("b")
    counter.release("a")
    assert counter.acquire("a")


def test_tombstones_of_one_bin_are_reaped_together() -> None:
    timer = TombstoneTimer()
    timer.hint(5, now=0.0)
    assert timer.deadline is None  # not leader: somebody else keeps the time
    timer.enable()
    timer.hint(10, now=1.0)
    timer.hint(12, now=29.0)
    timer.hint(11, now=29.5)
    timer.hint(20, now=31.0)
    assert timer.deadline == 930.0
    assert timer.expire(929.9) is None
    assert timer.expire(930.0) == 12
    assert timer.expire(2000.0) == 20
    timer.hint(30, now=2000.0)
    timer.disable()
    assert timer.deadline is None


def test_a_session_gets_twice_its_ttl_and_a_renewal_starts_again() -> None:
    timers = SessionTimers()
    timers.reset("s1", 10.0, now=0.0)
    timers.reset("s2", 15.0, now=0.0)
    timers.reset("none", 0.0, now=0.0)
    assert (timers.deadline, len(timers)) == (20.0, 2)
    timers.reset("s1", 10.0, now=15.0)
    assert timers.expire(34.0) == ["s2"]
    assert timers.expire(35.0) == ["s1"]
    assert timers.deadline is None


def test_a_failed_invalidation_is_tried_again_with_backoff_and_then_given_up() -> None:
    timers = SessionTimers()
    timers.reset("s", 10.0, now=0.0)
    now, waits = 20.0, []
    assert timers.expire(now) == ["s"]
    while timers.invalidation_failed("s", now):
        assert timers.deadline is not None
        waits.append(timers.deadline - now)
        now = timers.deadline
        assert timers.expire(now) == ["s"]
    assert waits == [10.0, 20.0, 40.0, 80.0, 160.0]


def test_renewals_do_not_pile_up() -> None:
    timers = SessionTimers()
    for second in range(10_000):
        timers.reset("s", 10.0, now=float(second))
    assert len(timers._heap) <= 65
    assert timers.deadline == 9999.0 + 20.0


class NoStagger(random.Random):
    """A generator that always draws the start of an interval."""

    def random(self) -> float:
        return 0.0


def test_anti_entropy_runs_at_start_then_every_minute() -> None:
    schedule = SyncSchedule(NoStagger(), now=100.0)
    assert schedule.due(100.0) is SyncKind.FULL
    schedule.full_done(ok=True, now=100.0)
    assert (schedule.due(159.9), schedule.deadline) == (None, 160.0)
    assert schedule.due(160.0) is SyncKind.FULL


def test_a_failed_full_sync_is_retried_and_small_changes_wait_for_it() -> None:
    schedule = SyncSchedule(NoStagger(), now=0.0)
    schedule.due(0.0)
    schedule.full_done(ok=False, now=0.0)
    schedule.changed()
    assert (schedule.due(1.0), schedule.deadline) == (None, 15.0)
    schedule.server_up(2.0)
    assert schedule.due(2.0) is SyncKind.FULL
    schedule.full_done(ok=True, now=2.0)
    assert schedule.due(3.0) is None  # the full sync has pushed the change


def test_changes_are_pushed_at_once_unless_paused() -> None:
    schedule = SyncSchedule(NoStagger(), now=0.0)
    schedule.due(0.0)
    schedule.full_done(ok=True, now=0.0)
    schedule.pause()
    schedule.changed()
    assert schedule.due(1.0) is None
    schedule.resume()
    assert schedule.deadline == 0.0
    assert schedule.due(1.0) is SyncKind.CHANGES
    assert schedule.due(1.0) is None
    with pytest.raises(ValueError, match="resume"):
        schedule.resume()


def test_a_server_that_comes_up_is_synced_within_three_seconds() -> None:
    schedule = SyncSchedule(random.Random(1), now=0.0)
    schedule.due(0.0)
    schedule.full_done(ok=True, now=0.0)
    schedule.server_up(10.0)
    assert 10.0 <= schedule.deadline <= 13.0


def test_a_server_that_comes_up_during_a_sync_is_synced_after_it() -> None:
    schedule = SyncSchedule(NoStagger(), now=0.0)
    schedule.server_up(0.0)
    assert schedule.due(0.0) is SyncKind.FULL
    schedule.server_up(0.5)
    schedule.full_done(ok=True, now=1.0)
    assert schedule.due(1.0) is SyncKind.FULL
    schedule.full_done(ok=True, now=1.0)
    assert (schedule.due(1.0), schedule.deadline) == (None, 61.0)


def test_large_clusters_are_slowed_down() -> None:
    assert [scale_factor(n) for n in (1, 128, 129, 256, 257, 1024)] == [1, 1, 2, 2, 3, 4]


def test_coordinates_are_sent_more_rarely_in_large_clusters() -> None:
    assert wait_s(1, 64.0, 15.0, NoStagger()) == 15.0
    assert wait_s(6400, 64.0, 15.0, NoStagger()) == 100.0
    assert 15.0 <= wait_s(1, 64.0, 15.0, random.Random(1)) <= 30.0
