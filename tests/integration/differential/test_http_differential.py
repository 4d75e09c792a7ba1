"""The same requests to the real Consul and to our agent: status, headers and bodies must be equal.

All differences of a scenario are shown at once. Two real agents must show none: that proves that the masks
cover what rightly differs. PROCONSUL_DIFFERENTIAL names what is compared with the real one, separated by
commas.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_settled
from tests.integration.differential.exchange import Answer, Request, differences, exchange
from tests.integration.differential.scenarios import SCENARIOS
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul


COMPARED = os.environ.get("PROCONSUL_DIFFERENTIAL", "consul,proconsul").split(",")
KNOWN_DIFFERENCES = {
    "GET /v1/agent/self": "xDS is not announced: there is no xDS server",
    "GET /v1/agent/self?pretty": "xDS is not announced: there is no xDS server",
    "PUT /v1/agent/join/": "the reason why an empty address does not resolve is worded otherwise",
}
"""Requests that our agent answers differently, and why. They are shown as warnings, not hidden."""


@pytest.fixture(scope="module", params=COMPARED)
def agents(
    request: pytest.FixtureRequest,
    real_consul: Path,
    loopback: LoopbackPool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RealConsul, RealConsul | Agent]]:
    """The real agent first, then the one to be compared, both idle and with their own node in the catalog.

    Coordinates would come some time in the first half minute, and sort the answers to `?near=` anew."""
    still = {"disable_coordinates": True}
    real = RealConsul(loopback(), tmp_path_factory.mktemp("real"), real_consul, config=still)
    other: RealConsul | Agent
    if request.param == "consul":
        other = RealConsul(loopback(), tmp_path_factory.mktemp("other"), real_consul, config=still)
    else:
        other = Agent(loopback(), tmp_path_factory.mktemp("ours"), config=still)
    with contextlib.ExitStack() as stack:
        for agent in (real, other):
            stack.enter_context(agent.running())
        for agent in (real, other):
            wait_settled(agent)
        yield real, other


@pytest.mark.parametrize("name", SCENARIOS)
def test_same_answers(agents: tuple[RealConsul, RealConsul | Agent], name: str) -> None:
    real, other = agents
    found = []
    for request in SCENARIOS[name]:
        expected = exchange(real.address, real.http_port, request)
        lines = _compare(expected, request, other)
        if lines and isinstance(other, Agent) and str(request) in KNOWN_DIFFERENCES:
            warnings.warn(f"{request}: {KNOWN_DIFFERENCES[str(request)]}", stacklevel=1)
            continue
        found += [f"{request}\n    {line}" for line in lines]
    assert not found, f"{len(found)} differences, Consul's answer first:\n" + "\n".join(found)


def _compare(expected: Answer, request: Request, agent: RealConsul | Agent) -> list[str]:
    try:
        return differences(expected, exchange(agent.address, agent.http_port, request))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return [f"no comparable answer: {error!r}, where Consul says {expected.status}"]
