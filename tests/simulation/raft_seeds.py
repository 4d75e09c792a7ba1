"""Which seeds a test of the Raft simulation runs.

CI: the first 200. --long: SIM_SEEDS=first:end, or the first 2,000 (all 100,000 take about two hours of processor time;
python -m tests.simulation.raft_long runs them without pytest). SIM_SEED=n replays one."""

from __future__ import annotations

import os
import sys


def seeds() -> range:
    if replay := os.environ.get("SIM_SEED"):
        return range(int(replay), int(replay) + 1)
    if "--long" not in sys.argv:
        return range(200)
    first, _, end = os.environ.get("SIM_SEEDS", "0:2000").partition(":")
    return range(int(first), int(end))
