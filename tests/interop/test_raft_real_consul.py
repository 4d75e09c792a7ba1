"""Two of our raft_node processes and a real Consul 1.8.7 server as one Raft cluster, led by either kind."""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from shared.config.sections import Raft
from shared.ipc import IpcError, Link
from shared.state.queries import catalog, kv
from shared.state.reader import StateReader
from tests.agents import RealConsul, wait_until
from tests.integration.raft.raft_process import (
    CALM,
    RaftProcess,
    apply_by_leader,
    call,
    configuration_of,
    hand_over_connections,
)

pytestmark = pytest.mark.real_consul

REAL_ID = "7a82fb12-a621-004b-a8cd-98861b80d64c"
REAL_CONFIG: dict[str, Any] = {
    "performance": {"raft_multiplier": 2},
    "raft_snapshot_threshold": 50,
    "raft_snapshot_interval": "1s",
    "raft_trailing_logs": 10,
}


def keys_of(process: RaftProcess) -> dict[str, bytes]:
    with StateReader(process.config.state_dir).snapshot() as snap:
        return {entry.key: bytes(entry.value or b"") for entry in kv.tree(snap, "").value}


def nodes_of(process: RaftProcess) -> list[str]:
    with StateReader(process.config.state_dir).snapshot() as snap:
        return [node.node for node in catalog.nodes(snap).value]


def keys_of_real(real: RealConsul) -> dict[str, bytes]:
    """Nothing while it does not answer: it takes part before its HTTP port is open."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        answer = real.http("GET", "/v1/kv/?recurse&stale")
        if answer.status == 200:
            return {entry["Key"]: base64.b64decode(entry["Value"] or "") for entry in answer.json()}
    return {}


def last_snapshot(real: RealConsul) -> int:
    """Index of the newest one it has taken."""
    return max(map(int, re.findall(r"snapshot complete up to: index=(\d+)", real.output())), default=0)


async def in_thread(act: Callable[..., Any], *arguments: Any) -> Any:
    return await trio.to_thread.run_sync(partial(act, *arguments))


def written(real: RealConsul, key: str, value: bytes) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return real.http("PUT", f"/v1/kv/{key}", value).body == b"true"
    return False


async def put(real: RealConsul, links: list[Link], key: str, value: bytes) -> None:
    """Writes until it is confirmed: who leads may step down when the others get no processor for a while. Only a leader
    takes it, as nothing but Raft is passed on to ours: one of ours (links: those that live) gives the office back."""
    with trio.fail_after(60):
        while not await in_thread(written, real, key, value):
            await hand_over(links)
            await trio.sleep(0.02)


async def hand_over(links: list[Link]) -> None:
    """The leadership to the real one, if one of ours has it."""
    for link in links:
        with contextlib.suppress(IpcError):
            if (await call(link, "Raft.Stats", timeout_s=5.0))["state"] == "Leader":
                await call(link, "Raft.TransferLeadership", {"target": REAL_ID})


async def wait_equal(process: RaftProcess, expected: Callable[[], dict[str, bytes]]) -> None:
    with trio.fail_after(60):
        while keys_of(process) != await in_thread(expected):
            await trio.sleep(0.05)


async def wait_state(link: Link, state: str) -> None:
    with trio.fail_after(60):
        while (await call(link, "Raft.Stats"))["state"] != state:
            await trio.sleep(0.02)


async def test_a_cluster_of_both_kinds(
    nursery: trio.Nursery, tmp_path: Path, loopback: Callable[[], str], real_consul: Path
) -> None:
    real = RealConsul(
        loopback(),
        tmp_path / "real",
        real_consul,
        ["-bootstrap-expect=3", "-node-id", REAL_ID],
        dev=False,
        node_name="real",
        config=REAL_CONFIG,
    )
    settings: dict[str, Any] = {"bootstrap": False, "raft_trailing_logs": 10, "raft": CALM}
    ours = [RaftProcess(tmp_path / name, loopback(), **settings) for name in ("a", "b")]
    try:
        await _scenario(nursery, real, ours)
    finally:
        for process in ours:
            process.end()
        real.destroy()
        print(real.output()[-4000:], *(process.log[-4000:] for process in ours), sep="\n\n")


async def _scenario(nursery: trio.Nursery, real: RealConsul, ours: list[RaftProcess]) -> None:
    links = []
    for process in ours:
        process.start()
        link = process.link()
        await nursery.start(link.run)
        nursery.start_soon(hand_over_connections, process, link)
        links.append(link)
        await call(link, "Raft.Stats")
    real.start()
    await in_thread(real.wait_output, "entering follower state")
    # Ours begins the cluster; the real one votes for it and gets everything by replication.
    member = {"id": REAL_ID, "address": f"{real.address}:8300", "voter": True}
    await call(links[0], "Raft.Bootstrap", [*configuration_of(*ours), member])
    await wait_state(links[0], "Leader")
    for number in range(30):
        await apply_by_leader(links, f"ours/{number}", b"from ours")
    await wait_equal(ours[0], lambda: keys_of_real(real))
    # The real one misses so much that it has to be given a snapshot of ours.
    await in_thread(real.stop, 9)
    for number in range(1200):
        await apply_by_leader(links, f"missed/{number % 40}", b"%d" % number)
    await wait_equal(ours[1], lambda: keys_of(ours[0]))
    for link in links:  # either may lead when it is back: it stands for election first
        await call(link, "Raft.Snapshot")
    real.start()
    await in_thread(real.wait_output, "Installed remote snapshot", 60)
    await wait_equal(ours[0], lambda: keys_of_real(real))
    # Leadership goes to the real one, which has ours store all that a real leader does.
    await hand_over(links)
    await put(real, links, "real/first", b"1")
    await wait_equal(ours[0], lambda: keys_of_real(real))
    await wait_equal(ours[1], lambda: keys_of_real(real))
    # Its duties as leader begin after its first write was taken: they come in any order with ours.
    await in_thread(wait_until, lambda: "real" in nodes_of(ours[0]), 60)
    # One of ours misses so much that the real one gives it a snapshot.
    ours[1].kill()
    had = int((await call(links[0], "Raft.Stats"))["last_log_index"])
    for number in range(300):
        await put(real, links[:1], f"real/{number % 40}", b"%d" % number)
    behind = REAL_CONFIG["raft_trailing_logs"]
    await in_thread(wait_until, lambda: last_snapshot(real) > had + behind, 60, "a snapshot of what it missed")
    # It must wait for the real one, which pauses up to ten seconds between tries, instead of standing for election.
    patient = Raft(heartbeat_timeout_s=60.0, election_timeout_s=60.0, leader_lease_timeout_s=30.0)
    ours[1].config = ours[1].config.replace(raft=patient)
    ours[1].start()
    with trio.fail_after(60):
        while "Installed remote snapshot" not in ours[1].log:
            await trio.sleep(0.05)
    await put(real, links, "real/last", b"1")
    await wait_equal(ours[1], lambda: keys_of_real(real))
    await wait_equal(ours[0], lambda: keys_of_real(real))
    nursery.cancel_scope.cancel()
