"""Pairs of agents for clients to use, and the clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, all_running, wait_settled
from tests.loopback import LoopbackPool
from tests.real_consul import NotAvailableError

Pair = tuple[RealConsul, Agent]


@pytest.fixture
def agents(real_consul: Path, loopback: LoopbackPool, tmp_path: Path) -> Iterator[Pair]:
    """The real agent and ours, just started."""
    real = RealConsul(loopback(), tmp_path / "real", real_consul)
    ours = Agent(loopback(), tmp_path / "ours")
    with all_running(real, ours):
        for agent in (real, ours):
            wait_settled(agent)
        yield real, ours


@pytest.fixture(scope="session")
def fetched() -> Callable[..., Path]:
    """fetched(packages.python_client, "py-consul"): what it gives, or the test is skipped with the reason."""

    def fetch(what: Callable[..., Path], *arguments: str) -> Path:
        try:
            return what(*arguments)
        except NotAvailableError as error:
            pytest.skip(str(error))

    return fetch
