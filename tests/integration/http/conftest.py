"""One dev agent for all tests of the HTTP API that do not need one of their own, and pools that are quick to notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.server_rpc import hearing
from shared.server_rpc import pool as server_pool
from tests.agents import Agent
from tests.loopback import LoopbackPool


@pytest.fixture(scope="session")
def shared_agent(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    agent = Agent(loopback(), tmp_path_factory.mktemp("agent"), config={"limits": {"http_max_conns_per_client": 100}})
    with agent.running():
        yield agent


@pytest.fixture
def watched_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are looked at often; a door that lives in this process, too, is not silent soon."""
    monkeypatch.setattr(server_pool, "REAP_INTERVAL_S", 0.02)
    for name, value in (("PROBE_AFTER_S", 0.05), ("PROBE_TIMEOUT_S", 1.0)):
        monkeypatch.setattr(hearing, name, value)
