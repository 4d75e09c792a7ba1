"""A full disk: writes fail and say why, reads go on, nothing acknowledged is lost, and it recovers by itself.

The disks are really full (`small_disk`): once where the log is, once where the state is, once all in one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents import Response, wait_settled, wait_until
from tests.integration.faults.small_disk import DiskAgent, SmallDisk
from tests.loopback import LoopbackPool

MakeDisk = Callable[[dict[str, str]], SmallDisk]

LOG_DISK = {"data/raft": "24m", "data/state": "16m"}
ONE_DISK = {"data": "32m"}
WRITE_LIMIT_S = 20.0
"""A write on a full disk is answered within this time."""


class Writer:
    """Writes and remembers what was acknowledged, and which outcomes nobody knows."""

    def __init__(self, agent: DiskAgent) -> None:
        self._agent = agent
        self.acknowledged: dict[str, bytes] = {}
        self.unknown: dict[str, bytes] = {}
        wait_settled(agent)
        self.put("first", b"1")

    def put(self, key: str, value: bytes) -> Response:
        started = time.monotonic()
        answer = self._agent.http("PUT", f"/v1/kv/{key}", value, timeout_s=60)
        assert time.monotonic() - started < WRITE_LIMIT_S, "a write that cannot be done must not hang"
        if answer.status == 200:
            self.acknowledged[key] = value
            self.unknown.pop(key, None)
        else:
            self.unknown[key] = value
        return answer

    def until_it_fails(self, key: str, size: int) -> Response:
        """Writes values of `size` bytes to one key, each another one, until the first failure."""
        for number in range(1000):
            answer = self.put(key, number.to_bytes(4, "big") * (size // 4))
            if answer.status != 200:
                return answer
        raise AssertionError("the disk was never full")

    def check(self) -> None:
        for key, value in self.acknowledged.items():
            found = self._agent.http("GET", f"/v1/kv/{key}?raw").body
            assert found in (value, self.unknown.get(key)), f"{key} holds {found[:40]!r}"


def check_reads(agent: DiskAgent) -> None:
    for path in ("/v1/kv/first?raw", "/v1/kv/first?raw&stale"):
        answer = agent.http("GET", path)
        assert (answer.status, answer.body) == (200, b"1")
    assert agent.http("GET", "/v1/catalog/nodes").json()[0]["Node"] == "node1"
    assert agent.http("GET", "/v1/status/leader").body.startswith(b'"')


def check_recovery(agent: DiskAgent, writer: Writer, free: Callable[[], None]) -> None:
    """Room returns: writes work again, in the same processes. Then the power goes."""
    pids = agent.pids()
    free()
    wait_until(lambda: writer.put("again", b"2").status == 200, what="an accepted write")
    assert agent.pids() == pids
    writer.check()
    agent.kill_everything()
    agent.start()
    agent.wait_ready()
    writer.check()
    assert writer.put("later", b"3").status == 200


def test_a_full_disk_below_the_log(small_disk: MakeDisk, loopback: LoopbackPool, tmp_path: Path) -> None:
    disk = small_disk(LOG_DISK)
    agent = DiskAgent(disk, loopback(), tmp_path)
    with agent.running():
        writer = Writer(agent)
        disk.fill("data/raft")
        refused = writer.until_it_fails("same", 200_000)  # the log's next segment finds no room
        assert refused.status == 500
        assert b"cannot write the raft log in " in refused.body
        assert b"No space left on device; writes resume by themselves once the disk takes them" in refused.body
        check_reads(agent)
        assert agent.http("GET", "/v1/kv/first?raw&consistent").body == b"1"
        agent.wait_output('failed to commit logs: error="cannot write the raft log in ')
        check_recovery(agent, writer, lambda: disk.free("data/raft"))


def test_a_full_disk_below_the_state(small_disk: MakeDisk, loopback: LoopbackPool, tmp_path: Path) -> None:
    disk = small_disk(LOG_DISK)
    agent = DiskAgent(disk, loopback(), tmp_path)
    with agent.running():
        writer = Writer(agent)
        disk.fill("data/state")
        for number in range(20):
            answer = writer.put(f"new/{number}", bytes(50_000))
            if answer.status != 200:
                assert answer.status == 500
                assert b"is full (No space left on device): free disk space, then retry" in answer.body
        assert answer.status == 500
        check_reads(agent)
        assert agent.wait_output("cannot apply committed entries").count("cannot apply committed entries") == 1
        check_recovery(agent, writer, lambda: disk.free("data/state"))


def test_an_agent_may_even_start_on_a_disk_that_is_full(
    small_disk: MakeDisk, loopback: LoopbackPool, tmp_path: Path
) -> None:
    disk = small_disk(ONE_DISK)
    agent = DiskAgent(disk, loopback(), tmp_path)
    with agent.running():
        writer = Writer(agent)
        disk.fill("data")
        for number in range(20):
            writer.put(f"new/{number}", bytes(50_000))
        agent.kill_everything()
        agent.start()
        agent.wait_ready()
        check_reads(agent)
        writer.check()
        assert writer.put("refused", bytes(50_000)).status == 500
        disk.free("data")
        wait_until(lambda: writer.put("again", b"2").status == 200, what="an accepted write")
        writer.check()


@pytest.mark.parametrize(
    ("leave", "reason"),
    [
        (0, "cannot write to the directory {root}/data: no space left on device: make room there"),
        (4096, "failed to write NodeID to disk: open {root}/data/node-id: no space left on device"),
        (8_000_000, "cannot open the raft log in {root}/data/raft/wal: No space left on device"),
    ],
)
def test_a_first_start_on_a_full_disk_is_refused_and_leaves_nothing_in_the_way(
    small_disk: MakeDisk, loopback: LoopbackPool, tmp_path: Path, leave: int, reason: str
) -> None:
    disk = small_disk(ONE_DISK)
    disk.fill("data", leave)
    agent = DiskAgent(disk, loopback(), tmp_path)
    agent.start()
    try:
        assert agent.wait_exit() == 1
        assert reason.format(root=disk.root) in agent.output()
        disk.free("data")
        agent.start()
        agent.wait_ready()
        assert agent.http("PUT", "/v1/kv/a", b"1").body == b"true"
    finally:
        agent.destroy()
