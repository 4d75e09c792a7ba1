"""Services and checks of the agent: the same requests to the real Consul and to our agent, equal answers."""

from __future__ import annotations

import time

import pytest

from tests.integration.differential.exchange import Request
from tests.integration.differential.pairs import STILL, Pair, ask, assert_none, compared, shown
from tests.integration.differential.scenarios_local import CONFIGURED, LOCAL_SCENARIOS, configured_looks

pytestmark = pytest.mark.real_consul

CONFIG = STILL | CONFIGURED
SETTLES_WITHIN_S = 10.0


@pytest.fixture(scope="module")
def agents(agents: Pair) -> Pair:
    """Both know the services and checks of `CONFIGURED`."""
    for agent in agents:
        agent.wait_output("Synced check: check=configured-ttl")
    return agents


def test_definitions_of_config_files_look_the_same(agents: Pair) -> None:
    assert_same(agents, configured_looks())


@pytest.mark.parametrize("name", LOCAL_SCENARIOS)
def test_same_answers(agents: Pair, name: str) -> None:
    assert_same(agents, LOCAL_SCENARIOS[name])


def assert_same(agents: Pair, requests: list[Request]) -> None:
    """All differences at once. What an agent registers is in the catalog a moment later, and what a check finds comes
    at any time: a look that shows a difference is repeated for a while."""
    real, other = agents
    found = []
    for request in requests:
        repeat_until = time.monotonic() + (SETTLES_WITHIN_S if request.method == "GET" else 0)
        while lines := compared(ask(real, request), lambda request=request: ask(other, request)):  # type: ignore[misc]
            if time.monotonic() > repeat_until:
                break
            time.sleep(0.1)
        found += shown(request, lines)
    assert_none(found)
