"""Tombstones go with the leadership: the old leader reaps none any more, the new one those it has inherited."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from services.rpc_core.leader import duties, tombstones
from tests.integration.rpc.rpc_neighbours import Rig, running, until

TOMBSTONE = b"\x05"
"""Type byte of the command that reaps."""
KEY = {"Datacenter": "dc1", "DirEnt": {"Key": "a", "Value": b"1"}}


def reaps(rig: Rig) -> int:
    return sum(command.startswith(TOMBSTONE) for command in rig.raft.commands)


def entries(rig: Rig) -> int:
    with rig.raft.store.snapshot() as snap:
        return snap.count(snap.tables.tombstones)


async def test_a_new_leader_reaps_what_it_has_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "TOMBSTONE_LOOK_INTERVAL_S", 0.02)
    monkeypatch.setattr(tombstones, "GRANULARITY_S", 0.05)
    async with running(tmp_path) as rig:
        await rig.call("KVS.Apply", {**KEY, "Op": "set"})
        await rig.call("KVS.Apply", {**KEY, "Op": "delete"})
        assert entries(rig) == 1
        rig.raft.follow()
        await until(lambda: not rig.core.core.established.is_set())
        monkeypatch.setattr(tombstones, "TTL_S", 0.1)
        await trio.sleep(0.4)  # whoever leads meanwhile keeps the time; here nobody does
        assert (entries(rig), reaps(rig)) == (1, 0)
        rig.raft.term += 1
        rig.raft.lead()
        with trio.fail_after(30):
            while entries(rig):
                await trio.sleep(0.01)
        assert reaps(rig) == 1
