"""Three raft_node processes: a dead leader is noticed at once, one that was stopped for a while disturbs nobody."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from shared.ipc import Link
from tests.integration.raft.raft_process import (
    CALM,
    START_LIMIT_S,
    RaftProcess,
    apply_by_leader,
    call,
    leader_of,
    start_cluster,
    three,
    wait_applied,
)
from tests.loopback import LoopbackPool


@pytest.fixture
def processes(tmp_path: Path, loopback: LoopbackPool) -> Iterator[list[RaftProcess]]:
    yield from three(tmp_path, loopback, log_level="debug")


async def cluster_of(nursery: trio.Nursery, processes: list[RaftProcess]) -> tuple[list[Link], int]:
    """Links to all, and which one leads; each has heard from the leader who knows pre-vote."""
    links, leader = await start_cluster(nursery, processes)
    index = await apply_by_leader([links[leader]], "k", b"1")
    await wait_applied(links, index)
    # Three heartbeats, which shows nowhere: asked, answered, told to all.
    await trio.sleep(3 * 2 * CALM.heartbeat_timeout_s / 10)
    return links, leader


async def test_a_killed_leader_is_replaced_when_its_lease_is_over(
    nursery: trio.Nursery, processes: list[RaftProcess]
) -> None:
    links, leader = await cluster_of(nursery, processes)
    address = processes[leader].config.rpc_advertise_addr
    started = trio.current_time()
    processes[leader].kill()
    others = [number for number in range(3) if number != leader]
    await apply_by_leader([links[number] for number in others], "k", b"2")
    print(f"writes go on after {trio.current_time() - started:.2f} s")
    new = await leader_of(links, among=others)
    lines = [line for line in processes[new].log_lines() if "raft: the leader's connections have ended" in line]
    assert lines == [f"[DEBUG] agent.server.raft: the leader's connections have ended: leader={address}"]
    nursery.cancel_scope.cancel()


async def test_a_server_that_was_stopped_raises_no_terms(nursery: trio.Nursery, processes: list[RaftProcess]) -> None:
    links, leader = await cluster_of(nursery, processes)
    before = await call(links[leader], "Raft.Stats")
    stopped = (leader + 1) % 3
    process = processes[stopped]._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:
        await trio.sleep(2.5 * CALM.heartbeat_timeout_s)  # longer than any of its timers
        index = await apply_by_leader([links[leader]], "k", b"2")
    finally:
        os.kill(process.pid, signal.SIGCONT)
    with trio.fail_after(START_LIMIT_S):
        await wait_applied(links, index)
    after = await call(links[leader], "Raft.Stats")
    assert (after["state"], after["term"]) == ("Leader", before["term"])
    nursery.cancel_scope.cancel()
