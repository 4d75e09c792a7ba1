"""Writes that wait for a leader: no more of them than there is room for, and a place for the next when one is done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from services.rpc_core import late_writes
from services.rpc_core.late_writes import LateWrites


class Waiting:
    """A request for a write. `outcome` is what it was answered."""

    def __init__(self, number: int) -> None:
        self.payload = ["set", b"k", b"%d" % number]
        self.deadline = trio.current_time() + 60
        self.outcome: Any = None

    def reply(self, value: Any) -> None:
        self.outcome = value

    def fail(self, code: str, text: str) -> None:
        self.outcome = (code, text)

    def fail_with(self, error: Exception) -> None:
        self.outcome = error


async def test_tasks_are_bounded_and_so_is_the_queue_for_them(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_writes, "WAITING_MAX", 2)
    led, served = trio.Event(), 0

    async def answer(method: str, here: Any, body: Any) -> bool:
        nonlocal served
        served += 1
        await led.wait()
        return True

    router = SimpleNamespace(leaving=trio.Event(), leader_elsewhere=lambda: "")
    core: Any = SimpleNamespace(router=router, servers=None, forwarder=SimpleNamespace(answer=answer))
    writes = LateWrites(core)
    await nursery.start(writes.run)
    requests: list[Any] = []
    for number in range(6):
        requests.append(Waiting(number))
        writes.kv(requests[-1])
        await trio.testing.wait_all_tasks_blocked()
    assert served == 2
    refused = ("unavailable", "too many writes are waiting for a leader")
    assert [one.outcome for one in requests] == [None] * 5 + [refused]  # two run, one is next, two queue up
    led.set()
    await trio.testing.wait_all_tasks_blocked()
    assert [one.outcome for one in requests] == [True] * 5 + [refused]
    requests.append(Waiting(6))
    writes.kv(requests[-1])
    await trio.testing.wait_all_tasks_blocked()
    assert requests[-1].outcome is True
