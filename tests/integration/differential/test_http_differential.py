"""The same requests to the real Consul and to our agent: status, headers and bodies must be equal.

All differences of a scenario are shown at once. Two real agents must show none: that proves that the masks
cover what rightly differs. PROCONSUL_DIFFERENTIAL names what is compared with the real one, separated by
commas.
"""

from __future__ import annotations

import warnings

import pytest

from tests.agents import Agent
from tests.integration.differential.pairs import Pair, assert_none, settled, shown
from tests.integration.differential.scenarios import SCENARIOS

pytestmark = pytest.mark.real_consul


KNOWN_DIFFERENCES = {
    "GET /v1/agent/self": "xDS is not announced: there is no xDS server",
    "GET /v1/agent/self?pretty": "xDS is not announced: there is no xDS server",
    "PUT /v1/agent/join/": "the reason why an empty address does not resolve is worded otherwise",
}
"""Requests that our agent answers differently, and why. They are shown as warnings, not hidden."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_same_answers(agents: Pair, name: str) -> None:
    _, other = agents
    found = []
    for request in SCENARIOS[name]:
        lines = settled(agents, request)
        if lines and isinstance(other, Agent) and str(request) in KNOWN_DIFFERENCES:
            warnings.warn(f"{request}: {KNOWN_DIFFERENCES[str(request)]}", stacklevel=1)
            continue
        found += shown(request, lines)
    assert_none(found)
