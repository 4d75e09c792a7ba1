"""The metrics of a server's RPC have Consul's names: dashboards are built on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from shared import metrics
from shared.config.sections import Limits
from shared.ipc import RemoteError
from tests.integration.rpc.rpc_neighbours import running


@pytest.fixture(autouse=True)
def nothing_counted_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test's process has one registry, and other tests count in it as well. No interval ends in the test."""
    monkeypatch.setattr("shared.metrics.registry.INTERVAL_S", 10**10)
    metrics._registry.__init__()  # type: ignore[misc]
    yield
    metrics._registry.__init__()  # type: ignore[misc]


async def test_calls_connections_and_refusals_are_counted(tmp_path: Path) -> None:
    async with running(tmp_path, limits=Limits(rpc_rate=0.001, rpc_max_burst=2)) as rig:
        for _ in range(2):
            await rig.call("Status.Leader", {})
        with pytest.raises(RemoteError, match="RPC rate limit exceeded"):
            await rig.call("Status.Leader", {})
        await rig.wire("Status.Leader", {})
        host, _, port = rig.config.rpc_bind_addr.rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"\x01")  # the type byte of a Raft connection
            with trio.fail_after(30):
                while not rig.raft.handed_over:
                    await trio.sleep(0.01)
        report = await rig.call("Metrics.Dump")
    counted = {one["Name"]: one["Count"] for one in report["Counters"]}
    expected = {"consul.client.rpc": 3, "consul.client.rpc.exceeded": 1, "consul.rpc.accept_conn": 2}
    expected |= {"consul.rpc.request": 1, "consul.rpc.raft_handoff": 1}
    assert {name: counted.get(name, 0) for name in expected} == expected
    assert "consul.session_ttl.active" in {one["Name"].replace("consul.n1.", "consul.") for one in report["Gauges"]}
