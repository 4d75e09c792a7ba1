"""LeaderDuties.reassert: whoever asks for a new beginning hears of it, whatever the rounds between come to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import trio
from trio.testing import MockClock

from services.rpc_core.errors import NoLeaderError
from services.rpc_core.leader.duties import RETRY_ESTABLISH_S, LeaderDuties


class Office(LeaderDuties):
    """Its rounds end as `outcomes` says: whether they establish."""

    def __init__(self, core: Any, outcomes: list[bool]) -> None:
        super().__init__(core)
        self.outcomes = outcomes

    async def _announce(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _round(self) -> bool:
        await trio.sleep(1)
        good = self.outcomes.pop(0)
        if good:
            self._core.established.set()
        return good

    async def lead(self) -> None:
        await self._lead()


def no_state() -> Any:
    raise NoLeaderError


def office(*outcomes: bool) -> Office:
    timers = SimpleNamespace(clear_all=lambda: None)
    core = SimpleNamespace(established=trio.Event(), reconciled=trio.Event(), session_timers=timers, snapshot=no_state)
    return Office(core, list(outcomes))


async def test_all_who_ask_at_once_hear_of_the_one_round(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    duties = office(True, True)
    nursery.start_soon(duties.lead)
    await trio.sleep(2.5)  # between two looks for tombstones: both askers come before the loop wakes
    with trio.fail_after(2):
        async with trio.open_nursery() as askers:
            askers.start_soon(duties.reassert)
            askers.start_soon(duties.reassert)
    assert duties.outcomes == []


async def test_a_round_that_fails_is_followed_by_one_that_answers(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    duties = office(True, False, True)
    nursery.start_soon(duties.lead)
    await trio.sleep(2)
    with trio.fail_after(RETRY_ESTABLISH_S + 2):
        await duties.reassert()


async def test_a_round_that_was_under_way_is_not_enough(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    duties = office(True, True)
    nursery.start_soon(duties.lead)
    await trio.sleep(0.5)
    await duties.reassert()
    assert duties.outcomes == []
