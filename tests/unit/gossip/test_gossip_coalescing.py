"""Serf's coalescing of user events, which Consul has off."""

import random

from services.gossip.codec.messages import User
from services.gossip.codec.serf_messages import UserEventMessage, encode_serf
from services.gossip.serf import Serf, SerfSettings
from services.gossip.serf.coalescing import Coalescer
from services.gossip.serf.effects import UserEvent
from services.gossip.swim import SwimSettings
from services.gossip.swim.address import Address
from services.gossip.swim.timers import Timers

ME = Address(bytes((10, 0, 0, 1)), 8301)


class Held:
    """A coalescer at `now` and what it has delivered: (name, time, when)."""

    def __init__(self, period_s: float = 3.0, quiescent_s: float = 1.0) -> None:
        self.now = 100.0
        self.delivered: list[tuple[str, int, float]] = []
        self.timers = Timers()
        self._coalescer = Coalescer(period_s, quiescent_s, self.timers, self._deliver)

    def _deliver(self, event: UserEvent) -> None:
        self.delivered.append((event.name, event.ltime, self.now))

    def take(self, name: str, ltime: int, *, coalesce: bool = True) -> None:
        self._coalescer.take(UserEvent(ltime, name, b"", coalesce), self.now)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers.deadline <= end:
            self.now = self.timers.deadline
            self.timers.run_due(self.now)
        self.now = end


def test_the_latest_of_each_name_are_delivered_when_it_is_quiet() -> None:
    held = Held()
    for name, ltime in (("a", 5), ("b", 1), ("a", 7), ("a", 6), ("a", 7)):
        held.take(name, ltime)
    held.take("a", 4, coalesce=False)
    assert held.delivered == [("a", 4, 100)]
    held.pass_time(10)
    assert held.delivered[1:] == [("a", 7, 101), ("a", 7, 101), ("b", 1, 101)]
    held.take("a", 1)
    held.pass_time(10)
    assert held.delivered[-1] == ("a", 1, 111)


def test_events_that_keep_coming_are_held_no_longer_than_the_period() -> None:
    held = Held()
    for ltime in range(1, 20):
        held.take("a", ltime)
        held.pass_time(0.5)
    assert [at for _, _, at in held.delivered] == [103, 106, 109]


def test_without_a_period_nothing_is_held() -> None:
    held = Held(period_s=0)
    held.take("a", 5)
    assert held.delivered == [("a", 5, 100)]


def test_a_flood_of_names_is_not_held_for_long() -> None:
    held = Held()
    for number in range(10_000):
        held.take(f"n{number}", number)
    assert len(held.delivered) >= 8_000
    held.pass_time(5)
    assert len(held.delivered) == 10_000


def test_as_consul_has_it_events_are_delivered_at_once() -> None:
    serf = Serf(SerfSettings(SwimSettings("me", ME)), random.Random(1), lambda members: None)
    serf.start(99.0)
    effects = serf.receive([User(encode_serf(UserEventMessage(1, "e", b"", True)))], ME, 100.0)
    assert UserEvent(1, "e", b"", True) in effects
