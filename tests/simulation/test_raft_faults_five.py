"""Five servers to which all happens that can go wrong: `raft_nemesis` says what, `raft_oracle` what must hold."""

from __future__ import annotations

import pytest

from tests.simulation.raft_nemesis import run_seed
from tests.simulation.raft_seeds import seeds


@pytest.mark.parametrize("seed", seeds())
def test_nothing_acknowledged_is_lost_whatever_happens(seed: int) -> None:
    run_seed(5, seed)
