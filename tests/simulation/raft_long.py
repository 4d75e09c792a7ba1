"""The long form of the Raft simulation: python -m tests.simulation.raft_long FIRST END, seeds FIRST..END-1.

Every seed is one run with three servers and one with five. Prints what broke, with the seed that shows it again, and
at last how much was run; the exit status is 1 if anything broke."""

from __future__ import annotations

import sys
import time
import traceback
from collections import Counter

from tests.simulation.raft_nemesis import run_seed

SIZES = (3, 5)
_REPORT_EVERY = 100


def run_range(first: int, end: int) -> int:
    """Number of runs that broke a promise."""
    started, broken = time.process_time(), 0
    seen: Counter[str] = Counter()
    for seed in range(first, end):
        for size in SIZES:
            try:
                cluster = run_seed(size, seed)
            except Exception:  # anything that goes wrong in a run is a finding
                broken += 1
                print(f"broken: size {size}, seed {seed}\n{traceback.format_exc()}", flush=True)
                continue
            oracle = cluster.oracle
            seen.update(
                terms=len(oracle.leaders),
                writes=len(oracle.acknowledged),
                reads=oracle.reads,
                leases=oracle.lease_checks,
                seconds=int(cluster.now),
                lives=sum(node.lives for node in cluster.nodes.values()),
            )
        if (seed + 1 - first) % _REPORT_EVERY == 0 or seed + 1 == end:
            runs = (seed + 1 - first) * len(SIZES)
            rate = runs / (time.process_time() - started)
            print(f"{runs} runs, {broken} broken, {rate:.1f} runs/s, {dict(seen)}", flush=True)
    return broken


if __name__ == "__main__":
    sys.exit(1 if run_range(int(sys.argv[1]), int(sys.argv[2])) else 0)
