"""What the SWIM core is made of: the queue of rumours, timers, phases, addresses."""

import random

import pytest

from services.gossip.swim import Timers
from services.gossip.swim.address import Address, format_ip
from services.gossip.swim.broadcasts import BroadcastQueue
from services.gossip.swim.timers import Phase


def test_the_queue_sends_fresh_then_large_then_new() -> None:
    queue = BroadcastQueue(4, 100)
    queue.add(b"old-small")
    queue.add(b"new-small")
    queue.add(b"large--------------")
    assert queue.take(2, 60, 1, 10) == [b"large--------------", b"new-small", b"old-small"]
    queue.add(b"fresh")
    assert queue.take(2, 7, 1, 10) == [b"fresh"]
    assert queue.take(2, 6, 1, 10) == []
    assert queue.take(2, 1000, 1, 2) == [b"large--------------", b"new-small"]


def test_the_queue_sends_each_rumour_to_the_limit_and_says_when_it_is_done() -> None:
    queue = BroadcastQueue(4, 100)
    done: list[str] = []
    queue.add(b"a", name="n", on_done=lambda: done.append("replaced"))
    queue.add(b"b", name="n", on_done=lambda: done.append("sent"))
    assert done == ["replaced"]
    assert [queue.take(2, 100, 9, 10) for _ in range(5)] == [[b"b"]] * 4 + [[]]
    assert done == ["replaced", "sent"]
    assert len(queue) == 0


def test_the_queue_is_bounded() -> None:
    queue = BroadcastQueue(4, 3)
    dropped = sum(queue.add(b"x" * size) for size in range(1, 8))
    assert dropped == 4
    assert len(queue) == 3


def test_timers_keep_their_order_and_can_be_cancelled() -> None:
    timers = Timers()
    seen: list[str] = []
    timers.at(2.0, lambda now: seen.append("b"))
    timers.at(1.0, lambda now: seen.append("a"))
    timers.at(2.0, lambda now: seen.append("c"))
    timers.at(1.5, lambda now: seen.append("never")).cancel()
    assert timers.deadline == 1.0
    timers.run_due(2.0)
    assert seen == ["a", "b", "c"]
    assert timers.deadline == float("inf")


def test_a_phase_never_stands_still() -> None:
    rng = random.Random(3)
    for _ in range(2000):
        phase = Phase(rng.choice([0.1, 0.2, 1.0, 30.0]), 0.0)
        phase = Phase(phase.interval_s, rng.random() * phase.interval_s)
        at = rng.random() * 1e6
        first = phase.next_after(at)
        second = phase.next_after(first)
        assert first > at
        assert second - first == pytest.approx(phase.interval_s, rel=1e-3)


def test_addresses_are_shown_as_go_does() -> None:
    assert str(Address(bytes((127, 0, 0, 1)), 8301)) == "127.0.0.1:8301"
    assert str(Address(bytes(15) + b"\1", 8301)) == "[::1]:8301"
    assert format_ip(bytes(10) + b"\xff\xff\x7f\0\0\1") == "127.0.0.1"
    assert format_ip(b"") == "<nil>"
