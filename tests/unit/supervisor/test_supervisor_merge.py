"""Log records of several processes come out in the order of their time."""

from __future__ import annotations

import trio
import trio.testing

from services.supervisor.merge import HELD_MAX, HOLD_S, Merge
from shared.log import INFO, Record


def record(time_s: float, message: str) -> Record:
    return Record(time_s, INFO, "agent", message)


async def test_what_was_written_first_comes_out_first(autojump_clock: trio.testing.MockClock) -> None:
    out: list[str] = []
    merge = Merge(lambda one: out.append(one.message))
    async with trio.open_nursery() as nursery:
        await nursery.start(merge.run)
        merge.accept(record(2.0, "rpc_core removes the server"))
        merge.accept(record(1.0, "gossip says that it left"))
        merge.accept(record(2.0, "same time: as they came"))
        assert out == []
        await trio.sleep(HOLD_S * 1.5)
        assert out == ["gossip says that it left", "rpc_core removes the server", "same time: as they came"]
        merge.accept(record(3.0, "the last word"))
        nursery.cancel_scope.cancel()
    assert out[-1] == "the last word"


async def test_settle_passes_on_all_that_was_sent_before(autojump_clock: trio.testing.MockClock) -> None:
    out: list[str] = []
    merge = Merge(lambda one: out.append(one.message))
    async with trio.open_nursery() as nursery:
        await nursery.start(merge.run)
        merge.accept(record(1.0, "started"))
        await merge.settle()
        assert out == ["started"]
        nursery.cancel_scope.cancel()


async def test_a_flood_is_not_held(autojump_clock: trio.testing.MockClock) -> None:
    out: list[str] = []
    merge = Merge(lambda one: out.append(one.message))
    async with trio.open_nursery() as nursery:
        await nursery.start(merge.run)
        for number in range(HELD_MAX):
            merge.accept(record(float(number), str(number)))
        assert len(out) == HELD_MAX
        nursery.cancel_scope.cancel()


def test_without_an_event_loop_nothing_is_held() -> None:
    out: list[str] = []
    Merge(lambda one: out.append(one.message)).accept(record(1.0, "early"))
    assert out == ["early"]
