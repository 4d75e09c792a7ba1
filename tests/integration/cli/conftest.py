"""The agent that the programs of a module ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_settled
from tests.loopback import LoopbackPool

AGENTS = tuple(os.environ.get("PROCONSUL_CLI_AGENTS", "consul,proconsul").split(","))


@pytest.fixture(scope="module", params=AGENTS)
def agent(
    request: pytest.FixtureRequest, real_consul: Path, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealConsul | Agent]:
    """The real one, then ours. A module's `CONFIG` is its configuration."""
    config, directory = getattr(request.module, "CONFIG", None), tmp_path_factory.mktemp("agent")
    made: RealConsul | Agent
    if request.param == "consul":
        made = RealConsul(loopback(), directory, real_consul, config=config)
    else:
        made = Agent(loopback(), directory, config=config)
    with made.running():
        wait_settled(made)
        yield made
