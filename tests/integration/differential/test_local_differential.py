"""Services and checks of the agent: the same requests to the real Consul and to our agent, equal answers."""

from __future__ import annotations

import contextlib
import http.client
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_settled
from tests.integration.differential.exchange import Answer, Request, differences, exchange
from tests.integration.differential.scenarios_local import CONFIGURED, LOCAL_SCENARIOS, configured_looks
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

COMPARED = os.environ.get("PROCONSUL_DIFFERENTIAL", "consul,proconsul").split(",")
SETTLES_WITHIN_S = 10.0
Pair = tuple[RealConsul, RealConsul | Agent]


@pytest.fixture(scope="module", params=COMPARED)
def agents(
    request: pytest.FixtureRequest,
    real_consul: Path,
    loopback: LoopbackPool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    """The real agent first, then the one to be compared. Both know the services and checks of `CONFIGURED`."""
    config = {"disable_coordinates": True, **CONFIGURED}
    real = RealConsul(loopback(), tmp_path_factory.mktemp("real"), real_consul, config=config)
    other: RealConsul | Agent
    if request.param == "consul":
        other = RealConsul(loopback(), tmp_path_factory.mktemp("other"), real_consul, config=config)
    else:
        other = Agent(loopback(), tmp_path_factory.mktemp("ours"), config=config)
    with contextlib.ExitStack() as stack:
        for agent in (real, other):
            stack.enter_context(agent.running())
        for agent in (real, other):
            wait_settled(agent)
            agent.wait_output("Synced check: check=configured-ttl")
        yield real, other


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
        while lines := _compare(exchange(real.address, real.http_port, request), request, other):
            if time.monotonic() > repeat_until:
                break
            time.sleep(0.1)
        found += [f"{request}\n    {line}" for line in lines]
    assert not found, f"{len(found)} differences, Consul's answer first:\n" + "\n".join(found)


def _compare(expected: Answer, request: Request, agent: RealConsul | Agent) -> list[str]:
    try:
        return differences(expected, exchange(agent.address, agent.http_port, request))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return [f"no comparable answer: {error!r}, where Consul says {expected.status}"]
