"""Random filters over random records: the real Consul and our agent choose the same, and refuse with the same words."""

from __future__ import annotations

import contextlib
import os
import random
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_settled
from tests.integration.differential.exchange import differences, exchange
from tests.integration.differential.filters import SELECTORS, Filters
from tests.integration.differential.scenarios import get, put
from tests.loopback import LoopbackPool
from tests.seeds import seed_of

pytestmark = pytest.mark.real_consul

EXPRESSIONS = int(os.environ.get("FILTERS") or 300)
NODES = 4


@pytest.fixture(scope="module")
def agents(
    real_consul: Path, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RealConsul, Agent]]:
    still = {"disable_coordinates": True}
    real = RealConsul(loopback(), tmp_path_factory.mktemp("real"), real_consul, config=still)
    ours = Agent(loopback(), tmp_path_factory.mktemp("ours"), config=still)
    with contextlib.ExitStack() as stack:
        for agent in (real, ours):
            stack.enter_context(agent.running())
        for agent in (real, ours):
            wait_settled(agent)
        yield real, ours


def test_filters_choose_and_refuse_alike(agents: tuple[RealConsul, Agent]) -> None:
    seed = int(os.environ.get("FILTER_SEED") or seed_of("filters"))
    print(f"replay: FILTER_SEED={seed}")
    filters, rng = Filters(seed), random.Random(seed)
    for body in filters.registrations(NODES):
        for agent in agents:
            assert agent.http("PUT", "/v1/catalog/register", body).status == 200
    for body in filters.local_services():
        for agent in agents:
            registered = agent.http("PUT", "/v1/agent/service/register", body)
            assert registered.status == 200, (body, registered.body)
    found, kept = [], 0
    for _ in range(EXPRESSIONS):
        endpoint = rng.choice(list(SELECTORS))
        expression = filters.expression(endpoint)
        request = get(f"{endpoint}?filter={urllib.parse.quote(expression)}")
        expected, answer = (exchange(agent.address, agent.http_port, request) for agent in agents)
        kept += expected.status == "200 OK"
        found += [f"{endpoint} {expression!r}\n    {line}" for line in differences(expected, answer)]
    assert not found, f"{len(found)} differences, Consul's answer first:\n" + "\n".join(found)
    assert kept > EXPRESSIONS // 4, "too few of the expressions were right"


def test_a_filter_in_the_body_or_twice(agents: tuple[RealConsul, Agent]) -> None:
    requests = [
        get("/v1/catalog/nodes?filter=Node==node1&filter=("),
        get("/v1/catalog/nodes?filter="),
        get("/v1/catalog/nodes?filter=%20"),
        get("/v1/catalog/nodes?filter=%00"),
        get("/v1/catalog/nodes?filter=%ff%20==%20a"),
        get("/v1/catalog/nodes?filter=Node==%22%ff%22"),
        get("/v1/catalog/nodes?filter=Node==`node1%0a"),
        get("/v1/catalog/nodes?filter=" + "a" * 3000),
        get("/v1/agent/members?filter=("),
        get("/v1/kv/a?filter=("),
        put("/v1/kv/a?filter=(", b"x"),
    ]
    real, ours = agents
    found = []
    for request in requests:
        expected, answer = (exchange(agent.address, agent.http_port, request) for agent in (real, ours))
        found += [f"{request}\n    {line}" for line in differences(expected, answer)]
    assert not found, "\n".join(found)
