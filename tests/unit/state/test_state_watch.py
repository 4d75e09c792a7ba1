"""WatchHub against the plain rule: a record wakes a waiter if one of its topics covers a watched one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.state.topics import ALL, KEY, NODE, PREFIX, RESTORE, SERVICE, TREE, Topic, Watch
from shared.state.watch import WatchHub

paths = st.sampled_from(["a", "a/", "a/b", "a/b/c", "ab", "b", "é/x"])
watched = st.one_of(
    st.tuples(st.just(KEY), paths),
    st.tuples(st.just(PREFIX), paths | st.just("")),
    st.tuples(st.just(SERVICE), st.sampled_from([ALL, "web", "db"])),
    st.tuples(st.just(NODE), st.sampled_from([ALL, "n1"])),
)
touched = st.one_of(
    st.tuples(st.just(KEY), paths),
    st.tuples(st.just(TREE), paths | st.just("")),
    st.tuples(st.just(SERVICE), st.sampled_from(["web", "db"])),
    st.tuples(st.just(NODE), st.sampled_from(["n1", "n2"])),
)


def covers(change: Topic, watch: Topic) -> bool:
    (kind, key), (table, wanted) = change, watch
    if kind == KEY:
        return (table == KEY and key == wanted) or (table == PREFIX and key.startswith(wanted))
    if kind == TREE:
        if table == KEY:
            return wanted.startswith(key)
        return table == PREFIX and (wanted.startswith(key) or key.startswith(wanted))
    return table == kind and wanted in (ALL, key)


@given(
    waiters=st.lists(st.lists(watched, min_size=1, max_size=3).map(tuple), max_size=6),
    cancelled=st.sets(st.integers(0, 5)),
    records=st.lists(st.lists(touched, max_size=3), max_size=4),
)
def test_waking_follows_the_plain_rule(waiters: list[Watch], cancelled: set[int], records: list[list[Topic]]) -> None:
    hub = WatchHub()
    woken: list[int] = []
    registrations = [hub.register(watch, lambda at=at: woken.append(at)) for at, watch in enumerate(waiters)]
    for at in cancelled:
        if at < len(registrations):
            registrations[at].cancel()
    for record in records:
        woken.clear()
        count = hub.notify([list(topic) for topic in record])
        expected = [
            at
            for at, watch in enumerate(waiters)
            if at not in cancelled and any(covers(change, topic) for change in record for topic in watch)
        ]
        assert sorted(woken) == expected
        assert count == len(expected)
    for registration in registrations:
        registration.cancel()
        registration.cancel()
    assert len(hub) == 0
    assert hub.notify([[KEY, "a"], [TREE, ""]]) == 0


def test_a_restore_wakes_everybody() -> None:
    hub = WatchHub()
    woken: list[str] = []
    hub.register(((KEY, "a"), (PREFIX, "a")), lambda: woken.append("a"))
    hub.register(((SERVICE, "web"),), lambda: woken.append("web"))
    assert hub.notify([[RESTORE, ""]]) == 2
    assert sorted(woken) == ["a", "web"]
    assert hub.wake_all() == 2


def test_a_callback_may_cancel_another_waiter() -> None:
    hub = WatchHub()
    woken: list[int] = []
    second = hub.register(((KEY, "k"),), lambda: woken.append(2))
    second.cancel()

    def first() -> None:
        woken.append(1)
        third.cancel()

    hub.register(((KEY, "k"),), first)
    third = hub.register(((KEY, "k"),), lambda: woken.append(3))
    hub.notify([[KEY, "k"]])
    assert woken == [1]


def test_ten_thousand_waiters_cost_an_unrelated_change_nothing() -> None:
    hub = WatchHub()
    for at in range(10_000):
        hub.register(((KEY, f"key/{at}"),), lambda: pytest.fail("woken"))
        hub.register(((PREFIX, f"tree/{at % 100}/"),), lambda: pytest.fail("woken"))

    def per_change_us() -> float:
        started = time.perf_counter()
        for at in range(100):
            hub.notify([[KEY, f"other/{at}"]])
        return (time.perf_counter() - started) * 10_000

    assert min(per_change_us() for _ in range(10)) < 200, "expected some microseconds"
