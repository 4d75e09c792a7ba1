"""Finding the pool again after a restart: in time though members hang, and later though nobody is there yet."""

import pytest
import trio
from trio.testing import MockClock

from services.gossip.rejoin import PAUSES_S, STAGGER_S, rejoin

PREVIOUS = [("a", "192.0.2.1:8301"), ("b", "192.0.2.2:8301"), ("c", "192.0.2.3:8301")]
HANG_S = 10.0


class Pool:
    """Members that refuse, hang or answer; what was tried when."""

    def __init__(self, *, hanging: str = "", answering: str = "", answers_from: float = 0.0) -> None:
        self._hanging, self._answering, self._answers_from = hanging, answering, answers_from
        self.started = trio.current_time()
        self.tried: list[tuple[str, float]] = []
        self.lines: list[str] = []
        self.found_by_others_at = float("inf")

    async def attempt(self, name: str, address: str) -> bool:
        self.tried.append((name, trio.current_time() - self.started))
        if name in self._hanging:
            await trio.sleep(HANG_S)
            return False
        return name in self._answering and trio.current_time() - self.started >= self._answers_from

    def is_wanted(self) -> bool:
        return trio.current_time() - self.started < self.found_by_others_at

    async def run(self) -> float:
        """How long it took."""
        await rejoin(PREVIOUS, self.attempt, self.is_wanted, lambda level, text: self.lines.append(text))
        return trio.current_time() - self.started


async def test_members_that_hang_do_not_hold_up_the_others(autojump_clock: MockClock) -> None:
    pool = Pool(hanging="ab", answering="c")
    assert await pool.run() == pytest.approx(2 * STAGGER_S)
    assert [name for name, _ in pool.tried] == ["a", "b", "c"]
    assert pool.lines[-1] == "serf: Re-joined to previously known node: c: 192.0.2.3:8301"


async def test_the_first_that_answers_is_enough(autojump_clock: MockClock) -> None:
    pool = Pool(answering="abc")
    assert await pool.run() == 0
    assert pool.tried == [("a", 0)]


async def test_it_is_tried_again_while_nobody_is_there(autojump_clock: MockClock) -> None:
    pool = Pool(answering="b", answers_from=5.0)
    assert await pool.run() == 7.0
    assert [at for name, at in pool.tried if name == "a"] == [0, 1, 3, 7]
    assert pool.lines.count("serf: Failed to re-join any previously known node") == 3


async def test_it_ends_when_others_have_found_us_and_after_some_minutes(autojump_clock: MockClock) -> None:
    found = Pool()
    found.found_by_others_at = 2.0
    assert await found.run() == 3.0
    forlorn = Pool()
    assert await forlorn.run() == sum(PAUSES_S)


async def test_without_anybody_known_there_is_nothing_to_do(autojump_clock: MockClock) -> None:
    pool = Pool()
    await rejoin([], pool.attempt, pool.is_wanted, lambda level, text: pool.lines.append(text))
    assert pool.lines == []
