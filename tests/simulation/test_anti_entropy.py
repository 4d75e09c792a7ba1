"""Anti-entropy in virtual time: whatever happened, in the end the catalog says what the agent says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.config.runtime import RuntimeConfig
from tests.seeds import seed_of
from tests.simulation.anti_entropy_sim import Simulation

QUIET_S = 130.0
"""Longer than any wait between two full syncs of a small cluster."""
RUNS = 40


def seeds() -> list[int]:
    if given := os.environ.get("SIM_SEED"):
        return [int(given)]
    return [seed_of(f"anti-entropy {number}") for number in range(RUNS)]


def simulation(seed: int, directory: Path, update_interval_s: float = 20.0) -> Simulation:
    print(f"replay: SIM_SEED={seed}")
    config = RuntimeConfig.dev(directory, node_name="n1", bind_addr="10.0.0.1")
    return Simulation(seed, config.replace(check_update_interval_s=update_interval_s))


@pytest.mark.parametrize("update_interval_s", [0.0, 20.0])
def test_the_catalog_converges_after_any_trouble(tmp_path: Path, update_interval_s: float) -> None:
    for seed in seeds():
        world = simulation(seed, tmp_path, update_interval_s)
        for _ in range(3):
            world.trouble = True
            world.run_for(world.rng.uniform(5, 400), events=True)
            world.trouble = False
            world.run_for(2 * QUIET_S, events=False)
            assert world.differences() == [], f"SIM_SEED={seed}"
            assert not any(entry.deleted for entry in world.state.services.values()), f"SIM_SEED={seed}"
            assert not any(entry.deleted for entry in world.state.checks.values()), f"SIM_SEED={seed}"


def test_a_quiet_agent_writes_nothing(tmp_path: Path) -> None:
    for seed in seeds()[:10]:
        world = simulation(seed, tmp_path)
        world.trouble = False
        world.run_for(100, events=True)
        world.run_for(2 * QUIET_S, events=False)
        before = world.catalog.writes
        world.run_for(10 * QUIET_S, events=False)
        assert world.catalog.writes == before, f"SIM_SEED={seed}"


def test_a_change_is_in_the_catalog_within_seconds_without_trouble(tmp_path: Path) -> None:
    """Not only with the next full sync."""
    for seed in seeds()[:10]:
        world = simulation(seed, tmp_path)
        world.trouble = False
        world.run_for(30, events=False)
        for _ in range(20):
            for _ in range(world.rng.randrange(1, 4)):
                world.agent_changes()
                world.run_for(world.rng.uniform(0, 0.5), events=False)  # while the one before is under way
            world.run_for(10 + 2 * world.config.check_update_interval_s, events=False)
            assert world.differences() == [], f"SIM_SEED={seed}"
