"""One dev agent for all tests of the HTTP API that do not need one of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agents import Agent
from tests.loopback import LoopbackPool


@pytest.fixture(scope="session")
def shared_agent(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    agent = Agent(loopback(), tmp_path_factory.mktemp("agent"), config={"limits": {"http_max_conns_per_client": 100}})
    with agent.running():
        yield agent
