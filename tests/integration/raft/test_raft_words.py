"""What operators know a server's Raft by: the names of its metrics, and the words with which it refuses to start."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.integration.raft.raft_process import RaftProcess, apply, call
from tests.loopback import LoopbackPool


async def test_metrics_have_consuls_names(nursery: trio.Nursery, tmp_path: Path, loopback: LoopbackPool) -> None:
    process = RaftProcess(tmp_path / "n1", loopback())
    try:
        process.start()
        link = process.link()
        await nursery.start(link.run)
        index = await apply(link, "a", b"1")
        report = await call(link, "Metrics.Dump")
    finally:
        process.end()
    names = {kind: {one["Name"] for one in report[kind]} for kind in ("Gauges", "Counters", "Samples")}
    assert {"consul.raft.apply", "consul.raft.state.leader", "consul.raft.state.candidate"} <= names["Counters"]
    samples = {"consul.raft.commitNumLogs", "consul.raft.commitTime", "consul.raft.fsm.apply"}
    assert samples | {"consul.raft.leader.dispatchLog"} <= names["Samples"]
    for gauge in ("raft.applied_index", "raft.last_index", "raft.leader.dispatchNumLogs"):
        assert any(name.endswith(gauge) for name in names["Gauges"]), gauge
    committed = [one for one in report["Samples"] if one["Name"] == "consul.raft.commitNumLogs"]
    assert committed[0]["Sum"] == index
    nursery.cancel_scope.cancel()


async def test_a_raft_that_cannot_start_is_named_as_consul_names_it(tmp_path: Path, loopback: LoopbackPool) -> None:
    process = RaftProcess(tmp_path / "n1", loopback())
    process.data_dir.mkdir()
    (process.data_dir / "raft").write_text("a file where a directory should be")
    process.start()
    assert process.wait_exit() == 1
    assert "Failed to start Consul server: Failed to start Raft: " in process.log
