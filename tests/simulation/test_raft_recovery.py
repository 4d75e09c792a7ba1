"""One server alone, crashed over and over in virtual time: every acknowledged write is there afterwards.

Kills, power cuts with torn and lost sectors, full disks and a full state store, snapshots and compaction, fast and
slow disks. SIM_SEED=n replays one seed; --long runs a thousand."""

from __future__ import annotations

import os
import random

import pytest

from tests.simulation.raft_cluster import SimCluster, SimServer


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    replay = os.environ.get("SIM_SEED")
    many = metafunc.config.getoption("--long", default=False)
    metafunc.parametrize("seed", [int(replay)] if replay else range(1000 if many else 60))


def test_every_acknowledged_write_survives(seed: int) -> None:
    print(f"replay: SIM_SEED={seed} pytest tests/simulation/test_raft_recovery.py")
    rng = random.Random(seed)
    cluster = SimCluster(
        1,
        seed,
        slow_disks=rng.choice([0.0, 0.5, 1.0]),
        trailing_logs=rng.choice([2, 10, 50]),
        segment_bytes=rng.choice([1 << 11, 1 << 12, 1 << 14]),
    )
    [node] = cluster.nodes.values()
    for _ in range(120):
        if node.replica is None:
            node.boot()
        _happen(cluster, node, rng)
        if rng.random() < 0.6:
            cluster.run_for(rng.choice([0.0, 0.005, 0.1, 1.5]))
    cluster.settle()
    assert cluster.oracle.acknowledged


def _happen(cluster: SimCluster, node: SimServer, rng: random.Random) -> None:
    replica = node.replica
    assert replica is not None
    what = rng.random()
    if what < 0.55:
        cluster.write(node, rng.randint(1, 30))
    elif what < 0.62:
        node.read()
    elif what < 0.72:
        node.take_snapshot()
    elif what < 0.80:
        node.kill(power=False)
    elif what < 0.90:
        node.kill(power=True)
    elif what < 0.93:
        node.disk.room = rng.choice([0, 3000])
    elif what < 0.96:
        node.disk.room = None
        node.disk.fault = None
    elif what < 0.98:
        node.machine.no_room = True
    else:
        node.make_room()
