"""Members, catalog and Raft configuration, brought together by the leader although something goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from services.rpc_core.leader import duties, raft_membership
from services.rpc_core.leader.autopilot import autopilot
from tests.integration.rpc.rpc_neighbours import Rig, running, until

DC = {"Datacenter": "dc1"}


ID = "11111111-2222-3333-4444-00000000000"
"""With the number of a server behind it, its id."""
OTHER = "127.0.0.9:8300"


def member(rig: Rig, number: int, **tags: str) -> dict[str, Any]:
    """A living server n<number> at an address where nobody listens."""
    name = f"n{number}"
    own = {"id": f"{ID}{number}", "port": "1"}
    return rig.gossip.member(name, Addr=f"127.0.0.{number}", Tags={**rig.gossip.member(name)["Tags"], **own, **tags})


def configured(rig: Rig) -> dict[str, bool]:
    """Votes by id."""
    servers: list[dict[str, Any]] = rig.raft.servers
    return {one["id"]: one["voter"] for one in servers}


async def wait_in_catalog(rig: Rig, expected: set[str]) -> None:
    with trio.fail_after(30):
        while {node["Node"] for node in (await rig.call("Catalog.ListNodes", DC))["Nodes"] or []} != expected:
            await trio.sleep(0.005)


async def test_a_second_bootstrap_server_gets_no_place_in_raft(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        own = rig.gossip.member("n1")
        rig.gossip.event("update", {**own, "Tags": {**own["Tags"], "bootstrap": "1"}})
        rig.gossip.event("join", member(rig, 2, bootstrap="1"))
        rig.gossip.event("join", member(rig, 3))
        await wait_in_catalog(rig, {"n1", "n2", "n3"})
        assert configured(rig) == {rig.config.node_id: True, f"{ID}3": False}


async def test_what_fails_for_one_keeps_nobody_waiting_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duties, "RETRY_ESTABLISH_S", 0.2)
    async with running(tmp_path) as rig:
        rig.raft.refused_changes[f"{ID}2"] = ["rpc", "rpc", "rpc"]
        rig.gossip.event("join", member(rig, 2))
        rig.gossip.event("join", member(rig, 3))
        await until(lambda: f"{ID}3" in configured(rig))
        await wait_in_catalog(rig, {"n1", "n2", "n3"})
        assert configured(rig)[f"{ID}2"] is False


async def test_a_change_waits_for_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raft_membership, "PENDING_PAUSE_S", 0.001)
    async with running(tmp_path) as rig:
        rig.raft.refused_changes[f"{ID}2"] = [raft_membership.CHANGE_PENDING] * 3
        rig.gossip.event("join", member(rig, 2))
        await until(lambda: f"{ID}2" in configured(rig))
        assert rig.raft.refused_changes == {f"{ID}2": []}


@pytest.mark.parametrize(("others", "corrected"), [(1, False), (2, True)])
async def test_the_leaders_own_address_is_corrected_when_others_can_lead(
    tmp_path: Path, others: int, corrected: bool
) -> None:
    async with running(tmp_path, lead=False) as rig:
        own = rig.raft.servers[0]
        was = {**own, "address": OTHER}
        rig.raft.servers = [was]
        for number in range(2, 2 + others):
            added = member(rig, number)
            rig.gossip.event("join", added)
            address = f"{added['Addr']}:1"
            rig.raft.servers.append({"id": added["Tags"]["id"], "address": address, "voter": True, "leader": False})
        rig.raft.lead()
        await wait_in_catalog(rig, {f"n{number}" for number in range(1, 2 + others)})
        expected = [("AddNonvoter", own["id"], rig.config.rpc_advertise_addr)]  # which keeps the vote
        assert rig.raft.changes == (expected if corrected else [])


@pytest.mark.parametrize("end", ["leave", "reap"])
@pytest.mark.parametrize("kind", ["server", "client"])
async def test_who_is_gone_is_gone_everywhere(tmp_path: Path, kind: str, end: str) -> None:
    async with running(tmp_path) as rig:
        client = {"role": "node", "dc": "dc1", "id": f"{ID}2", "build": "1.8.7:", "vsn": "2"}
        added = member(rig, 2) if kind == "server" else rig.gossip.member("n2", Addr="127.0.0.2", Tags=client)
        rig.gossip.event("join", added)
        await wait_in_catalog(rig, {"n1", "n2"})
        assert len(configured(rig)) == (2 if kind == "server" else 1)
        rig.gossip.event("failed", {**added, "Status": 4})
        rig.gossip.event(end, {**added, "Status": 3 if end == "leave" else 4})
        await wait_in_catalog(rig, {"n1"})
        assert set(configured(rig)) == {rig.config.node_id}


async def test_a_server_that_gossip_forgot_while_nobody_led_is_gone_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as rig:
        added = member(rig, 2)
        rig.gossip.event("join", added)
        await wait_in_catalog(rig, {"n1", "n2"})
        rig.raft.follow()
        await until(lambda: not rig.core.core.established.is_set())
        rig.gossip.event("reap", added)
        await until(lambda: len(rig.core.core.pools.lan()) == 1)
        monkeypatch.setattr(rig.core.core.pools, "is_complete", lambda now: True)
        rig.raft.term += 1
        rig.raft.lead()
        await wait_in_catalog(rig, {"n1"})
        assert set(configured(rig)) == {rig.config.node_id}


async def test_failed_servers_are_forced_out_of_both_pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autopilot, "REMOVAL_INTERVAL_S", 0.02)
    async with running(tmp_path) as rig:
        for number in (2, 3):
            rig.gossip.event("join", member(rig, number))
        await until(lambda: len(configured(rig)) == 3)
        for server in rig.raft.servers:
            server["voter"] = True
        rig.gossip.event("failed", {**member(rig, 3), "Status": 4})

        def forced() -> list[tuple[str, str]]:
            return [(call[1]["pool"], call[1]["node"]) for call in rig.gossip.calls if call[0] == "Gossip.ForceLeave"]

        await until(lambda: len(forced()) >= 2)
        assert forced()[:2] == [("lan", "n3"), ("wan", "n3.dc1")]
        assert len(configured(rig)) == 3  # Raft follows when gossip says that it has left
        rig.gossip.event("leave", {**member(rig, 3), "Status": 3})
        await until(lambda: set(configured(rig)) == {rig.config.node_id, f"{ID}2"})
        await wait_in_catalog(rig, {"n1", "n2"})


async def test_servers_that_gossip_does_not_know_go_once_it_must_know_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autopilot, "REMOVAL_INTERVAL_S", 0.02)
    async with running(tmp_path) as rig:
        for number in (2, 3):
            rig.gossip.event("join", member(rig, number))
        await until(lambda: len(configured(rig)) == 3)
        ghost = {"id": "ghost", "address": "127.0.0.7:8300", "voter": False, "leader": False}
        rig.raft.servers = [{**one, "voter": True} for one in [*rig.raft.servers, ghost]]
        await until(lambda: rig.core.core.established.is_set())
        await trio.sleep(0.2)  # ten chances to do the wrong thing: gossip has only just come up
        assert "ghost" in configured(rig)
        monkeypatch.setattr(rig.core.core.pools, "is_complete", lambda now: True)
        await until(lambda: "ghost" not in configured(rig))
        assert rig.raft.changes[-1] == ("RemoveServer", "ghost", "127.0.0.7:8300")


async def test_autopilot_finds_no_servers_while_the_last_one_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(autopilot, "HEALTH_INTERVAL_S", 0.02)
    async with running(tmp_path) as rig:
        await until(lambda: rig.core.core.judgement.reply.healthy)
        rig.gossip.event("leave", rig.gossip.member("n1", status=3))
        said = ""
        with trio.fail_after(30):
            while "Error updating cluster health" not in said:
                await trio.sleep(0.02)
                said += "".join(capfd.readouterr())
    assert 'error="error getting server raft protocol versions: No servers found"' in said


async def test_who_is_asked_for_health_too_early_hears_that_there_is_none(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        reply = await rig.call("Operator.ServerHealth", DC)
        assert reply == {"FailureTolerance": 0, "Healthy": False, "Servers": None}
