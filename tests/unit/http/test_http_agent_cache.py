"""Values of the agent cache that the gateway keeps: how many, for how long, and when they are not to be trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from services.http_gateway import agent_cache
from services.http_gateway.agent_cache import KnownValues
from shared.ipc import Link

KEY = ("Health.ServiceNodes", "/v1/health/service/web?cached", "")
OTHER = ("Health.ServiceNodes", "/v1/health/service/web?cached&passing", "")
SOON = 1e12
ANSWER = b"HTTP/1.1 200 OK\r\nX-Cache: HIT\r\nDate: Sat, 21 Nov 2026 02:38:27 GMT\r\nContent-Length: 2\r\n\r\n[]"


class FakeLink:
    def __init__(self) -> None:
        self.events: dict[str, Callable[[Any], None]] = {}
        self.downs: list[Callable[[], None]] = []

    def subscribe(self, topic: str, callback: Callable[[Any], None]) -> None:
        assert topic not in self.events
        self.events[topic] = callback

    def on_down(self, callback: Callable[[], None]) -> None:
        self.downs.append(callback)


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def values(link: FakeLink) -> KnownValues:
    made = KnownValues()
    for _ in range(2):
        made.attach(cast(Link, link))
    return made


def trusted(values: KnownValues, key: tuple[str, str, str]) -> bool:
    known = values.get(key)
    return known is not None and known.trusted_until > 0


def test_a_value_whose_end_was_announced_is_known_but_not_trusted(values: KnownValues, link: FakeLink) -> None:
    for key in (KEY, OTHER):
        values.put(key, 7, b"x", SOON)
    link.events["cache"]([6, 8])
    assert trusted(values, KEY)
    link.events["cache"]([7])
    assert not trusted(values, KEY)
    assert not trusted(values, OTHER)
    known = values.get(KEY)
    assert known is not None
    assert (known.number, known.value) == (7, b"x")


def test_without_the_cache_nothing_is_trusted(values: KnownValues, link: FakeLink) -> None:
    values.put(KEY, 7, b"x", SOON)
    for callback in link.downs:
        callback()
    assert not trusted(values, KEY)


def test_a_newer_value_takes_the_place_of_the_old_one(values: KnownValues, link: FakeLink) -> None:
    values.put(KEY, 7, b"x", SOON)
    values.put(KEY, 9, b"y", SOON)
    link.events["cache"]([7])
    assert trusted(values, KEY)
    known = values.get(KEY)
    assert known is not None
    assert (known.number, known.value) == (9, b"y")


def test_an_answer_is_kept_without_its_date(values: KnownValues) -> None:
    values.put(KEY, 7, b"x", SOON)
    known = values.get(KEY)
    assert known is not None
    values.keep_answer(known, False, ANSWER.replace(b"200 OK", b"400 Bad Request"))
    assert not known.answers
    values.keep_answer(known, False, ANSWER)
    before, after = known.answers[False]
    assert b"".join((before, b"Date: Sat, 21 Nov 2026 02:38:27 GMT\r\n", after)) == ANSWER


def test_it_is_bounded(values: KnownValues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_cache, "_VALUES_MAX", 3)
    for number in range(1, 6):
        values.put(("m", str(number), ""), number, b"x" * 100, SOON)
    kept = [number for number in range(1, 6) if values.get(("m", str(number), "")) is not None]
    assert kept == [3, 4, 5]
    monkeypatch.setattr(agent_cache, "_BYTES_MAX", 150)
    values.put(("m", "9", ""), 9, b"x" * 100, SOON)
    assert values.get(("m", "5", "")) is None
    assert values.get(("m", "9", "")) is not None
    monkeypatch.setattr(agent_cache, "_VALUE_BYTES_MAX", 50)
    values.put(("m", "10", ""), 10, b"x" * 100, SOON)
    assert values.get(("m", "10", "")) is None


def test_what_was_asked_for_counts_too(values: KnownValues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_cache, "_BYTES_MAX", 2500)
    keys = [("m", f"/v1/health/service/web?filter={at}" + "x" * 1000, "") for at in range(4)]
    for number, key in enumerate(keys, 1):
        values.put(key, number, b"", SOON)
    assert [values.get(key) is not None for key in keys] == [False, False, True, True]
