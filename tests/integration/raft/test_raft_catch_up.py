"""A server that was away while the log was compacted is given a snapshot, and catches up while writes go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from shared.ipc import IpcError, Link
from tests.integration.raft.raft_process import (
    START_LIMIT_S,
    RaftProcess,
    apply_by_leader,
    call,
    kv_set,
    start_cluster,
    stored,
    three,
    wait_applied,
)
from tests.loopback import LoopbackPool

KEYS = 300
VALUE = b"x" * 2000
WRITERS = 8


@pytest.fixture
def processes(tmp_path: Path, loopback: LoopbackPool) -> Iterator[list[RaftProcess]]:
    yield from three(tmp_path, loopback, raft_trailing_logs=10)


class Load:
    """Writers that each wait for one write before they send the next. `written`: the last acknowledged value."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.written: dict[str, bytes] = {}
        self.index = self.failures = 0
        self._stop = False

    def start(self, nursery: trio.Nursery) -> Callable[[], None]:
        for number in range(WRITERS):
            nursery.start_soon(self._write, number)
        return self.stop

    def stop(self) -> None:
        self._stop = True

    async def _write(self, writer: int) -> None:
        number = 0
        while not self._stop:
            number += 1
            key, value = f"{writer}/{number % KEYS}", b"%d " % number + VALUE
            try:
                index, _ = await self._link.call("Raft.Apply", kv_set(key, value), timeout_s=START_LIMIT_S)
            except IpcError:
                self.failures += 1
                return
            self.written[key] = value
            self.index = max(self.index, int(index))


async def test_a_snapshot_is_installed_under_write_load(nursery: trio.Nursery, processes: list[RaftProcess]) -> None:
    links, leader = await start_cluster(nursery, processes)
    away = (leader + 1) % 3
    await apply_by_leader([links[leader]], "first", b"1")
    term = (await call(links[leader], "Raft.Stats"))["term"]
    processes[away].kill()

    load = Load(links[leader])
    with trio.fail_after(120):
        async with trio.open_nursery() as writers:
            stop = load.start(writers)
            while load.index < 1200:  # more than the leader keeps in memory
                await trio.sleep(0.02)
            taken = await call(links[leader], "Raft.Snapshot")
            processes[away].start()
            while "Installed remote snapshot" not in processes[away].log:
                await trio.sleep(0.02)
            caught_up_to = load.index
            while int((await call(links[away], "Raft.Stats"))["applied_index"]) < caught_up_to:
                await trio.sleep(0.02)
            stop()
    assert load.failures == 0
    assert caught_up_to > taken["index"]
    stats = await call(links[leader], "Raft.Stats")
    assert (stats["state"], stats["term"]) == ("Leader", term)  # nobody was disturbed
    last = await apply_by_leader([links[leader]], "last", b"2")
    await wait_applied(links, last)
    expected = {**load.written, "first": b"1", "last": b"2"}
    for process in processes:
        assert stored(process) == expected
    assert int((await call(links[away], "Raft.Stats"))["last_snapshot_index"]) >= taken["index"]
    nursery.cancel_scope.cancel()
