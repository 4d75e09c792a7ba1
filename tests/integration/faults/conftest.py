"""What the fault tests share: agents they may torment, and the real Consul beside one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_settled
from tests.integration.faults.small_disk import NotAvailableError, SmallDisk
from tests.loopback import LoopbackPool


@pytest.fixture(scope="module")
def agent(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One agent for a module, whose components must all be the same processes in the end: nothing has crashed."""
    agent = Agent(loopback(), tmp_path_factory.mktemp("ours"), ["-log-level", "info"])
    with agent.running():
        wait_settled(agent)  # it is found by its name
        before = agent.pids()
        yield agent
        assert agent.pids() == before, agent.output()[-5000:]


@pytest.fixture(scope="module")
def consul(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory, real_consul: Path) -> Iterator[RealConsul]:
    real = RealConsul(loopback(), tmp_path_factory.mktemp("real"), real_consul)
    with real.running():
        yield real


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], SmallDisk]]:
    """small_disk({"data": "40m"}): file systems of these sizes below one directory; skips where none can be had."""
    with ExitStack() as stack:

        def make(sizes: dict[str, str]) -> SmallDisk:
            try:
                return stack.enter_context(SmallDisk(tmp_path / "disk", sizes))
            except NotAvailableError as error:
                pytest.skip(str(error))

        yield make
