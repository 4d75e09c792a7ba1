"""Services and checks of the agent: the same requests to the real Consul and to our agent, equal answers."""

from __future__ import annotations

import pytest

from tests.agents import PATIENCE_S
from tests.integration.differential.pairs import OUTPUTS_HELD_BACK, STILL, Pair, assert_same
from tests.integration.differential.scenarios_local import CONFIGURED, LOCAL_SCENARIOS, configured_looks

pytestmark = pytest.mark.real_consul

CONFIG = STILL | OUTPUTS_HELD_BACK | CONFIGURED


@pytest.fixture(scope="module")
def agents(agents: Pair) -> Pair:
    """Both know the services and checks of `CONFIGURED`."""
    for agent in agents:
        agent.wait_output("Synced check: check=configured-ttl")
    return agents


def test_definitions_of_config_files_look_the_same(agents: Pair) -> None:
    """What an agent registers is in the catalog a moment later, and what a check finds comes at any time."""
    assert_same(agents, configured_looks(), settles_within_s=PATIENCE_S)


@pytest.mark.parametrize("name", LOCAL_SCENARIOS)
def test_same_answers(agents: Pair, name: str) -> None:
    assert_same(agents, LOCAL_SCENARIOS[name], settles_within_s=PATIENCE_S)
