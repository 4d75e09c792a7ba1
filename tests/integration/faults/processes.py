"""What an agent costs and says while it is tormented."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.agents import Agent, wait_until


def memory_kib(agent: Agent) -> dict[str, int]:
    """component -> PSS: resident pages, shared ones divided among those who share them."""
    sizes = {}
    for component, pid in agent.pids().items():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                sizes[component] = int(line.split()[1])
    return sizes


@contextlib.contextmanager
def bounded(agent: Agent, *, grows_kib: int, lines: int) -> Iterator[None]:
    """Nothing crashes, no process keeps more than `grows_kib` of memory, at most `lines` are logged."""
    pids, before, logged = agent.pids(), memory_kib(agent), agent.output().count("\n")
    yield
    assert agent.pids() == pids, agent.output()[-5000:]

    def excess() -> dict[str, int]:
        now = memory_kib(agent)
        return {name: size - before[name] for name, size in now.items() if size - before[name] > grows_kib}

    wait_until(lambda: not excess(), what=f"memory to be given back: {excess()}")
    assert agent.output().count("\n") - logged <= lines, agent.output()[-3000:]
