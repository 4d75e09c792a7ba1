"""Operators' requests to the real Consul and to our agent, right and wrong ones: equal answers."""

from __future__ import annotations

import pytest

from tests.agents import PATIENCE_S, wait_until
from tests.integration.differential.pairs import STILL, Pair, assert_none, assert_same, compared, run_of, shown
from tests.integration.differential.scenarios_operator import (
    AUTOPILOT,
    CONFIGURATION,
    HEALTH,
    HEALTHY,
    IMPOSSIBLE,
    PEERS,
    UNHEALTHY,
)
from tests.integration.differential.script import Step

pytestmark = pytest.mark.real_consul

CONFIG = {
    **STILL,
    "autopilot": {
        "cleanup_dead_servers": False,
        "last_contact_threshold": "1500ms",
        "max_trailing_logs": 77,
        "min_quorum": 2,
        "server_stabilization_time": "3s",
        "redundancy_zone_tag": "zone",
        "disable_upgrade_migration": True,
        "upgrade_version_tag": "release",
    },
}
"""The first settings come from here; later ones are kept by the servers."""


def wait_health(pair: Pair, status: int) -> None:
    """Waits until both have judged themselves."""
    for agent in pair:
        wait_until(lambda agent=agent: agent.http("GET", HEALTH).status == status, what=f"status {status}")  # type: ignore[misc]


def configure(pair: Pair, settings: dict[str, object]) -> None:
    for agent in pair:
        assert agent.http("PUT", AUTOPILOT, settings).json() is True


def test_health(real_and_ours: Pair) -> None:
    wait_health(real_and_ours, 200)
    assert_same(real_and_ours, HEALTHY, settles_within_s=PATIENCE_S)
    configure(real_and_ours, IMPOSSIBLE)
    wait_health(real_and_ours, 429)
    assert_same(real_and_ours, UNHEALTHY, settles_within_s=PATIENCE_S)


@pytest.mark.parametrize("script", [CONFIGURATION, PEERS], ids=["configuration", "peers"])
def test_settings_and_peers(agents: Pair, script: list[Step]) -> None:
    real, other = map(run_of, agents)
    found = []
    for step in script:
        expected = real.take(step)
        found += shown(step, compared(expected, lambda step=step: other.take(step)))  # type: ignore[misc]
    assert_none(found)
