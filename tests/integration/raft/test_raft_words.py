"""What operators know a server's Raft by: the names of its metrics, and the words with which it refuses to start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from shared.ipc import Link
from shared.metrics import INTERVAL_S
from tests.integration.raft.raft_process import RaftProcess, apply, call
from tests.loopback import LoopbackPool


async def wait_measured(link: Link, sample: str, count: int) -> dict[str, set[str]]:
    """kind -> names, as soon as `sample` was taken `count` times. An interval may end in between, and what
    came after it is shown when the next one has ended."""
    reports: dict[int, Any] = {}
    with trio.fail_after(3 * INTERVAL_S):
        while True:
            report = await call(link, "Metrics.Dump")
            reports[report["Timestamp"]] = report
            seen = [one for each in reports.values() for one in each["Samples"] if one["Name"] == sample]
            if sum(one["Count"] for one in seen) >= count:
                break
            await trio.sleep(0.1)
    kinds = ("Gauges", "Counters", "Samples")
    return {kind: {one["Name"] for each in reports.values() for one in each[kind]} for kind in kinds}


async def test_metrics_have_consuls_names(nursery: trio.Nursery, tmp_path: Path, loopback: LoopbackPool) -> None:
    process = RaftProcess(tmp_path / "n1", loopback())
    try:
        process.start()
        link = process.link()
        await nursery.start(link.run)
        await apply(link, "a", b"1")
        for method in ("Raft.ReadIndex", "Raft.Barrier", "Raft.Snapshot"):
            await call(link, method)
        names = await wait_measured(link, "consul.raft.snapshot.takeSnapshot", 1)  # the last of all
    finally:
        process.end()
    assert {"consul.raft.apply", "consul.raft.state.leader", "consul.raft.state.candidate"} <= names["Counters"]
    assert {"consul.raft.verify_leader", "consul.raft.barrier"} <= names["Counters"]
    samples = {"consul.raft.commitTime", "consul.raft.fsm.apply"}
    assert samples | {"consul.raft.leader.dispatchLog"} <= names["Samples"]
    taking = {"raft.fsm.snapshot", "raft.snapshot.persist", "raft.compactLogs", "raft.snapshot.takeSnapshot"}
    assert {f"consul.{name}" for name in taking} <= names["Samples"]
    for gauge in ("raft.applied_index", "raft.last_index", "raft.leader.dispatchNumLogs", "raft.commitNumLogs"):
        assert any(name.endswith(gauge) for name in names["Gauges"]), gauge
    nursery.cancel_scope.cancel()


async def test_a_raft_that_cannot_start_is_named_as_consul_names_it(tmp_path: Path, loopback: LoopbackPool) -> None:
    process = RaftProcess(tmp_path / "n1", loopback())
    process.data_dir.mkdir()
    (process.data_dir / "raft").write_text("a file where a directory should be")
    process.start()
    assert process.wait_exit() == 1
    assert "Failed to start Consul server: Failed to start Raft: " in process.log
